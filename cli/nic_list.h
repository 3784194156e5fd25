/* SPDX-License-Identifier: BSD-3-Clause */
/* `p2pnic nic list`: PCI NICs, and who reaches whom. argv[0] is "list"; returns the exit status. */
#ifndef CLI_NIC_LIST_H
#define CLI_NIC_LIST_H

struct command_syntax;

extern const struct command_syntax nic_list_syntax;

int nic_list(int argc, char **argv);

#endif
