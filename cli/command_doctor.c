/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/pci_host.h"
#include "cli/which_router.h"
#include "router/api_client.h"
#include "router/config.h"
#include "router/doctor.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const struct command_option options[] = {OPTION_JSON,
	{"config", 'c', ARGUMENT_FILE, "FILE",
		"the router of this configuration; where it does not run, what of it can be said "
		"without, which takes root",
		NULL},
	PCI_HOST_SYSFS_OPTION("a recorded tree instead of /sys; no router is asked"),
	WHICH_ROUTER_OPTIONS, OPTION_HELP};

const struct command_syntax doctor_syntax = {
	.name = "doctor",
	.usage = "usage: p2pnic doctor [-j] [-c FILE | --name NAME | --runtime DIR] [--sysfs DIR]\n"
		 "\n"
		 "What this host lacks for PCI NICs, and what of the kernel's state keeps a router "
		 "from\n"
		 "working as it should or is not done by NICs; with the fix. Nothing is changed. A "
		 "router\n"
		 "that runs is asked (default: the one of name p2pnic). Exit status 1: there is a "
		 "fault.\n",
	.options = options,
};

#define say(findings, level, subject, ...) finding_add(findings, level, "pci", subject, __VA_ARGS__)

static void check_bars(json_t *findings, const char *at, const struct pci_function *n)
{
	static const uint64_t least[PCI_BARS] = {
		[0] = P2PNIC_BAR0_BYTES, [2] = P2PNIC_BAR2_BYTES_MIN, [4] = P2PNIC_BAR4_BYTES_MIN};

	for (unsigned k = 0; k < PCI_BARS; k++) {
		if (n->bar[k].bytes < least[k])
			say(findings, FINDING_FAULT, at, "",
				"BAR%u has %llu bytes, and a p2pnic's %llu or more", k,
				(unsigned long long)n->bar[k].bytes, (unsigned long long)least[k]);
		else if (least[k] && !n->bar[k].start)
			say(findings, FINDING_FAULT, at,
				"firmware set-up: decoding above 4 GiB; or kernel parameter "
				"pci=realloc",
				"BAR%u was given no addresses", k);
	}
}

/* Whether this user can open what VFIO made of it. */
static void check_access(json_t *findings, const char *at, const struct pci_nic *nic)
{
	int error = nic->group_access;
	char file[128], fix[192];

	if (error == 0 || error == PCI_NOT_LOOKED || nic->cdev_access == 0)
		return;
	snprintf(file, sizeof(file), "/dev/vfio/%d", nic->function.group);
	snprintf(fix, sizeof(fix), "as root: chown USER %s", file);
	say(findings, FINDING_FAULT, at,
		error == -EACCES ? fix
				 : "in a container: give it /dev/vfio; else see that udev runs",
		"%s: %s", file, strerror(-error));
}

static void check_nic(json_t *findings, const struct pci_host *host, const struct pci_nic *nic)
{
	const struct pci_function *n = &nic->function;
	const struct pci_member *obstacle = pci_nic_obstacle(nic);
	char command[PCI_HOST_COMMAND_BYTES], at[PCI_ADDRESS_TEXT], other[PCI_ADDRESS_TEXT];
	const size_t before = json_array_size(findings);

	pci_address_text(at, n->address);
	check_bars(findings, at, n);
	if (!nic->group) {
		say(findings, FINDING_FAULT, at,
			"firmware set-up: VT-d or AMD-Vi; kernel parameter intel_iommu=on; "
			"without an IOMMU: access: sysfs, which guards nothing",
			"no IOMMU group, and vfio-pci takes no NIC without one");
	} else if (strcmp(n->driver, PCI_DRIVER_VFIO) != 0) {
		pci_host_bind(host, command, n->address, n->driver);
		say(findings, FINDING_FAULT, at, command, "driver %s, not " PCI_DRIVER_VFIO,
			*n->driver ? n->driver : "none");
	} else {
		check_access(findings, at, nic);
	}
	if (obstacle) {
		pci_host_release(command, obstacle->address);
		say(findings, FINDING_FAULT, at, command,
			"IOMMU group %d holds %s too, with driver %s: VFIO does not open the "
			"group. "
			"Free that one only if this host can do without it",
			n->group, pci_address_text(other, obstacle->address), obstacle->driver);
	}
	if (json_array_size(findings) == before)
		say(findings, FINDING_OK, at, "", "ready for VFIO, IOMMU group %d", n->group);
}

static void check_pairs(json_t *findings, const struct pci_topology *t)
{
	static const struct {
		enum finding_level level;
		const char *text, *fix;
	} said[PCI_WAYS] = {
		[PCI_WAY_SWITCH] = {FINDING_OK, "by a switch", ""},
		[PCI_WAY_ROOT] = {FINDING_NOTE,
			"through the root complex; not every host's routes that (the kernel lists "
			"those "
			"that do in drivers/pci/p2pdma.c)",
			"put the NICs below one switch; where ACS at a port is the reason, kernel "
			"parameter pci=disable_acs_redir=PORT"},
		[PCI_WAY_PORT] = {FINDING_NOTE,
			"behind one port that is no switch's; it depends on the device", ""},
		[PCI_WAY_UNKNOWN] = {FINDING_NOTE,
			"by a switch, unless ACS redirects, which is unknown", "run it as root"},
		[PCI_WAY_NONE] = {FINDING_FAULT, "not at all; `p2pnic nic list` says why", ""},
	};
	unsigned count[PCI_WAYS] = {0};

	for (unsigned a = 0; a < t->nics; a++)
		for (unsigned b = a + 1; b < t->nics; b++)
			count[pci_topology_pair(t, a, b).way]++;
	for (unsigned way = 0; way < PCI_WAYS; way++)
		if (count[way])
			say(findings, said[way].level, "peer-to-peer", said[way].fix,
				"%u %s of NICs: %s", count[way], count[way] == 1 ? "pair" : "pairs",
				said[way].text);
}

static void print(const json_t *checks)
{
	const json_t *check;
	size_t index;

	json_array_foreach(checks, index, check)
	{
		const char *fix = json_string_value(json_object_get(check, "fix"));

		printf("%-5s  %s: %s\n", json_string_value(json_object_get(check, "level")),
			json_string_value(json_object_get(check, "subject")),
			json_string_value(json_object_get(check, "text")));
		if (fix)
			printf("       fix: %s\n", fix);
	}
}

/* --- PCI -------------------------------------------------------------------------------------- */

static int check_pci(struct pci_host *host, const char *sysfs, json_t *findings)
{
	const int status = pci_host_look(host, sysfs);
	const struct pci_topology *t = host->topology;

	if (status != PCI_HOST_RUN)
		return status;
	if (t->problems)
		say(findings, FINDING_FAULT, "pci", "",
			"%u functions or groups are unreadable; the first: %s", t->problems,
			t->first.text);
	if (t->nics)
		say(findings, FINDING_OK, "pci", "", "%u %s (%04x:%04x)", t->nics,
			t->nics == 1 ? "p2pnic" : "p2pnics", P2PNIC_PCI_VENDOR, P2PNIC_PCI_DEVICE);
	else
		say(findings, FINDING_OK, "pci", "", "no p2pnic (%04x:%04x); soft NICs need none",
			P2PNIC_PCI_VENDOR, P2PNIC_PCI_DEVICE);
	for (unsigned k = 0; k < t->nics; k++)
		check_nic(findings, host, &t->nic[k]);
	check_pairs(findings, t);
	pci_topology_free(host->topology);
	return COMMAND_OK;
}

/* --- The kernel ------------------------------------------------------------------------------- */

static void take(json_t *findings, json_t *found, const char *where)
{
	if (!json_array_size(found))
		finding_add(findings, FINDING_OK, "kernel", "kernel", "",
			"nothing in the way of %s", where);
	json_array_extend(findings, found);
	json_decref(found);
}

static bool ask_router(json_t *findings, const char *runtime, bool own, struct error *error)
{
	json_t *answer = api_show(runtime, own, "doctor", NULL, error);

	if (!answer)
		return false;
	finding_add(findings, FINDING_OK, "router", "router", "", "runs in %s", runtime);
	take(findings, json_incref(json_object_get(answer, "doctor")), "this router");
	json_decref(answer);
	return true;
}

/* Without a router: what its configuration says. */
static void check_configuration(json_t *findings, const char *path, const char *sysfs)
{
	char cpu[4096];

	struct doctor doctor = {0};
	const char *namespace;
	struct config *config;
	struct netns netns;
	char runtime[256];
	struct error error;

	if (config_load(&config, path, &error)) {
		finding_add(
			findings, FINDING_FAULT, "router", "configuration", "", "%s", error.text);
		return;
	}
	config_runtime(config, runtime, sizeof(runtime));
	if (ask_router(findings, runtime, !config->router->runtime, &error)) {
		config_free(config);
		return;
	}
	finding_add(findings, FINDING_NOTE, "router", "router", "",
		"%s: so routes, links and taps were not looked at", error.text);
	namespace = config->kernel ? config->kernel->namespace : NULL;
	if (netns_open(&netns, namespace, &error)) {
		finding_add(findings, FINDING_FAULT, "kernel", namespace ? namespace : "kernel", "",
			"%s", error.text);
	} else {
		doctor = (struct doctor){.config = config, .netns = &netns, .host = true};
		if (sysfs && snprintf(cpu, sizeof(cpu), "%s/devices/system/cpu", sysfs) <
				     (int)sizeof(cpu))
			doctor.sysfs_cpu = cpu;
		take(findings, doctor_look(&doctor), "its configuration");
	}
	netns_close(&netns);
	config_free(config);
}

static void check_router(
	json_t *findings, struct which_router *router, const char *file, const char *sysfs)
{
	const bool asked = *router->runtime;
	struct error error;

	if (file) {
		check_configuration(findings, file, sysfs);
		return;
	}
	which_router_settle(router);
	if (!ask_router(findings, router->runtime, router->own, &error))
		finding_add(findings, asked ? FINDING_FAULT : FINDING_OK, "router", "router", "",
			"%s", error.text);
}

int command_doctor(int argc, char **argv)
{
	struct which_router router = {.command = "doctor"};
	struct pci_host host = {.command = "doctor"};
	const char *sysfs = NULL, *file = NULL;
	struct command_line line;
	json_t *findings;
	int option, status;

	command_begin(&line, &doctor_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
		switch (option) {
		case 'j':
			host.json = true;
			break;
		case 'c':
			file = optarg;
			break;
		case PCI_HOST_SYSFS:
			sysfs = optarg;
			break;
		default:
			if (!which_router_option(&router, option, optarg))
				return COMMAND_USAGE;
		}
	}
	if (line.status != COMMAND_GO)
		return line.status;
	if (optind != argc || (file && *router.runtime))
		return command_refuse(&line);
	findings = json_array();
	status = check_pci(&host, sysfs ? sysfs : "/sys", findings);
	if (status != COMMAND_OK) {
		json_decref(findings);
		return status;
	}
	if (!sysfs || file || *router.runtime)
		check_router(findings, &router, file, sysfs);
	if (host.json) {
		json_t *all = json_pack("{s:O}", "checks", findings);

		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(all);
	} else {
		print(findings);
	}
	status = finding_any_fault(findings) ? COMMAND_FAILED : COMMAND_OK;
	json_decref(findings);
	return status;
}
