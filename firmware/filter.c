/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For each frame a machine with an accumulator A, an index register X, and sixteen words of memory,
 * all 0 at first. An instruction's class is in bits 0 to 2 of its code; what the other bits mean
 * depends on it.
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
static inline bool load(
	const uint8_t *frame, uint32_t length, uint64_t at, unsigned size, uint32_t *value)
{
	uint32_t word;
	uint16_t half;

	if (at + (size == WORD ? 4 : size == HALF ? 2 : 1) > length)
		return false;
	if (size == WORD) {
		__builtin_memcpy(&word, frame + at, sizeof(word));
		*value = word << 24 | (word & 0xff00) << 8 | (word >> 8 & 0xff00) | word >> 24;
	} else if (size == HALF) {
		__builtin_memcpy(&half, frame + at, sizeof(half));
		*value = (uint16_t)(half << 8 | half >> 8);
	} else {
		*value = frame[at];
	}
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

/*
 * A program runs over all frames at once. Jumps lead forward only, so each instruction is met once,
 * with the set of frames that get there, and is decoded once for all of them. A program that ran
 * frame by frame was decoded for each, by branches that no processor guesses: `udp dst port 1` took
 * 44 ns a frame, and takes 13 (bench/firmware_loop, Zen 3).
 */
struct machine {
	const struct frame *frame;
	unsigned frames;
	uint32_t shortest; /* frame's length */
	uint64_t alive;    /* frames that have no result yet */
	uint32_t a[P2PNIC_BURST_MAX], x[P2PNIC_BURST_MAX];
	bool stores; /* memory is cleared when it is first used */
	uint32_t memory[MEMORY_WORDS][P2PNIC_BURST_MAX];
};

static inline bool has(uint64_t set, unsigned k)
{
	return set >> k & 1;
}

static uint32_t *word_of(struct machine *m, uint32_t k)
{
	if (!m->stores)
		__builtin_memset(m->memory, 0, sizeof(m->memory));
	m->stores = true;
	return m->memory[k];
}

/* load() for all frames, none of which is too short. */
static inline void load_all(const struct machine *m, uint32_t *to, uint32_t at, unsigned size)
{
	for (unsigned k = 0; k < m->frames; k++)
		load(m->frame[k].data, UINT32_MAX, at, size, &to[k]);
}

/* Of IPv4 headers, from their first octets. */
static inline void header_lengths(const struct machine *m, uint32_t *to, uint64_t set)
{
	const uint64_t all = set == m->alive ? ~0ull : set;

	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++)
		if (has(all, k))
			to[k] = (to[k] & 0xf) * 4;
}

/* A load from a frame. Of the set, those whose frame has it. */
static uint64_t run_load(
	struct machine *m, const struct p2pnic_instruction *i, uint32_t *to, uint64_t set)
{
	const bool indirect = MODE(i->code) == IND;

	/* Mostly all frames are still together. */
	if (!indirect && set == m->alive && i->k + 4ull <= m->shortest) {
		if (SIZE(i->code) == WORD)
			load_all(m, to, i->k, WORD);
		else if (SIZE(i->code) == HALF)
			load_all(m, to, i->k, HALF);
		else
			load_all(m, to, i->k, BYTE);
	} else {
		for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++) {
			if (!has(set, k))
				continue;
			const uint64_t at = (indirect ? (uint64_t)m->x[k] : 0) + i->k;
			const struct frame *f = &m->frame[k];

			if (!load(f->data, f->length, at, SIZE(i->code), &to[k]))
				set &= ~(1ull << k);
		}
	}
	if (MODE(i->code) == MSH)
		header_lengths(m, to, set);
	return set;
}

static uint64_t run_ld(struct machine *m, const struct p2pnic_instruction *i, uint64_t set)
{
	uint32_t *to = CLASS(i->code) == LD ? m->a : m->x;
	const uint32_t *words = MODE(i->code) == MEM ? word_of(m, i->k) : NULL;

	switch (MODE(i->code)) {
	case IMM:
		for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++)
			if (has(set, k))
				to[k] = i->k;
		return set;
	case LEN:
		for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++)
			if (has(set, k))
				to[k] = m->frame[k].length;
		return set;
	case MEM:
		for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++)
			if (has(set, k))
				to[k] = words[k];
		return set;
	default:
		return run_load(m, i, to, set);
	}
}

/* Of the set, those of which it has a result. */
static uint64_t run_compute(struct machine *m, const struct p2pnic_instruction *i, uint64_t set)
{
	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++) {
		const uint32_t by = i->code & SOURCE_X ? m->x[k] : i->k;

		if (has(set, k) && !compute(OPERATION(i->code), &m->a[k], by))
			set &= ~(1ull << k);
	}
	return set;
}

/* A bit for each frame that a condition holds for, of those in the set or not. Loops without a
 * branch: the compiler makes vectors of them. */
static inline uint64_t compare_all(
	const struct machine *m, unsigned jump, const uint32_t *by, uint32_t constant)
{
	uint8_t yes[P2PNIC_BURST_MAX];
	uint64_t bits = 0, eight;

	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++)
		yes[k] = holds(jump, m->a[k], by ? by[k] : constant);
	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k += 8) {
		__builtin_memcpy(&eight, yes + k, 8);
		/* Eight bytes, 0 or 1, become eight bits: byte n is bit 56 + n of the product. */
		bits |= (eight * 0x0102040810204080u >> 56) << k;
	}
	return bits;
}

static uint64_t run_compare(const struct machine *m, const struct p2pnic_instruction *i)
{
	const uint32_t *by = i->code & SOURCE_X ? m->x : NULL;

	switch (OPERATION(i->code)) {
	case JEQ:
		return by ? compare_all(m, JEQ, by, 0) : compare_all(m, JEQ, NULL, i->k);
	case JGT:
		return compare_all(m, JGT, by, i->k);
	case JGE:
		return compare_all(m, JGE, by, i->k);
	default:
		return by ? compare_all(m, JSET, by, 0) : compare_all(m, JSET, NULL, i->k);
	}
}

static void run_store(struct machine *m, const struct p2pnic_instruction *i, uint64_t set)
{
	const uint32_t *from = CLASS(i->code) == ST ? m->a : m->x;
	uint32_t *word = word_of(m, i->k);

	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++)
		if (has(set, k))
			word[k] = from[k];
}

/* TAX and TXA. */
static void run_move(struct machine *m, const struct p2pnic_instruction *i, uint64_t set)
{
	const uint32_t *from = i->code & TXA ? m->x : m->a;
	uint32_t *to = i->code & TXA ? m->a : m->x;

	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++)
		if (has(set, k))
			to[k] = from[k];
}

static uint64_t run_return(
	const struct machine *m, const struct p2pnic_instruction *i, uint64_t set)
{
	uint64_t accepted = 0;

	if (!(i->code & RETURN_A))
		return i->k ? set : 0;
	for (unsigned k = 0; k < P2PNIC_BURST_MAX; k++)
		if (has(set, k))
			accepted |= (uint64_t)(m->a[k] != 0) << k;
	return accepted;
}

uint64_t filter_run(const struct p2pnic_instruction *program, uint32_t instructions,
	const struct frame *frames, unsigned n)
{
	uint64_t at[P2PNIC_CAPTURE_FILTER_MAX], accepted = 0;
	struct machine m;

	m.frame = frames;
	m.frames = n;
	m.shortest = UINT32_MAX;
	for (unsigned k = 0; k < n; k++) {
		if (frames[k].length < m.shortest)
			m.shortest = frames[k].length;
	}
	m.stores = false;
	__builtin_memset(m.a, 0, sizeof(m.a));
	__builtin_memset(m.x, 0, sizeof(m.x));
	__builtin_memset(at, 0, instructions * sizeof(*at));
	m.alive = at[0] = n ? ~0ull >> (P2PNIC_BURST_MAX - n) : 0;
	for (uint32_t pc = 0; pc < instructions; pc++) {
		const struct p2pnic_instruction *i = &program[pc];
		uint64_t set = at[pc], yes;

		if (!set)
			continue;
		switch (CLASS(i->code)) {
		case LD:
		case LDX:
			set = run_ld(&m, i, set);
			m.alive &= set | ~at[pc];
			break;
		case ST:
		case STX:
			run_store(&m, i, set);
			break;
		case ALU:
			set = run_compute(&m, i, set);
			m.alive &= set | ~at[pc];
			break;
		case JMP:
			if (OPERATION(i->code) == JA) {
				at[pc + 1 + i->k] |= set;
			} else {
				yes = run_compare(&m, i) & set;
				at[pc + 1 + i->jt] |= yes;
				at[pc + 1 + i->jf] |= set & ~yes;
			}
			continue;
		case RET:
			accepted |= run_return(&m, i, set);
			m.alive &= ~set;
			continue;
		default:
			run_move(&m, i, set);
			break;
		}
		at[pc + 1] |= set;
	}
	return accepted;
}
