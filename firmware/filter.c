/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine with an accumulator A, an index register X, and sixteen words of memory, all 0 at
 * first. An instruction's class is in bits 0 to 2 of its code; what the other bits mean depends on
 * it.
 */
#include "filter.h"

#include <stddef.h>

enum class { LD, LDX, ST, STX, ALU, JMP, RET, MISC };
enum mode { IMM = 0x00, ABS = 0x20, IND = 0x40, MEM = 0x60, LEN = 0x80, MSH = 0xa0 };
enum size { WORD = 0x00, HALF = 0x08, BYTE = 0x10 };
enum operation {
	ADD = 0x00,
	SUB = 0x10,
	MUL = 0x20,
	DIV = 0x30,
	OR = 0x40,
	AND = 0x50,
	LSH = 0x60,
	RSH = 0x70,
	NEG = 0x80,
	MOD = 0x90,
	XOR = 0xa0,
};
enum jump { JA = 0x00, JEQ = 0x10, JGT = 0x20, JGE = 0x30, JSET = 0x40 };
#define SOURCE_X 0x08u
#define RETURN_A 0x10u
#define TXA      0x80u

#define CLASS(code)     ((code)&0x07u)
#define SIZE(code)      ((code)&0x18u)
#define MODE(code)      ((code)&0xe0u)
#define OPERATION(code) ((code)&0xf0u)

#define MEMORY_WORDS 16u

static bool load_valid(const struct p2pnic_instruction *i)
{
	switch (MODE(i->code)) {
	case IMM:
	case LEN:
		return SIZE(i->code) == WORD;
	case MEM:
		return SIZE(i->code) == WORD && i->k < MEMORY_WORDS;
	case ABS:
	case IND:
		return CLASS(i->code) == LD && SIZE(i->code) <= BYTE;
	case MSH:
		return CLASS(i->code) == LDX && SIZE(i->code) == BYTE;
	default:
		return false;
	}
}

static bool alu_valid(const struct p2pnic_instruction *i)
{
	const bool constant = !(i->code & SOURCE_X);

	switch (OPERATION(i->code)) {
	case DIV:
	case MOD:
		return !constant || i->k;
	case LSH:
	case RSH:
		return !constant || i->k < 32;
	case NEG:
		return constant;
	default:
		return OPERATION(i->code) <= XOR;
	}
}

/* left: instructions behind this one. */
static bool jump_valid(const struct p2pnic_instruction *i, uint32_t left)
{
	if (OPERATION(i->code) == JA)
		return !(i->code & SOURCE_X) && i->k < left;
	return OPERATION(i->code) <= JSET && i->jt < left && i->jf < left;
}

static bool instruction_valid(const struct p2pnic_instruction *i, uint32_t left)
{
	if (i->code > 0xff)
		return false;
	switch (CLASS(i->code)) {
	case LD:
	case LDX:
		return load_valid(i);
	case ST:
	case STX:
		return i->code == CLASS(i->code) && i->k < MEMORY_WORDS;
	case ALU:
		return alu_valid(i);
	case JMP:
		return jump_valid(i, left);
	case RET:
		return (i->code & ~RETURN_A) == RET;
	default:
		return (i->code & ~TXA) == MISC;
	}
}

bool filter_valid(const struct p2pnic_instruction *program, uint32_t instructions)
{
	if (instructions == 0 || instructions > P2PNIC_CAPTURE_FILTER_MAX)
		return false;
	for (uint32_t k = 0; k < instructions; k++)
		if (!instruction_valid(&program[k], instructions - 1 - k))
			return false;
	return CLASS(program[instructions - 1].code) == RET;
}

/* Big-endian. False: not all of it is in the frame. */
static bool load(const uint8_t *frame, uint32_t length, uint64_t at, unsigned size, uint32_t *value)
{
	const unsigned bytes = size == WORD ? 4 : size == HALF ? 2 : 1;

	if (at + bytes > length)
		return false;
	*value = 0;
	for (unsigned k = 0; k < bytes; k++)
		*value = *value << 8 | frame[at + k];
	return true;
}

/* Divisions of a frame's own numbers: none that a filter of addresses and ports has. */
static bool compute(unsigned operation, uint32_t *a, uint32_t by)
{
	switch (operation) {
	case ADD:
		*a += by;
		break;
	case SUB:
		*a -= by;
		break;
	case MUL:
		*a *= by;
		break;
	case OR:
		*a |= by;
		break;
	case AND:
		*a &= by;
		break;
	case XOR:
		*a ^= by;
		break;
	case LSH:
		*a = by < 32 ? *a << by : 0;
		break;
	case RSH:
		*a = by < 32 ? *a >> by : 0;
		break;
	case NEG:
		*a = 0u - *a;
		break;
	default:
		if (!by)
			return false;
		*a = operation == DIV ? *a / by : *a % by;
		break;
	}
	return true;
}

static bool holds(unsigned jump, uint32_t a, uint32_t b)
{
	return jump == JEQ ? a == b : jump == JGT ? a > b : jump == JGE ? a >= b : (a & b) != 0;
}

uint32_t filter_run(const struct p2pnic_instruction *i, const uint8_t *frame, uint32_t length)
{
	uint32_t a = 0, x = 0, memory[MEMORY_WORDS] = {0}, value;

	for (;; i++) {
		const uint32_t by = i->code & SOURCE_X ? x : i->k;

		switch (CLASS(i->code)) {
		case LD:
		case LDX:
			value = i->k;
			if (MODE(i->code) == LEN)
				value = length;
			else if (MODE(i->code) == MEM)
				value = memory[i->k];
			else if (MODE(i->code) != IMM &&
				 !load(frame, length,
					 MODE(i->code) == IND ? (uint64_t)x + i->k : i->k,
					 SIZE(i->code), &value))
				return 0;
			if (MODE(i->code) == MSH)
				value = (value & 0xf) * 4;
			*(CLASS(i->code) == LD ? &a : &x) = value;
			break;
		case ST:
			memory[i->k] = a;
			break;
		case STX:
			memory[i->k] = x;
			break;
		case ALU:
			if (!compute(OPERATION(i->code), &a, by))
				return 0;
			break;
		case JMP:
			if (OPERATION(i->code) == JA)
				i += i->k;
			else
				i += holds(OPERATION(i->code), a, by) ? i->jt : i->jf;
			break;
		case RET:
			return i->code & RETURN_A ? a : i->k;
		default:
			*(i->code & TXA ? &a : &x) = i->code & TXA ? x : a;
			break;
		}
	}
}
