/* SPDX-License-Identifier: BSD-3-Clause */
/* The card: finds its devices, then runs the firmware for ever. */
#include "card/machine.h"
#include "card/service.h"

#define MEMORIES (P2PNIC_NICS_MAX / 2) /* as many devices as a PCI bus has */

#define TICKS_US        (1000u / MACHINE_TICK_NS)
#define SPIN_TICKS      (50u * TICKS_US) /* polled on after the last packet */
#define SLEEP_TICKS     (1000u * TICKS_US)
#define ATTENTION_TICKS (100000u * TICKS_US) /* between two looks at the link */

static struct nic nic;
static struct board board;
static struct pci_memory memory[MEMORIES];

static void look_at_link(bool *link)
{
	if (virtio_net_link(&board.port) == *link)
		return;
	*link = !*link;
	nic_set_port(&nic, *link, 0, 0);
	board_interrupt(&board, P2PNIC_VECTOR_EVENT);
}

/* As its peers and the host see it. What an earlier life left is wiped. */
static void begin(struct service *s)
{
	static const char description[] = "RISC-V card, virtio-net, zero-copy";
	uint8_t *own = memory[0].at;
	struct card_carrier *carrier = (struct card_carrier *)(own + CARD_CARRIER);
	uint64_t half = CARD_BAR4(memory[0].bytes), quarter = CARD_BAR2(memory[0].bytes);
	struct mac_addr mac;

	atomic_store_explicit(&carrier->magic, 0, memory_order_seq_cst);
	__builtin_memset(own, 0, P2PNIC_BAR0_BYTES);
	__builtin_memcpy(own + P2PNIC_BAR0_DESCRIPTION, description, sizeof(description));
	board.carrier = carrier;
	board.counters = (struct p2pnic_counters *)(own + P2PNIC_BAR0_COUNTERS);
	if (!virtio_net_open(&board.port, own + half, P2PNIC_BUFFER_BYTES_MIN))
		panic("no port: want -device virtio-net-device");
	nic_init(&nic, &board, P2PNIC_METHOD_WRITE, P2PNIC_BUFFER_BYTES_MIN, board.counters,
		own + quarter, (uint32_t)quarter, own + half, (uint32_t)half);
	mac = virtio_net_mac(&board.port);
	nic_set_mac(&nic, mac);
	carrier->serial = 0;
	__builtin_memcpy(&carrier->serial, &mac, sizeof(mac));
	service_start(s);
}

_Noreturn void card_main(void);
_Noreturn void card_main(void)
{
	struct service service = {.nic = &nic, .board = &board, .memory = memory};
	uint64_t busy = 0, looked = 0;
	bool link = false;

	service.memories = pci_find_memory(memory, MEMORIES);
	if (!service.memories || memory[0].bytes < CARD_BYTES_MIN)
		panic("no memory: want -device ivshmem-plain with 64 MiB or more");
	begin(&service);
	print("card: serial %lx, %u MiB, %u peers\n", board.carrier->serial,
		(unsigned)(memory[0].bytes >> 20), service.memories - 1);
	for (;;) {
		uint64_t now;

		service_poll(&service);
		if (nic_poll(&nic)) {
			busy = clock_ticks();
			continue;
		}
		now = clock_ticks();
		if (now - looked >= ATTENTION_TICKS) {
			looked = now;
			look_at_link(&link);
		}
		if (now - busy < SPIN_TICKS)
			continue;
		if (nic_arm(&nic) != NIC_BUSY)
			machine_sleep(SLEEP_TICKS);
		nic_disarm(&nic);
	}
}
