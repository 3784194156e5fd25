/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which running router a command asks: --name NAME or --runtime DIR, of show and reload.
 *
 * A directory by name is this user's own, or nobody in it is asked (router/runtime.h). Who gives a
 * directory may mean another user's.
 */
#ifndef P2PNIC_WHICH_ROUTER_H
#define P2PNIC_WHICH_ROUTER_H

#include "cli/command_line.h"

#define WHICH_ROUTER_NAME    1001
#define WHICH_ROUTER_RUNTIME 1002

#define WHICH_ROUTER_OPTIONS                                                                       \
	{"name", WHICH_ROUTER_NAME, ARGUMENT_TEXT, "NAME",                                         \
		"the router's name in its configuration (p2pnic)", NULL},                          \
	{                                                                                          \
		"runtime", WHICH_ROUTER_RUNTIME, ARGUMENT_DIRECTORY, "DIR",                        \
			"its runtime directory", NULL                                              \
	}

struct which_router {
	const char *command; /* for messages */
	char runtime[256];   /* "": the default, until which_router_settle */
	bool own;            /* the directory must be this user's */
};

/* One of those options with its argument. False: refused, which was said. */
bool which_router_option(struct which_router *, int option, const char *argument);

/* After all options. */
void which_router_settle(struct which_router *);

#endif
