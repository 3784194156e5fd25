/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/command_line.h"
#include "lab/account.h"
#include "lab/capture.h"
#include "lab/lasting.h"
#include "lab/network.h"
#include "lab/sandbox.h"
#include "lab/traffic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command_option lab_options[] = {
	{"mtu", 'm', ARGUMENT_NUMBER, "BYTES", "of hosts, links and NICs: 1280 to 16114 (1500)",
		NULL},
	OPTION_JSON, OPTION_HELP};

#define ACTIONS "run up down exec"

static const struct command_word words[] = {{NULL, NULL, ARGUMENT_CHOICE, ACTIONS},
	{"exec", "exec", ARGUMENT_CHOICE, "router h1 h2 h3 h4"}};

const struct command_syntax lab_syntax = {
	.name = "lab",
	.usage = "usage: p2pnic lab run [--mtu BYTES] [--json]\n"
		 "       p2pnic lab up [--mtu BYTES] [--json]\n"
		 "       p2pnic lab down [--json]\n"
		 "       p2pnic lab exec router|h1|h2|h3|h4 COMMAND [ARGUMENT...]\n"
		 "\n"
		 "A router of four soft NICs and four hosts, in network namespaces of this "
		 "machine. Hosts\n"
		 "announce networks to the router's FRR, where that is installed.\n"
		 "  run   makes it, pings between all hosts, runs iperf3, tells where each packet "
		 "went, and "
		 "leaves\n"
		 "        nothing behind; as root or in namespaces of its own without. Fails if a "
		 "ping was "
		 "lost, an\n"
		 "        iperf3 failed or a packet is not accounted for.\n"
		 "  up    makes it, to be used\n"
		 "  exec  runs a command at a host (or beside the router) of a lab that is up\n"
		 "  down  removes it, or what is left of it\n",
	.options = lab_options,
	COMMAND_WORDS(words),
	.stops = true,
};

struct run {
	bool json;
	unsigned mtu; /* 0: not said */
};

/* Takes it. */
static void print_json(json_t *answer)
{
	json_dumpf(answer, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(answer);
}

static void say_flows(const json_t *results, const char *key)
{
	size_t index;
	const json_t *row;

	json_array_foreach(json_object_get(results, key), index, row)
	{
		const char *from = json_string_value(json_object_get(row, "from"));
		const char *to = json_string_value(json_object_get(row, "to"));
		const char *error = json_string_value(json_object_get(row, "error"));

		printf("  %-5s %s -> %s  ", key, from + strlen("p2pnic-lab-"),
			to + strlen("p2pnic-lab-"));
		if (error)
			printf("failed: %s\n", error);
		else if (!strcmp(key, "tcp"))
			printf("%.2f Gb/s, %lld retransmissions\n",
				json_number_value(json_object_get(row, "bits_per_second")) * 1e-9,
				(long long)json_integer_value(
					json_object_get(row, "retransmissions")));
		else
			printf("%lld datagrams, %lld lost\n",
				(long long)json_integer_value(json_object_get(row, "datagrams")),
				(long long)json_integer_value(json_object_get(row, "lost")));
	}
}

static void say_pings(const json_t *results)
{
	const json_t *pings = json_object_get(results, "pings");
	size_t index;
	const json_t *row;

	printf("  pings %lld pairs: %lld sent, %lld answered\n",
		(long long)json_integer_value(json_object_get(pings, "pairs")),
		(long long)json_integer_value(json_object_get(pings, "sent")),
		(long long)json_integer_value(json_object_get(pings, "answered")));
	json_array_foreach(json_object_get(pings, "lost"), index, row) printf(
		"        %s -> %s: %lld lost\n", json_string_value(json_object_get(row, "from")),
		json_string_value(json_object_get(row, "to")),
		(long long)json_integer_value(json_object_get(row, "lost")));
}

static const char *port_mode(const json_t *results)
{
	return json_string_value(
		json_object_get(json_array_get(json_object_get(results, "port"), 0), "mode"));
}

static void report(const struct run *options, const json_t *results)
{
	if (options->json) {
		print_json(json_incref((json_t *)results));
		return;
	}
	account_print(results, stdout);
	printf("lab: %lld packets in, %lld out, %lld unaccounted\n", account_count(results, "in"),
		account_count(results, "out"), account_count(results, "unaccounted"));
}

/* Where the system allows no namespaces. */
static int run_capture(const struct run *options, const char *why)
{
	struct error error = {""};
	json_t *results;
	int status;

	fprintf(stderr,
		"p2pnic lab: this system lets you make no network namespaces (%s).\n"
		"So no hosts and no links: `p2pnic replay` of captures that the lab makes, through "
		"the "
		"same soft NICs.\n",
		why);
	results = capture_replay(options->mtu, &error);
	if (!results) {
		fprintf(stderr, "p2pnic lab: %s\n", error.text);
		return COMMAND_FAILED;
	}
	json_object_set_new(results, "user", json_string("none"));
	json_object_set_new(results, "port_type", json_string("pcap"));
	report(options, results);
	status = account_count(results, "unaccounted") ? COMMAND_FAILED : COMMAND_OK;
	json_decref(results);
	return status;
}

/* Inside the sandbox. Its end removes everything, so nothing here does. */
static int run(const struct sandbox *sandbox, void *argument)
{
	const struct run *options = argument;
	struct error error = {""};
	json_t *results = json_object();
	struct lab lab;
	bool well;

	if (lab_up(&lab, options->mtu, &error) < 0) {
		fprintf(stderr, "p2pnic lab: %s\n", error.text);
		return COMMAND_FAILED;
	}
	json_object_set_new(results, "user", json_string(sandbox->own_user ? "namespace" : "root"));
	json_object_set_new(results, "port_type", json_string(lab.port_type));
	json_object_set_new(results, "routes", json_string(lab.no_frr.text[0] ? "ip" : "frr"));
	if (!options->json) {
		printf("lab: four soft NICs, four hosts, in %s; port type %s\n",
			sandbox->own_user ? "user and network namespaces of its own (not root)"
					  : "network namespaces",
			lab.port_type);
		if (lab.why_not[0])
			printf("  not af_xdp: %s\n", lab.why_not);
		if (lab.no_frr.text[0])
			printf("  routes by ip route, not from FRR: %s\n", lab.no_frr.text);
		else
			printf("  routes from FRR, by BGP with each host\n");
	}
	well = traffic_pings(results, options->mtu);
	if (!options->json)
		say_pings(results);
	well &= traffic_tcp(results);
	if (!options->json)
		say_flows(results, "tcp");
	well &= traffic_udp(results);
	if (!options->json)
		say_flows(results, "udp");
	if (account_read(results, account_of_runtime(lab.runtime), &error) < 0) {
		fprintf(stderr, "p2pnic lab: %s\n", error.text);
		return COMMAND_FAILED;
	}
	json_object_set_new(
		results, "forwarded_by_kernel", json_integer(lab_forwarded_by_kernel(&lab)));
	if (!options->json)
		printf("  ports %s, %s\n", lab.port_type, port_mode(results));
	report(options, results);
	return well && account_count(results, "unaccounted") == 0 ? COMMAND_OK : COMMAND_FAILED;
}

static int lab_run(const struct run *options)
{
	struct sandbox sandbox;
	struct error error = {""};
	int result = sandbox_start(&sandbox, false, run, (void *)options, &error);

	if (result)
		return run_capture(options, error.text);
	result = sandbox_wait(&sandbox);
	if (result > 128)
		fprintf(stderr, "p2pnic lab: ended by signal %d; nothing is left of it\n",
			result - 128);
	return result;
}

/* Namespaces and addresses of a lab that is up. */
static json_t *topology(unsigned mtu, bool frr)
{
	const bool six = lab_has_ipv6();
	json_t *hosts = json_array();

	for (unsigned k = 1; k <= LAB_NICS; k++) {
		char name[32], own[2][40], behind[2][40], router[2][40];

		lab_host(k, name);
		for (unsigned family = 0; family < 2; family++) {
			lab_address(k, family, own[family]);
			lab_network_address(k, family, behind[family]);
			lab_router_address(k, family, router[family]);
		}
		json_array_append_new(hosts,
			json_pack("{s:s+, s:s, s:s+, s:[s, s*], s:[s, s*], s:[s, s*]}", "host", "h",
				name + strlen(name) - 1, "namespace", name, "nic", "nic",
				name + strlen(name) - 1, "addresses", own[0], six ? own[1] : NULL,
				"router", router[0], six ? router[1] : NULL, "behind", behind[0],
				six ? behind[1] : NULL));
	}
	return json_pack("{s:{s:s, s:s, s:s, s:i, s:b, s:o}}", "lab", "router", LAB_NAME,
		"namespace", LAB_ROUTER, "user", geteuid() == 0 ? "root" : "namespace", "mtu",
		(int)mtu, "frr", frr, "hosts", hosts);
}

static int lab_stay(const struct run *options)
{
	const bool root = geteuid() == 0;
	struct error error = {""};
	bool frr;

	if (lasting_up(options->mtu, &error) < 0) {
		fprintf(stderr, "p2pnic lab: %s\n", error.text);
		return COMMAND_FAILED;
	}
	frr = root && access("/run/p2pnic/lab-frr", F_OK) == 0;
	if (options->json) {
		print_json(topology(options->mtu, frr));
		return COMMAND_OK;
	}
	printf("lab: up; host h1 is 10.0.1.2 and fd00:1::2, the network behind it 10.1.1.0/24; h2 "
	       "10.0.2.2, and so on. Try:\n");
	if (root)
		printf("  ip netns exec p2pnic-lab-h1 ping 10.1.4.1\n"
		       "  p2pnic show --name lab route\n");
	else
		printf("  p2pnic lab exec h1 ping 10.1.4.1\n"
		       "  p2pnic lab exec router p2pnic show --name lab route\n");
	if (frr)
		printf("  ip netns exec p2pnic-lab-router vtysh --vty_socket "
		       "/run/p2pnic/lab-frr -c 'show bgp summary'\n");
	printf("  p2pnic lab down\n");
	return COMMAND_OK;
}

static int lab_remove(bool json)
{
	struct error error = {""};
	int found = lasting_down(&error);

	if (found < 0) {
		fprintf(stderr, "p2pnic lab: %s\n", error.text);
		return COMMAND_FAILED;
	}
	if (json)
		print_json(json_pack("{s:b}", "removed", found));
	else
		printf(found ? "lab: removed\n" : "lab: there was none\n");
	return COMMAND_OK;
}

/* Options up to the first word that is none. */
static int run_options(struct command_line *line, int argc, char **argv, struct run *run)
{
	unsigned long mtu;
	int option;

	command_begin(line, &lab_syntax, argc, argv);
	while ((option = command_option(line)) >= 0) {
		switch (option) {
		case 'j':
			run->json = true;
			break;
		case 'm':
			if (!command_number(optarg, LAB_MTU_MIN, LAB_MTU_MAX, &mtu)) {
				fprintf(stderr, "p2pnic lab: --mtu %s: want %u to %u\n", optarg,
					LAB_MTU_MIN, LAB_MTU_MAX);
				return COMMAND_USAGE;
			}
			run->mtu = (unsigned)mtu;
			break;
		}
	}
	return line->status;
}

int command_lab(int argc, char **argv)
{
	struct run options = {0};
	struct command_line line;
	const char *action;
	bool run, up, down;
	int status = run_options(&line, argc, argv, &options);

	if (status != COMMAND_GO)
		return status;
	if (optind == argc)
		return command_refuse(&line);
	argc -= optind;
	argv += optind;
	optind = 1;
	action = argv[0];
	run = !strcmp(action, "run");
	up = !strcmp(action, "up");
	down = !strcmp(action, "down");
	/* `lab run --json` as well as `lab --json run`. */
	if (run || up || down)
		status = run_options(&line, argc, argv, &options);
	if (status != COMMAND_GO)
		return status;
	if (down && optind == argc && !options.mtu)
		return lab_remove(options.json);
	if (!strcmp(action, "exec") && argc - optind >= 2 && !options.json && !options.mtu)
		return lasting_exec(argv[optind], (const char *const *)argv + optind + 1);
	options.mtu = options.mtu ? options.mtu : LAB_MTU;
	if (run && optind == argc)
		return lab_run(&options);
	if (up && optind == argc)
		return lab_stay(&options);
	if (!choice_has(ACTIONS, action))
		return command_no_such(&line, "action", action, ACTIONS);
	return command_refuse(&line);
}
