/* SPDX-License-Identifier: BSD-3-Clause */
#include "xdp_program.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

int xdp_program_load(struct xdp_program *xdp, unsigned queue, const struct xdp_send *send)
{
	*xdp = (struct xdp_program){-1, -1, -1};
	xdp->map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "p2pnic_port", sizeof(uint32_t),
		sizeof(uint32_t), queue + 1, NULL);
	if (xdp->map < 0)
		return -errno;

	/* return bpf_redirect_map(&map, context->rx_queue_index, XDP_PASS); the last argument is
	 * what it returns where the map has no socket (Linux 5.3). */
	const struct bpf_insn receive[] = {
		{.code = BPF_LDX | BPF_MEM | BPF_W,
			.dst_reg = BPF_REG_2,
			.src_reg = BPF_REG_1,
			.off = offsetof(struct xdp_md, rx_queue_index)},
		{.code = BPF_LD | BPF_IMM | BPF_DW,
			.dst_reg = BPF_REG_1,
			.src_reg = BPF_PSEUDO_MAP_FD,
			.imm = xdp->map},
		{0}, /* the upper half of the load above */
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct bpf_insn code[XDP_SEND_CODE + sizeof(receive) / sizeof(receive[0])];
	size_t n = send ? xdp_send_code(send, code) : 0;
	memcpy(code + n, receive, sizeof(receive));
	xdp->program = bpf_prog_load(BPF_PROG_TYPE_XDP, "p2pnic_port", "Dual BSD/GPL", code,
		n + sizeof(receive) / sizeof(receive[0]), NULL);
	if (xdp->program < 0) {
		int error = -errno;
		xdp_program_unload(xdp);
		return error;
	}
	return 0;
}

int xdp_program_attach(struct xdp_program *xdp, int interface_index, bool native)
{
	LIBBPF_OPTS(bpf_link_create_opts, options,
		.flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);

	xdp->link = bpf_link_create(xdp->program, interface_index, BPF_XDP, &options);
	return xdp->link < 0 ? -errno : 0;
}

void xdp_program_detach(struct xdp_program *xdp)
{
	if (xdp->link >= 0)
		close(xdp->link);
	xdp->link = -1;
}

void xdp_program_unload(struct xdp_program *xdp)
{
	xdp_program_detach(xdp);
	if (xdp->program >= 0)
		close(xdp->program);
	if (xdp->map >= 0)
		close(xdp->map);
	xdp->program = xdp->map = -1;
}
