/* SPDX-License-Identifier: BSD-3-Clause */
#include "version.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* One limit: absent is fine; `least` to `most` (larger values are clamped). */
static int parse_limit(json_t *capabilities, const char *key, int64_t least, uint64_t most,
	uint64_t *value, unsigned *named, unsigned bit, struct error *error)
{
	json_t *item = json_object_get(capabilities, key);

	if (!item)
		return 0;
	if (!json_is_integer(item) || json_integer_value(item) < least)
		return error_set(error, -EINVAL, "VERSION: %s is not a number from %lld on", key,
			(long long)least);
	*value = (uint64_t)json_integer_value(item);
	if (*value > most)
		*value = most;
	*named |= bit;
	return 0;
}

static int parse_capabilities(
	json_t *capabilities, struct vfio_user_limits *limits, struct error *error)
{
	uint64_t fds = limits->max_msg_fds;
	uint64_t transfer = limits->max_data_xfer_size;
	uint64_t maps = limits->max_dma_maps;
	int result;

	if (!json_is_object(capabilities)) { /* GCOVR_EXCL_BR_LINE: the macro asks for NULL too */
		return error_set(error, -EINVAL, "VERSION: capabilities is not an object");
	}
	result = parse_limit(capabilities, "max_msg_fds", 0, UINT32_MAX, &fds, &limits->named,
		VFIO_USER_HAS_FDS, error);
	if (!result)
		result = parse_limit(capabilities, "max_data_xfer_size", 1, UINT32_MAX, &transfer,
			&limits->named, VFIO_USER_HAS_TRANSFER, error);
	if (!result)
		result = parse_limit(capabilities, "max_dma_maps", 1, UINT32_MAX, &maps,
			&limits->named, VFIO_USER_HAS_MAPS, error);
	if (!result)
		result = parse_limit(capabilities, "pgsizes", 1, INT64_MAX, &limits->pgsizes,
			&limits->named, VFIO_USER_HAS_PAGES, error);
	if (result)
		return result;
	limits->max_msg_fds = (uint32_t)fds;
	limits->max_data_xfer_size = (uint32_t)transfer;
	limits->max_dma_maps = (uint32_t)maps;

	json_t *multiple = json_object_get(capabilities, "write_multiple");
	if (multiple) {
		if (!json_is_boolean(multiple))
			return error_set(
				error, -EINVAL, "VERSION: write_multiple is not a boolean");
		limits->write_multiple = json_is_true(multiple);
		limits->named |= VFIO_USER_HAS_MULTI;
	}
	return 0;
}

int vfio_user_version_parse(const uint8_t *payload, uint32_t bytes, struct vfio_user_limits *limits,
	struct error *error)
{
	struct vfio_user_version version;

	*limits = (struct vfio_user_limits){
		.max_msg_fds = VFIO_USER_DEFAULT_FDS,
		.max_data_xfer_size = VFIO_USER_DEFAULT_TRANSFER,
		.max_dma_maps = VFIO_USER_DEFAULT_MAPS,
		.pgsizes = VFIO_USER_DEFAULT_PAGES,
	};
	if (bytes < sizeof(version))
		return error_set(error, -EINVAL, "VERSION: %u bytes are no version", bytes);
	memcpy(&version, payload, sizeof(version));
	limits->major = version.major;
	limits->minor = version.minor;
	payload += sizeof(version);
	bytes -= (uint32_t)sizeof(version);
	if (!bytes)
		return 0;
	if (payload[bytes - 1] != '\0')
		return error_set(error, -EINVAL, "VERSION: the JSON has no terminating NUL");

	json_error_t why;
	json_t *root = json_loadb((const char *)payload, strlen((const char *)payload), 0, &why);
	if (!root)
		return error_set(error, -EINVAL, "VERSION: not JSON: %.64s", why.text);
	int result = 0;
	json_t *capabilities = json_object_get(root, "capabilities");
	if (!json_is_object(root)) {
		result = error_set(error, -EINVAL, "VERSION: the JSON is not an object");
	} else if (capabilities) {
		result = parse_capabilities(capabilities, limits, error);
	}
	json_decref(root);
	return result;
}

int vfio_user_version_build(uint8_t *payload, uint32_t room, const struct vfio_user_limits *limits)
{
	struct vfio_user_version version = {limits->major, limits->minor};
	json_t *capabilities = json_object();
	json_t *root = json_pack("{s:o}", "capabilities", capabilities);
	int result = -ENOMEM;

	if (!root)
		return result;
	if (limits->named & VFIO_USER_HAS_FDS)
		json_object_set_new(capabilities, "max_msg_fds", json_integer(limits->max_msg_fds));
	if (limits->named & VFIO_USER_HAS_TRANSFER)
		json_object_set_new(capabilities, "max_data_xfer_size",
			json_integer(limits->max_data_xfer_size));
	if (limits->named & VFIO_USER_HAS_MAPS)
		json_object_set_new(
			capabilities, "max_dma_maps", json_integer(limits->max_dma_maps));
	if (limits->named & VFIO_USER_HAS_PAGES)
		json_object_set_new(
			capabilities, "pgsizes", json_integer((json_int_t)limits->pgsizes));
	if (limits->named & VFIO_USER_HAS_MULTI)
		json_object_set_new(
			capabilities, "write_multiple", json_boolean(limits->write_multiple));

	char *text = json_dumps(root, JSON_COMPACT);
	if (text) {
		size_t bytes = sizeof(version) + strlen(text) + 1;
		if (bytes <= room) {
			memcpy(payload, &version, sizeof(version));
			memcpy(payload + sizeof(version), text, strlen(text) + 1);
			result = (int)bytes;
		} else {
			result = -ENOSPC;
		}
		free(text);
	}
	json_decref(root);
	return result;
}
