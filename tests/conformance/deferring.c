/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_SETUP_DEFER_TASKRUN: what waits or comes behind others completes in an enter with GETEVENTS, and no data
 * is taken from a file before. */
#include "net.h"

#include <sys/ioctl.h>

#define FLAGS (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG)
#define SQ_TASKRUN (1U << 2)
#define OP_READ_MULTISHOT 49
#define OP_MSG_RING 40
#define POLL_MULTI (1U << 0)

static char buf[64], pool[4][64];

static void note_state(struct ring *r, const char *when)
{
	note("%s: %u ready, flags 0x%x", when, ring_ready(r), *r->sq_flags & SQ_TASKRUN);
}

static void note_all(struct ring *r)
{
	struct cqe cqe;

	EXPECT_EQ(enter(r->fd, 0, 0, GETEVENTS), 0);
	note_state(r, "looked");
	while (ring_reap(r, &cqe))
		note("user_data=%llu res=%d flags=0x%x", (unsigned long long)cqe.user_data,
		     cqe.res > 3 && cqe.user_data == 3 ? 0 : cqe.res, cqe.flags);
}

static void submitted(struct ring *r, struct io_uring_sqe *sqes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		sqes[i].user_data = i + 1;
		push(r, sqes[i]);
	}
	EXPECT_EQ(ring_submit(r), n);
	note_state(r, "submitted");
}

/* Ready until then: the ring's descriptor says that there is work, and it is not done by asking. */
static void until_work(struct ring *r)
{
	struct pollfd p = {r->fd, POLLIN, 0};

	EXPECT_EQ(poll(&p, 1, 10000), 1);
	EXPECT_EQ(p.revents & POLLIN, POLLIN);
}

static int queued(int fd)
{
	int n = 0;

	OK(ioctl(fd, FIONREAD, &n));
	return n;
}

static void provide(struct ring *r)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_PROVIDE_BUFFERS, 4, pool, 64);

	sqe.buf_group = 7;
	EXPECT_EQ(run_sqe(r, &sqe), 0);
}

static void waits(struct io_uring_sqe sqe, int to)
{
	struct ring r;

	ring_init(&r, 8, FLAGS);
	if (sqe.flags & IOSQE_BUFFER_SELECT)
		provide(&r);
	for (int i = 0; i < 3; i++) {
		if (i == 0 || !(sqe.flags & IOSQE_BUFFER_SELECT))
			submitted(&r, &sqe, 1);
		EXPECT_EQ(write(to, "data", 4), 4);
		until_work(&r);
		note_state(&r, "there is data");
		note("in the file: %d", queued(sqe.fd));
		note_all(&r);
		note("in the file: %d", queued(sqe.fd));
	}
}

TEST(a_read_of_a_pipe)
{
	int fds[2];

	OK(pipe(fds));
	waits(sqe_of(IORING_OP_READ, fds[0], buf, 64), fds[1]);
}

TEST(a_recv)
{
	int sv[2];

	pair(SOCK_STREAM, sv);
	waits(sqe_of(IORING_OP_RECV, sv[0], buf, 64), sv[1]);
}

static struct io_uring_sqe many(int op, int fd, unsigned ioprio)
{
	struct io_uring_sqe sqe = sqe_of(op, fd, NULL, 0);

	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 7;
	sqe.ioprio = (uint16_t)ioprio;
	return sqe;
}

TEST(a_multishot_recv)
{
	int sv[2];

	pair(SOCK_STREAM, sv);
	waits(many(IORING_OP_RECV, sv[0], RECV_MULTISHOT), sv[1]);
}

TEST(a_multishot_read)
{
	int fds[2];

	OK(pipe(fds));
	waits(many(OP_READ_MULTISHOT, fds[0], 0), fds[1]);
}

TEST(a_multishot_accept)
{
	struct sockaddr_in a;
	int listener = tcp_listener(&a);
	struct io_uring_sqe sqe = sqe_of(IORING_OP_ACCEPT, listener, NULL, 0);
	struct ring r;

	ring_init(&r, 8, FLAGS);
	sqe.ioprio = ACCEPT_MULTISHOT;
	submitted(&r, &sqe, 1);
	for (int i = 0; i < 3; i++) {
		struct cqe cqe;
		int fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0));

		OK(connect(fd, (struct sockaddr *)&a, sizeof(a)));
		until_work(&r);
		until_readable(listener);
		note_state(&r, "connected");
		cqe = ring_wait(&r);
		EXPECT(cqe.res > 0);
		note("accepted, flags=0x%x", cqe.flags);
		OK(close(cqe.res));
		OK(close(fd));
	}
}

/* ---- without waiting for anything ---- */

static void at_once(struct io_uring_sqe *sqes, unsigned n)
{
	struct ring r;

	ring_init(&r, 8, FLAGS);
	submitted(&r, sqes, n);
	note_all(&r);
	note_all(&r);
}

static struct io_uring_sqe nop(unsigned flags)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_NOP, -1, NULL, 0);

	sqe.flags = (uint8_t)flags;
	return sqe;
}

TEST(a_linked_nop)
{
	struct io_uring_sqe sqes[] = {nop(IOSQE_IO_LINK), nop(IOSQE_IO_LINK), nop(0), nop(0)};

	at_once(sqes, 4);
}

TEST(what_a_failure_cancels)
{
	struct io_uring_sqe sqes[] = {sqe_of(IORING_OP_READ, -1, buf, 1), nop(IOSQE_IO_LINK), nop(0), nop(0)};

	sqes[0].flags = IOSQE_IO_LINK;
	at_once(sqes, 4);
}

TEST(a_drain)
{
	struct io_uring_sqe sqes[] = {nop(0), nop(IOSQE_IO_DRAIN), nop(0)};
	struct ring r;

	ring_init(&r, 8, FLAGS);
	submitted(&r, sqes, 3);
	for (int i = 0; i < 3; i++)
		note_cqe(&r);
}

TEST(an_async_nop)
{
	struct io_uring_sqe sqe = nop(IOSQE_ASYNC);
	struct ring r;

	ring_init(&r, 8, FLAGS);
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	until_work(&r);
	note_state(&r, "done");
	note_all(&r);
}

TEST(a_poll_that_is_ready)
{
	struct io_uring_sqe sqes[2];
	int fds[2];

	OK(pipe(fds));
	EXPECT_EQ(write(fds[1], "data", 4), 4);
	for (int i = 0; i < 2; i++) {
		sqes[i] = sqe_of(IORING_OP_POLL_ADD, fds[0], NULL, i ? POLL_MULTI : 0);
		sqes[i].poll32_events = POLLIN;
	}
	at_once(sqes, 2);
}

TEST(a_poll_that_is_cancelled)
{
	struct io_uring_sqe sqes[2] = {sqe_of(IORING_OP_POLL_ADD, 0, NULL, 0),
				       sqe_of(IORING_OP_ASYNC_CANCEL, -1, NULL, 0)};
	int fds[2];

	OK(pipe(fds));
	sqes[0].fd = fds[0];
	sqes[0].poll32_events = POLLIN;
	sqes[1].addr = 1;
	at_once(sqes, 2);
}

TEST(a_poll_that_is_removed)
{
	struct io_uring_sqe sqes[2] = {sqe_of(IORING_OP_POLL_ADD, 0, NULL, 0),
				       sqe_of(IORING_OP_POLL_REMOVE, -1, NULL, 0)};
	int fds[2];

	OK(pipe(fds));
	sqes[0].fd = fds[0];
	sqes[0].poll32_events = POLLIN;
	sqes[1].addr = 1;
	at_once(sqes, 2);
}

TEST(a_read_that_is_cancelled)
{
	struct io_uring_sqe sqes[2] = {sqe_of(IORING_OP_READ, 0, buf, 4), sqe_of(IORING_OP_ASYNC_CANCEL, -1, NULL, 0)};
	int fds[2];

	OK(pipe(fds));
	sqes[0].fd = fds[0];
	sqes[1].addr = 1;
	at_once(sqes, 2);
}

static const struct __kernel_timespec hour = {3600, 0};

TEST(a_timeout_that_is_removed)
{
	struct io_uring_sqe sqes[2] = {sqe_of(IORING_OP_TIMEOUT, -1, &hour, 1),
				       sqe_of(IORING_OP_TIMEOUT_REMOVE, -1, NULL, 0)};

	sqes[1].addr = 1;
	at_once(sqes, 2);
}

TEST(a_timeout_that_counts)
{
	struct io_uring_sqe sqes[3] = {sqe_of(IORING_OP_TIMEOUT, -1, &hour, 1), nop(0), nop(0)};

	sqes[0].off = 1;
	at_once(sqes, 3);
}

TEST(a_linked_timeout)
{
	struct io_uring_sqe sqes[2] = {nop(IOSQE_IO_LINK), sqe_of(IORING_OP_LINK_TIMEOUT, -1, &hour, 1)};

	at_once(sqes, 2);
}

TEST(a_message_to_itself)
{
	struct io_uring_sqe sqe = sqe_of(OP_MSG_RING, 0, NULL, 5);
	struct ring r;

	ring_init(&r, 8, FLAGS);
	sqe.fd = r.fd;
	sqe.off = 77;
	submitted(&r, &sqe, 1);
	note_all(&r);
}
