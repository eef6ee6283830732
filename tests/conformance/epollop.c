/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_EPOLL_CTL, IORING_OP_EPOLL_WAIT and IORING_OP_PIPE. */
#include "events.h"

#define OP_EPOLL_WAIT 59
#define OP_PIPE 62

static int ep, fds[2];

static struct io_uring_sqe *ctl(struct ring *r, int op, int fd, struct epoll_event *event, uint64_t user_data)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_EPOLL_CTL, user_data, 0);

	sqe->fd = ep;
	sqe->len = (uint32_t)op;
	sqe->off = (uint64_t)fd;
	sqe->addr = (uint64_t)(uintptr_t)event;
	return sqe;
}

static struct io_uring_sqe *wait_op(struct ring *r, struct epoll_event *events, unsigned n, uint64_t user_data)
{
	struct io_uring_sqe *sqe = queue(r, OP_EPOLL_WAIT, user_data, 0);

	sqe->fd = ep;
	sqe->len = n;
	sqe->addr = (uint64_t)(uintptr_t)events;
	return sqe;
}

static struct io_uring_sqe *pipe_op(struct ring *r, int *at, unsigned flags, unsigned slot, uint64_t user_data)
{
	struct io_uring_sqe *sqe = queue(r, OP_PIPE, user_data, 0);

	sqe->fd = 0;
	sqe->addr = (uint64_t)(uintptr_t)at;
	sqe->rw_flags = (int)flags;
	sqe->file_index = slot;
	return sqe;
}

static void start(struct ring *r)
{
	ep = (int)OK(epoll_create1(EPOLL_CLOEXEC));
	make_pipe(fds);
	ring_init(r, 8, 0);
}

static void one(struct ring *r)
{
	EXPECT_EQ(ring_submit(r), 1);
	wait_for(r, 1);
}

static void ready(int timeout)
{
	struct epoll_event event;
	int n = (int)OK(epoll_wait(ep, &event, 1, timeout));

	note("ready %d events=0x%x data=%llu", n, n ? event.events : 0, n ? (unsigned long long)event.data.u64 : 0);
}

TEST(ctl_add)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
	struct ring r;

	start(&r);
	ctl(&r, EPOLL_CTL_ADD, fds[0], &event, 1);
	one(&r);
	ready(0);
	EXPECT_EQ(write(fds[1], "x", 1), 1);
	ready(-1);
}

TEST(ctl_works_with_the_clients_own)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1};
	struct ring r;

	start(&r);
	EXPECT_EQ(write(fds[1], "x", 1), 1);
	ctl(&r, EPOLL_CTL_ADD, fds[0], &event, 1);
	one(&r);
	ctl(&r, EPOLL_CTL_ADD, fds[0], &event, 2);
	one(&r);
	event.data.u64 = 2;
	OK(epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], &event));
	ready(0);
	event.data.u64 = 3;
	ctl(&r, EPOLL_CTL_MOD, fds[0], &event, 3);
	one(&r);
	ready(0);
	OK(epoll_ctl(ep, EPOLL_CTL_DEL, fds[0], NULL));
	ctl(&r, EPOLL_CTL_MOD, fds[0], &event, 4);
	one(&r);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event));
	ctl(&r, EPOLL_CTL_DEL, fds[0], NULL, 5);
	one(&r);
	ctl(&r, EPOLL_CTL_DEL, fds[0], NULL, 6);
	one(&r);
	ready(0);
}

TEST(ctl_of_high_and_low_numbers)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1};
	struct ring r;
	int fd;

	start(&r);
	for (fd = 3; fd < 200; fd += 49) {
		if (fd == ep || fd == fds[0] || fd == fds[1] || fd == r.fd)
			continue;
		EXPECT_EQ(dup2(fds[0], fd), fd);
		ctl(&r, EPOLL_CTL_ADD, fd, &event, (uint64_t)fd);
		one(&r);
	}
	EXPECT_EQ(dup2(fds[0], 0), 0);
	ctl(&r, EPOLL_CTL_ADD, 0, &event, 1);
	one(&r);
	OK(epoll_ctl(ep, EPOLL_CTL_DEL, 0, NULL));
}

TEST(ctl_errors)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct ring r;

	start(&r);
	ctl(&r, EPOLL_CTL_ADD, -1, &event, 1);
	one(&r);
	ctl(&r, EPOLL_CTL_ADD, 12345, &event, 2);
	one(&r);
	ctl(&r, EPOLL_CTL_ADD, make_file(1), &event, 3);
	one(&r);
	ctl(&r, EPOLL_CTL_ADD, ep, &event, 4);
	one(&r);
	ctl(&r, EPOLL_CTL_ADD, fds[0], NULL, 5);
	submit(&r);
	ctl(&r, 17, fds[0], &event, 6);
	one(&r);
	ctl(&r, EPOLL_CTL_ADD, fds[0], &event, 7)->fd = fds[1];
	one(&r);
	ctl(&r, EPOLL_CTL_ADD, fds[0], &event, 8)->fd = -1;
	one(&r);
	ctl(&r, EPOLL_CTL_ADD, fds[0], &event, 9)->buf_index = 1;
	submit(&r);
	ctl(&r, EPOLL_CTL_ADD, fds[0], &event, 10)->splice_fd_in = 1;
	submit(&r);
	event.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
	ctl(&r, EPOLL_CTL_ADD, fds[0], &event, 11);
	one(&r);
}

TEST(ctl_of_a_ring)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 5};
	struct ring r, s;

	start(&r);
	ring_init(&s, 8, 0);
	ctl(&r, EPOLL_CTL_ADD, s.fd, &event, 1);
	one(&r);
	ready(0);
	nop(&s, 2, 0);
	EXPECT_EQ(ring_submit(&s), 1);
	ready(-1);
}

TEST(wait_for_what_is_there)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 9}, got[4];
	struct ring r;

	start(&r);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event));
	EXPECT_EQ(write(fds[1], "x", 1), 1);
	wait_op(&r, got, 4, 1);
	one(&r);
	note("events=0x%x data=%llu", got[0].events, (unsigned long long)got[0].data.u64);
}

TEST(wait_for_what_comes)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 9}, got[4];
	struct ring r;

	start(&r);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event));
	wait_op(&r, got, 4, 1);
	submit(&r);
	EXPECT_EQ(write(fds[1], "x", 1), 1);
	wait_for(&r, 1);
	note("events=0x%x data=%llu", got[0].events, (unsigned long long)got[0].data.u64);
}

TEST(wait_is_cancelled)
{
	struct epoll_event got[4];
	struct ring r;

	start(&r);
	wait_op(&r, got, 4, 1);
	submit(&r);
	cancel(&r, 1, 0, 2);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
}

TEST(wait_errors)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 9}, got[4];
	struct ring r;

	start(&r);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event));
	EXPECT_EQ(write(fds[1], "x", 1), 1);
	wait_op(&r, got, 0, 1);
	one(&r);
	wait_op(&r, got, 0x80000000, 2);
	one(&r);
	wait_op(&r, NULL, 1, 3);
	one(&r);
	wait_op(&r, got, 1, 4)->fd = fds[0];
	one(&r);
	wait_op(&r, got, 1, 5)->fd = -1;
	one(&r);
	wait_op(&r, got, 1, 6)->off = 1;
	submit(&r);
	wait_op(&r, got, 1, 7)->rw_flags = 1;
	submit(&r);
	wait_op(&r, got, 1, 8)->buf_index = 1;
	submit(&r);
	wait_op(&r, got, 1, 9)->splice_fd_in = 1;
	submit(&r);
}

static int files(struct ring *r, const int *table, unsigned n)
{
	return on_uringfs() ? uringfs_register(r->fd, IORING_REGISTER_FILES, (void *)table, n)
			    : (int)syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_FILES, table, n);
}

static void through(struct ring *r, unsigned reader, unsigned writer)
{
	static char in[2], out[2] = "hi";
	struct iovec iov[2] = {{in, 2}, {out, 2}};
	struct io_uring_sqe *sqe;

	ring_readv(r, (int)reader, &iov[0], 1, 0, 21);
	r->sqes[r->array[(r->tail - 1) & 7]].flags = IOSQE_FIXED_FILE;
	sqe = queue(r, IORING_OP_WRITEV, 22, IOSQE_FIXED_FILE);
	sqe->fd = (int)writer;
	sqe->addr = (uint64_t)(uintptr_t)&iov[1];
	sqe->len = 1;
	EXPECT_EQ(ring_submit(r), 2);
	wait_sorted(r, 2);
	note("%.2s", in);
}

TEST(pipe_into_slots)
{
	int none[6] = {-1, -1, -1, -1, -1, -1}, got[2] = {7, 7};
	struct ring r;

	start(&r);
	EXPECT_EQ(files(&r, none, 6), 0);
	pipe_op(&r, got, 0, 2, 1);
	one(&r);
	note("%d %d", got[0], got[1]);
	through(&r, 1, 2);
	pipe_op(&r, got, O_NONBLOCK, (unsigned)-1, 2);
	one(&r);
	note("%d %d", got[0], got[1]);
	through(&r, (unsigned)got[0], (unsigned)got[1]);
	pipe_op(&r, got, 0, 2, 3); /* in use: replaced */
	one(&r);
	through(&r, 1, 2);
}

TEST(pipe_without_slots)
{
	int none[2] = {-1, -1}, got[2] = {7, 7};
	struct ring r;

	start(&r);
	pipe_op(&r, got, 0, 1, 1);
	one(&r);
	EXPECT_EQ(files(&r, none, 2), 0);
	pipe_op(&r, got, 0, 9, 2);
	one(&r);
	pipe_op(&r, got, O_CLOEXEC, 1, 3);
	one(&r);
	pipe_op(&r, got, 0, (unsigned)-1, 4);
	one(&r);
	pipe_op(&r, got, 0, (unsigned)-1, 5);
	one(&r);
}

TEST(pipe_into_descriptors)
{
	int got[2] = {-1, -1};
	char c = 0;
	struct ring r;

	start(&r);
	pipe_op(&r, got, O_CLOEXEC, 0, 1);
	one(&r);
	EXPECT_EQ(write(got[1], "x", 1), 1);
	EXPECT_EQ(read(got[0], &c, 1), 1);
	note("%c %d", c, fcntl(got[0], F_GETFD));
	pipe_op(&r, got, O_NONBLOCK, 0, 2);
	one(&r);
	note("%zd %d", read(got[0], &c, 1), errno);
	note("%d", fcntl(got[1], F_GETFD));
}

TEST(pipe_errors)
{
	int got[2];
	struct ring r;

	start(&r);
	pipe_op(&r, got, O_APPEND, 0, 1);
	submit(&r);
	pipe_op(&r, got, 0, 0, 2)->off = 1;
	submit(&r);
	pipe_op(&r, got, 0, 0, 3)->fd = 1;
	submit(&r);
	pipe_op(&r, got, 0, 0, 4)->addr3 = 1;
	submit(&r);
	pipe_op(&r, NULL, 0, 0, 5);
	one(&r);
}
