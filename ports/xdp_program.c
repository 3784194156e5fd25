/* SPDX-License-Identifier: BSD-3-Clause */
#include "xdp_program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sys/mman.h>
#include <unistd.h>

/* Frames between two runs of the other end's receive path: its NAPI takes as many at once, and the
 * kernel uses the pages of one batch again for the next (256 frames: 222 ns each; in one batch
 * 315). */
#define BATCH 64u

/* xdp_program.bpf.o; the linker names it. */
extern const char _binary_ports_xdp_program_bpf_o_start[], _binary_ports_xdp_program_bpf_o_end[];

static struct bpf_program *program_of(const struct xdp_program *xdp, const char *name)
{
	return bpf_object__find_program_by_name(xdp->object, name);
}

static struct bpf_map *map_of(const struct xdp_program *xdp, const char *name)
{
	return bpf_object__find_map_by_name(xdp->object, name);
}

static int load(struct xdp_program *xdp, unsigned queue, bool batches, bool pieces)
{
	struct bpf_map *sockets = map_of(xdp, "sockets");
	const char *program = batches ? "p2pnic_batch" : "p2pnic_port";

	bpf_program__set_autoload(program_of(xdp, batches ? "p2pnic_port" : "p2pnic_batch"), false);
	bpf_program__set_autoload(program_of(xdp, "p2pnic_sent"), batches);
	bpf_map__set_autocreate(map_of(xdp, "device"), batches);
	bpf_map__set_autocreate(map_of(xdp, ".bss"), batches);
	bpf_map__set_max_entries(sockets, queue + 1);
	if (pieces)
		bpf_program__set_flags(program_of(xdp, program), BPF_F_XDP_HAS_FRAGS);
	int code = bpf_object__load(xdp->object);
	if (code)
		return code;
	xdp->map = bpf_map__fd(sockets);
	xdp->program = bpf_program__fd(program_of(xdp, program));
	return 0;
}

/* The area is all there is of global variables. */
static int begin_batches(struct xdp_program *xdp)
{
	void *area = mmap(NULL, sizeof(*xdp->area), PROT_READ | PROT_WRITE, MAP_SHARED,
		bpf_map__fd(map_of(xdp, ".bss")), 0);

	if (area == MAP_FAILED)
		return -errno;
	xdp->area = area;
	xdp->watch = bpf_program__attach(program_of(xdp, "p2pnic_sent"));
	return xdp->watch ? 0 : -errno;
}

int xdp_program_load(struct xdp_program *xdp, unsigned queue, bool batches, bool pieces)
{
	const char *object = _binary_ports_xdp_program_bpf_o_start;

	*xdp = XDP_PROGRAM_NONE;
	xdp->object = bpf_object__open_mem(
		object, (size_t)(_binary_ports_xdp_program_bpf_o_end - object), NULL);
	int code = xdp->object ? load(xdp, queue, batches, pieces) : -errno;
	if (!code && batches)
		code = begin_batches(xdp);
	if (code)
		xdp_program_unload(xdp);
	return code;
}

void xdp_program_unload(struct xdp_program *xdp)
{
	xdp_program_detach(xdp);
	bpf_link__destroy(xdp->watch);
	if (xdp->area)
		munmap(xdp->area, sizeof(*xdp->area));
	bpf_object__close(xdp->object);
	*xdp = XDP_PROGRAM_NONE;
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

int xdp_program_aim(struct xdp_program *xdp, int interface_index)
{
	const uint32_t key = 0, index = (uint32_t)interface_index;

	return bpf_map__update_elem(
		map_of(xdp, "device"), &key, sizeof(key), &index, sizeof(index), BPF_ANY);
}

unsigned xdp_program_send(struct xdp_program *xdp, unsigned n, unsigned *accepted)
{
	struct xdp_send_area *area = xdp->area;
	/* What the frames are made with: the program makes each as long as its own. */
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = area->frame[0],
		.data_size_in = area->last[0] + 1, .repeat = (int)n,
		.flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = n < BATCH ? n : BATCH);

	area->initial = area->last[0] + 1;
	area->taken = area->told = area->accepted = 0;
	/* On an error (out of memory, a signal) `taken` says how far it came. */
	bpf_prog_test_run_opts(xdp->program, &options);
	unsigned taken = area->taken;
	*accepted = area->accepted;
	area->taken = 0; /* the tracepoint is not for us until the next run */
	return taken;
}
