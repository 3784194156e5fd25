/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/driver_nic.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX

int driver_nic_read(struct driver_nic *n, uint32_t reg, uint32_t *value)
{
	return device_read32(n->device, BAR0, reg, value);
}

int driver_nic_write(struct driver_nic *n, uint32_t reg, uint32_t value)
{
	return device_write32(n->device, BAR0, reg, value);
}

int driver_nic_command(struct driver_nic *n, unsigned operation, unsigned argument)
{
	uint32_t result;
	int error = driver_nic_write(n, P2PNIC_REG_COMMAND, P2PNIC_COMMAND(operation, argument));

	if (!error)
		error = driver_nic_read(n, P2PNIC_REG_RESULT, &result);
	return error ? error : (int)result;
}

const char *driver_nic_result(int result)
{
	static const char *const text[] = {
		[P2PNIC_OK] = "done",
		[P2PNIC_BAD_OPERATION] = "no such operation",
		[P2PNIC_BAD_ARGUMENT] = "argument or register out of range",
		[P2PNIC_BAD_WINDOW] = "a bus address lies in no window",
		[P2PNIC_BAD_IMAGE] = "no valid FIB image there",
		[P2PNIC_BAD_STATE] = "not possible in this state",
	};

	if (result < 0)
		return strerror(-result);
	return (size_t)result < sizeof(text) / sizeof(*text) ? text[result] : "unknown result";
}

int driver_nic_epoch(struct driver_nic *n)
{
	uint32_t epoch = n->epoch, seen;
	int error = epoch ? 0 : driver_nic_read(n, P2PNIC_REG_EPOCH, &epoch);

	if (!error)
		error = driver_nic_write(n, P2PNIC_REG_EPOCH, ++epoch);
	n->epoch = epoch;
	for (unsigned tries = 0; !error && tries < 1000; tries++) {
		error = driver_nic_read(n, P2PNIC_REG_EPOCH_SEEN, &seen);
		if (!error && (int32_t)(seen - epoch) >= 0)
			return 0;
		usleep(100);
	}
	return error ? error : -ETIMEDOUT;
}

int driver_nic_set_mac(struct driver_nic *n, struct mac_addr mac)
{
	uint64_t word = 0;
	int error;

	memcpy(&word, &mac, sizeof(mac));
	error = driver_nic_write(n, P2PNIC_REG_MAC_LOW, (uint32_t)word);
	if (!error)
		error = driver_nic_write(n, P2PNIC_REG_MAC_HIGH, (uint32_t)(word >> 32));
	if (!error)
		n->mac = mac;
	return error;
}

static int identify(struct driver_nic *n, struct error *error)
{
	uint32_t id, magic, low, high;
	uint64_t mac;
	int result = device_config_read(n->device, 0, 4, &id);

	if (!result && id != (P2PNIC_PCI_VENDOR | P2PNIC_PCI_DEVICE << 16))
		return error_set(error, -ENODEV, "%s: PCI device %04x:%04x is no p2pnic", n->name,
			id & 0xffff, id >> 16);
	if (!result)
		result = driver_nic_read(n, P2PNIC_REG_MAGIC, &magic);
	if (!result)
		result = driver_nic_read(n, P2PNIC_REG_VERSION, &n->version);
	if (!result && (magic != P2PNIC_MAGIC || n->version >> 16 != P2PNIC_VERSION >> 16))
		return error_set(error, -EPROTO,
			"%s: contract version %u.%u (magic %08x); this driver needs %u.x", n->name,
			n->version >> 16, n->version & 0xffff, magic, P2PNIC_VERSION >> 16);
	if (!result)
		result = driver_nic_read(n, P2PNIC_REG_METHOD, &n->method);
	if (!result)
		result = driver_nic_read(n, P2PNIC_REG_BUFFER_BYTES, &n->buffer_bytes);
	if (!result)
		result = driver_nic_read(n, P2PNIC_REG_BAR2_BYTES, &n->bar2_bytes);
	if (!result)
		result = driver_nic_read(n, P2PNIC_REG_BAR4_BYTES, &n->bar4_bytes);
	if (!result)
		result = driver_nic_read(n, P2PNIC_REG_MAC_LOW, &low);
	if (!result)
		result = driver_nic_read(n, P2PNIC_REG_MAC_HIGH, &high);
	if (result)
		return error_set(error, result, "%s: %s", n->name, device_error(n->device));
	mac = low | (uint64_t)high << 32;
	memcpy(&n->mac, &mac, sizeof(n->mac));
	return 0;
}

/* Frames that the port still sends lie in packet memory; the NIC refuses until they are gone. */
int driver_nic_reset(struct driver_nic *n, struct error *error)
{
	uint32_t mtu = 0;
	int result = driver_nic_read(n, P2PNIC_REG_MTU, &mtu);

	if (!result)
		result = driver_nic_command(n, P2PNIC_OP_RESET, 0);
	if (result != P2PNIC_OK)
		return error_set(error,
			result < 0                   ? result
			: result == P2PNIC_BAD_STATE ? -EAGAIN
						     : -EIO,
			"%s: reset: %s", n->name, driver_nic_result(result));
	n->adopted = false;
	/* Windows of an earlier driver, whatever its settings were. */
	result = device_unmap_all(n->device);
	if (!result)
		result = driver_nic_write(n, P2PNIC_REG_NIC_INDEX, n->index);
	if (!result)
		result = driver_nic_write(n, P2PNIC_REG_MTU, mtu);
	if (result)
		return error_set(error, result, "%s: %s", n->name, device_error(n->device));
	return 0;
}

int driver_nic_attach(struct driver_nic *n, const char *name, unsigned index, struct device *device,
	struct error *error)
{
	uint32_t status, was;
	int result;

	memset(n, 0, sizeof(*n));
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->index = index;
	n->device = device;
	result = identify(n, error);
	if (result)
		goto fail;
	n->bar2 = device_pointer(device, BAR2, 0, n->bar2_bytes);
	if (n->bar2)
		n->counters = device_pointer(
			device, BAR0, P2PNIC_BAR0_COUNTERS, sizeof(struct p2pnic_counters));
	if (!n->bar2 || !n->counters) {
		result = -errno; /* a shortage here says nothing about the NIC */
		error_set(error, result, "%s: %s", name, device_error(device));
		goto fail;
	}
	result = device_enable(device);
	if (!result)
		result = driver_nic_read(n, P2PNIC_REG_STATUS, &status);
	if (!result)
		result = driver_nic_read(n, P2PNIC_REG_NIC_INDEX, &was);
	if (result) {
		error_set(error, result, "%s: %s", name, device_error(device));
		goto fail;
	}
	/* Running, but under another number: its peers would not know it. */
	n->adopted = (status & P2PNIC_STATUS_RUNNING) && was == index;
	if (!n->adopted)
		result = driver_nic_reset(n, error);
	if (!result)
		return 0;
fail:
	n->device = NULL;
	return result;
}

void driver_nic_detach(struct driver_nic *n)
{
	if (n->device)
		device_close(n->device);
	memset(n, 0, sizeof(*n));
}

int64_t driver_nic_unaccounted(const struct driver_nic *n)
{
	const struct p2pnic_counters *c = n->counters;
	int64_t in = (int64_t)(driver_nic_count(&c->received.packets) +
			       driver_nic_count(&c->injected.packets));
	int64_t out = (int64_t)(driver_nic_count(&c->sent.packets) +
				driver_nic_count(&c->punted.packets) + driver_nic_count(&c->held));

	for (unsigned k = 0; k < P2PNIC_NICS_MAX; k++) {
		in += (int64_t)driver_nic_count(&c->from_ring[k].packets);
		out += (int64_t)driver_nic_count(&c->to_ring[k].packets);
	}
	for (unsigned k = 0; k < P2PNIC_DROP_COUNT; k++)
		out += (int64_t)driver_nic_count(&c->dropped[k]);
	return in - out;
}
