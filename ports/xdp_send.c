/* SPDX-License-Identifier: BSD-3-Clause */
#include "xdp_send.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Frames between two runs of the other end's receive path: its NAPI takes as many at once, and the
 * kernel uses the pages of one batch again for the next (256 frames: 222 ns each; in one batch
 * 315). */
#define BATCH 64u

/* A run has no interface to receive from; the kernel gives it loopback, whose index is always 1. */
#define LOOPBACK 1

#define AREA(member) ((int16_t)offsetof(struct xdp_send_area, member))

#define OP(operation, to, from, offset, value)                                                     \
	((struct bpf_insn){.code = (operation),                                                    \
		.dst_reg = (to),                                                                   \
		.src_reg = (from),                                                                 \
		.off = (offset),                                                                   \
		.imm = (value)})
#define MOVE(to, from)                      OP(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0)
#define SET(to, value)                      OP(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value)
#define ADD(to, from)                       OP(BPF_ALU64 | BPF_ADD | BPF_X, to, from, 0, 0)
#define SUB(to, from)                       OP(BPF_ALU64 | BPF_SUB | BPF_X, to, from, 0, 0)
#define ADD_TO(to, value)                   OP(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value)
#define AND(to, value)                      OP(BPF_ALU64 | BPF_AND | BPF_K, to, 0, 0, value)
#define SHIFT(to, value)                    OP(BPF_ALU64 | BPF_LSH | BPF_K, to, 0, 0, value)
/* Keeps the lower half: an int in a register of a tracepoint's arguments has no upper one. */
#define LOWER(to)                           OP(BPF_ALU | BPF_MOV | BPF_X, to, to, 0, 0)
#define LOAD(bits, to, from, at)            OP(BPF_LDX | BPF_MEM | (bits), to, from, at, 0)
#define STORE(to, at, from)                 OP(BPF_STX | BPF_MEM | BPF_W, to, from, at, 0)
#define JUMP(condition, reg, value, over)   OP(BPF_JMP | (condition) | BPF_K, reg, 0, over, value)
#define JUMP_TWO(condition, reg, two, over) OP(BPF_JMP | (condition) | BPF_X, reg, two, over, 0)
#define CALL(function)                      OP(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define EXIT                                OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
/* Two instructions: the address of a map, or of its first value. */
#define MAP(to, kind, fd)                   OP(BPF_LD | BPF_IMM | BPF_DW, to, kind, 0, fd), OP(0, 0, 0, 0, 0)

unsigned xdp_send_code(const struct xdp_send *send, struct bpf_insn *code)
{
	enum { context = BPF_REG_6, area, slot, length };
	const struct bpf_insn send_frame[] = {
		LOAD(BPF_W, BPF_REG_2, BPF_REG_1, offsetof(struct xdp_md, ingress_ifindex)),
		JUMP(BPF_JNE, BPF_REG_2, LOOPBACK, 40), /* to what follows */
		MOVE(context, BPF_REG_1),
		MAP(area, BPF_PSEUDO_MAP_VALUE, send->map),

		CALL(BPF_FUNC_get_smp_processor_id),
		STORE(area, AREA(cpu), BPF_REG_0),
		/* slot = area->taken++ % XDP_SEND_MAX */
		LOAD(BPF_W, slot, area, AREA(taken)),
		MOVE(BPF_REG_1, slot),
		ADD_TO(BPF_REG_1, 1),
		STORE(area, AREA(taken), BPF_REG_1),
		AND(slot, XDP_SEND_MAX - 1),
		/* length = area->last[slot] % P2PNIC_BUFFER_BYTES + 1 */
		MOVE(BPF_REG_1, slot),
		SHIFT(BPF_REG_1, 2),
		ADD(BPF_REG_1, area),
		LOAD(BPF_W, length, BPF_REG_1, AREA(last)),
		AND(length, P2PNIC_BUFFER_BYTES - 1),
		ADD_TO(length, 1),
		/* if (length != area->initial && bpf_xdp_adjust_tail(context, length - initial))
		 * drop */
		LOAD(BPF_W, BPF_REG_1, area, AREA(initial)),
		MOVE(BPF_REG_2, length),
		SUB(BPF_REG_2, BPF_REG_1),
		JUMP(BPF_JEQ, BPF_REG_2, 0, 3),
		MOVE(BPF_REG_1, context),
		CALL(BPF_FUNC_xdp_adjust_tail),
		JUMP(BPF_JNE, BPF_REG_0, 0, 15),
		/* if (bpf_xdp_store_bytes(context, 0, area->frame[slot], length)) drop */
		MOVE(BPF_REG_1, context),
		SET(BPF_REG_2, 0),
		MOVE(BPF_REG_3, slot),
		SHIFT(BPF_REG_3, __builtin_ctz(P2PNIC_BUFFER_BYTES)),
		ADD(BPF_REG_3, area),
		ADD_TO(BPF_REG_3, AREA(frame)),
		MOVE(BPF_REG_4, length),
		CALL(BPF_FUNC_xdp_store_bytes),
		JUMP(BPF_JNE, BPF_REG_0, 0, 6),
		/* return bpf_redirect_map(&device, 0, XDP_DROP) */
		MAP(BPF_REG_1, BPF_PSEUDO_MAP_FD, send->device),
		SET(BPF_REG_2, 0),
		SET(BPF_REG_3, XDP_DROP),
		CALL(BPF_FUNC_redirect_map),
		EXIT,
		SET(BPF_REG_0, XDP_DROP),
		EXIT,
	};
	_Static_assert(sizeof(send_frame) == 42 * sizeof(*code), "the first jump leads past all");
	_Static_assert(sizeof(send_frame) <= XDP_SEND_CODE * sizeof(*code), "fits");

	memcpy(code, send_frame, sizeof(send_frame));
	return sizeof(send_frame) / sizeof(*code);
}

/*
 * The tracepoint's arguments: from device, to device, sent, dropped, error. It fires for every
 * device map on this machine; ours are those told of while the program has taken more than were
 * told of, on the processor it ran on: from there to the flush softirqs stay off.
 */
static int load_watch(struct xdp_send *send)
{
	enum { arguments = BPF_REG_6, area };
	const struct bpf_insn count[] = {
		MOVE(arguments, BPF_REG_1),
		MAP(area, BPF_PSEUDO_MAP_VALUE, send->map),
		LOAD(BPF_W, BPF_REG_1, area, AREA(told)),
		LOAD(BPF_W, BPF_REG_2, area, AREA(taken)),
		JUMP_TWO(BPF_JGE, BPF_REG_1, BPF_REG_2, 14),
		CALL(BPF_FUNC_get_smp_processor_id),
		LOAD(BPF_W, BPF_REG_1, area, AREA(cpu)),
		JUMP_TWO(BPF_JNE, BPF_REG_0, BPF_REG_1, 11),
		/* area->accepted += sent; area->told += sent + dropped */
		LOAD(BPF_DW, BPF_REG_1, arguments, 2 * 8),
		LOWER(BPF_REG_1),
		LOAD(BPF_W, BPF_REG_2, area, AREA(accepted)),
		ADD(BPF_REG_2, BPF_REG_1),
		STORE(area, AREA(accepted), BPF_REG_2),
		LOAD(BPF_DW, BPF_REG_2, arguments, 3 * 8),
		LOWER(BPF_REG_2),
		ADD(BPF_REG_1, BPF_REG_2),
		LOAD(BPF_W, BPF_REG_2, area, AREA(told)),
		ADD(BPF_REG_1, BPF_REG_2),
		STORE(area, AREA(told), BPF_REG_1),
		SET(BPF_REG_0, 0),
		EXIT,
	};
	send->watch = bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "p2pnic_sent", "Dual BSD/GPL",
		count, sizeof(count) / sizeof(count[0]), NULL);
	if (send->watch < 0)
		return -errno;
	send->watch_link = bpf_raw_tracepoint_open("xdp_devmap_xmit", send->watch);
	return send->watch_link < 0 ? -errno : 0;
}

/* What is mapped of the area: whole pages. */
static size_t area_bytes(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (sizeof(struct xdp_send_area) + page - 1) / page * page;
}

int xdp_send_open(struct xdp_send *send)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);

	*send = (struct xdp_send){.device = -1, .watch = -1, .watch_link = -1};
	send->map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "p2pnic_send", sizeof(uint32_t),
		sizeof(struct xdp_send_area), 1, &options);
	send->device = bpf_map_create(
		BPF_MAP_TYPE_DEVMAP, "p2pnic_device", sizeof(uint32_t), sizeof(uint32_t), 1, NULL);
	int code = send->map < 0 || send->device < 0 ? -errno : 0;
	if (!code) {
		void *area =
			mmap(NULL, area_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, send->map, 0);
		if (area == MAP_FAILED)
			code = -errno;
		else
			send->area = area;
	}
	if (!code)
		code = load_watch(send);
	if (code)
		xdp_send_close(send);
	return code;
}

void xdp_send_close(struct xdp_send *send)
{
	int *const descriptors[] = {&send->watch_link, &send->watch, &send->device, &send->map};

	for (unsigned i = 0; i < sizeof(descriptors) / sizeof(descriptors[0]); i++) {
		if (*descriptors[i] >= 0)
			close(*descriptors[i]);
		*descriptors[i] = -1;
	}
	if (send->area)
		munmap(send->area, area_bytes());
	send->area = NULL;
}

int xdp_send_aim(struct xdp_send *send, int interface_index)
{
	const uint32_t key = 0, index = (uint32_t)interface_index;

	return bpf_map_update_elem(send->device, &key, &index, BPF_ANY) ? -errno : 0;
}

unsigned xdp_send_run(struct xdp_send *send, int program, unsigned n, unsigned *accepted)
{
	struct xdp_send_area *area = send->area;
	/* What the frames are made with: the program makes each as long as its own. */
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = area->frame[0],
		.data_size_in = area->last[0] + 1, .repeat = (int)n,
		.flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = n < BATCH ? n : BATCH);

	area->initial = area->last[0] + 1;
	area->taken = area->told = area->accepted = 0;
	/* On an error (out of memory, a signal) `taken` says how far it came. */
	bpf_prog_test_run_opts(program, &options);
	unsigned taken = area->taken;
	*accepted = area->accepted;
	area->taken = 0; /* the tracepoint is not for us until the next run */
	return taken;
}
