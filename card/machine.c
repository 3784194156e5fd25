/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine.h"

#include <stdarg.h>

#define MIP_TIMER    (1ul << 7)
#define MIP_EXTERNAL (1ul << 11)

/* Platform-Level Interrupt Controller, context 0: machine mode of hart 0. */
#define PLIC_PRIORITY(n) (MACHINE_PLIC + 4 * (n))
#define PLIC_ENABLE      (MACHINE_PLIC + 0x2000)
#define PLIC_CLAIM       (MACHINE_PLIC + 0x200004)

#define FINISHER_FAIL 0x3333u

/* 16550: the transmitter of QEMU's is always empty. */
static void put(char c)
{
	*(volatile uint8_t *)MACHINE_UART = (uint8_t)c;
}

static void put_number(uint64_t n, unsigned base)
{
	char digits[24];
	unsigned count = 0;

	do
		digits[count++] = "0123456789abcdef"[n % base];
	while (n /= base);
	while (count)
		put(digits[--count]);
}

void print(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	for (; *format; format++) {
		if (*format != '%') {
			put(*format);
			continue;
		}
		switch (*++format) {
		case 's':
			for (const char *s = va_arg(arguments, const char *); *s; s++)
				put(*s);
			break;
		case 'u':
			put_number(va_arg(arguments, unsigned), 10);
			break;
		case 'x':
			put_number(va_arg(arguments, unsigned), 16);
			break;
		case 'l': /* lx */
			format++;
			put_number(va_arg(arguments, uint64_t), 16);
			break;
		default:
			put(*format);
		}
	}
	va_end(arguments);
}

static _Noreturn void end(void)
{
	write32(MACHINE_FINISHER, FINISHER_FAIL | 1 << 16);
	for (;;)
		__asm__ volatile("wfi");
}

_Noreturn void panic(const char *why)
{
	print("card: %s\n", why);
	end();
}

/* From start.S. */
_Noreturn void card_trap(uint64_t cause, uint64_t at, uint64_t value);
_Noreturn void card_trap(uint64_t cause, uint64_t at, uint64_t value)
{
	print("card: trap: cause 0x%lx at 0x%lx, value 0x%lx\n", cause, at, value);
	end();
}

void machine_listen(unsigned interrupt)
{
	write32(PLIC_PRIORITY(interrupt), 1);
	write32(PLIC_ENABLE, read32(PLIC_ENABLE) | 1u << interrupt);
}

void machine_sleep(uint64_t ticks)
{
	uint32_t claimed;

	*(volatile uint64_t *)MACHINE_MTIMECMP = clock_ticks() + ticks;
	__asm__ volatile("csrw mie, %0\n\twfi\n\tcsrw mie, zero" ::"r"(MIP_TIMER | MIP_EXTERNAL)
			 : "memory");
	claimed = read32(PLIC_CLAIM);
	if (claimed)
		write32(PLIC_CLAIM, claimed); /* done with; the queues tell what it was about */
}
