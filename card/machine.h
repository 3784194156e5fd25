/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The processor and the devices of the card's machine: QEMU's RISC-V `virt` (its
 * docs/system/riscv/virt.rst; hw/riscv/virt.c has the addresses). One hart, machine mode, no
 * interrupt is ever taken: they only end `wfi` (RISC-V Privileged Architecture, 3.3.3).
 */
#ifndef CARD_MACHINE_H
#define CARD_MACHINE_H

#include <stdint.h>

#define MACHINE_FINISHER     0x00100000ul /* a store ends QEMU */
#define MACHINE_MTIMECMP     0x02004000ul
#define MACHINE_PLIC         0x0c000000ul
#define MACHINE_UART         0x10000000ul
#define MACHINE_VIRTIO       0x10001000ul /* eight slots, interrupts 1 to 8 */
#define MACHINE_VIRTIO_STEP  0x1000ul
#define MACHINE_VIRTIO_SLOTS 8u
#define MACHINE_ECAM         0x30000000ul
#define MACHINE_PCI_MEMORY   0x40000000ul
#define MACHINE_PCI_END      0x80000000ul
#define MACHINE_TICK_NS      100u /* the clock runs at 10 MHz */

static inline uint32_t read32(uintptr_t address)
{
	return *(volatile uint32_t *)address;
}

static inline void write32(uintptr_t address, uint32_t value)
{
	*(volatile uint32_t *)address = value;
}

static inline uint64_t clock_ticks(void)
{
	uint64_t ticks;

	__asm__ volatile("rdtime %0" : "=r"(ticks));
	return ticks;
}

/* Everything before, to memory or a device, is seen before everything after. */
static inline void fence_all(void)
{
	__asm__ volatile("fence iorw, iorw" ::: "memory");
}

/* What was read and written before is done before stores after. A peer's memory is on the bus: the
 * processor may order it as a device (o) or as memory (w). */
static inline void fence_stores(void)
{
	__asm__ volatile("fence iorw, ow" ::: "memory");
}

/* Prints: %s, %x (32 bits), %lx (64), %u. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says why and ends. */
_Noreturn void panic(const char *why);

/* Sleeps until a device has something or that much time has passed. */
void machine_sleep(uint64_t ticks);
void machine_listen(unsigned interrupt);

#endif
