/* SPDX-License-Identifier: BSD-3-Clause */
/* How many descriptors this process has open: two counts of the same moment in a test's life show a
 * leak. */
#ifndef TESTS_DESCRIPTORS_H
#define TESTS_DESCRIPTORS_H

#include <dirent.h>
#include <stdlib.h>

static inline unsigned open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	if (!directory)
		abort();
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

#endif
