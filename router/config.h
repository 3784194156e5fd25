/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file of a router: YAML, checked against a schema, every mistake reported with
 * file, line and reason. docs/operations.md shows a whole one; the comments here are its reference.
 */
#ifndef ROUTER_CONFIG_H
#define ROUTER_CONFIG_H

#include "ipc/error.h"
#include "router/address.h"

#include <p2pnic/punt.h>

struct config_engine {
	char *name;
	int *core;     /* to pin the thread to; absent: any */
	bool *shared;  /* something else polls on this core: give way after each round */
	char *process; /* engines of one process share its fate */
};

struct config_port {
	char *type;    /* af_xdp, af_packet, tap, memif, pcap */
	char *target;  /* interface, socket path, IN.pcap,OUT.pcap */
	char *options; /* key=value,… of the type; absent: none */
};

/* A VLAN of a NIC (IEEE 802.1Q): an interface of its own, by the NIC's MAC address. */
struct config_vlan {
	unsigned *id;
	unsigned *mtu; /* absent: the NIC's, or what its buffers leave */
	char **addresses;
	unsigned addresses_count;

	char *name;             /* "left.10": VLAN 10 of NIC left */
	struct prefix *address; /* of `addresses` */
};

struct config_nic {
	char *name;
	char *engine; /* one that is not among the engines is the NIC's own */
	/* Of a soft NIC; type absent: the NIC is the PCI function `pci`, DDDD:BB:DD.F, or the card
	 * whose memory is the file `card`. */
	struct config_port port;
	char *pci;
	char *access; /* to it: vfio, or sysfs, which works without an IOMMU, and guards nothing */
	char *card;
	char *mac; /* absent: the interface's */
	unsigned *mtu;
	char **addresses; /* ADDRESS/LENGTH, each with its connected network */
	unsigned addresses_count;
	char *reverse_path; /* none, loose, strict: packets whose source has no way back */
	struct config_vlan *vlans;
	unsigned vlans_count;

	struct mac_addr mac_address;  /* of `mac`; zero if absent */
	struct prefix *address;       /* of `addresses` */
	unsigned reverse_path_number; /* P2PNIC_REVERSE_PATH_* */
};

/* What runs a NIC, and which: "tap" and its interface, "pci" and its address, "card" and its
 * file. */
static inline const char *config_nic_type(const struct config_nic *n)
{
	return n->pci ? "pci" : n->card ? "card" : n->port.type;
}

static inline const char *config_nic_target(const struct config_nic *n)
{
	return n->pci ? n->pci : n->card ? n->card : n->port.target;
}

struct config_neighbor {
	char *nic; /* or a VLAN of one */
	char *address;
	char *mac;

	unsigned nic_index;
	unsigned vid; /* 0: the NIC itself */
	struct address ip;
	struct mac_addr mac_address;
};

struct config_next_hop {
	char *via;
	unsigned *weight;

	struct address gateway;
};

struct config_route {
	char *prefix;
	char *via;                         /* one gateway… */
	struct config_next_hop *next_hops; /* …or several (ECMP)… */
	unsigned next_hops_count;
	char *action; /* …or blackhole, unreachable, prohibit */

	struct prefix destination;
	struct address gateway; /* of `via` */
};

/* A table in a file, see fib/route_file.h; read by config_routes, each time. */
struct config_route_file {
	char *file; /* absolute, or relative to the folder of the configuration file */
	/* Gateways that AS numbers choose among, those of the prefix's family each; absent:
	 * none. */
	char **via;
	unsigned via_count;

	char *path;              /* of `file` */
	unsigned line;           /* of `file` in the configuration */
	struct address *gateway; /* of `via` */
};

struct config_router {
	char *name;
	char *runtime;               /* directory of sockets; absent: see config_runtime */
	char *state;                 /* directory of what was applied; absent: config_state.h */
	char *method;                /* wr, rd, bn, hy */
	unsigned *lend_from;         /* hy: bytes of a frame that is lent, not written */
	char *check;                 /* none, stamp, crc */
	unsigned *buffer_bytes;      /* of each packet buffer: 2048, 4096 or 16384 */
	unsigned *ring_slots;        /* descriptors of each ring, a power of two */
	unsigned *batch;             /* descriptors held back at most */
	unsigned *rx_buffers;        /* own buffers of each NIC */
	unsigned *packet_memory_mib; /* BAR4 of each NIC */
	unsigned *table_memory_mib;  /* BAR2 of each NIC */
	unsigned *nics_max;          /* places for NICs, with those that may be added later */
	int *bounce_core;      /* bn: core of the host thread that moves packets on; absent: any */
	char *table;           /* line-trie or state-jump, see fib.h */
	unsigned *flow_seed;   /* of the hash that ECMP goes by; absent: made from host and name */
	bool *symmetric_flows; /* both directions of a connection are one flow to ECMP */
	bool *inner_flows;     /* packets of one tunnel are flows by what they carry */

	unsigned method_number; /* P2PNIC_METHOD_*, METHOD_HYBRID */
	unsigned check_number;  /* enum p2pnic_check */
	unsigned derived; /* CONFIG_DERIVED_*: keys that are absent, and follow from `sized` */
	unsigned sized;   /* for how many NICs */
};

/*
 * The kernel is the router's control plane: each NIC has a tap of the same name, to which addresses
 * are given and routing daemons speak, and NICs forward by the kernel's routes and neighbours.
 * Absent: by what this file says.
 */
struct config_kernel {
	char *namespace; /* network namespace of the taps, as `ip netns` names it; absent: the
			  * router's own */
	unsigned *slots; /* of each of the four rings between a NIC and the host, a power of two */
	unsigned *fpm;   /* TCP port for zebra, on loopback (fpm.h); 0: none */
	unsigned *audit; /* seconds between audits (audit.h); 0: none */
};

/* How fast packets of a class may be punted; what is absent is as policers.h has it. */
struct config_policer {
	unsigned *rate;  /* packets a second of the class; glean: of all NICs together */
	unsigned *burst; /* packets at once; absent: a tenth of a second's */
	unsigned *source_rate, *source_burst; /* of each source */
};

/* By class, under its name (p2pnic/punt.h). */
struct config_punt {
	struct config_policer class[P2PNIC_PUNT_COUNT];
};

/* Where counters are served by HTTP (metrics/metrics.h). Absent: nowhere. */
struct config_metrics {
	char *listen;    /* endpoint.h */
	bool *public;    /* also where other hosts reach it */
	char *namespace; /* of the address, as `ip netns` names it; absent: the router's own */
};

/* Messages; absent: all of them. */
struct config_log {
	char *level; /* error, warning, info: those, and what is more severe */
};

struct config {
	struct config_router *router;
	struct config_engine *engines;
	unsigned engines_count;
	/* By number. In a running router there may be places in between that no NIC has any more,
	 * or not yet (config_place): nothing is wrong with them, but they have no name. */
	struct config_nic *nics;
	unsigned nics_count;
	struct config_neighbor *neighbors;
	unsigned neighbors_count;
	struct config_route *routes;
	unsigned routes_count;
	struct config_route_file *route_files;
	unsigned route_files_count;
	struct config_kernel *kernel;   /* NULL: absent */
	struct config_punt *punt;       /* NULL: absent */
	struct config_metrics *metrics; /* NULL: absent */
	struct config_log *log;         /* NULL: absent */

	char *path;
	char *text; /* the file's own, comments and all, with a zero byte behind */
	size_t bytes;
};

struct config_mistakes;

/* 0, or -errno with "FILE:LINE: KEY: reason" in error. Keys that are absent have their defaults
 * then (config_defaults.h); those where "absent" says so are NULL. */
int config_load(struct config **, const char *path, struct error *error);
/* The same of a text that is, or was, the file `path`. mistakes (config_tree.h): all of them, for
 * config_mistakes_free; NULL: the first is enough. */
int config_load_text(struct config **, const char *path, const char *text, size_t bytes,
	struct config_mistakes *mistakes, struct error *error);
void config_free(struct config *);

/* Names of routers, NICs, engines and processes; they become names of files. */
#define CONFIG_NAME_WANTED "want 1 to 31 of letters, digits, . _ -, not beginning with ."
bool config_name_valid(const char *name);

/*
 * The same routes and addresses on other wires: NIC k gets port[k] (its strings are copied), all
 * NICs one engine of that name, and sockets go to the directory `runtime`. 0 or -ENOMEM.
 */
int config_replace_ports(
	struct config *, const struct config_port *port, const char *engine, const char *runtime);

/* The directory for sockets: as configured; else /run/p2pnic/NAME for root,
 * $XDG_RUNTIME_DIR/p2pnic/NAME or /tmp/p2pnic-UID/NAME for others. */
void config_runtime(const struct config *, char *path, size_t bytes);
/* The command line's, before what any configuration says; the text stays the caller's. */
void config_runtime_wanted(const char *directory);
void runtime_of_name(const char *name, char *path, size_t bytes);

int config_nic_index(const struct config *, const char *name); /* -1: none */

static inline bool config_nic_used(const struct config_nic *n)
{
	return *n->name;
}

unsigned config_nics_used(const struct config *);

/* Gives NIC k the number number[k] (each another one, below `places`) among so many places.
 * -ENOMEM: nothing has changed. */
int config_place(struct config *, const unsigned *number, unsigned places);

#endif
