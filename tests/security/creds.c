/* SPDX-License-Identifier: Apache-2.0 */
/* Who a socket with SO_PASSCRED, and one that asks for SO_PEERCRED, hears it from: the caller, as natively. */
#include "harness.h"

#define TEXT "words"
#define SIZE ((unsigned)sizeof(TEXT))

static int pair[2];
static struct ring ring;
static char words[PAGE] __attribute__((aligned(4096)));

static void begin(void)
{
	struct iovec iov = {words, sizeof(words)};
	int one = 1;

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	OK(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
	ring_init(&ring, 8, 0);
	strcpy(words, TEXT);
	EXPECT_EQ(sys_register(ring.fd, IORING_REGISTER_BUFFERS, &iov, 1), 0);
}

/* The next message, and whether it is ours. */
static void hear(void)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	static char data[PAGE];
	struct iovec iov = {data, SIZE};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	struct ucred who;

	OK(recvmsg(pair[1], &msg, 0));
	c = CMSG_FIRSTHDR(&msg);
	EXPECT(c && c->cmsg_type == SCM_CREDENTIALS);
	memcpy(&who, CMSG_DATA(c), sizeof(who));
	note("%.5s: pid %s, uid %s, gid %s", data, who.pid == getpid() ? "ours" : "another's",
	     who.uid == getuid() ? "ours" : "another's", who.gid == getgid() ? "ours" : "another's");
	EXPECT_EQ(who.uid, getuid());
	EXPECT_EQ(who.gid, getgid());
	EXPECT_EQ(who.pid, getpid());
}

/* Inline, then in a worker. */
static void say(void (*fill)(struct io_uring_sqe *sqe))
{
	begin();
	for (unsigned flags = 0; flags <= IOSQE_ASYNC; flags += IOSQE_ASYNC) {
		struct io_uring_sqe *sqe = ring_sqe(&ring);
		struct cqe cqe;

		EXPECT(sqe != NULL);
		sqe->fd = pair[0];
		sqe->addr = (uint64_t)(uintptr_t)words;
		sqe->len = SIZE;
		fill(sqe);
		sqe->flags = (uint8_t)flags;
		EXPECT_EQ(ring_submit_wait(&ring, 1), 1);
		EXPECT(ring_reap(&ring, &cqe));
		EXPECT_EQ(cqe.res, SIZE);
		hear();
	}
}

static void write_words(struct io_uring_sqe *sqe)
{
	sqe->opcode = IORING_OP_WRITE;
}

static void write_fixed(struct io_uring_sqe *sqe)
{
	sqe->opcode = IORING_OP_WRITE_FIXED;
}

static void writev_words(struct io_uring_sqe *sqe)
{
	static struct iovec iov = {words, SIZE};

	sqe->opcode = IORING_OP_WRITEV;
	sqe->addr = (uint64_t)(uintptr_t)&iov;
	sqe->len = 1;
}

static void send_words(struct io_uring_sqe *sqe)
{
	sqe->opcode = IORING_OP_SEND;
}

static void sendmsg_words(struct io_uring_sqe *sqe)
{
	static struct iovec iov = {words, SIZE};
	static struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	sqe->opcode = IORING_OP_SENDMSG;
	sqe->addr = (uint64_t)(uintptr_t)&msg;
	sqe->len = 1;
}

static void splice_words(struct io_uring_sqe *sqe)
{
	int ends[2];

	OK(pipe(ends));
	EXPECT_EQ(OK(write(ends[1], words, SIZE)), SIZE);
	sqe->opcode = IORING_OP_SPLICE;
	sqe->addr = (uint64_t)-1; /* splice_off_in */
	sqe->splice_fd_in = ends[0];
	sqe->off = (uint64_t)-1;
}

TEST(of_write)
{
	say(write_words);
}
TEST(of_write_fixed)
{
	say(write_fixed);
}
TEST(of_writev)
{
	say(writev_words);
}
TEST(of_send)
{
	say(send_words);
}
TEST(of_sendmsg)
{
	say(sendmsg_words);
}
TEST(of_splice)
{
	say(splice_words);
}

/* Performed once there is room: by whoever looks then. */
static void say_later(void (*fill)(struct io_uring_sqe *sqe))
{
	struct io_uring_sqe *sqe;
	struct cqe cqe;
	ssize_t n, left = 0;

	begin();
	while ((n = send(pair[0], words, sizeof(words), MSG_DONTWAIT)) > 0)
		left += n;
	sqe = ring_sqe(&ring);
	sqe->fd = pair[0];
	sqe->addr = (uint64_t)(uintptr_t)words;
	sqe->len = SIZE;
	fill(sqe);
	EXPECT_EQ(ring_submit(&ring), 1);
	EXPECT_EQ(ring_ready(&ring), 0);
	while (left > 0 &&
	       (n = recv(pair[1], words, (size_t)left < sizeof(words) ? (size_t)left : sizeof(words), 0)) > 0)
		left -= n;
	strcpy(words, TEXT);
	cqe = ring_wait(&ring);
	EXPECT_EQ(cqe.res, SIZE);
	hear();
}

TEST(of_write_that_waits)
{
	say_later(write_words);
}
TEST(of_send_that_waits)
{
	say_later(send_words);
}

/* Others' ids are for who may be others. */
TEST(of_sendmsg_with_forged_credentials)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = {words, SIZE};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c = &control.align;
	const struct ucred forged[] = {{getpid(), 0, getgid()}, {getpid(), getuid(), 0}, {1, getuid(), getgid()}};
	struct cqe cqe;

	begin();
	for (unsigned i = 0; i < 3; i++) {
		struct io_uring_sqe *sqe = ring_sqe(&ring);

		memset(&control, 0, sizeof(control));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_CREDENTIALS;
		c->cmsg_len = CMSG_LEN(sizeof(struct ucred));
		memcpy(CMSG_DATA(c), &forged[i], sizeof(struct ucred));
		sqe->opcode = IORING_OP_SENDMSG;
		sqe->fd = pair[0];
		sqe->addr = (uint64_t)(uintptr_t)&msg;
		sqe->len = 1;
		EXPECT_EQ(ring_submit_wait(&ring, 1), 1);
		EXPECT(ring_reap(&ring, &cqe));
		note("res=%d", cqe.res);
		EXPECT_EQ(cqe.res, -EPERM);
	}
}
