/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file, whatever is in it: loaded whole or refused with a sentence that names a line. */
#include "router/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int file = -1;
	static char path[64];
	char error[CONFIG_ERROR_BYTES] = "", runtime[256];
	struct config *config = NULL;

	if (file < 0) {
		file = memfd_create("config", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	if (file < 0 || ftruncate(file, 0) < 0 || pwrite(file, data, size, 0) != (ssize_t)size)
		return 0;
	if (config_load(&config, path, error) < 0) {
		/* A sentence after the file's name and a line. */
		unsigned line = 0;

		if (strncmp(error, path, strlen(path)) != 0 ||
			sscanf(error + strlen(path), ":%u: ", &line) != 1 || line == 0)
			abort();
		return 0;
	}
	if (config->nics_count == 0 || !config->router)
		abort();
	config_runtime(config, runtime, sizeof(runtime));
	for (unsigned k = 0; k < config->nics_count; k++)
		if (config_nic_index(config, config->nics[k].name) != (int)k)
			abort();
	config_free(config);
	return 0;
}
