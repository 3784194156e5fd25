/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A capture file as the wire of a NIC: refused with a sentence, or its frames delivered, inside
 * their buffers. First byte: bit 0, options; bit 1, a proper file header comes before what follows,
 * so that it is records.
 */
#include "ports/pcap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUFFERS P2PNIC_BURST_MAX

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool write_file(int file, const uint8_t *data, size_t size)
{
	/* pcap-savefile(5): microseconds, version 2.4, snapshot length 65535, Ethernet */
	static const uint32_t header[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1};
	size_t first = data[0] & 2 ? sizeof(header) : 0;

	return ftruncate(file, 0) == 0 && pwrite(file, header, first, 0) == (ssize_t)first &&
	       pwrite(file, data + 1, size - 1, (off_t)first) == (ssize_t)size - 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pcap_port port __attribute__((aligned(64)));
	static uint8_t memory[BUFFERS * P2PNIC_BUFFER_BYTES_MIN]
		__attribute__((aligned(P2PNIC_BUFFER_BYTES_MIN)));
	static int file = -1;
	static char target[64];
	struct port_config config = {.target = target,
		.options = "cut=pad",
		.memory = memory,
		.memory_bytes = sizeof(memory),
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN};
	struct error error = {""};
	struct frame frames[P2PNIC_BURST_MAX];
	struct port_info info;
	uint32_t buffers[BUFFERS];
	unsigned n;

	if (file < 0) {
		file = memfd_create("capture", MFD_CLOEXEC);
		snprintf(target, sizeof(target), "/proc/self/fd/%d,", file);
	}
	if (file < 0 || size < 1 || !write_file(file, data, size))
		return 0;
	if (data[0] & 1)
		config.options = "cut=skip,burst=3";
	memset(&port, 0, sizeof(port));
	if (pcap_port_ops.open(&port, &config, &error) < 0) {
		if (!*error.text)
			abort();
		return 0;
	}
	for (uint32_t k = 0; k < BUFFERS; k++)
		buffers[k] = k * P2PNIC_BUFFER_BYTES_MIN;
	if (pcap_port_ops.start(&port, buffers, BUFFERS) != (int)BUFFERS)
		abort();
	while ((n = pcap_port_ops.receive(&port, frames, P2PNIC_BURST_MAX))) {
		for (unsigned k = 0; k < n; k++) {
			size_t at = (size_t)(frames[k].data - memory);

			if (frames[k].length > P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN) ||
				at % P2PNIC_BUFFER_BYTES_MIN != P2PNIC_HEADROOM ||
				at >= sizeof(memory))
				abort();
		}
		pcap_port_ops.release(&port);
	}
	pcap_port_ops.info(&port, &info);
	if (!info.finished || pcap_port_ops.stop(&port, buffers) != BUFFERS)
		abort();
	pcap_port_ops.close(&port);
	return 0;
}
