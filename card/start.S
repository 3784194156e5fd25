/* SPDX-License-Identifier: BSD-3-Clause */
/* The first instructions of the card, and what it does when the processor faults. */

	.section .text.start
	.globl _start
_start:
	.option push
	.option norelax
	la gp, __global_pointer$
	.option pop
	la sp, stack_end
	la t0, trapped
	csrw mtvec, t0
	csrw mie, zero
	la t0, bss
	la t1, bss_end
1:	bgeu t0, t1, 2f
	sd zero, 0(t0)
	addi t0, t0, 8
	j 1b
2:	call card_main

	.balign 4 /* mtvec: the low two bits are the mode, 0 */
trapped:
	la sp, stack_end
	csrr a0, mcause
	csrr a1, mepc
	csrr a2, mtval
	call card_trap
