/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_SETUP_SQPOLL: submission without a call. */
#include "harness.h"

#include <sched.h>
#include <time.h>

static void sqpoll_ring(struct ring *r, unsigned entries, unsigned flags, unsigned idle_ms)
{
	struct io_uring_params p;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_SQPOLL | flags;
	p.sq_thread_idle = idle_ms;
	ring_init_params(r, entries, &p);
}

/* Shared words move by themselves here: look until they have. alarm(2) ends what never comes. */
static void until_ready(struct ring *r, unsigned n)
{
	while (ring_ready(r) < n)
		usleep(100); /* a spinning waiter can starve the poller of a busy machine */
}

static void until_asleep(struct ring *r)
{
	while (!(atomic_load(r->sq_flags) & IORING_SQ_NEED_WAKEUP))
		usleep(100); /* a spinning waiter can starve the poller of a busy machine */
}

/* The head is published behind a batch, whose completions may be seen before: io_submit_sqes() */
static void until_taken(struct ring *r, unsigned head)
{
	while (atomic_load(r->sq_head) != head)
		usleep(100);
}

static void wake(struct ring *r)
{
	/* Whatever the flag says: it may fall asleep behind the look at it */
	EXPECT_EQ(enter(r->fd, 0, 0, IORING_ENTER_SQ_WAKEUP), 0);
}

TEST(the_tail_is_seen_without_a_call)
{
	struct cqe cqe;
	struct ring r;

	/* A new poller may fall asleep at once (io_sq_thread() starts with its time up): wake it once. */
	sqpoll_ring(&r, 8, 0, 10000);
	ring_nop(&r, 0);
	ring_store_tail(&r);
	wake(&r);
	until_ready(&r, 1);
	EXPECT(ring_reap(&r, &cqe));
	ring_nop(&r, 1);
	ring_nop(&r, 2);
	ring_store_tail(&r);
	until_ready(&r, 2);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(cqe.user_data, 1);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(cqe.user_data, 2);
	until_taken(&r, 3);
}

TEST(it_falls_asleep_and_is_woken)
{
	struct ring r;

	sqpoll_ring(&r, 8, 0, 20);
	until_asleep(&r);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT_EQ(enter(r.fd, 1, 0, IORING_ENTER_SQ_WAKEUP), 1);
	until_ready(&r, 1);
	until_asleep(&r);
}

TEST(an_enter_without_the_flag_wakes_nobody)
{
	struct ring r;

	sqpoll_ring(&r, 8, 0, 10);
	until_asleep(&r);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
	EXPECT_EQ(enter(r.fd, 7, 0, 0), 7);
	EXPECT_EQ(atomic_load(r.sq_head), 0);
	EXPECT_EQ(ring_ready(&r), 0);
	wake(&r);
	until_ready(&r, 1);
}

TEST(waking_and_waiting_in_one)
{
	struct ring r;

	sqpoll_ring(&r, 8, 0, 10);
	until_asleep(&r);
	ring_nop(&r, 5);
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 1, 1, GETEVENTS | IORING_ENTER_SQ_WAKEUP), 1);
	EXPECT_EQ(ring_ready(&r), 1);
}

TEST(waiting_for_room)
{
	struct ring r;

	sqpoll_ring(&r, 2, 0, 10);
	until_asleep(&r);
	ring_nop(&r, 1);
	ring_nop(&r, 2);
	ring_store_tail(&r);
	EXPECT_EQ(ring_sqe(&r), NULL);
	EXPECT_EQ(enter(r.fd, 2, 0, IORING_ENTER_SQ_WAKEUP | IORING_ENTER_SQ_WAIT), 2);
	EXPECT_EQ(atomic_load(r.sq_head), 2);
	ring_nop(&r, 3);
	ring_store_tail(&r);
	wake(&r);
	until_ready(&r, 3);
}

TEST(files_and_memory_are_the_creators)
{
	char buf[64];
	struct iovec iov = {buf, sizeof(buf)};
	struct ring r;
	struct cqe cqe;
	int fd = make_file(40);

	sqpoll_ring(&r, 8, 0, 1000);
	ring_readv(&r, fd, &iov, 1, 0, 9);
	ring_store_tail(&r);
	wake(&r);
	until_ready(&r, 1);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(cqe.res, 40);
	EXPECT(is_pattern(buf, 0, 40));
	ring_readv(&r, 1 << 20, &iov, 1, 0, 10);
	ring_store_tail(&r);
	wake(&r);
	until_ready(&r, 1);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(cqe.res, -EBADF);
}

TEST(a_read_that_waits)
{
	char buf[8] = "";
	struct iovec iov = {buf, sizeof(buf)};
	struct ring r;
	struct cqe cqe;
	int p[2];

	OK(pipe(p));
	sqpoll_ring(&r, 8, 0, 1000);
	ring_readv(&r, p[0], &iov, 1, 0, 9);
	ring_nop(&r, 10);
	ring_store_tail(&r);
	wake(&r);
	until_ready(&r, 1);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(cqe.user_data, 10);
	EXPECT_EQ(write(p[1], "abc", 3), 3);
	until_ready(&r, 1);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(cqe.res, 3);
	EXPECT(memcmp(buf, "abc", 3) == 0);
}

TEST(many_rounds)
{
	struct cqe cqe;
	struct ring r;

	sqpoll_ring(&r, 4, 0, 50);
	for (unsigned i = 0; i < 200; i++) {
		ring_nop(&r, i);
		ring_store_tail(&r);
		wake(&r);
		until_ready(&r, 1);
		EXPECT(ring_reap(&r, &cqe));
		EXPECT_EQ(cqe.user_data, i);
	}
	until_taken(&r, 200);
}

TEST(links)
{
	struct io_uring_sqe *sqe;
	struct cqe cqe;
	struct ring r;

	sqpoll_ring(&r, 8, 0, 1000);
	sqe = ring_sqe(&r);
	sqe->opcode = IORING_OP_READV;
	sqe->fd = -1;
	sqe->flags = IOSQE_IO_LINK;
	sqe->user_data = 1;
	ring_nop(&r, 2);
	ring_store_tail(&r);
	wake(&r);
	until_ready(&r, 2);
	EXPECT(ring_reap(&r, &cqe));
	note("%d", cqe.res);
	EXPECT(ring_reap(&r, &cqe));
	note("%d", cqe.res);
}

TEST(a_disabled_ring_is_not_polled)
{
	struct ring r;

	sqpoll_ring(&r, 8, IORING_SETUP_R_DISABLED, 10);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 1, 0, IORING_ENTER_SQ_WAKEUP), -EBADFD);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0);
	wake(&r);
	until_ready(&r, 1);
}

TEST(another_thread_may_enter)
{
	struct ring r;
	pid_t pid;

	sqpoll_ring(&r, 8, IORING_SETUP_SINGLE_ISSUER, 10);
	until_asleep(&r);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		ring_nop(&r, 3);
		ring_store_tail(&r);
		EXPECT_EQ(enter(r.fd, 1, 1, GETEVENTS | IORING_ENTER_SQ_WAKEUP), 1);
		_exit(0);
	}
	expect_child_ok(pid);
	EXPECT_EQ(ring_ready(&r), 1);
}

TEST(closed_while_it_polls)
{
	struct ring r;

	for (int i = 0; i < 5; i++) {
		sqpoll_ring(&r, 8, 0, 1000);
		ring_nop(&r, 1);
		ring_store_tail(&r);
		wake(&r);
		until_ready(&r, 1);
		ring_close(&r);
	}
}

static int setup_flags(unsigned flags, unsigned cpu, unsigned wq_fd)
{
	struct io_uring_params p;
	int fd;

	memset(&p, 0, sizeof(p));
	p.flags = flags;
	p.sq_thread_cpu = cpu;
	p.wq_fd = wq_fd;
	fd = sys_setup(4, &p);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

TEST(a_cpu_of_its_own)
{
	EXPECT_EQ(setup_flags(IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF, 0, 0), 0);
	EXPECT_EQ(setup_flags(IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF, 4000, 0), -EINVAL);
	EXPECT_EQ(setup_flags(IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF, UINT32_MAX, 0), -EINVAL);
	EXPECT_EQ(setup_flags(IORING_SETUP_SQ_AFF, 0, 0), -EINVAL);
}

TEST(attaching)
{
	struct ring plain, polled;
	int fd = make_file(1);

	ring_init(&plain, 4, 0);
	sqpoll_ring(&polled, 4, 0, 10);
	EXPECT_EQ(setup_flags(IORING_SETUP_ATTACH_WQ, 0, plain.fd), 0);
	EXPECT_EQ(setup_flags(IORING_SETUP_ATTACH_WQ, 0, polled.fd), 0);
	EXPECT_EQ(setup_flags(IORING_SETUP_ATTACH_WQ, 0, fd), -EINVAL);
	EXPECT_EQ(setup_flags(IORING_SETUP_ATTACH_WQ, 0, 1 << 20), -ENXIO);
	EXPECT_EQ(setup_flags(IORING_SETUP_ATTACH_WQ, 0, UINT32_MAX), -ENXIO);
	EXPECT_EQ(setup_flags(IORING_SETUP_ATTACH_WQ | IORING_SETUP_SQPOLL, 0, polled.fd), 0);
	EXPECT_EQ(setup_flags(IORING_SETUP_ATTACH_WQ | IORING_SETUP_SQPOLL, 0, plain.fd), -EINVAL);
	EXPECT_EQ(setup_flags(IORING_SETUP_ATTACH_WQ | IORING_SETUP_SQPOLL, 0, fd), -EINVAL);
}

TEST(an_attached_ring_is_polled)
{
	struct io_uring_params p;
	struct ring first, second;

	sqpoll_ring(&first, 4, 0, 100);
	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_SQPOLL | IORING_SETUP_ATTACH_WQ;
	p.wq_fd = (uint32_t)first.fd;
	p.sq_thread_idle = 100;
	ring_init_params(&second, 4, &p);
	ring_nop(&first, 1);
	ring_store_tail(&first);
	ring_nop(&second, 2);
	ring_store_tail(&second);
	wake(&first);
	wake(&second);
	until_ready(&first, 1);
	until_ready(&second, 1);
}

static volatile sig_atomic_t caught;

static void count(int sig)
{
	(void)sig;
	caught++;
}

static void *wait_for_room(void *arg)
{
	struct ring *r = arg;

	return (void *)(intptr_t)enter(r->fd, 2, 0, IORING_ENTER_SQ_WAIT);
}

/* Nobody wakes the poller: a signal ends the wait, and not with EINTR. */
TEST(a_signal_while_there_is_no_room)
{
	struct ring r;
	pthread_t t;
	void *ret;

	on_signal(SIGUSR1, count, 0);
	sqpoll_ring(&r, 2, 0, 1);
	while (!(atomic_load(r.sq_flags) & IORING_SQ_NEED_WAKEUP))
		usleep(1000);
	ring_nop(&r, 1);
	ring_nop(&r, 2);
	ring_store_tail(&r);
	EXPECT_EQ(pthread_create(&t, NULL, wait_for_room, &r), 0);
	usleep(20000); /* until it waits: a supervised call that nobody has received yet ends with EINTR */
	do {
		pthread_kill(t, SIGUSR1);
		usleep(1000);
	} while (pthread_tryjoin_np(t, &ret) != 0);
	note("%d", (int)(intptr_t)ret);
	EXPECT_GE(caught, 1);
	EXPECT_EQ(atomic_load(r.sq_head), 0);
}
