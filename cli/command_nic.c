/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/nic_list.h"
#include "driver/method.h"
#include "ipc/log.h"
#include "ipc/secret.h"
#include "ports/port.h"
#include "router/address.h"
#include "softnic/soft_nic.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
	OPTION_METHOD = 1001,
	OPTION_BUFFER_BYTES,
	OPTION_WHOLE_BUS,
	OPTION_ENGINE,
	OPTION_NIC,
	OPTION_SOCKET,
	OPTION_PORT,
	OPTION_PORT_OPTIONS,
	OPTION_MAC,
	OPTION_PACKET_MEMORY,
	OPTION_TABLE_MEMORY,
};

static const struct command_option options[] = {
	{"method", OPTION_METHOD, ARGUMENT_CHOICE, "wr|rd|bn",
		"how packets go from NIC to NIC (wr)", "wr rd bn"},
	{"buffer-bytes", OPTION_BUFFER_BYTES, ARGUMENT_CHOICE, "N", "of each packet buffer (2048)",
		"2048 4096 16384"},
	{"whole-bus", OPTION_WHOLE_BUS, ARGUMENT_NONE, NULL,
		"DMA to what the client has not mapped goes to it as a message", NULL},
	{"engine", OPTION_ENGINE, ARGUMENT_TEXT, "NAME[:CORE[:shared]]",
		"a thread for the NICs behind it", NULL},
	{"nic", OPTION_NIC, ARGUMENT_TEXT, "NAME", "begins a NIC", NULL},
	{"socket", OPTION_SOCKET, ARGUMENT_FILE, "PATH", "its vfio-user socket", NULL},
	{"port", OPTION_PORT, ARGUMENT_TEXT, "TYPE:TARGET", "its Ethernet side", NULL},
	{"port-options", OPTION_PORT_OPTIONS, ARGUMENT_TEXT, "KEY=VALUE,...", "of the port type",
		NULL},
	{"mac", OPTION_MAC, ARGUMENT_TEXT, "MAC", "its address", NULL},
	{"packet-memory", OPTION_PACKET_MEMORY, ARGUMENT_NUMBER, "MIB", "of BAR4 (16)", NULL},
	{"table-memory", OPTION_TABLE_MEMORY, ARGUMENT_NUMBER, "MIB", "of BAR2 (16)", NULL},
	OPTION_HELP};

static const struct command_syntax *const sub[] = {&nic_list_syntax, NULL};

const struct command_syntax nic_syntax = {
	.name = "nic",
	.usage = "usage: p2pnic nic [--method wr|rd|bn] [--buffer-bytes 2048|4096|16384] "
		 "[--whole-bus]\n"
		 "                  { [--engine NAME[:CORE[:shared]]] NIC... }...\n"
		 "  NIC: --nic NAME --socket PATH --port TYPE:TARGET [--port-options "
		 "KEY=VALUE,...]\n"
		 "       [--mac MAC] [--packet-memory MIB] [--table-memory MIB]\n"
		 "       p2pnic nic list [-j] [--sysfs DIR]    PCI NICs of this host, and who "
		 "reaches whom\n"
		 "\n"
		 "Runs soft NICs in the foreground, each a PCIe device that answers vfio-user at "
		 "PATH. NICs "
		 "behind an\n"
		 "--engine share its thread. Port types: af_xdp, af_packet, tap, memif, pcap.\n"
		 "A soft NIC burns this host's cores in place of a NIC's processors.\n"
		 "Ends on SIGTERM or SIGINT.\n",
	.options = options,
	.sub = sub,
};

struct process {
	struct engine *engine[ENGINE_NICS_MAX];
	unsigned engines;
	struct soft_nic *nic[P2PNIC_NICS_MAX];
	unsigned nics;
};

static bool parse_mib(const char *text, uint32_t *bytes)
{
	unsigned long mib;

	if (!command_number(text, 1, 2048, &mib)) {
		fprintf(stderr, "p2pnic nic: '%s' is no number of MiB (1 to 2048)\n", text);
		return false;
	}
	*bytes = (uint32_t)(mib << 20);
	return true;
}

/* NAME[:CORE[:shared]]; core -1: none. */
static bool parse_engine(char *text, int *core, bool *shared)
{
	char *colon = strchr(text, ':'), *second;
	unsigned long number;

	*core = -1;
	*shared = false;
	if (!colon)
		return *text;
	*colon++ = 0;
	second = strchr(colon, ':');
	if (second)
		*second++ = 0;
	*shared = second != NULL;
	if (!*text || !command_number(colon, 0, CPU_SETSIZE - 1, &number) ||
		(second && strcmp(second, "shared") != 0))
		return false;
	*core = (int)number;
	return true;
}

static bool start_engine(struct process *p, const char *description)
{
	char text[128];
	bool shared;
	int core, error;

	if (p->engines == ENGINE_NICS_MAX) {
		log_say(LOG_ERROR, "p2pnic nic", "at most %u engines", ENGINE_NICS_MAX);
		return false;
	}
	snprintf(text, sizeof(text), "%s", description);
	if (strlen(description) >= sizeof(text) || !parse_engine(text, &core, &shared)) {
		fprintf(stderr, "p2pnic nic: engine '%s': want NAME[:CORE[:shared]]\n",
			description);
		return false;
	}
	text[15] = 0; /* a thread's name is no longer */
	error = engine_new(&p->engine[p->engines], text, core, shared);
	if (error) {
		log_say(LOG_ERROR, "p2pnic nic", "engine %s: %s", description, strerror(-error));
		return false;
	}
	p->engines++;
	return true;
}

static bool start_nic(struct process *p, struct soft_nic_config *config)
{
	struct error error;

	if (!config->name)
		return true;
	if (!config->socket || !config->port_type) {
		log_say(LOG_ERROR, "p2pnic nic", "%s needs --socket and --port", config->name);
		return false;
	}
	if (p->nics == P2PNIC_NICS_MAX) {
		log_say(LOG_ERROR, "p2pnic nic", "at most %u NICs", P2PNIC_NICS_MAX);
		return false;
	}
	if (!p->engines && !start_engine(p, config->name))
		return false;
	if (soft_nic_new(&p->nic[p->nics], config, p->engine[p->engines - 1], &error) < 0) {
		log_say(LOG_ERROR, "p2pnic nic", "%s", error.text);
		return false;
	}
	p->nics++;
	*config = (struct soft_nic_config){.method = config->method,
		.buffer_bytes = config->buffer_bytes,
		.whole_bus = config->whole_bus};
	return true;
}

/* Options are worked off in order; a NIC is complete when the next one, an engine or the end
 * follows. COMMAND_GO: run. */
static int start(struct process *p, int argc, char **argv)
{
	struct command_line line;
	struct soft_nic_config config = {.method = P2PNIC_METHOD_WRITE};
	int option;

	command_begin(&line, &nic_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
		unsigned long number;
		char *colon;

		switch (option) {
		case OPTION_METHOD:
			config.method = method_of_nics(method_of_name(optarg));
			if (!config.method) {
				log_say(LOG_ERROR, "p2pnic nic",
					"no method '%s'; want " METHOD_NAMES, optarg);
				return COMMAND_USAGE;
			}
			break;
		case OPTION_BUFFER_BYTES:
			if (!command_number(optarg, 0, P2PNIC_BUFFER_BYTES_MAX, &number) ||
				!p2pnic_buffer_bytes_valid((unsigned)number)) {
				log_say(LOG_ERROR, "p2pnic nic",
					"no buffers of '%s' bytes; want 2048, 4096 or 16384",
					optarg);
				return COMMAND_USAGE;
			}
			config.buffer_bytes = (uint32_t)number;
			break;
		case OPTION_WHOLE_BUS:
			config.whole_bus = true;
			break;
		case OPTION_ENGINE:
			if (!start_nic(p, &config) || !start_engine(p, optarg))
				return COMMAND_FAILED;
			break;
		case OPTION_NIC:
			if (!start_nic(p, &config))
				return COMMAND_FAILED;
			config.name = optarg;
			break;
		case OPTION_SOCKET:
			config.socket = optarg;
			break;
		case OPTION_PORT:
			colon = strchr(optarg, ':');
			if (!colon) {
				log_say(LOG_ERROR, "p2pnic nic", "port '%s': want TYPE:TARGET",
					optarg);
				return COMMAND_USAGE;
			}
			*colon = 0;
			config.port_type = optarg;
			config.port_target = colon + 1;
			break;
		case OPTION_PORT_OPTIONS:
			config.port_options = secret_hide(optarg);
			if (!config.port_options) {
				fprintf(stderr, "p2pnic nic: cannot hide the secret of %s\n",
					config.name ? config.name : "a NIC");
				return COMMAND_FAILED;
			}
			break;
		case OPTION_MAC:
			if (!mac_parse(optarg, &config.mac)) {
				log_say(LOG_ERROR, "p2pnic nic", "'%s' is no MAC address", optarg);
				return COMMAND_USAGE;
			}
			if (config.mac.octet[0] & 1) {
				log_say(LOG_ERROR, "p2pnic nic", "%s is a group address", optarg);
				return COMMAND_USAGE;
			}
			break;
		case OPTION_TABLE_MEMORY:
			if (!parse_mib(optarg, &config.bar2_bytes))
				return COMMAND_USAGE;
			break;
		case OPTION_PACKET_MEMORY:
			if (!parse_mib(optarg, &config.bar4_bytes))
				return COMMAND_USAGE;
			break;
		}
	}
	if (line.status != COMMAND_GO)
		return line.status;
	if (optind != argc || !config.name)
		return command_refuse(&line);
	return start_nic(p, &config) ? COMMAND_GO : COMMAND_FAILED;
}

static void serve(struct process *p, int end)
{
	struct pollfd fds[1 + P2PNIC_NICS_MAX];

	fds[0] = (struct pollfd){.fd = end, .events = POLLIN};
	for (unsigned k = 0; k < p->nics; k++)
		fds[1 + k] =
			(struct pollfd){.fd = soft_nic_control_fd(p->nic[k]), .events = POLLIN};
	while (!fds[0].revents) {
		if (poll(fds, 1 + p->nics, -1) < 0 && errno != EINTR)
			break;
		for (unsigned k = 0; k < p->nics; k++)
			if (fds[1 + k].revents)
				soft_nic_control(p->nic[k]);
	}
}

int command_nic(int argc, char **argv)
{
	static struct process process;
	sigset_t signals;
	int status, end;

	if (argc > 1 && !strcmp(argv[1], "list"))
		return nic_list(argc - 1, argv + 1);

	/* Before any thread exists, so that all of them leave these to signalfd. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	end = signalfd(-1, &signals, SFD_CLOEXEC);
	if (end < 0) {
		log_say(LOG_ERROR, "p2pnic nic", "signalfd: %s", strerror(errno));
		return COMMAND_FAILED;
	}

	status = start(&process, argc, argv);
	if (status == COMMAND_GO)
		serve(&process, end);
	for (unsigned k = 0; k < process.nics; k++)
		soft_nic_free(process.nic[k]);
	for (unsigned k = 0; k < process.engines; k++)
		engine_free(process.engine[k]);
	close(end);
	return status == COMMAND_GO ? COMMAND_OK : status;
}
