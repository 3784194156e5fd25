/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/which_router.h"

#include "router/config.h"

#include <stdio.h>
#include <string.h>

bool which_router_option(struct which_router *w, int option, const char *argument)
{
	const char *name = option == WHICH_ROUTER_NAME ? "--name" : "--runtime";

	if (*w->runtime) {
		fprintf(stderr, "p2pnic %s: %s %s: one router at a time, by name or directory\n",
			w->command, name, argument);
		return false;
	}
	if (option == WHICH_ROUTER_NAME && !config_name_valid(argument)) {
		fprintf(stderr, "p2pnic %s: --name '%s': " CONFIG_NAME_WANTED "\n", w->command,
			argument);
		return false;
	}
	if (!*argument || strlen(argument) >= sizeof(w->runtime)) {
		fprintf(stderr, "p2pnic %s: %s '%s': want 1 to %zu characters\n", w->command, name,
			argument, sizeof(w->runtime) - 1);
		return false;
	}
	w->own = option == WHICH_ROUTER_NAME;
	if (w->own)
		runtime_of_name(argument, w->runtime, sizeof(w->runtime));
	else
		memcpy(w->runtime, argument, strlen(argument) + 1);
	return true;
}

void which_router_settle(struct which_router *w)
{
	if (!*w->runtime) {
		runtime_of_name("p2pnic", w->runtime, sizeof(w->runtime));
		w->own = true;
	}
}
