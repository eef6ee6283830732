/* SPDX-License-Identifier: Apache-2.0 */
/* poll(2), select(2) and epoll(7) on the ring's descriptor. */
#include "harness.h"

#include <sys/epoll.h>
#include <sys/select.h>

static short events(struct ring *r, int timeout_ms)
{
	struct pollfd pfd = {.fd = r->fd, .events = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLPRI};

	OK(poll(&pfd, 1, timeout_ms));
	note("revents=0x%x", pfd.revents);
	return pfd.revents;
}

static void nop_now(struct ring *r, uint64_t user_data)
{
	ring_nop(r, user_data);
	EXPECT_EQ(ring_submit(r), 1);
}

TEST(writable_while_the_sq_has_room)
{
	struct ring r;

	ring_init(&r, 2, 0);
	EXPECT_EQ(events(&r, 0) & POLLOUT, POLLOUT);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(events(&r, 0) & POLLOUT, POLLOUT);
	ring_nop(&r, 2);
	ring_store_tail(&r);
	EXPECT_EQ(events(&r, 0) & POLLOUT, 0);
	EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
	EXPECT_EQ(events(&r, 0) & POLLOUT, POLLOUT);
}

TEST(readable_while_there_are_completions)
{
	struct ring r;
	struct cqe cqe;

	ring_init(&r, 4, 0);
	EXPECT_EQ(events(&r, 0) & POLLIN, 0);
	nop_now(&r, 1);
	nop_now(&r, 2);
	EXPECT_EQ(events(&r, -1) & POLLIN, POLLIN);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(events(&r, 0) & POLLIN, POLLIN);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(events(&r, 0) & POLLIN, 0);
}

TEST(readable_with_a_backlog)
{
	struct io_uring_params p;
	struct ring r;
	struct cqe cqe;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_CQSIZE;
	p.cq_entries = 1;
	ring_init_params(&r, 1, &p);
	nop_now(&r, 1);
	nop_now(&r, 2);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT_EQ(events(&r, 0) & POLLIN, POLLIN);
}

static void *submit_later(void *arg)
{
	nop_now(arg, 5);
	return NULL;
}

TEST(poll_sleeps_until_a_completion)
{
	struct ring r;
	struct pollfd pfd = {.events = POLLIN};
	pthread_t thread;

	ring_init(&r, 4, 0);
	pfd.fd = r.fd;
	EXPECT_EQ(poll(&pfd, 1, 0), 0);
	EXPECT_EQ(pthread_create(&thread, NULL, submit_later, &r), 0);
	EXPECT_EQ(OK(poll(&pfd, 1, -1)), 1);
	note("revents=0x%x", pfd.revents);
	EXPECT_EQ(pfd.revents, POLLIN);
	EXPECT_EQ(pthread_join(thread, NULL), 0);
}

/* An asynchronous completion wakes it as well: the data arrives, nobody enters. */
TEST(poll_sees_an_asynchronous_completion)
{
	struct ring r;
	struct pollfd pfd = {.events = POLLIN};
	char c = 0;
	struct iovec iov = {&c, 1};
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	pfd.fd = r.fd;
	ring_readv(&r, p[0], &iov, 1, 0, 3);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(poll(&pfd, 1, 0), 0);
	OK(write(p[1], "q", 1));
	while (poll(&pfd, 1, -1) < 0) /* the completion may run as a signal would */
		EXPECT_EQ(errno, EINTR);
	EXPECT_EQ(pfd.revents, POLLIN);
	note("res=%d c=%c", r.cqes[0].res, c);
	EXPECT_EQ(r.cqes[0].res, 1);
}

TEST(poll_with_a_timeout_and_nothing_to_see)
{
	struct ring r;
	struct pollfd pfd = {.events = POLLIN};

	ring_init(&r, 4, 0);
	pfd.fd = r.fd;
	EXPECT_EQ(OK(poll(&pfd, 1, 30)), 0);
	note("revents=0x%x", pfd.revents);
}

TEST(epoll_level_triggered)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 99}, got;
	struct ring r;
	struct cqe cqe;
	int ep = (int)OK(epoll_create1(0));

	ring_init(&r, 4, 0);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, r.fd, &ev));
	EXPECT_EQ(OK(epoll_wait(ep, &got, 1, 0)), 0);
	nop_now(&r, 1);
	EXPECT_EQ(OK(epoll_wait(ep, &got, 1, -1)), 1);
	note("events=0x%x data=%llu", got.events, (unsigned long long)got.data.u64);
	EXPECT_EQ(OK(epoll_wait(ep, &got, 1, 0)), 1);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(OK(epoll_wait(ep, &got, 1, 0)), 0);
}

TEST(epoll_edge_triggered)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = 7}, got;
	struct ring r;
	int ep = (int)OK(epoll_create1(0));

	ring_init(&r, 8, 0);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, r.fd, &ev));
	for (int i = 0; i < 5; i++) {
		nop_now(&r, 1);
		EXPECT_EQ(OK(epoll_wait(ep, &got, 1, -1)), 1);
		note("events=0x%x", got.events);
		EXPECT_EQ(OK(epoll_wait(ep, &got, 1, 0)), 0);
	}
}

TEST(select_on_a_ring)
{
	struct timeval now = {0, 0};
	struct ring r;
	fd_set in, out;

	ring_init(&r, 4, 0);
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(r.fd, &in);
	FD_SET(r.fd, &out);
	EXPECT_EQ(OK(select(r.fd + 1, &in, &out, NULL, &now)), 1);
	EXPECT(!FD_ISSET(r.fd, &in) && FD_ISSET(r.fd, &out));
	nop_now(&r, 1);
	FD_SET(r.fd, &in);
	EXPECT_EQ(OK(select(r.fd + 1, &in, &out, NULL, NULL)), 2);
	note("readable and writable");
}
