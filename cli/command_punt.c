/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/helper.h"
#include "punt/punt.h"

static const char usage[] =
	"usage: p2pnic punt --socket PATH [--ready-fd N]\n"
	"\n"
	"Carries frames between the NICs' host rings and their taps, while the router is replaced, "
	"too.\n"
	"`p2pnic router` starts one by itself where its configuration has `kernel`.\n";

int command_punt(int argc, char **argv)
{
	return command_helper(argc, argv, usage, punt_serve);
}
