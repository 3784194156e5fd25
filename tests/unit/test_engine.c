/* SPDX-License-Identifier: BSD-3-Clause */
/* An engine whose ports have no housekeeping by the clock: what they have to say comes by their
 * control descriptors. */
#include "tests/unit/memif_rig.h"
#include "tests/unit/soft_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Static_assert(ENGINE_SERVICE_MS > 600000, "compiled for this test");

static char path[2][80];
static struct end peer[2];
static _Atomic bool stop;

/* Frames without end keep the engine from sleep. */
static void *send_on(void *argument)
{
	uint64_t failed = 0;

	while (!atomic_load(&stop)) {
		transmit(&peer[0], 16, 0, 60);
		memif_port_ops.transmitted(peer[0].port, &failed);
	}
	return NULL;
}

static void wait_link(struct soft_rig *r, unsigned nic, bool up)
{
	uint32_t link = !up;

	for (unsigned k = 0; link != up && k < 10000; k++) {
		assert_int_equal(driver_nic_read(&r->driver[nic], P2PNIC_REG_LINK, &link), 0);
		pause_ms(1);
	}
	assert_int_equal(link, up);
}

static void link_is_lost(bool busy)
{
	struct soft_rig *r = soft_rig_new(P2PNIC_METHOD_WRITE, 1);
	pthread_t sender;

	atomic_store(&stop, false);
	for (unsigned k = 0; k < 2; k++) {
		snprintf(path[k], sizeof(path[k]), "@p2pnic-test-engine-%d-%u", getpid(), k);
		memcpy(socket_path, path[k], sizeof(path[k]));
		end_open(&peer[k], "role=server,unsealed=yes");
		r->memif[k] = path[k];
		soft_add(r, k, true);
		settle(&peer[k], NULL, true);
		wait_link(r, k, true);
	}
	if (busy)
		pthread_create(&sender, NULL, send_on, NULL);
	pause_ms(10);
	end_close(&peer[1]);
	wait_link(r, 1, false);
	if (busy) {
		atomic_store(&stop, true);
		pthread_join(sender, NULL);
	}
	soft_rig_free(r);
	end_close(&peer[0]);
}

static void asleep(void **state)
{
	link_is_lost(false);
}

static void busy(void **state)
{
	link_is_lost(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asleep),
		cmocka_unit_test(busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
