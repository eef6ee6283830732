/* SPDX-License-Identifier: Apache-2.0 */
/* Multishot requests with IOSQE_ASYNC, which io_wq_submit_work() leaves to the poll; with provided buffers, buffer
 * rings and bundles, when there is something at once and when there is not. */
#include "pbufring.h"

#include <poll.h>

#define RECV_MULTISHOT (1U << 1)
#define BUNDLE (1U << 4)
#define READ_MULTISHOT 49

static void post(struct ring *r, struct io_uring_sqe sqe)
{
	struct io_uring_sqe *at = ring_sqe(r);

	EXPECT(at != NULL);
	*at = sqe;
	at->flags |= IOSQE_ASYNC;
	at->user_data = 7;
	EXPECT_EQ(ring_submit(r), 1);
}

/* Three pieces of data for two buffers, and what these hold. */
static void three_pieces(struct ring *r, struct io_uring_sqe sqe, int to, bool there)
{
	static const char *const pieces[] = {"abcd", "ef", "ghi"};

	memset(pool, '.', sizeof(pool));
	for (int i = 0; i < 3; i++) {
		struct cqe cqe;

		if (i || there)
			EXPECT_EQ(write(to, pieces[i], strlen(pieces[i])), (ssize_t)strlen(pieces[i]));
		if (!i)
			post(r, sqe);
		if (!i && !there)
			EXPECT_EQ(write(to, pieces[i], strlen(pieces[i])), (ssize_t)strlen(pieces[i]));
		cqe = ring_wait(r);
		note("%d 0x%x", cqe.res, cqe.flags);
		if (!(cqe.flags & IORING_CQE_F_MORE))
			break;
	}
	for (int i = 0; i < 3; i++)
		note("%.*s", 8, pool[i]);
	note("%u", ring_ready(r));
}

static void with(unsigned op, unsigned ioprio, int type, bool ring)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int fds[2];

	for (int there = 0; there < 2; there++) {
		if (op == READ_MULTISHOT)
			OK(pipe(fds));
		else
			OK(socketpair(AF_UNIX, type, 0, fds));
		ring_init(&r, 8, 0);
		if (ring) {
			struct buf *br = buf_ring(&r, 3, 0);

			add(br, pool[0], 8, 20);
			add(br, pool[1], 8, 21);
		} else
			EXPECT_EQ(provide(&r, 2, 3, 20), 0);
		sqe = selecting(op, fds[0], 0, 3);
		sqe.ioprio = (uint16_t)ioprio;
		three_pieces(&r, sqe, fds[1], there);
		if (ring)
			note("head %d", head_of(&r, 3));
		ring_close(&r);
	}
}

TEST(read_with_provided_buffers)
{
	with(READ_MULTISHOT, 0, 0, false);
}

TEST(read_with_a_buffer_ring)
{
	with(READ_MULTISHOT, 0, 0, true);
}

TEST(recv_with_provided_buffers)
{
	with(IORING_OP_RECV, RECV_MULTISHOT, SOCK_STREAM, false);
}

TEST(recv_with_a_buffer_ring)
{
	with(IORING_OP_RECV, RECV_MULTISHOT, SOCK_DGRAM, true);
}

TEST(recv_bundles)
{
	with(IORING_OP_RECV, RECV_MULTISHOT | BUNDLE, SOCK_STREAM, true);
}

TEST(recvmsg_with_a_buffer_ring)
{
	struct msghdr m;
	struct io_uring_sqe sqe = selecting(IORING_OP_RECVMSG, 0, 1, 3);

	memset(&m, 0, sizeof(m));
	for (int there = 0; there < 2; there++) {
		struct ring r;
		struct buf *br;
		int s[2];

		OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
		ring_init(&r, 8, 0);
		br = buf_ring(&r, 3, 0);
		add(br, pool[0], 32, 20);
		add(br, pool[1], 32, 21);
		sqe.fd = s[0];
		sqe.addr = (uint64_t)(uintptr_t)&m;
		sqe.ioprio = RECV_MULTISHOT;
		three_pieces(&r, sqe, s[1], there);
		note("head %d", head_of(&r, 3));
		ring_close(&r);
	}
}

/* Room for what comes before the data, and for none of these; and the end, or a message, without any. */
TEST(recvmsg_without_data)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

	for (int i = 0; i < 12; i++) {
		struct iovec iov = {NULL, i < 6 ? 32 : 40};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_namelen = 16};
		struct io_uring_sqe sqe = selecting(IORING_OP_RECVMSG, 0, 1, 3);
		struct ring r;
		struct buf *br;
		int s[2];

		OK(socketpair(AF_UNIX, types[i % 3], 0, s));
		ring_init(&r, 8, 0);
		br = buf_ring(&r, 3, i % 6 < 3 ? 0 : INC);
		add(br, pool[0], 64, 20);
		add(br, pool[1], 64, 21);
		sqe.fd = s[0];
		sqe.addr = (uint64_t)(uintptr_t)&m;
		sqe.ioprio = RECV_MULTISHOT;
		*ring_sqe(&r) = sqe;
		EXPECT_EQ(ring_submit(&r), 1);
		if (i < 6)
			EXPECT_EQ(write(s[1], "abcd", 4), 4);
		else if (i % 3 == 1) /* no end of datagrams, but an empty one */
			EXPECT_EQ(send(s[1], "", 0, 0), 0);
		else
			OK(close(s[1]));
		note_cqe(&r);
		note("head %d payload %d", head_of(&r, 3), pool[0][8]);
		ring_close(&r);
	}
}

/* The iovec's length is about the first message. */
TEST(recvmsg_of_a_length)
{
	struct iovec iov = {NULL, 19};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct io_uring_sqe sqe = selecting(IORING_OP_RECVMSG, 0, 1, 3);
	struct ring r;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 4, 3, 20), 0);
	sqe.fd = s[0];
	sqe.addr = (uint64_t)(uintptr_t)&m;
	sqe.ioprio = RECV_MULTISHOT;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(s[1], "abcdefgh", 8), 8);
	note_cqe(&r);
	note_cqe(&r);
	EXPECT_EQ(write(s[1], "abcdefgh", 8), 8);
	note_cqe(&r);
	note("%.8s %.8s %.8s", pool[0] + 16, pool[1] + 16, pool[2] + 16);
}

TEST(cancelled_before_there_is_data)
{
	static const unsigned ops[] = {READ_MULTISHOT, IORING_OP_RECV};

	for (int i = 0; i < 2; i++) {
		struct io_uring_sqe sqe;
		struct ring r;
		struct buf *br;
		int s[2];

		OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
		ring_init(&r, 8, 0);
		br = buf_ring(&r, 3, 0);
		add(br, pool[0], 8, 20);
		sqe = selecting(ops[i], s[0], 0, 3);
		sqe.ioprio = i ? RECV_MULTISHOT : 0;
		post(&r, sqe);
		usleep(20000); /* until it is a poll that pends, no work of a thread */
		memset(&sqe, 0, sizeof(sqe));
		sqe.opcode = IORING_OP_ASYNC_CANCEL;
		sqe.addr = 7;
		sqe.user_data = 8;
		*ring_sqe(&r) = sqe;
		EXPECT_EQ(ring_submit(&r), 1);
		for (int n = 0; n < 2; n++) {
			struct cqe cqe = ring_wait(&r);

			note("%s: %d 0x%x", cqe.user_data == 7 ? "the request" : "the cancellation", cqe.res,
			     cqe.flags);
		}
		note("head %d", head_of(&r, 3));
		ring_close(&r);
	}
}

TEST(what_cannot_be_polled)
{
	struct io_uring_sqe sqe;
	struct ring r;
	struct buf *br;
	FILE *file = tmpfile();

	EXPECT(file != NULL);
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	add(br, pool[0], 8, 20);
	sqe = selecting(READ_MULTISHOT, fileno(file), 0, 3);
	post(&r, sqe);
	note_cqe(&r);
	note("head %d", head_of(&r, 3));
}

/* A bundle to send is a multishot, too; what can be sent at once nobody waits for: io_arm_apoll() says so, and it is
 * cancelled. */
TEST(bundles_to_send)
{
	char rest[1 << 16];
	struct io_uring_sqe sqe;
	struct ring r;
	struct buf *br;
	int s[2], p[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	OK(pipe(p));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	for (unsigned i = 0; i < 4; i++)
		add(br, pool[i], 8, 20 + i);
	for (int i = 0; i < 4; i++) {
		int fds[] = {s[0], s[0], p[1], fileno(tmpfile())};

		sqe = selecting(IORING_OP_SEND, fds[i], 16, 3);
		sqe.flags = i == 1 ? 0 : sqe.flags;
		sqe.addr = i == 1 ? (uint64_t)(uintptr_t)pool : 0;
		sqe.ioprio = BUNDLE;
		post(&r, sqe);
		note("%d", i);
		note_cqe(&r);
		note("head %d", head_of(&r, 3));
	}
	while (send(s[0], rest, sizeof(rest), MSG_DONTWAIT) > 0)
		;
	sqe = selecting(IORING_OP_SEND, s[0], 12, 3);
	sqe.ioprio = BUNDLE;
	post(&r, sqe);
	usleep(20000); /* until it waits */
	note("%u, can be written: %d", ring_ready(&r), poll(&(struct pollfd){.fd = s[0], .events = POLLOUT}, 1, 0));
	while (recv(s[1], rest, sizeof(rest), MSG_DONTWAIT) > 0)
		;
	for (bool more = true; more;) {
		struct cqe cqe = ring_wait(&r);

		note("%d 0x%x", cqe.res, cqe.flags);
		more = cqe.flags & IORING_CQE_F_MORE;
	}
	note("head %d", head_of(&r, 3));
}

/* A worker takes one buffer at a time. */
TEST(bundles_to_receive)
{
	for (int i = 0; i < 3; i++) {
		struct io_uring_sqe sqe;
		struct ring r;
		int s[2];

		OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
		ring_init(&r, 8, 0);
		if (i < 2) {
			struct buf *br = buf_ring(&r, 3, i ? INC : 0);

			for (unsigned j = 0; j < 4; j++)
				add(br, pool[j], 8, 20 + j);
		} else
			EXPECT_EQ(provide_at(&r, pool, 8, 4, 3, 20), 0);
		for (int there = 0; there < 2; there++) {
			if (there)
				EXPECT_EQ(write(s[1], "abcdefghijklmnopqrstuvwxyz", 26), 26);
			sqe = selecting(IORING_OP_RECV, s[0], there ? 5 : 0, 3);
			sqe.ioprio = BUNDLE;
			post(&r, sqe);
			if (!there)
				EXPECT_EQ(write(s[1], "abcdefghijklmnopqrstuvwxyz", 26), 26);
			note_cqe(&r);
			if (i < 2)
				note("head %d", head_of(&r, 3));
			while (recv(s[0], pool[6], 64, MSG_DONTWAIT) > 0)
				;
		}
		ring_close(&r);
	}
}

TEST(sends_of_a_buffer)
{
	struct io_uring_sqe sqe;
	struct ring r;
	struct buf *br;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	for (unsigned i = 0; i < 3; i++)
		add(br, pool[i], 8, 20 + i);
	for (unsigned i = 0; i < 2; i++) {
		sqe = selecting(IORING_OP_SEND, s[0], i ? 5 : 0, 3);
		post(&r, sqe);
		note_cqe(&r);
		note("head %d", head_of(&r, 3));
	}
}

TEST(polls)
{
	struct io_uring_sqe sqe;
	struct ring r;
	char c;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_POLL_ADD;
	sqe.fd = p[0];
	sqe.len = IORING_POLL_ADD_MULTI;
	sqe.poll32_events = POLLIN;
	post(&r, sqe);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(write(p[1], "x", 1), 1);
		note_cqe(&r);
		EXPECT_EQ(read(p[0], &c, 1), 1);
	}
}

TEST(accepts)
{
	struct sockaddr un = {.sa_family = AF_UNIX};
	struct sockaddr_storage name;
	struct io_uring_sqe sqe;
	struct ring r;

	for (int there = 0; there < 2; there++) {
		int files[4] = {-1, -1, -1, -1}, listener = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));
		socklen_t len = sizeof(name);

		OK(bind(listener, &un, sizeof(un.sa_family)));
		OK(listen(listener, 8));
		OK(getsockname(listener, (void *)&name, &len));
		ring_init(&r, 8, 0);
		EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, files, 4), 0);
		memset(&sqe, 0, sizeof(sqe));
		sqe.opcode = IORING_OP_ACCEPT;
		sqe.fd = listener;
		sqe.ioprio = 1; /* IORING_ACCEPT_MULTISHOT */
		sqe.file_index = ~0U;
		for (int i = 0; i < 3; i++) {
			if (i == there)
				post(&r, sqe);
			OK(connect((int)OK(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&name, len));
		}
		for (int i = 0; i < 3; i++)
			note_cqe(&r);
		ring_close(&r);
	}
}
