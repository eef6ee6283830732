/* SPDX-License-Identifier: Apache-2.0 */
/* READV on what else has no position: sockets, terminals, counters, and what cannot be read at all. */
#include "harness.h"

#include <pty.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static char buf[64];

TEST(socket_with_data_and_later)
{
	struct ring r;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 4, 0);
	OK(write(s[1], "now", 3));
	EXPECT_EQ(run_read(&r, s[0], buf, sizeof(buf), 0), 3);
	EXPECT_EQ(run_later(&r, s[0], buf, sizeof(buf), s[1], "and later"), 9);
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
	EXPECT_EQ(run_later(&r, s[0], buf, sizeof(buf), s[1], "third"), 5);
}

TEST(socket_nonblocking_waits_all_the_same)
{
	struct ring r;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_later(&r, s[0], buf, sizeof(buf), s[1], "abc"), 3);
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
	EXPECT_EQ(run_later(&r, slave, buf, sizeof(buf), master, "typed\n"), 6);
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

/* O_NONBLOCK counts as FMODE_NOWAIT (io_file_get_flags()): who reads such a file may wait. */
static int later(int fd, unsigned rw_flags, int other, const char *text)
{
	struct io_uring_sqe *sqe;
	struct ring r;

	ring_init(&r, 4, 0);
	sqe = ring_sqe(&r);
	sqe->opcode = IORING_OP_READ;
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)buf;
	sqe->len = sizeof(buf);
	sqe->off = (uint64_t)-1;
	sqe->rw_flags = (int)rw_flags;
	EXPECT_EQ(ring_submit(&r), 1);
	if (!rw_flags) {
		EXPECT_EQ(ring_ready(&r), 0);
		OK(write(other, text, strlen(text)));
	}
	return ring_wait(&r).res;
}

TEST(a_terminal_that_does_not_block)
{
	int master, slave;

	OK(openpty(&master, &slave, NULL, NULL, NULL));
	OK(fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK));
	OK(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK));
	note("%d", later(slave, RWF_NOWAIT, master, NULL));
	note("%d", later(slave, 0, master, "line\n"));
	OK(tcflush(master, TCIOFLUSH));
	OK(tcflush(slave, TCIOFLUSH));
	note("%d", later(master, RWF_NOWAIT, slave, NULL));
	note("%d", later(master, 0, slave, "text"));
}

TEST(inotify_that_does_not_block)
{
	int fd = (int)OK(inotify_init1(IN_NONBLOCK)), file;
	char name[TEMPORARY];

	temporary(name, "uringfs");
	file = (int)OK(mkstemp(name));
	OK(inotify_add_watch(fd, name, IN_MODIFY));
	note("%d", later(fd, RWF_NOWAIT, file, NULL));
	note("%d", later(fd, 0, file, "text"));
	OK(unlink(name));
}
