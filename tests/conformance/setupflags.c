/* SPDX-License-Identifier: Apache-2.0 */
/* Setup flags: which go together, and what entries of other sizes look like. */
#include "harness.h"

static const struct {
	const char *name;
	unsigned flags;
} combinations[] = {
#define C(flags) {#flags, flags}
	C(IORING_SETUP_SQ_AFF),
	C(IORING_SETUP_TASKRUN_FLAG),
	C(IORING_SETUP_COOP_TASKRUN),
	C(IORING_SETUP_DEFER_TASKRUN),
	C(IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG),
	C(IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER),
	C(IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_TASKRUN_FLAG),
	C(IORING_SETUP_SQPOLL | IORING_SETUP_COOP_TASKRUN),
	C(IORING_SETUP_SQPOLL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG),
	C(IORING_SETUP_SQPOLL | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER),
	C(IORING_SETUP_SQPOLL | IORING_SETUP_SINGLE_ISSUER),
	C(IORING_SETUP_IOPOLL),
	C(IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL),
	C(IORING_SETUP_IOPOLL | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER),
	C(IORING_SETUP_IOPOLL | (1U << 17)), /* HYBRID_IOPOLL */
	C(1U << 17),
	C(IORING_SETUP_SQE128 | IORING_SETUP_CQE32),
	C(1U << 15), /* REGISTERED_FD_ONLY */
	C(1U << 25),
	C(1U << 31),
};

TEST(flags_that_go_together)
{
	struct ring plain;

	ring_init(&plain, 8, 0);
	for (size_t i = 0; i < sizeof(combinations) / sizeof(*combinations); i++) {
		struct io_uring_params p;
		int fd;

		memset(&p, 0, sizeof(p));
		p.flags = combinations[i].flags;
		fd = sys_setup(8, &p);
		note("%s: %d", combinations[i].name, fd < 0 ? fd : 0);
		if (fd >= 0) {
			EXPECT_EQ(p.flags, combinations[i].flags);
			note("  cqes %u array %u", p.cq_off.cqes, p.sq_off.array);
			OK(close(fd));
		}
	}
}

/* SQEs of 128 bytes and CQEs of 32: the second half is there, and the next one behind it. */
static void large(unsigned flags)
{
	struct io_uring_params p;
	size_t sqe_size = flags & IORING_SETUP_SQE128 ? 128 : 64, cqe_size = flags & IORING_SETUP_CQE32 ? 32 : 16;
	size_t rings_size, sqes_size;
	char *rings, *sqes;
	int fd;

	memset(&p, 0, sizeof(p));
	p.flags = flags;
	fd = (int)OK(sys_setup(4, &p));
	rings_size = p.sq_off.array + 4 * sizeof(uint32_t);
	sqes_size = p.sq_entries * sqe_size;
	rings = mmap(NULL, rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	EXPECT(rings != MAP_FAILED);
	EXPECT(sqes != MAP_FAILED);
	for (unsigned i = 0; i < 4; i++) {
		struct io_uring_sqe *sqe = (void *)(sqes + (3 - i) * sqe_size);

		((uint32_t *)(rings + p.sq_off.array))[i] = 3 - i;
		sqe->opcode = IORING_OP_NOP;
		sqe->user_data = 100 + i;
	}
	atomic_store((shared_u32 *)(rings + p.sq_off.tail), 4);
	EXPECT_EQ(enter(fd, 4, 4, GETEVENTS), 4);
	for (unsigned i = 0; i < 4; i++) {
		const uint64_t *cqe = (void *)(rings + p.cq_off.cqes + i * cqe_size);

		note("%llu %llx", (unsigned long long)cqe[0], (unsigned long long)cqe[1]);
		if (cqe_size == 32)
			note("  %llx %llx", (unsigned long long)cqe[2], (unsigned long long)cqe[3]);
	}
}

TEST(large_sqes)
{
	large(IORING_SETUP_SQE128);
}

TEST(large_cqes)
{
	large(IORING_SETUP_CQE32);
}

TEST(large_both)
{
	large(IORING_SETUP_SQE128 | IORING_SETUP_CQE32);
}

static int run_op(struct ring *r, unsigned op, int fd, void *buf, unsigned len)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.fd = fd;
	sqe.addr = (uint64_t)(uintptr_t)buf;
	sqe.len = len;
	return run_sqe(r, &sqe);
}

TEST(a_polled_ring_takes_few_requests)
{
	char buf[16];
	struct ring r;

	ring_init(&r, 4, IORING_SETUP_IOPOLL);
	EXPECT_EQ(run_op(&r, IORING_OP_NOP, -1, NULL, 0), 0);
	EXPECT_EQ(run_op(&r, IORING_OP_FSYNC, 0, NULL, 0), -EINVAL);
	EXPECT_EQ(run_op(&r, IORING_OP_TIMEOUT, -1, NULL, 1), -EINVAL);
	EXPECT_EQ(run_op(&r, IORING_OP_POLL_ADD, 0, NULL, 0), -EINVAL);
	EXPECT_EQ(run_op(&r, IORING_OP_READ, make_file(16), buf, 16), -EOPNOTSUPP);
	note("nothing to wait for: %d", enter(r.fd, 0, 1, GETEVENTS));
}

TEST(a_polled_ring_moves_its_backlog)
{
	struct ring r;
	struct cqe cqe;

	ring_init(&r, 2, IORING_SETUP_IOPOLL);
	for (int i = 0; i < 6; i++) {
		ring_nop(&r, i);
		EXPECT_EQ(ring_submit(&r), 1);
	}
	for (int i = 0; i < 6; i++) {
		if (!ring_ready(&r))
			note("enter: %d", enter(r.fd, 0, 1, GETEVENTS));
		EXPECT(ring_reap(&r, &cqe));
		note("%llu", (unsigned long long)cqe.user_data);
	}
}

TEST(a_polled_pipe)
{
	char buf[16];
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, IORING_SETUP_IOPOLL);
	EXPECT_EQ(run_op(&r, IORING_OP_READ, p[0], buf, 16), -EOPNOTSUPP);
}

static void *enter_and_register(void *arg)
{
	struct ring *r = arg;

	note("enter: %d", enter(r->fd, 1, 0, 0));
	note("register: %d", sys_register(r->fd, IORING_REGISTER_PERSONALITY, NULL, 0));
	note("wait for nothing: %d", enter(r->fd, 0, 0, GETEVENTS));
	return NULL;
}

static void elsewhere(struct ring *r)
{
	pthread_t t;

	EXPECT_EQ(pthread_create(&t, NULL, enter_and_register, r), 0);
	EXPECT_EQ(pthread_join(t, NULL), 0);
}

TEST(a_single_issuer_elsewhere)
{
	struct ring r;

	ring_init(&r, 4, IORING_SETUP_SINGLE_ISSUER);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	elsewhere(&r);
	EXPECT_EQ(ring_submit(&r), 1);
}

TEST(a_deferring_ring_elsewhere)
{
	struct ring r;

	ring_init(&r, 4, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	elsewhere(&r);
	EXPECT_EQ(ring_submit(&r), 1);
}

static void *enable(void *arg)
{
	struct ring *r = arg;

	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0);
	EXPECT_EQ(enter(r->fd, 1, 0, 0), 1);
	return NULL;
}

TEST(who_enables_issues)
{
	struct ring r;
	pthread_t t;

	ring_init(&r, 4, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_R_DISABLED);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(pthread_create(&t, NULL, enable, &r), 0);
	EXPECT_EQ(pthread_join(t, NULL), 0);
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit(&r), -EEXIST);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PERSONALITY, NULL, 0), -EEXIST);
}

/* With DEFER_TASKRUN a completion that comes later is posted in an enter that waits. */
TEST(deferred_completions)
{
	char buf[4];
	struct iovec iov = {buf, 4};
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG);
	ring_readv(&r, p[0], &iov, 1, 0, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(p[1], "abcd", 4), 4);
	while (!(atomic_load(r.sq_flags) & IORING_SQ_TASKRUN))
		;
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	EXPECT_EQ(ring_ready(&r), 1);
	EXPECT_EQ(atomic_load(r.sq_flags), 0);
	EXPECT_EQ(ring_wait(&r).res, 4);
}

TEST(a_nop_is_not_deferred)
{
	struct ring r;

	ring_init(&r, 4, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(ring_ready(&r), 1);
}
