/* SPDX-License-Identifier: BSD-3-Clause */
#include "metrics/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DESCRIPTORS 128u

/* Those of the first version of Landlock. */
#define ALL_ACCESS ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[2] = {{0}};

	for (unsigned long k = 0; prctl(PR_CAPBSET_READ, k, 0, 0, 0) >= 0; k++)
		prctl(PR_CAPBSET_DROP, k, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	syscall(SYS_capset, &header, none);
}

static void allow_removal(int rules, const char *socket_path)
{
	const char *slash = strrchr(socket_path, '/');
	struct landlock_path_beneath_attr folder = {
		.allowed_access = LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_READ_DIR};
	char path[256];

	if (!slash || (size_t)(slash - socket_path) + 2 > sizeof(path))
		return;
	memcpy(path, socket_path, (size_t)(slash - socket_path) + 1);
	path[slash - socket_path + 1] = 0;
	folder.parent_fd = open(path, O_PATH | O_CLOEXEC | O_DIRECTORY);
	if (folder.parent_fd < 0)
		return;
	syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &folder, 0);
	close(folder.parent_fd);
}

static int lock_files(const char *const *socket_path, size_t count)
{
	const struct landlock_ruleset_attr all = {.handled_access_fs = ALL_ACCESS};
	const int rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	int result;

	if (rules < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	for (size_t k = 0; k < count; k++)
		if (socket_path[k])
			allow_removal(rules, socket_path[k]);
	result = syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? -errno : 0;
	close(rules);
	return result;
}

static void set_limit(int resource, rlim_t most)
{
	const struct rlimit limit = {most, most};

	setrlimit(resource, &limit);
}

int confine(const char *const *socket_path, size_t count)
{
	int result = 0;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	drop_capabilities();
#ifndef COVERAGE_NEEDS_FILES
	result = lock_files(socket_path, count);
#endif
	set_limit(RLIMIT_NOFILE, DESCRIPTORS);
	set_limit(RLIMIT_CORE, 0);
	return result;
}
