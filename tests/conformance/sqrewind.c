/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_SETUP_SQ_REWIND (Linux 7.0): every submission begins at the first SQE, head and tail are not used.
 * An older kernel is no oracle: what is expected here is then by the source of one that has it. */
#include "harness.h"

#define SQ_REWIND (1U << 20)
#define REWIND (SQ_REWIND | IORING_SETUP_NO_SQARRAY)

static void rewinding(struct ring *r, unsigned entries, unsigned flags)
{
	struct io_uring_params p;

	memset(&p, 0, sizeof(p));
	p.flags = REWIND;
	if (!on_uringfs()) {
		int fd = sys_setup(2, &p);

		if (fd == -EINVAL)
			skip("this kernel has no IORING_SETUP_SQ_REWIND");
		OK(close(fd));
	}
	ring_init(r, entries, REWIND | flags);
}

static void nop_at(struct ring *r, unsigned slot, uint64_t user_data)
{
	struct io_uring_sqe *sqe = memset(&r->sqes[slot], 0, sizeof(*sqe));

	sqe->opcode = IORING_OP_NOP;
	sqe->user_data = user_data;
}

static void expect(struct ring *r, uint64_t user_data, int res)
{
	struct cqe cqe;

	EXPECT(ring_reap(r, &cqe));
	EXPECT_EQ(cqe.user_data, user_data);
	EXPECT_EQ(cqe.res, res);
}

TEST(from_the_first_again)
{
	struct ring r;

	rewinding(&r, 8, 0);
	for (unsigned turn = 0; turn < 20; turn++) {
		unsigned n = 1 + turn % 8;

		for (unsigned i = 0; i < n; i++)
			nop_at(&r, i, 100 * turn + i);
		EXPECT_EQ(enter(r.fd, n, n, GETEVENTS), n);
		for (unsigned i = 0; i < n; i++)
			expect(&r, 100 * turn + i, 0);
		EXPECT_EQ(atomic_load(r.sq_head), 0);
		EXPECT_EQ(atomic_load(r.sq_tail), 0);
	}
}

TEST(no_more_than_the_ring_has)
{
	struct ring r;

	rewinding(&r, 4, 0);
	for (unsigned i = 0; i < 4; i++)
		nop_at(&r, i, i);
	EXPECT_EQ(enter(r.fd, 0, 0, 0), 0);
	EXPECT_EQ(enter(r.fd, 100, 0, 0), 4);
	for (unsigned i = 0; i < 4; i++)
		expect(&r, i, 0);
}

/* What an SQE that fails before it begins leaves behind is not submitted by the next call. */
TEST(a_batch_that_ends_early)
{
	struct ring r;

	rewinding(&r, 4, 0);
	nop_at(&r, 0, 1);
	r.sqes[0].opcode = 255;
	nop_at(&r, 1, 2);
	EXPECT_EQ(enter(r.fd, 2, 0, 0), 1);
	expect(&r, 1, -EINVAL);
	nop_at(&r, 0, 3);
	EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
	expect(&r, 3, 0);
	EXPECT_EQ(ring_ready(&r), 0);
}

TEST(chains_and_waits)
{
	char buf[8];
	struct iovec iov = {buf, 8};
	struct ring r;
	int p[2];

	OK(pipe(p));
	rewinding(&r, 4, IORING_SETUP_SUBMIT_ALL);
	nop_at(&r, 0, 1);
	r.sqes[0].opcode = IORING_OP_READV;
	r.sqes[0].flags = IOSQE_IO_LINK;
	r.sqes[0].fd = p[0];
	r.sqes[0].addr = (uint64_t)(uintptr_t)&iov;
	r.sqes[0].len = 1;
	nop_at(&r, 1, 2);
	EXPECT_EQ(enter(r.fd, 2, 0, 0), 2);
	memset(r.sqes, 0xff, 2 * sizeof(*r.sqes)); /* it has been taken */
	EXPECT_EQ(write(p[1], "12345678", 8), 8);
	EXPECT_EQ(enter(r.fd, 0, 2, GETEVENTS), 0);
	expect(&r, 1, 8);
	expect(&r, 2, 0);
}

static int try(unsigned flags)
{
	struct io_uring_params p;
	int fd;

	memset(&p, 0, sizeof(p));
	p.flags = flags;
	fd = sys_setup(4, &p);
	return fd < 0 ? fd : close(fd);
}

TEST(setups)
{
	struct ring r;

	rewinding(&r, 4, 0);
	EXPECT_EQ(try(SQ_REWIND), -EINVAL);
	EXPECT_EQ(try(REWIND | IORING_SETUP_SQPOLL), -EINVAL);
	EXPECT_EQ(try(REWIND | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN), 0);
}
