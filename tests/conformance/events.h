/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that wait for events, for the families about them: one line each, CQEs noted in their order. */
#ifndef EVENTS_H
#define EVENTS_H

#include "harness.h"
#include "uapi_extra.h"

#include <fcntl.h>
#include <linux/time_types.h>
#include <sys/epoll.h>
#include <time.h>

#ifndef IORING_TIMEOUT_MULTISHOT
#define IORING_TIMEOUT_MULTISHOT (1U << 6)
#endif
#ifndef IORING_ASYNC_CANCEL_USERDATA
#define IORING_ASYNC_CANCEL_USERDATA (1U << 4)
#endif
#ifndef IORING_ASYNC_CANCEL_OP
#define IORING_ASYNC_CANCEL_OP (1U << 5)
#endif

#define LINK IOSQE_IO_LINK
#define HARD IOSQE_IO_HARDLINK
#define SKIP IOSQE_CQE_SKIP_SUCCESS
#define DRAIN IOSQE_IO_DRAIN
#define UNUSED __attribute__((unused))

static struct __kernel_timespec never UNUSED = {1000, 0}, soon UNUSED = {0, 50000000}, now UNUSED = {0, 0};

static inline struct io_uring_sqe *queue(struct ring *r, unsigned op, uint64_t user_data, unsigned flags)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	EXPECT(sqe != NULL);
	sqe->opcode = (uint8_t)op;
	sqe->fd = -1;
	sqe->user_data = user_data;
	sqe->flags = (uint8_t)flags;
	return sqe;
}

static inline void nop(struct ring *r, uint64_t user_data, unsigned flags)
{
	queue(r, IORING_OP_NOP, user_data, flags);
}

/* A request that fails when it runs. */
static inline void fails(struct ring *r, uint64_t user_data, unsigned flags)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_NOP, user_data, flags);

	sqe->rw_flags = 1; /* IORING_NOP_INJECT_RESULT */
	sqe->len = (uint32_t)-EIO;
}

/* One that fails before it runs. */
static inline void invalid(struct ring *r, uint64_t user_data, unsigned flags)
{
	queue(r, 200, user_data, flags);
}

static inline struct io_uring_sqe *timeout(struct ring *r, const struct __kernel_timespec *ts, unsigned off,
					   unsigned timeout_flags, uint64_t user_data, unsigned flags)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_TIMEOUT, user_data, flags);

	sqe->addr = (uint64_t)(uintptr_t)ts;
	sqe->len = 1;
	sqe->off = off;
	sqe->timeout_flags = timeout_flags;
	return sqe;
}

static inline struct io_uring_sqe *link_timeout(struct ring *r, const struct __kernel_timespec *ts,
						unsigned timeout_flags, uint64_t user_data, unsigned flags)
{
	struct io_uring_sqe *sqe = timeout(r, ts, 0, timeout_flags, user_data, flags);

	sqe->opcode = IORING_OP_LINK_TIMEOUT;
	return sqe;
}

static inline struct io_uring_sqe *timeout_remove(struct ring *r, uint64_t target, unsigned timeout_flags,
						  const struct __kernel_timespec *ts, uint64_t user_data)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_TIMEOUT_REMOVE, user_data, 0);

	sqe->addr = target;
	sqe->off = (uint64_t)(uintptr_t)ts;
	sqe->timeout_flags = timeout_flags;
	return sqe;
}

static inline struct io_uring_sqe *cancel(struct ring *r, uint64_t target, unsigned cancel_flags, uint64_t user_data)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_ASYNC_CANCEL, user_data, 0);

	sqe->addr = target;
	sqe->cancel_flags = cancel_flags;
	return sqe;
}

static inline struct io_uring_sqe *poll_add(struct ring *r, int fd, unsigned events, unsigned poll_flags,
					    uint64_t user_data, unsigned flags)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_POLL_ADD, user_data, flags);

	sqe->fd = fd;
	sqe->poll32_events = events;
	sqe->len = poll_flags;
	return sqe;
}

static inline struct io_uring_sqe *poll_remove(struct ring *r, uint64_t target, unsigned poll_flags,
					       uint64_t new_user_data, unsigned events, uint64_t user_data)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_POLL_REMOVE, user_data, 0);

	sqe->addr = target;
	sqe->len = poll_flags;
	sqe->off = new_user_data;
	sqe->poll32_events = events;
	return sqe;
}

static inline void note_cqe(struct cqe cqe)
{
	note("user_data=%llu res=%d flags=%u", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
}

/* Submit all that is queued, and note what is complete when the call returns. */
static inline void submit(struct ring *r)
{
	struct cqe cqe;

	note("submitted %d", ring_submit(r));
	while (ring_reap(r, &cqe))
		note_cqe(cqe);
}

/* Wait for n CQEs and note them, in their order. */
static inline void wait_for(struct ring *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		note_cqe(ring_wait(r));
}

static inline int cqe_order(const void *a, const void *b)
{
	const struct cqe *x = a, *y = b;

	if (x->user_data != y->user_data)
		return x->user_data < y->user_data ? -1 : 1;
	return (x->res > y->res) - (x->res < y->res);
}

/* The same where the order is nobody's promise. */
static inline void wait_sorted(struct ring *r, unsigned n)
{
	struct cqe cqes[64];

	EXPECT_LE(n, 64);
	for (unsigned i = 0; i < n; i++)
		cqes[i] = ring_wait(r);
	qsort(cqes, n, sizeof(*cqes), cqe_order);
	for (unsigned i = 0; i < n; i++)
		note_cqe(cqes[i]);
}

/* Submit all that is queued, and note n CQEs, whether they come with the call or later: a timeout may be the
 * quicker of two on a busy machine. */
static inline void submit_for(struct ring *r, unsigned n)
{
	note("submitted %d", ring_submit(r));
	wait_for(r, n);
}

/* Everything that pends goes, and nothing else was there. */
static inline void finish(struct ring *r, unsigned pending)
{
	cancel(r, 0, IORING_ASYNC_CANCEL_ANY, 0xca);
	EXPECT_EQ(ring_submit(r), 1);
	wait_sorted(r, pending + 1);
	EXPECT_EQ(ring_ready(r), 0);
}

static inline void make_pipe(int fds[2])
{
	OK(pipe2(fds, O_CLOEXEC));
}

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	OK(clock_gettime(clock, &ts));
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

#endif
