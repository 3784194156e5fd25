/* SPDX-License-Identifier: BSD-3-Clause */
/* The client opens a device whose server changes one reply of those that the opening takes. */
#include "vfio_user_middle.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX

/* --- Changes ---------------------------------------------------------------------------------- */

static bool fails_oddly(struct middle *m, struct vfio_user_message *message)
{
	middle_resize(message, 0);
	message->header.flags |= VFIO_USER_ERROR;
	message->header.error = UINT32_MAX;
	return true;
}

static bool hangs_up(struct middle *m, struct vfio_user_message *message)
{
	m->stop = true;
	return false;
}

static bool size_zero(struct middle *m, struct vfio_user_message *message)
{
	message->header.size = 0;
	return true;
}

static bool version_2(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint16_t, 0) = 2;
	return true;
}

static bool version_0_9(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint16_t, 2) = 9;
	return true;
}

static bool no_json(struct middle *m, struct vfio_user_message *message)
{
	message->payload[5] = '}';
	return true;
}

static bool small_transfers(struct middle *m, struct vfio_user_message *message)
{
	static const char json[] = "{\"capabilities\":{\"max_data_xfer_size\":512}}";

	middle_resize(message, 4 + sizeof(json));
	memcpy(message->payload + 4, json, sizeof(json));
	return true;
}

static bool version_alone(struct middle *m, struct vfio_user_message *message)
{
	middle_resize(message, 4);
	return true;
}

static bool not_pci(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 4) = VFIO_DEVICE_FLAGS_RESET;
	return true;
}

static bool endless_regions(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 8) = UINT32_MAX;
	return true;
}

static bool no_regions(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 8) = 0;
	return true;
}

static bool endless_vectors(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 12) = UINT32_MAX;
	return true;
}

/* Region information: flags at 4, capability offset at 12, size at 16, offset at 24; then id,
 * version, next at 36, count at 40, area at 48. */
static bool region_endless(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint64_t, 16) = UINT64_MAX;
	return true;
}

static bool offset_endless(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint64_t, 24) = ~0xfffull;
	return true;
}

static bool capability_outside(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 12) = message->bytes - 4;
	return true;
}

static bool capability_far_outside(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 12) = UINT32_MAX;
	return true;
}

static bool capability_inside_header(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 12) = 8;
	return true;
}

static bool capability_loops(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint16_t, 32) = 99;
	FIELD(message, uint32_t, 36) = 32;
	return true;
}

static bool areas_endless(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 40) = UINT32_MAX;
	return true;
}

static bool area_wraps(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint64_t, 48) = ~0xfffull;
	return true;
}

static bool area_too_long(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint64_t, 56) = RIG_BAR0;
	return true;
}

static bool argsz_endless(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 0) = UINT32_MAX;
	return true;
}

static bool argsz_grows(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 0) = 1000 + m->times * 1000;
	return true;
}

static bool without_fd(struct middle *m, struct vfio_user_message *message)
{
	middle_drop_fds(message);
	return true;
}

static bool with_unsealed_fd(struct middle *m, struct vfio_user_message *message)
{
	middle_drop_fds(message);
	message->fds[message->fd_count++] = rig_memfd(RIG_BAR2, 0);
	return true;
}

static bool with_short_fd(struct middle *m, struct vfio_user_message *message)
{
	middle_drop_fds(message);
	message->fds[message->fd_count++] = rig_memfd(RIG_BAR2 - 4096, F_SEAL_SHRINK);
	return true;
}

/* Doorbells: count at 12; then offset at 16, fd_index at 32, type at 36. */
static bool doorbells_endless(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 12) = UINT32_MAX;
	return true;
}

static bool doorbell_of_no_fd(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint32_t, 32) = 7;
	return true;
}

static bool doorbell_is_memory(struct middle *m, struct vfio_user_message *message)
{
	middle_drop_fds(message);
	message->fds[message->fd_count++] = rig_memfd(4096, F_SEAL_SHRINK);
	return true;
}

static bool doorbell_outside(struct middle *m, struct vfio_user_message *message)
{
	FIELD(message, uint64_t, 16) = UINT64_MAX;
	return true;
}

/* --- Opening ---------------------------------------------------------------------------------- */

static const struct twist openings[] = {
	{VFIO_USER_VERSION, -1, twist_fails, -ENOSPC},
	{VFIO_USER_VERSION, -1, fails_oddly, -EIO},
	{VFIO_USER_VERSION, -1, twist_empty, -EPROTO},
	{VFIO_USER_VERSION, -1, version_2, -EPROTO},
	{VFIO_USER_VERSION, -1, version_0_9, -EPROTO},
	{VFIO_USER_VERSION, -1, no_json, -EPROTO},
	{VFIO_USER_VERSION, -1, small_transfers, -EPROTO},
	{VFIO_USER_VERSION, -1, version_alone, 0},
	{VFIO_USER_VERSION, -1, hangs_up, -ECONNRESET},
	{VFIO_USER_VERSION, -1, size_zero, -EPROTO},
	{VFIO_USER_VERSION, -1, twist_size_huge, -EPROTO},
	{VFIO_USER_VERSION, -1, twist_more_fds, 0},
	{VFIO_USER_DEVICE_GET_INFO, -1, not_pci, -ENODEV},
	{VFIO_USER_DEVICE_GET_INFO, -1, endless_regions, 0},
	{VFIO_USER_DEVICE_GET_INFO, -1, no_regions, -ENODEV},
	{VFIO_USER_DEVICE_GET_INFO, -1, twist_shorter, -EPROTO},
	{VFIO_USER_DEVICE_GET_INFO, -1, twist_fails, -ENOSPC},
	{VFIO_USER_DEVICE_GET_INFO, -1, twist_hangs_up_half_way, -ECONNRESET},
	{VFIO_USER_DEVICE_GET_REGION_INFO, -1, twist_empty, -EPROTO},
	{VFIO_USER_DEVICE_GET_REGION_INFO, -1, twist_fails, -ENOSPC},
	{VFIO_USER_DEVICE_GET_REGION_INFO, -1, hangs_up, -ECONNRESET},
	{VFIO_USER_DEVICE_GET_REGION_INFO, -1, twist_more_fds, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, -1, without_fd, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, capability_outside, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, capability_far_outside, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, capability_inside_header, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, capability_loops, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, areas_endless, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, area_wraps, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, area_too_long, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, argsz_endless, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR0, argsz_grows, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR2, region_endless, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR2, offset_endless, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR2, with_unsealed_fd, 0},
	{VFIO_USER_DEVICE_GET_REGION_INFO, BAR2, with_short_fd, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, -1, twist_fails, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, -1, twist_empty, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, BAR0, without_fd, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, BAR0, doorbells_endless, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, BAR0, doorbell_of_no_fd, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, BAR0, doorbell_is_memory, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, BAR0, doorbell_outside, 0},
	{VFIO_USER_DEVICE_GET_REGION_IO_FDS, -1, hangs_up, -ECONNRESET},
	{VFIO_USER_DEVICE_GET_IRQ_INFO, -1, twist_shorter, -EPROTO},
	{VFIO_USER_DEVICE_GET_IRQ_INFO, -1, twist_fails, -ENOSPC},
	{VFIO_USER_DEVICE_GET_IRQ_INFO, -1, endless_vectors, 0},
};

static void test_opening(void **state)
{
	static struct middle m;

	for (size_t i = 0; i < sizeof(openings) / sizeof(openings[0]); i++) {
		struct error error = {""};

		middle_begin(&m, &openings[i]);
		int result = vfio_user_connect(&m.device, m.client_end, &error);
		if (result != openings[i].expected)
			fail_msg("opening %zu: %d, not %d: %s", i, result, openings[i].expected,
				error.text);
		assert_true(m.times > 0);
		assert_int_equal(error.text[0] == 0, result == 0);
		if (result == 0)
			middle_check_mappings(m.device);
		middle_end(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opening),
	};

	return cmocka_run_group_tests_name("vfio-user opening", tests, NULL, NULL);
}
