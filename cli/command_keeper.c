/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/helper.h"
#include "driver/keeper.h"

const struct command_syntax keeper_syntax = {
	.name = "keeper",
	.usage = "usage: p2pnic keeper --socket PATH [--ready-fd N]\n"
		 "\n"
		 "Holds the connections of NICs, so that they forward on while the router is "
		 "replaced.\n"
		 "`p2pnic router` starts one by itself; run it by hand only to look after it "
		 "yourself.\n",
	.options = helper_options,
};

int command_keeper(int argc, char **argv)
{
	return command_helper(argc, argv, &keeper_syntax, keeper_serve);
}
