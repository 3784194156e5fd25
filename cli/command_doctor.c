/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/pci_host.h"
#include "ipc/log.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char usage[] = "usage: p2pnic doctor [-j] [--sysfs DIR]\n"
			    "\n"
			    "What this host lacks for PCI NICs, and the fix. Nothing is changed. "
			    "Exit status 1: there is\n"
			    "a fault.\n"
			    "  -j           JSON\n"
			    "  --sysfs DIR  a recorded tree instead of /sys\n";

enum level { OK, NOTE, FAULT };

static const char *const level_name[] = {[OK] = "ok", [NOTE] = "note", [FAULT] = "fault"};

struct findings {
	json_t *checks;
	bool fault;
};

/* fix: "" for none. */
static void __attribute__((format(printf, 5, 6))) say(struct findings *findings, enum level level,
	const char *subject, const char *fix, const char *format, ...)
{
	char text[1280];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	findings->fault |= level == FAULT;
	/* A path that is no UTF-8 may stand in it. */
	json_array_append_new(findings->checks,
		json_pack("{s:s, s:s, s:o, s:o}", "level", level_name[level], "subject", subject,
			"text", json_string(text) ?: json_string("cannot be shown: no UTF-8"),
			"fix", *fix ? json_string(fix) : json_null()));
}

static void check_bars(struct findings *findings, const char *at, const struct pci_function *n)
{
	static const uint64_t least[PCI_BARS] = {
		[0] = P2PNIC_BAR0_BYTES, [2] = P2PNIC_BAR2_BYTES_MIN, [4] = P2PNIC_BAR4_BYTES_MIN};

	for (unsigned k = 0; k < PCI_BARS; k++) {
		if (n->bar[k].bytes < least[k])
			say(findings, FAULT, at, "",
				"BAR%u has %llu bytes, and a p2pnic's %llu or more", k,
				(unsigned long long)n->bar[k].bytes, (unsigned long long)least[k]);
		else if (least[k] && !n->bar[k].start)
			say(findings, FAULT, at,
				"firmware set-up: decoding above 4 GiB; or kernel parameter "
				"pci=realloc",
				"BAR%u was given no addresses", k);
	}
}

/* Whether this user can open what VFIO made of it. */
static void check_access(struct findings *findings, const char *at, const struct pci_nic *nic)
{
	int error = nic->group_access;
	char file[128], fix[192];

	if (error == 0 || error == PCI_NOT_LOOKED || nic->cdev_access == 0)
		return;
	snprintf(file, sizeof(file), "/dev/vfio/%d", nic->function.group);
	snprintf(fix, sizeof(fix), "as root: chown USER %s", file);
	say(findings, FAULT, at,
		error == -EACCES ? fix
				 : "in a container: give it /dev/vfio; else see that udev runs",
		"%s: %s", file, strerror(-error));
}

static void check_nic(
	struct findings *findings, const struct pci_host *host, const struct pci_nic *nic)
{
	const struct pci_function *n = &nic->function;
	const struct pci_member *obstacle = pci_nic_obstacle(nic);
	char command[PCI_HOST_COMMAND_BYTES], at[PCI_ADDRESS_TEXT], other[PCI_ADDRESS_TEXT];
	const size_t before = json_array_size(findings->checks);

	pci_address_text(at, n->address);
	check_bars(findings, at, n);
	if (!nic->group) {
		say(findings, FAULT, at,
			"firmware set-up: VT-d or AMD-Vi; kernel parameter intel_iommu=on; "
			"without an IOMMU: access: sysfs, which guards nothing",
			"no IOMMU group, and vfio-pci takes no NIC without one");
	} else if (strcmp(n->driver, PCI_DRIVER_VFIO) != 0) {
		pci_host_bind(host, command, n->address, n->driver);
		say(findings, FAULT, at, command, "driver %s, not " PCI_DRIVER_VFIO,
			*n->driver ? n->driver : "none");
	} else {
		check_access(findings, at, nic);
	}
	if (obstacle) {
		pci_host_release(command, obstacle->address);
		say(findings, FAULT, at, command,
			"IOMMU group %d holds %s too, with driver %s: VFIO does not open the "
			"group. "
			"Free that one only if this host can do without it",
			n->group, pci_address_text(other, obstacle->address), obstacle->driver);
	}
	if (json_array_size(findings->checks) == before)
		say(findings, OK, at, "", "ready for VFIO, IOMMU group %d", n->group);
}

static void check_pairs(struct findings *findings, const struct pci_topology *t)
{
	static const struct {
		enum level level;
		const char *text, *fix;
	} said[PCI_WAYS] = {
		[PCI_WAY_SWITCH] = {OK, "by a switch", ""},
		[PCI_WAY_ROOT] = {NOTE,
			"through the root complex; not every host's routes that (the kernel lists "
			"those "
			"that do in drivers/pci/p2pdma.c)",
			"put the NICs below one switch; where ACS at a port is the reason, kernel "
			"parameter pci=disable_acs_redir=PORT"},
		[PCI_WAY_PORT] = {NOTE,
			"behind one port that is no switch's; it depends on the device", ""},
		[PCI_WAY_UNKNOWN] = {NOTE, "by a switch, unless ACS redirects, which is unknown",
			"run it as root"},
		[PCI_WAY_NONE] = {FAULT, "not at all; `p2pnic nic list` says why", ""},
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

int command_doctor(int argc, char **argv)
{
	struct pci_host host = {.command = "doctor"};
	struct findings findings = {0};
	int status = pci_host_read(&host, argc, argv, usage);
	const struct pci_topology *t = host.topology;

	if (status != PCI_HOST_RUN)
		return status;
	findings.checks = json_array();
	if (t->problems)
		say(&findings, FAULT, "pci", "",
			"%u functions or groups are unreadable; the first: %s", t->problems,
			t->first.text);
	if (t->nics)
		say(&findings, OK, "pci", "", "%u %s (%04x:%04x)", t->nics,
			t->nics == 1 ? "p2pnic" : "p2pnics", P2PNIC_PCI_VENDOR, P2PNIC_PCI_DEVICE);
	else
		say(&findings, OK, "pci", "", "no p2pnic (%04x:%04x); soft NICs need none",
			P2PNIC_PCI_VENDOR, P2PNIC_PCI_DEVICE);
	for (unsigned k = 0; k < t->nics; k++)
		check_nic(&findings, &host, &t->nic[k]);
	check_pairs(&findings, t);
	if (host.json) {
		json_t *all = json_pack("{s:O}", "checks", findings.checks);

		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(all);
	} else {
		print(findings.checks);
	}
	json_decref(findings.checks);
	pci_topology_free(host.topology);
	return findings.fault ? COMMAND_FAILED : COMMAND_OK;
}
