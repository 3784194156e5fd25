/* SPDX-License-Identifier: BSD-3-Clause */
#include "lab/routing.h"

#include "lab/script.h"
#include "router/api_client.h"
#include "router/config_defaults.h"
#include "router/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAEMONS         "/usr/lib/frr/"
#define DAEMONS_USER    "frr"
#define BGP_PATIENCE_MS 20000u
#define IP_PATIENCE_MS  5000u
#define LOOK_MS         50u

/* zebra, and a bgpd at the router and at each host */
#define CHILDREN (2 + LAB_NICS)

static void files_of(char path[256])
{
	runtime_of_name(LAB_NAME "-frr", path, 256);
}

/* Where the router's daemons have their sockets, also for `vtysh --vty_socket`; their user's. */
static int make_directory(const char *path, struct error *error)
{
	const struct passwd *user = getpwnam(DAEMONS_USER);
	const char *name;
	int above = runtime_beside(path, true, &name, error), result = 0;

	if (above < 0)
		return above;
	if (mkdirat(above, name, 0755) < 0 && errno != EEXIST)
		result = -errno;
	if (result)
		error_set(error, result, "%s: %s", path, strerror(-result));
	/* In a user namespace of ours there is no such user. */
	if (!result && user &&
		fchownat(above, name, user->pw_uid, user->pw_gid, AT_SYMLINK_NOFOLLOW) < 0) {
		result = -errno;
		error_set(error, result, "its daemons run as user " DAEMONS_USER ": chown %s: %s",
			path, strerror(-result));
	}
	close(above);
	return result;
}

void routing_remove(void)
{
	static const char *const files[] = {
		"zebra.api", "zebra.vty", "zebra.pid", "bgpd.vty", "bgpd.pid"};
	char path[256], file[300];

	files_of(path);
	for (unsigned k = 0; k < sizeof(files) / sizeof(*files); k++) {
		snprintf(file, sizeof(file), "%s/%s", path, files[k]);
		unlink(file);
	}
	rmdir(path);
}

/* --- Daemons ---------------------------------------------------------------------------------- */

/* Both ends of a session say `neighbor`; that of IPv6 carries IPv6 only. Without the interval that
 * RFC 4271 §9.2.1.1 suggests, and with attempts a second apart: a lab is to be up at once. */
static void neighbor(struct script *s, const char *address, bool host)
{
	line(s, " neighbor %s remote-as external", address);
	line(s, " neighbor %s timers connect 1", address);
	line(s, " neighbor %s advertisement-interval 0", address);
	/* Without zebra, bgpd knows of no connected network. */
	if (host)
		line(s, " neighbor %s disable-connected-check", address);
}

static void bgp(struct script *s, unsigned as, const char *id)
{
	line(s, "router bgp %u", as);
	line(s, " bgp router-id %s", id);
	line(s, " no bgp ebgp-requires-policy");
	line(s, " no bgp network import-check");
}

static void router_bgp(struct script *s, bool six)
{
	char address[40];

	bgp(s, 65000, "10.0.1.1");
	for (unsigned k = 1; k <= LAB_NICS; k++)
		for (unsigned family = 0; family <= six; family++) {
			lab_address(k, family, address);
			neighbor(s, address, false);
		}
	if (!six)
		return;
	line(s, " address-family ipv4 unicast");
	for (unsigned k = 1; k <= LAB_NICS; k++) {
		lab_address(k, true, address);
		line(s, "  no neighbor %s activate", address);
	}
	line(s, " address-family ipv6 unicast");
	for (unsigned k = 1; k <= LAB_NICS; k++) {
		lab_address(k, true, address);
		line(s, "  neighbor %s activate", address);
	}
}

static void host_bgp(struct script *s, unsigned k, bool six)
{
	char id[40], router[40];

	lab_address(k, false, id);
	bgp(s, 65000 + k, id);
	for (unsigned family = 0; family <= six; family++) {
		lab_router_address(k, family, router);
		neighbor(s, router, true);
	}
	line(s, " address-family ipv4 unicast");
	line(s, "  network 10.1.%u.0/24", k);
	if (!six)
		return;
	line(s, "  no neighbor %s activate", router);
	line(s, " address-family ipv6 unicast");
	line(s, "  network fd01:%u::/64", k);
	line(s, "  neighbor %s activate", router);
}

/* FRR keeps crash logs in /var/tmp whatever it is told: a private one, which goes with it. */
static int start_daemon(struct child *c, const char *namespace, const char *name, const char *files,
	const char *zebra, const char *config)
{
	char program[64], pid_file[300], zebra_socket[300];
	const char *const argv[] = {"unshare", "--mount", "sh", "-c",
		"mount -t tmpfs none /var/tmp 2>/dev/null; exec \"$0\" \"$@\"", program, "-P", "0",
		"-f", "/dev/stdin", "--log", "stdout", "-i", pid_file, "--vty_socket", files,
		*zebra ? "-z" : "-Z", *zebra ? zebra_socket : NULL, NULL};

	snprintf(program, sizeof(program), DAEMONS "%s", name);
	snprintf(pid_file, sizeof(pid_file), "%s/%s.pid", files, name);
	snprintf(zebra_socket, sizeof(zebra_socket), "%s/%s", files, zebra);
	return child_start(c, namespace, argv, config, true);
}

static int start_daemons(struct child daemons[CHILDREN], bool six, struct error *error)
{
	char files[256], name[32];
	struct script s = {0};
	int result;

	if (access(DAEMONS "bgpd", X_OK) < 0 || access(DAEMONS "zebra", X_OK) < 0)
		return error_set(error, -ENOENT, "it is not installed");
	files_of(files);
	result = make_directory(files, error);
	if (result)
		return result;
	router_bgp(&s, six);
	result = start_daemon(&daemons[0], LAB_ROUTER, "zebra", files, "zebra.api", "");
	if (!result)
		result = start_daemon(&daemons[1], LAB_ROUTER, "bgpd", files, "zebra.api", s.text);
	for (unsigned k = 1; k <= LAB_NICS && !result; k++) {
		lab_host(k, name);
		s.used = 0;
		host_bgp(&s, k, six);
		result = start_daemon(&daemons[1 + k], name, "bgpd", "/var/tmp", "", s.text);
	}
	return result ? error_set(error, result, "%s", strerror(-result)) : 0;
}

/* --- Routes ----------------------------------------------------------------------------------- */

/* The NICs have a route to every network behind a host; resolved: and its next hop's MAC address,
 * which hosts that speak BGP have told. */
static bool have_routes(const struct lab *lab, bool six, bool resolved)
{
	struct error reason;
	json_t *answer = api_show(lab->runtime, true, "route", NULL, &reason), *row;
	unsigned found = 0;
	size_t index;

	json_array_foreach(json_object_get(answer, "route"), index, row)
	{
		const char *prefix = json_string_value(json_object_get(row, "prefix"));
		const char *kind = json_string_value(json_object_get(row, "kind"));

		found += prefix && kind && (!resolved || !strcmp(kind, "forward")) &&
			 (!strncmp(prefix, "10.1.", 5) || !strncmp(prefix, "fd01:", 5));
	}
	json_decref(answer);
	return found == LAB_NICS * (1u + six);
}

/* The first line that a daemon which ended had written. */
static bool one_ended(const struct child daemons[CHILDREN], struct error *error)
{
	for (unsigned k = 0; k < CHILDREN; k++) {
		char *text;

		if (!child_ended(&daemons[k], 0))
			continue;
		text = child_output(&daemons[k]);
		error_set(error, -ECHILD, "%s", text && *text ? text : "a daemon ended");
		error->text[strcspn(error->text, "\n")] = 0;
		free(text);
		return true;
	}
	return false;
}

static int by_frr(const struct lab *lab, bool six, struct error *error)
{
	struct child daemons[CHILDREN];
	int result;

	for (unsigned k = 0; k < CHILDREN; k++)
		daemons[k] = (struct child){.pidfd = -1, .output = -1};
	result = start_daemons(daemons, six, error);
	for (unsigned waited = 0; !result; waited += LOOK_MS) {
		if (have_routes(lab, six, true))
			return 0; /* the daemons stay until the lab ends */
		if (one_ended(daemons, error))
			result = -ECHILD;
		else if (waited >= BGP_PATIENCE_MS)
			result = error_set(
				error, -ETIMEDOUT, "no routes after %u s", BGP_PATIENCE_MS / 1000);
		else
			usleep(LOOK_MS * 1000);
	}
	for (unsigned k = 0; k < CHILDREN; k++)
		child_free(&daemons[k]);
	routing_remove();
	return result;
}

static int by_ip(const struct lab *lab, bool six, struct error *error)
{
	struct script s = {0};
	char address[40];
	int result;

	for (unsigned k = 1; k <= LAB_NICS; k++)
		for (unsigned family = 0; family <= six; family++) {
			lab_address(k, family, address);
			line(&s,
				family ? "route replace fd01:%u::/64 via %s"
				       : "route replace 10.1.%u.0/24 via %s",
				k, address);
		}
	result = lab_ip_batch(LAB_ROUTER, &s, error);
	for (unsigned waited = 0; !result && !have_routes(lab, six, false); waited += LOOK_MS) {
		if (waited >= IP_PATIENCE_MS)
			return error_set(error, -ETIMEDOUT,
				"the NICs have no routes to the hosts' networks after %u s",
				IP_PATIENCE_MS / 1000);
		usleep(LOOK_MS * 1000);
	}
	return result;
}

int routing_start(struct lab *lab, struct error *error)
{
	const bool six = lab_has_ipv6();

	if (by_frr(lab, six, &lab->no_frr) == 0) {
		lab->no_frr.text[0] = 0;
		return 0;
	}
	return by_ip(lab, six, error);
}
