/* SPDX-License-Identifier: Apache-2.0 */
/* READV on what has no position: pipes, sockets, terminals, counters. */
#include "harness.h"

#include <poll.h>
#include <pty.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static char buf[64];

/* Submitted while there is nothing: pending, until fill() or close of fd makes it readable. */
static int run_later(struct ring *r, int fd, int fill_fd, const char *text)
{
	struct iovec iov = {buf, sizeof(buf)};
	struct cqe cqe;

	ring_readv(r, fd, &iov, 1, 0, 9);
	EXPECT_EQ(ring_submit(r), 1);
	EXPECT_EQ(ring_ready(r), 0);
	if (text)
		EXPECT_EQ(OK(write(fill_fd, text, strlen(text))), strlen(text));
	else
		OK(close(fill_fd));
	cqe = ring_wait(r);
	note("later: user_data=%llu res=%d flags=%u", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
	return cqe.res;
}

TEST(pipe_with_data)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	OK(write(p[1], "hello", 5));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), 0), 5);
	EXPECT_EQ(memcmp(buf, "hello", 5), 0);
}

TEST(pipe_gives_no_more_than_asked)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	OK(write(p[1], "0123456789", 10));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], buf, 4, 0), 4);
	EXPECT_EQ(run_read(&r, p[0], buf + 4, 3, (uint64_t)-1), 3);
	EXPECT_EQ(run_read(&r, p[0], buf + 7, 50, 0), 3);
	EXPECT_EQ(memcmp(buf, "0123456789", 10), 0);
}

/* The kernel does not say ESPIPE here: what has no position ignores the offset. */
TEST(pipe_ignores_the_offset)
{
	static const uint64_t offsets[] = {0, 5, 1ULL << 40, (uint64_t)-1, INT64_MAX - 64};
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	for (size_t i = 0; i < 5; i++) {
		OK(write(p[1], "abc", 3));
		EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), offsets[i]), 3);
	}
}

TEST(pipe_with_a_negative_offset)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	OK(write(p[1], "abc", 3));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), (uint64_t)-2), -EINVAL);
	EXPECT_EQ(run_read(&r, p[0], buf, 0, (uint64_t)-2), -EINVAL);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), INT64_MAX), -EINVAL);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), 0), 3);
}

TEST(pipe_filled_later)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_later(&r, p[0], p[1], "later"), 5);
	EXPECT_EQ(memcmp(buf, "later", 5), 0);
}

static void *write_hello(void *arg)
{
	OK(write(*(int *)arg, "hello", 5));
	return NULL;
}

TEST(pipe_filled_by_another_thread_while_waiting)
{
	struct iovec iov = {buf, sizeof(buf)};
	struct ring r;
	struct cqe cqe;
	pthread_t t;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], &iov, 1, 0, 3);
	EXPECT_EQ(pthread_create(&t, NULL, write_hello, &p[1]), 0);
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	EXPECT(ring_reap(&r, &cqe));
	note("res=%d", cqe.res);
	EXPECT_EQ(cqe.res, 5);
	EXPECT_EQ(pthread_join(t, NULL), 0);
}

TEST(pipe_with_no_writer_is_eof)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	OK(write(p[1], "end", 3));
	OK(close(p[1]));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), 0), 3);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), 0), 0);
}

TEST(pipe_whose_writer_leaves_is_eof)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_later(&r, p[0], p[1], NULL), 0);
}

/* io_rw_init_file(): O_NONBLOCK does not keep a request from waiting where the file can be polled;
 * only RWF_NOWAIT does (readv_args.c). */
TEST(pipe_nonblocking_waits_all_the_same)
{
	struct ring r;
	int p[2];

	OK(pipe2(p, O_NONBLOCK));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_later(&r, p[0], p[1], "abc"), 3);
	OK(write(p[1], "abc", 3));
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), 0), 3);
}

/* What a request does to a shared open file is seen by everybody: its flags are left alone. */
TEST(flags_of_the_file_are_left_alone)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_later(&r, p[0], p[1], "abc"), 3);
	note("F_GETFL & O_NONBLOCK = %ld", OK(fcntl(p[0], F_GETFL)) & O_NONBLOCK);
	EXPECT_EQ(OK(fcntl(p[0], F_GETFL)) & O_NONBLOCK, 0);
}

TEST(two_requests_on_one_pipe_get_a_byte_each)
{
	char c[2] = "";
	struct iovec iov[2] = {{&c[0], 1}, {&c[1], 1}};
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], &iov[0], 1, 0, 0);
	ring_readv(&r, p[0], &iov[1], 1, 0, 1);
	EXPECT_EQ(ring_submit(&r), 2);
	OK(write(p[1], "z", 1));
	EXPECT_EQ(ring_wait(&r).res, 1);
	EXPECT_EQ(ring_ready(&r), 0);
	OK(write(p[1], "z", 1));
	EXPECT_EQ(ring_wait(&r).res, 1);
	EXPECT_EQ(memcmp(c, "zz", 2), 0);
	note("a byte each");
}

TEST(zero_length_on_an_empty_pipe)
{
	struct iovec none[2] = {{buf, 0}, {buf, 0}};
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, p[0], none, 2, 0), 0);
	EXPECT_EQ(run_readv(&r, p[0], none, 0, 0), 0);
	EXPECT_EQ(run_read(&r, p[0], buf, 0, (uint64_t)-1), 0);
}

TEST(a_large_read_takes_what_the_pipe_holds)
{
	char *big = map_pages(64, PROT_READ | PROT_WRITE), *data = map_pages(16, PROT_READ | PROT_WRITE);
	struct ring r;
	int p[2];

	for (size_t i = 0; i < 16 * PAGE; i++)
		data[i] = (char)pattern(i);
	OK(pipe(p));
	OK(fcntl(p[1], F_SETPIPE_SZ, 16 * PAGE));
	EXPECT_EQ(OK(write(p[1], data, 16 * PAGE)), 16 * PAGE);
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], big, 64 * PAGE, 0), 16 * PAGE);
	EXPECT(is_pattern(big, 0, 16 * PAGE));
}

TEST(socket_with_data_and_later)
{
	struct ring r;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 4, 0);
	OK(write(s[1], "now", 3));
	EXPECT_EQ(run_read(&r, s[0], buf, sizeof(buf), 0), 3);
	EXPECT_EQ(run_later(&r, s[0], s[1], "and later"), 9);
	OK(shutdown(s[1], SHUT_WR));
	EXPECT_EQ(run_read(&r, s[0], buf, sizeof(buf), 0), 0);
}

/* sock_read_iter(): the one ESPIPE there is. -1 is no offset. */
TEST(socket_with_an_offset_is_espipe)
{
	struct ring r;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 4, 0);
	OK(write(s[1], "now", 3));
	EXPECT_EQ(run_read(&r, s[0], buf, 2, 77), -ESPIPE);
	EXPECT_EQ(run_read(&r, s[0], buf, 2, (uint64_t)-1), 2);
	EXPECT_EQ(run_read(&r, s[0], buf, 2, 0), 1);
}

TEST(datagrams_keep_their_boundaries)
{
	struct ring r;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	OK(write(s[1], "first", 5));
	OK(write(s[1], "second", 6));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, s[0], buf, 3, 0), 3);
	EXPECT_EQ(run_read(&r, s[0], buf, sizeof(buf), 0), 6);
	EXPECT_EQ(run_later(&r, s[0], s[1], "third"), 5);
}

TEST(socket_nonblocking_waits_all_the_same)
{
	struct ring r;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_later(&r, s[0], s[1], "abc"), 3);
}

TEST(socket_that_is_not_connected)
{
	int tcp = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, tcp, buf, sizeof(buf), 0), -ENOTCONN);
}

TEST(socket_shut_down_while_pending)
{
	struct iovec iov = {buf, sizeof(buf)};
	struct ring r;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 4, 0);
	ring_readv(&r, s[0], &iov, 1, 0, 3);
	EXPECT_EQ(ring_submit(&r), 1);
	OK(shutdown(s[0], SHUT_RD));
	EXPECT_EQ(ring_wait(&r).res, 0);
}

static void open_tty(int *master, int *slave)
{
	OK(openpty(master, slave, NULL, NULL, NULL));
}

TEST(tty_with_a_line)
{
	int master, slave;
	struct ring r;

	open_tty(&master, &slave);
	ring_init(&r, 4, 0);
	OK(write(master, "line\nnext\n", 10));
	EXPECT_EQ(run_read(&r, slave, buf, sizeof(buf), 0), 5);
	EXPECT_EQ(run_read(&r, slave, buf, sizeof(buf), (uint64_t)-1), 5);
}

TEST(tty_later)
{
	int master, slave;
	struct ring r;

	open_tty(&master, &slave);
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_later(&r, slave, master, "typed\n"), 6);
	EXPECT_EQ(memcmp(buf, "typed\n", 6), 0);
}

TEST(tty_end_of_file)
{
	int master, slave;
	struct ring r;

	open_tty(&master, &slave);
	ring_init(&r, 4, 0);
	OK(write(master, "\x04", 1));
	EXPECT_EQ(run_read(&r, slave, buf, sizeof(buf), 0), 0);
}

TEST(tty_master_without_slave_is_eio)
{
	int master, slave;
	struct ring r;

	open_tty(&master, &slave);
	OK(close(slave));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, master, buf, sizeof(buf), 0), -EIO);
}

TEST(eventfd_counter)
{
	int fd = (int)OK(eventfd(7, 0));
	uint64_t value = 0;
	struct iovec iov = {&value, 8};
	struct ring r;
	struct cqe cqe;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, fd, &value, 8, 0), 8);
	EXPECT_EQ(value, 7);
	EXPECT_EQ(run_read(&r, fd, &value, 4, 0), -EINVAL);
	ring_readv(&r, fd, &iov, 1, 0, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(ring_ready(&r), 0);
	OK(write(fd, &(uint64_t){3}, 8));
	cqe = ring_wait(&r);
	note("res=%d value=%llu", cqe.res, (unsigned long long)value);
	EXPECT_EQ(value, 3);
}

TEST(timerfd_expiry)
{
	struct itimerspec soon = {.it_value = {.tv_nsec = 20000000}};
	int fd = (int)OK(timerfd_create(CLOCK_MONOTONIC, 0));
	uint64_t value = 0;
	struct ring r;

	ring_init(&r, 4, 0);
	OK(timerfd_settime(fd, 0, &soon, NULL));
	EXPECT_EQ(run_read(&r, fd, &value, 8, 0), 8);
	EXPECT_EQ(value, 1);
}

/* Neither an epoll instance nor a ring can be read. The kernel says so when they are readable in
 * poll's sense, and until then lets the request wait: so they are, here. */
TEST(epoll_descriptor_is_einval)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int fd = (int)OK(epoll_create1(0)), ready = (int)OK(eventfd(1, 0));
	struct ring r;

	OK(epoll_ctl(fd, EPOLL_CTL_ADD, ready, &ev));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, fd, buf, sizeof(buf), 0), -EINVAL);
	EXPECT_EQ(run_read(&r, fd, buf, sizeof(buf), (uint64_t)-1), -EINVAL);
}

TEST(inotify_event)
{
	char events[4096];
	int fd = (int)OK(inotify_init1(0)), file = make_file(10);
	char path[64];
	struct ring r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	OK(inotify_add_watch(fd, path, IN_ACCESS));
	EXPECT_EQ(OK(read(file, buf, 10)), 10);
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, fd, events, sizeof(events), 0), sizeof(struct inotify_event));
}

TEST(own_ring_is_einval)
{
	struct iovec iov = {buf, sizeof(buf)};
	struct ring r;
	struct cqe cqe;

	ring_init(&r, 4, 0);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	ring_readv(&r, r.fd, &iov, 1, 0, 2);
	ring_readv(&r, r.fd, &iov, 1, (uint64_t)-1, 3);
	EXPECT_EQ(ring_submit_wait(&r, 3), 2);
	for (int i = 0; i < 3; i++) {
		EXPECT(ring_reap(&r, &cqe));
		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
		EXPECT_EQ(cqe.res, cqe.user_data == 1 ? 0 : -EINVAL);
	}
}

TEST(another_ring_is_einval)
{
	struct ring r, other;

	ring_init(&r, 4, 0);
	ring_init(&other, 4, 0);
	ring_nop(&other, 1);
	EXPECT_EQ(ring_submit(&other), 1);
	EXPECT_EQ(run_read(&r, other.fd, buf, sizeof(buf), 0), -EINVAL);
	EXPECT_EQ(run_read(&r, other.fd, buf, sizeof(buf), (uint64_t)-1), -EINVAL);
	EXPECT_EQ(ring_ready(&other), 1);
}
