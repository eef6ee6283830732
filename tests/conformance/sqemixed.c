/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_SETUP_SQE_MIXED, NOP128 and URING_CMD128 (Linux 6.19): SQEs of 128 bytes among those of 64.
 * An older kernel is no oracle: what is expected here is then by the source of one that has them. */
#include "harness.h"
#include "uapi_extra.h"

#define SQE_MIXED (1U << 19)
#define OP_NOP128 63
#define OP_URING_CMD128 64
#define OP_URING_CMD 46

static void mixed(struct ring *r, unsigned entries, unsigned flags)
{
	struct io_uring_params p;

	memset(&p, 0, sizeof(p));
	p.flags = SQE_MIXED;
	if (!on_uringfs()) {
		int fd = sys_setup(2, &p);

		if (fd == -EINVAL)
			skip("this kernel has no IORING_SETUP_SQE_MIXED");
		OK(close(fd));
	}
	ring_init(r, entries, SQE_MIXED | flags);
}

/* The SQE at a slot, queued at the next position. */
static struct io_uring_sqe *at(struct ring *r, unsigned slot, unsigned op, uint64_t user_data)
{
	struct io_uring_sqe *sqe = memset(&r->sqes[slot], 0, sizeof(*sqe));

	if (r->array)
		r->array[r->tail & (r->p.sq_entries - 1)] = slot;
	r->tail++;
	sqe->opcode = (uint8_t)op;
	sqe->fd = -1;
	sqe->user_data = user_data;
	return sqe;
}

/* One of 128 bytes: two positions, and slots; the second half is nothing that could run. */
static struct io_uring_sqe *wide_at(struct ring *r, unsigned slot, unsigned op, uint64_t user_data)
{
	struct io_uring_sqe *sqe = at(r, slot, op, user_data);

	memset(sqe + 1, 0xff, sizeof(*sqe));
	r->tail++;
	return sqe;
}

static unsigned note_cqes(struct ring *r)
{
	struct cqe cqe;
	unsigned n;

	for (n = 0; ring_reap(r, &cqe); n++)
		note("%llu: %d 0x%x", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
	return n;
}

static void expect(struct ring *r, uint64_t user_data, int res)
{
	struct cqe cqe;

	EXPECT(ring_reap(r, &cqe));
	EXPECT_EQ(cqe.user_data, user_data);
	EXPECT_EQ(cqe.res, res);
}

TEST(both_in_one_ring)
{
	struct ring r;

	mixed(&r, 8, 0);
	at(&r, 0, IORING_OP_NOP, 1);
	wide_at(&r, 1, OP_NOP128, 2);
	at(&r, 3, IORING_OP_NOP, 3);
	wide_at(&r, 4, OP_NOP128, 4);
	EXPECT_EQ(ring_submit(&r), 6);
	for (unsigned i = 1; i <= 4; i++)
		expect(&r, i, 0);
	EXPECT_EQ(atomic_load(r.sq_head), 6);
	note_cqes(&r);
}

TEST(without_an_index_array)
{
	struct ring r;

	mixed(&r, 4, IORING_SETUP_NO_SQARRAY);
	for (unsigned i = 0; i < 20; i++) {
		unsigned slot = r.tail & 3;

		if (slot == 3)
			at(&r, slot, IORING_OP_NOP, i);
		else
			wide_at(&r, slot, OP_NOP128, i);
		EXPECT_EQ(ring_submit(&r), slot == 3 ? 1 : 2);
		expect(&r, i, 0);
	}
}

TEST(across_the_end_is_einval)
{
	struct ring r;

	mixed(&r, 4, IORING_SETUP_NO_SQARRAY);
	for (unsigned i = 0; i < 3; i++)
		at(&r, i, IORING_OP_NOP, i);
	EXPECT_EQ(ring_submit(&r), 3);
	EXPECT_EQ(note_cqes(&r), 3);
	at(&r, 3, OP_NOP128, 8);
	at(&r, 0, IORING_OP_NOP, 9);
	EXPECT_EQ(ring_submit(&r), 1);
	expect(&r, 8, -EINVAL);
	EXPECT_EQ(ring_submit(&r), 1);
	expect(&r, 9, 0);
}

/* In the array it is the slot that counts: the last one has no neighbour. */
TEST(the_last_slot_is_einval)
{
	struct ring r;

	mixed(&r, 8, IORING_SETUP_SUBMIT_ALL);
	at(&r, 7, OP_NOP128, 1);
	at(&r, 0, IORING_OP_NOP, 2);
	EXPECT_EQ(ring_submit(&r), 2);
	expect(&r, 1, -EINVAL);
	expect(&r, 2, 0);
}

TEST(half_of_one_is_einval)
{
	struct ring r;

	mixed(&r, 8, 0);
	wide_at(&r, 0, OP_NOP128, 1);
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
	expect(&r, 1, -EINVAL);
	/* the other half is an SQE like any other now */
	EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
	EXPECT_EQ(ring_ready(&r), 1);
}

TEST(in_a_chain)
{
	struct ring r;

	mixed(&r, 8, 0);
	wide_at(&r, 0, OP_NOP128, 1)->flags = IOSQE_IO_LINK;
	at(&r, 2, IORING_OP_NOP, 2)->flags = IOSQE_IO_LINK;
	wide_at(&r, 3, OP_NOP128, 3);
	EXPECT_EQ(ring_submit(&r), 5);
	for (unsigned i = 1; i <= 3; i++)
		expect(&r, i, 0);
}

TEST(with_flags)
{
	struct io_uring_sqe *sqe;
	struct ring r;

	mixed(&r, 8, 0);
	sqe = wide_at(&r, 0, OP_NOP128, 1);
	sqe->rw_flags = 1; /* IORING_NOP_INJECT_RESULT */
	sqe->len = 4711;
	EXPECT_EQ(ring_submit(&r), 2);
	expect(&r, 1, 4711);
	wide_at(&r, 0, OP_NOP128, 2)->rw_flags = 1 << 20;
	EXPECT_EQ(ring_submit(&r), 2);
	expect(&r, 2, -EINVAL);
	wide_at(&r, 0, OP_NOP128, 3)->flags = IOSQE_CQE_SKIP_SUCCESS;
	EXPECT_EQ(ring_submit(&r), 2);
	EXPECT_EQ(ring_ready(&r), 0);
}

/* SOCKET_URING_OP_SIOCINQ, by either opcode */
TEST(a_command_of_a_socket)
{
	int listener = (int)OK(socket(AF_INET, SOCK_DGRAM, 0)), sender = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
	struct sockaddr_storage addr;
	socklen_t size = sizeof(addr);
	struct ring r;

	memset(&addr, 0, sizeof(addr));
	addr.ss_family = AF_INET;
	OK(bind(listener, (void *)&addr, 16));
	OK(getsockname(listener, (void *)&addr, &size));
	EXPECT_EQ(sendto(sender, "hello", 5, 0, (void *)&addr, size), 5);
	mixed(&r, 8, 0);
	at(&r, 0, OP_URING_CMD, 1)->fd = listener;
	wide_at(&r, 1, OP_URING_CMD128, 2)->fd = listener;
	wide_at(&r, 3, OP_URING_CMD128, 3)->fd = make_file(1);
	EXPECT_EQ(ring_submit_wait(&r, 3), 5);
	expect(&r, 1, 5);
	expect(&r, 2, 5);
	expect(&r, 3, -EOPNOTSUPP);
}

/* In rings of one size: of 128 bytes every SQE is wide, of 64 none. */
TEST(in_other_rings)
{
	struct ring r;

	mixed(&r, 4, 0);
	ring_init(&r, 4, 0);
	at(&r, 0, OP_NOP128, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	expect(&r, 1, -EINVAL);
	at(&r, 0, OP_URING_CMD128, 2);
	EXPECT_EQ(ring_submit(&r), 1);
	expect(&r, 2, -EINVAL);
	ring_init(&r, 4, IORING_SETUP_SQE128);
	at(&r, 0, OP_NOP128, 3);
	EXPECT_EQ(ring_submit(&r), 1);
	expect(&r, 3, 0);
}

static int try(unsigned entries, unsigned flags)
{
	struct io_uring_params p;
	int fd;

	memset(&p, 0, sizeof(p));
	p.flags = flags;
	fd = sys_setup(entries, &p);
	if (fd >= 0)
		EXPECT_EQ(p.flags, flags);
	return fd < 0 ? fd : close(fd);
}

TEST(setups)
{
	struct ring r;

	mixed(&r, 4, 0);
	EXPECT_EQ(try(8, SQE_MIXED | IORING_SETUP_SQE128), -EINVAL);
	EXPECT_EQ(try(1, SQE_MIXED), -EOVERFLOW);
	EXPECT_EQ(try(2, SQE_MIXED), 0);
	EXPECT_EQ(try(8, SQE_MIXED | (1U << 18)), 0); /* CQE_MIXED */
	EXPECT_EQ(try(8, SQE_MIXED | IORING_SETUP_CQE32), 0);
}

/* All kernels: without the flag the opcodes are not there. */
TEST(opcodes_of_128_bytes_in_a_plain_ring)
{
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 4, 0);
	memset(&sqe, 0, sizeof(sqe));
	for (sqe.opcode = OP_NOP128; sqe.opcode <= OP_URING_CMD128; sqe.opcode++) {
		EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
		sqe.flags = IOSQE_BUFFER_SELECT;
		EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
		sqe.flags = 0x80;
		EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
		sqe.flags = 0;
	}
}
