/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/helper.h"
#include "punt/punt.h"

const struct command_syntax punt_syntax = {
	.name = "punt",
	.usage = "usage: p2pnic punt --socket PATH [--ready-fd N]\n"
		 "\n"
		 "Carries frames between the NICs' host rings and their taps, while the router is "
		 "replaced, "
		 "too.\n"
		 "`p2pnic router` starts one by itself where its configuration has `kernel`.\n",
	.options = helper_options,
};

int command_punt(int argc, char **argv)
{
	return command_helper(argc, argv, &punt_syntax, punt_serve);
}
