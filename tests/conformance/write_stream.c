/* SPDX-License-Identifier: Apache-2.0 */
/* WRITE to pipes and sockets: what fits, what waits, what breaks. */
#include "rw.h"

#include <sys/socket.h>

static char buf[1 << 16];

TEST(memory_that_ends_half_way_into_a_pipe)
{
	char *at = map_then_hole(2);
	int p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	put(&r, p[1], at, 3 * PAGE, 0);
	put(&r, p[1], at + PAGE + 100, 2 * PAGE, 0);
	put(&r, p[1], at + 100, 3 * PAGE, 0);
	put(&r, p[1], at + 2 * PAGE, 10, 0);
	note("in it %zd", read(p[0], buf, sizeof(buf)));
}

TEST(pipe_takes_what_fits)
{
	int p[2];
	struct ring r;

	fill(buf, sizeof(buf));
	small_pipe(p, PAGE);
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, p[1], buf, 3 * PAGE, 0), PAGE);
	EXPECT_EQ(OK(read(p[0], buf, sizeof(buf))), PAGE);
	EXPECT_EQ(put(&r, p[1], buf, 10, 99), 10);
	EXPECT_EQ(put(&r, p[1], buf, 10, (uint64_t)-1), 10);
	EXPECT_EQ(put(&r, p[1], buf, 0, 0), 0);
}

TEST(full_pipe_waits_for_a_reader)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;
	struct cqe cqe;

	small_pipe(p, 0);
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], "abcdef", 6, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit(&r), 2);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(cqe.user_data, 2);
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), PAGE);
	cqe = ring_wait(&r);
	note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), 6);
	EXPECT_EQ(memcmp(buf, "abcdef", 6), 0);
}

/* The buffer is read when there is room, not when the write is submitted. */
TEST(a_waiting_write_reads_its_buffer_late)
{
	char text[] = "before";
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	small_pipe(p, 0);
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], text, 6, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	memcpy(text, "behind", 6);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), PAGE);
	EXPECT_EQ(ring_wait(&r).res, 6);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), 6);
	note("%.6s", buf);
}

TEST(a_waiting_write_from_bad_memory)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	small_pipe(p, 0);
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], map_then_hole(1) + PAGE, 6, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), PAGE);
	note("res=%d", ring_wait(&r).res);
}

TEST(nonblocking_full_pipe)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	small_pipe(p, 0);
	OK(fcntl(p[1], F_SETFL, O_NONBLOCK));
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], "abc", 3, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	note("ready %u", ring_ready(&r));
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), PAGE);
	note("res=%d", ring_wait(&r).res);
}

TEST(broken_pipe_is_epipe_and_sigpipe)
{
	int p[2];
	struct ring r;

	on_signal(SIGPIPE, count, 0);
	OK(pipe(p));
	OK(close(p[0]));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, p[1], "abc", 3, 0), -EPIPE);
	note("signals %d", (int)got);
}

TEST(broken_pipe_while_waiting)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	on_signal(SIGPIPE, count, SA_RESTART);
	small_pipe(p, 0);
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], "abc", 3, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	OK(close(p[0]));
	while (!ring_ready(&r))
		enter(r.fd, 0, 1, GETEVENTS);
	note("res=%d signals %d", ring_wait(&r).res, (int)got);
}

TEST(sigpipe_kills_who_does_not_expect_it)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct ring r;
		struct io_uring_sqe sqe;
		int p[2];

		OK(pipe(p));
		OK(close(p[0]));
		ring_init(&r, 4, 0);
		sqe = rw_sqe(IORING_OP_WRITE, p[1], "abc", 3, 0);
		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
		ring_submit(&r);
		_exit(3);
	}
	status = wait_child(pid);
	note("status 0x%x", status);
	EXPECT(WIFSIGNALED(status));
}

TEST(a_punted_write_brings_no_signal)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	on_signal(SIGPIPE, count, 0);
	OK(pipe(p));
	OK(close(p[0]));
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], "abc", 3, 0);
	sqe.flags = IOSQE_ASYNC;
	EXPECT_EQ(run_sqe(&r, &sqe), -EPIPE);
	note("signals %d", (int)got);
}

TEST(a_pair_of_sockets)
{
	int s[2];
	struct ring r;

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, s[0], "ping", 4, 0), 4);
	EXPECT_EQ(rw(&r, IORING_OP_READ, s[1], buf, 100, 0), 4);
	EXPECT_EQ(put(&r, s[0], "ping", 4, (uint64_t)-1), 4);
	EXPECT_EQ(put(&r, s[0], "ping", 4, 5), -ESPIPE);
	EXPECT_EQ(rw(&r, IORING_OP_READ, s[1], buf, 100, 5), -ESPIPE);
}

TEST(broken_socket)
{
	int s[2];
	struct ring r;

	on_signal(SIGPIPE, count, 0);
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	OK(close(s[1]));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, s[0], "ping", 4, 0), -EPIPE);
	note("signals %d", (int)got);
}

TEST(datagrams_keep_their_bounds)
{
	struct iovec iov[2] = {{"ab", 2}, {"cde", 3}};
	int s[2];
	struct ring r;

	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	ring_init(&r, 4, 0);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, s[0], iov, 2, 0), 5);
	EXPECT_EQ(put(&r, s[0], "xyz", 3, 0), 3);
	EXPECT_EQ(rw(&r, IORING_OP_READ, s[1], buf, 2, 0), 2);
	EXPECT_EQ(rw(&r, IORING_OP_READ, s[1], buf, 100, 0), 3);
}

TEST(fifo_by_name)
{
	char dir[] = "/tmp/uringfs-conformance-XXXXXX", path[64];
	struct io_uring_sqe sqe;
	int both, out;
	struct ring r;

	EXPECT(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/fifo", dir);
	OK(mkfifo(path, 0600));
	both = (int)OK(open(path, O_RDWR));
	out = (int)OK(open(path, O_WRONLY));
	OK(unlink(path));
	OK(rmdir(dir));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, out, "abc", 3, 0), 3);
	EXPECT_EQ(rw(&r, IORING_OP_READ, both, buf, 100, 0), 3);
	EXPECT_EQ(OK(fcntl(out, F_SETPIPE_SZ, (int)PAGE)), PAGE);
	EXPECT_EQ(OK(write(out, buf, PAGE)), PAGE);
	sqe = rw_sqe(IORING_OP_WRITE, out, "def", 3, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	note("ready %u", ring_ready(&r));
	EXPECT_EQ(OK(read(both, buf, PAGE)), PAGE);
	note("res=%d", ring_wait(&r).res);
}

TEST(eventfd_counts)
{
	int fd = (int)OK(syscall(SYS_eventfd2, 0, 0));
	uint64_t value = 5;
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, fd, &value, 8, 0), 8);
	EXPECT_EQ(put(&r, fd, &value, 8, (uint64_t)-1), 8);
	EXPECT_EQ(put(&r, fd, &value, 4, 0), -EINVAL);
	value = 0;
	EXPECT_EQ(rw(&r, IORING_OP_READ, fd, &value, 8, 0), 8);
	EXPECT_EQ(value, 10);
}

/* A link goes on only behind a whole transfer. */
TEST(a_short_write_breaks_its_link)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	small_pipe(p, PAGE);
	ring_init(&r, 8, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], buf, 2 * PAGE, 0);
	sqe.flags = IOSQE_IO_LINK;
	sqe.user_data = 1;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	for (int i = 0; i < 2; i++) {
		struct cqe cqe = ring_wait(&r);

		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	}
}

TEST(an_empty_datagram)
{
	int s[2];
	struct ring r;

	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, s[0], buf, 0, 0), 0);
	EXPECT_EQ(put(&r, s[0], "x", 1, 0), 1);
	EXPECT_EQ(OK(recv(s[1], buf, 100, 0)), 0);
	EXPECT_EQ(OK(recv(s[1], buf, 100, 0)), 1);
	OK(close(s[1]));
	put(&r, s[0], buf, 0, 0);
}

static void cancelled(int flags, bool by_timeout)
{
	struct __kernel_timespec ts = {0, 20000000};
	struct io_uring_sqe sqe;
	struct cqe cqes[2];
	int p[2];
	struct ring r;

	small_pipe(p, 0);
	ring_init(&r, 8, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], "abc", 3, 0);
	sqe.user_data = 1;
	sqe.flags = (uint8_t)(flags | (by_timeout ? IOSQE_IO_LINK : 0));
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	if (!by_timeout)
		EXPECT_EQ(ring_submit(&r), 1);
	sqe = rw_sqe(by_timeout ? IORING_OP_LINK_TIMEOUT : IORING_OP_ASYNC_CANCEL, -1,
		     by_timeout ? (void *)&ts : (void *)1, by_timeout, 0);
	sqe.user_data = 2;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_GE(ring_submit(&r), 1);
	for (int i = 0; i < 2; i++)
		cqes[i] = ring_wait(&r);
	for (uint64_t user_data = 1; user_data <= 2; user_data++)
		for (int i = 0; i < 2; i++)
			if (cqes[i].user_data == user_data)
				note("user_data=%llu res=%d", (unsigned long long)user_data, cqes[i].res);
	EXPECT_EQ(OK(read(p[0], buf, sizeof(buf))), PAGE); /* and nothing behind it */
	OK(fcntl(p[0], F_SETFL, O_NONBLOCK));
	EXPECT_EQ(read(p[0], buf, sizeof(buf)), -1);
}

TEST(a_waiting_write_is_cancelled)
{
	cancelled(0, false);
}

TEST(a_waiting_punted_write_is_cancelled)
{
	cancelled(IOSQE_ASYNC, false);
}

TEST(a_waiting_write_times_out)
{
	cancelled(0, true);
}

/* write_null() looks at no memory, which must be a program's own. */
TEST(memory_that_is_not_there_into_what_discards)
{
	static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full"};
	char *hole = map_then_hole(1);
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 3; i++) {
		int fd = (int)OK(open(devices[i], O_WRONLY));

		put(&r, fd, hole + PAGE, 7, 0);
		put(&r, fd, hole + PAGE - 3, 7, 0);
		put(&r, fd, NULL, 1 << 21, 0);
		put(&r, fd, (void *)0xffff800000000000UL, 7, 0);
		OK(close(fd));
	}
}

/* eventfd_write(): the size, then the number. */
TEST(a_number_that_cannot_be_read)
{
	static const unsigned sizes[] = {0, 7, 8, 9, 16};
	char *hole = map_then_hole(1);
	void *const bad[] = {NULL, hole + PAGE, hole + PAGE - 3};
	int event = (int)OK(syscall(SYS_eventfd2, 0, 0));
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned j = 0; j < 5; j++)
			put(&r, event, bad[i], sizes[j], 0);
}

/* A message is copied whole or not at all; what is wrong with the socket comes first. */
TEST(memory_that_ends_half_way_into_a_socket)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
	char *at = map_then_hole(1);
	struct ring r;

	on_signal(SIGPIPE, count, 0);
	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 3; i++) {
		int s[2];

		OK(socketpair(AF_UNIX, types[i] | SOCK_NONBLOCK, 0, s));
		put(&r, s[1], at + PAGE - 3, 71, 0);
		put(&r, s[1], NULL, 71, 0);
		put(&r, s[1], at + PAGE, 71, 0);
		EXPECT_EQ(recv(s[0], buf, sizeof(buf), 0), -1);
		OK(close(s[0]));
		put(&r, s[1], at + PAGE - 3, 71, 0);
		put(&r, s[1], NULL, 71, 0);
		note("signals %d", got);
	}
}
