/* SPDX-License-Identifier: BSD-3-Clause */
/* What the registers take and what they show. Run for each transfer method. */
#include "tests/unit/firmware_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void write_mac(struct nic *n, uint64_t mac)
{
	nic_register_write(n, P2PNIC_REG_MAC_LOW, (uint32_t)mac);
	nic_register_write(n, P2PNIC_REG_MAC_HIGH, (uint32_t)(mac >> 32));
}

static uint64_t read_mac(struct nic *n)
{
	return nic_register_read(n, P2PNIC_REG_MAC_LOW) |
	       (uint64_t)nic_register_read(n, P2PNIC_REG_MAC_HIGH) << 32;
}

/* Octet 0 is the lowest. */
static void address_registers(void **state)
{
	static const uint64_t good[] = {
		0x112233445502, 0x000000000002, 0x050000000000, 0x010000000000, 0xfffffffffffe};
	static const uint64_t bad[] = {
		0, 0x000000000001, 0x112233445503, 0xffffffffffff, 0xfb00005e0001};
	struct rig *r = rig_new(1, &(struct rig_config){0});
	struct nic *n = r->at[0].nic;

	for (unsigned k = 0; k < sizeof(good) / sizeof(*good); k++) {
		write_mac(n, good[k]);
		assert_true(read_mac(n) == good[k]);
		for (unsigned j = 0; j < sizeof(bad) / sizeof(*bad); j++) {
			write_mac(n, bad[j]);
			assert_true(read_mac(n) == good[k]);
		}
		/* The lower half waits for the other. */
		nic_register_write(n, P2PNIC_REG_MAC_LOW, 0x06);
		assert_true(read_mac(n) == good[k]);
		/* After a reset the lower half is that of the address. */
		assert_int_equal(rig_command(r, 0, P2PNIC_OP_RESET, 0), P2PNIC_OK);
		assert_true(read_mac(n) == good[k]);
		nic_register_write(n, P2PNIC_REG_MAC_HIGH, 0xffff4321);
		assert_true(read_mac(n) == (0x432100000000 | (uint32_t)good[k]));
	}
	rig_free(r);
}

static void registers(void **state)
{
	struct rig *r = rig_new(1, &(struct rig_config){0});
	struct nic *n = r->at[0].nic;

	assert_int_equal(nic_register_read(n, P2PNIC_REG_MAGIC), P2PNIC_MAGIC);
	assert_int_equal(nic_register_read(n, P2PNIC_REG_VERSION), P2PNIC_VERSION);
	assert_int_equal(nic_register_read(n, P2PNIC_REG_METHOD), P2PNIC_METHOD);
	assert_int_equal(nic_register_read(n, P2PNIC_REG_BAR4_BYTES), r->at[0].bar4_bytes);
	for (uint32_t reg = 0; reg < 0x1000; reg += 4)
		if (reg != P2PNIC_REG_COMMAND) {
			uint32_t before = nic_register_read(n, reg);

			nic_register_write(n, reg, 0xffffffff);
			nic_register_write(n, reg, before);
			assert_int_equal(nic_register_read(n, reg), before);
		}
	nic_register_write(n, P2PNIC_REG_NIC_INDEX, P2PNIC_NICS_MAX);
	assert_int_equal(nic_register_read(n, P2PNIC_REG_NIC_INDEX), 0);
	nic_register_write(n, P2PNIC_REG_MTU, P2PNIC_MTU_MAX(P2PNIC_BUFFER_BYTES_MIN) + 1);
	assert_int_equal(nic_register_read(n, P2PNIC_REG_MTU), 1500);
	nic_register_write(n, P2PNIC_REG_MTU, P2PNIC_MTU_MAX(P2PNIC_BUFFER_BYTES_MIN));
	assert_int_equal(
		nic_register_read(n, P2PNIC_REG_MTU), P2PNIC_MTU_MAX(P2PNIC_BUFFER_BYTES_MIN));
	nic_register_write(n, P2PNIC_REG_EPOCH, 77);
	assert_int_equal(nic_register_read(n, P2PNIC_REG_EPOCH_SEEN), 77);
	nic_register_write(n, P2PNIC_REG_BUFFER_BYTES, P2PNIC_BUFFER_BYTES_MAX); /* read only */
	nic_register_write(n, P2PNIC_REG_RX_BUFFERS, 99); /* it has started: no change */
	assert_int_equal(nic_register_read(n, P2PNIC_REG_RX_BUFFERS), r->config.rx_buffers);
	assert_int_equal(rig_command(r, 0, 0, 0), P2PNIC_BAD_OPERATION);
	assert_int_equal(rig_command(r, 0, 200, 0), P2PNIC_BAD_OPERATION);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_RESET, 0), P2PNIC_OK);
	assert_int_equal(nic_register_read(n, P2PNIC_REG_BUFFER_BYTES), P2PNIC_BUFFER_BYTES_MIN);
	assert_int_equal(nic_register_read(n, P2PNIC_REG_MTU), 1500);
	assert_int_equal(nic_register_read(n, P2PNIC_REG_RX_BUFFERS), 0);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers),
		cmocka_unit_test(address_registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
