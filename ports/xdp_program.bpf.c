/* SPDX-License-Identifier: BSD-3-Clause */
/* The BPF programs of an af_xdp port; xdp_program.h says which are loaded when. */
#include <linux/bpf.h>

#include "xdp_send.h"

#include <bpf/bpf_helpers.h>

/* A run has no interface to receive from; the kernel gives it loopback, whose index is always 1. */
#define LOOPBACK 1

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Queue → socket. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1); /* the host says how many queues */
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

/* Where frames of the area go. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} device SEC(".maps");

struct xdp_send_area area;

static int receive(struct xdp_md *context)
{
	/* The last argument is the result where the map has no socket (Linux 5.3). */
	long result = bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);

	/* Keeps the compiler from making this call and send's one: the kernel calls the map's own
	 * function where a call is for one map only (7.2 Mpps through a veth; else 6.3). */
	asm volatile("" : "+r"(result));
	return (int)result;
}

static int send(struct xdp_md *context)
{
	area.cpu = bpf_get_smp_processor_id();
	__u32 slot = area.taken++ % XDP_SEND_MAX;
	__u32 length = area.last[slot] % P2PNIC_BUFFER_BYTES_MIN + 1;

	if (length != area.initial && bpf_xdp_adjust_tail(context, (int)length - (int)area.initial))
		return XDP_DROP;
	if (bpf_xdp_store_bytes(context, 0, area.frame[slot], length))
		return XDP_DROP;
	return (int)bpf_redirect_map(&device, 0, XDP_DROP);
}

SEC("xdp")
int p2pnic_port(struct xdp_md *context)
{
	return receive(context);
}

SEC("xdp")
int p2pnic_batch(struct xdp_md *context)
{
	return context->ingress_ifindex == LOOPBACK ? send(context) : receive(context);
}

/*
 * The tracepoint's arguments: from device, to device, sent, dropped, error; an int has no upper
 * half. It fires for every device map on this machine; ours are those told of while the program has
 * taken more than were told of, on the processor it ran on: from there to the flush softirqs stay
 * off.
 */
SEC("raw_tracepoint/xdp_devmap_xmit")
int p2pnic_sent(struct bpf_raw_tracepoint_args *arguments)
{
	__u32 sent = (__u32)arguments->args[2], dropped = (__u32)arguments->args[3];

	if (area.told >= area.taken || area.cpu != bpf_get_smp_processor_id())
		return 0;
	area.accepted += sent;
	area.told += sent + dropped;
	return 0;
}
