/* SPDX-License-Identifier: BSD-3-Clause */
#include "pattern.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(struct pattern *p, unsigned ingress, unsigned exit)
{
	p->ingresses += p->exits[ingress] == 0;
	p->exit[ingress][p->exits[ingress]++] = exit;
	if (ingress >= p->ports)
		p->ports = ingress + 1;
	if (exit >= p->ports)
		p->ports = exit + 1;
}

/* "0>1,1>0+2": digits, one separator after each. */
static int parse_list(const char *text, struct pattern *p)
{
	int ingress = -1;

	while (*text) {
		char *end;
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		unsigned long n = strtoul(text, &end, 10);
		if (n >= TESTER_PORTS_MAX)
			return -EINVAL;
		if (ingress < 0) {
			if (*end != '>' || p->exits[n])
				return -EINVAL;
			ingress = (int)n;
		} else {
			if (p->exits[ingress] == TESTER_PORTS_MAX)
				return -EINVAL;
			add(p, (unsigned)ingress, (unsigned)n);
			if (*end == ',')
				ingress = -1;
			else if (*end && *end != '+')
				return -EINVAL;
			if (*end && !end[1])
				return -EINVAL;
		}
		text = *end ? end + 1 : end;
	}
	return ingress < 0 || !p->exits[ingress] ? -EINVAL : 0;
}

int pattern_parse(const char *text, struct pattern *p)
{
	unsigned in, out;
	int used = 0;

	memset(p, 0, sizeof(*p));
	if (strchr(text, '>'))
		return parse_list(text, p);
	if (sscanf(text, "%2uin-%2uout%n", &in, &out, &used) != 2 || !used || in != out)
		return -EINVAL;
	bool mix = !strcmp(text + used, "-mix");
	if ((text[used] && !mix) || in > TESTER_PORTS_MAX || !in || (in > 2 && in % 2) ||
		(in == 1 && mix))
		return -EINVAL;
	for (unsigned i = 0; i < in; i++) {
		if (in <= 2 && mix) {
			add(p, i, 2);
			add(p, i, 3);
		} else if (in <= 2) {
			add(p, i, i + in);
		} else if (mix) {
			for (unsigned e = 0; e < in; e++)
				if (e != i)
					add(p, i, e);
		} else {
			add(p, i, i ^ 1);
		}
	}
	return 0;
}
