/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The firmware as one unit: compiled for each P2PNIC_METHOD and P2PNIC_PORT, with the soft NIC's board
 * inlined into it. VARIANT is the name of the table it exports.
 */
#define P2PNIC_BOARD_HEADER "softnic/board.h"
#define NIC_API             static

/* NOLINTBEGIN(bugprone-suspicious-include) */
#include "firmware/control.c"
#include "firmware/egress.c"
#include "firmware/ingress.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include "softnic/variant.h"

static struct board *variant_board(void *memory, struct dma *dma, struct vfu **vfu, void **port)
{
	struct board *b = memory;

	b->dma = dma;
	b->vfu = vfu;
	*port = &b->port;
	return b;
}

static void variant_set_port(struct nic *n, const struct port_info *info)
{
	n->link = info->link;
	n->speed = info->speed_mbps;
	atomic_store_explicit(
		&n->counters->port_missed, info->missed + info->oversize, memory_order_relaxed);
}

static void variant_set_mac(struct nic *n, struct mac_addr mac)
{
	n->mac = 0;
	memcpy(&n->mac, &mac, sizeof(mac));
}

#define VARIANT_TEXT_(x) #x
#define VARIANT_TEXT(x)  VARIANT_TEXT_(x)

extern const struct variant VARIANT;
const struct variant VARIANT = {
	.port_type = VARIANT_TEXT(P2PNIC_PORT),
	.method = P2PNIC_METHOD,
	.nic_bytes = sizeof(struct nic),
	.board_bytes = sizeof(struct board),
	.port_ops = &PORT_NAME(port_ops),
	.board = variant_board,
	.init = nic_init,
	.poll = nic_poll,
	.arm = nic_arm,
	.disarm = nic_disarm,
	.register_read = nic_register_read,
	.register_write = nic_register_write,
	.windows_changed = nic_windows_changed,
	.set_port = variant_set_port,
	.set_mac = variant_set_mac,
};
