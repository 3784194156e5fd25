/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a keeper is asked: records {operation, shape, name, length, bytes…}, each a message with the
 * record's bytes for text. shape: bits 0–2, descriptors that come; bit 3, another number than said;
 * bit 4, a message cut short. The keeper never holds more than it says, loses no descriptor, and
 * answers whatever is whole.
 */
/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "driver/keeper.c"

#include <fcntl.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int lowest_free_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void say(int client, const uint8_t *head, const uint8_t *bytes, size_t n)
{
	struct keeper_message m = {.operation = head[0] % 7};
	const int fds[8] = {client, client, client, client, client, client, client, client};
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(fds))];
	} control = {0};
	struct iovec part = {&m, head[1] & 16 ? n : sizeof(m)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	unsigned count = head[1] & 7;

	m.index = head[2];
	m.fds = head[1] & 8 ? head[2] : count;
	memset(m.name, head[2], head[2] % 67 ? 3 : sizeof(m.name)); /* some without an end */
	memcpy(m.text, bytes, n);
	if (count) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	}
	if (sendmsg(client, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		abort();
}

/* False: the keeper lets go of this client. */
static bool serve(struct keeper *k, int ends[2])
{
	struct keeper_message reply;
	unsigned count = 0;
	int fds[KEEPER_FDS], got;
	bool served = serve_one(k, ends[0]) == 0;

	fcntl(ends[1], F_SETFL, O_NONBLOCK);
	got = exchange_receive(ends[1], &reply, sizeof(reply), fds, KEEPER_FDS, &count);
	exchange_close_all(fds, count);
	if (served != (got == 1) || k->items > KEEPER_ITEMS || (served && reply.fds > KEEPER_FDS))
		abort();
	return served;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct keeper k;
	int next_fd = lowest_free_fd(), ends[2] = {-1, -1};

	for (; size >= 4 && !k.quit;) {
		size_t n = data[3] < size - 4 ? data[3] : size - 4;

		if (ends[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
			abort();
		say(ends[1], data, data + 4, n);
		if (!serve(&k, ends)) {
			close(ends[0]);
			close(ends[1]);
			ends[0] = -1;
		}
		data += 4 + n;
		size -= 4 + n;
	}
	k.quit = false;
	while (k.items)
		item_drop(&k, k.item[0].name);
	if (ends[0] >= 0) {
		close(ends[0]);
		close(ends[1]);
	}
	if (lowest_free_fd() != next_fd)
		abort();
	return 0;
}
