/* SPDX-License-Identifier: Apache-2.0 */
/* NOP, and what holds for every request: order, user_data, and what an SQE may not say. */
#include "harness.h"

static void note_all(struct ring *r)
{
	struct cqe cqe;

	while (ring_reap(r, &cqe))
		note("user_data=%llu res=%d flags=%u", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
}

static struct io_uring_sqe sqe_of(uint8_t opcode, uint64_t user_data)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = opcode;
	sqe.fd = -1;
	sqe.user_data = user_data;
	return sqe;
}

TEST(one)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_NOP, 42);
	struct ring r;

	ring_init(&r, 1, 0);
	EXPECT_EQ(run_sqe(&r, &sqe), 0);
	ring_note_words(&r);
}

TEST(many_in_one_enter_complete_in_order)
{
	struct ring r;

	ring_init(&r, 32, 0);
	for (uint64_t i = 0; i < 32; i++)
		ring_nop(&r, 1000 - i);
	EXPECT_EQ(ring_submit(&r), 32);
	EXPECT_EQ(ring_ready(&r), 32);
	note_all(&r);
	ring_note_words(&r);
}

TEST(user_data_comes_back_bit_for_bit)
{
	static const uint64_t values[] = {
		0, 1, UINT64_MAX, 0x8000000000000000ULL, 0x0123456789abcdefULL, 0xffffffffULL, 0x100000000ULL};
	struct ring r;

	ring_init(&r, 8, 0);
	for (size_t i = 0; i < 7; i++)
		ring_nop(&r, values[i]);
	EXPECT_EQ(ring_submit(&r), 7);
	for (size_t i = 0; i < 7; i++) {
		struct cqe cqe;

		EXPECT(ring_reap(&r, &cqe));
		note("user_data=%llx", (unsigned long long)cqe.user_data);
		EXPECT_EQ(cqe.user_data, values[i]);
	}
}

TEST(completes_before_enter_returns)
{
	struct ring r;

	ring_init(&r, 4, 0);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(ring_ready(&r), 1);
}

TEST(most_fields_are_ignored)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_NOP, 7);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.addr = 0xffffffffffffffffULL;
	sqe.off = 12345;
	sqe.len = 99;
	sqe.fd = 1 << 30;
	sqe.ioprio = 0;
	EXPECT_EQ(run_sqe(&r, &sqe), 0);
}

TEST(unknown_opcode_is_einval)
{
	struct ring r;
	static const uint8_t opcodes[] = {255, 254, 200, 128};

	ring_init(&r, 4, 0);
	for (size_t i = 0; i < sizeof(opcodes); i++) {
		struct io_uring_sqe sqe = sqe_of(opcodes[i], i);

		EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	}
	ring_note_words(&r);
}

TEST(unknown_sqe_flag_is_einval)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_NOP, 7);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.flags = 1u << 7;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.opcode = IORING_OP_READV;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
}

TEST(unregistered_personality_is_einval)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_NOP, 7);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.personality = 1;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.personality = 65535;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
}

/* A request that cannot be prepared ends the submission behind it ... */
TEST(first_bad_sqe_stops_the_submission)
{
	struct ring r;

	ring_init(&r, 8, 0);
	for (uint64_t i = 0; i < 6; i++)
		ring_nop(&r, i);
	r.sqes[r.array[2]].opcode = 255;
	r.sqes[r.array[4]].opcode = 255;
	EXPECT_EQ(ring_submit(&r), 3);
	note_all(&r);
	ring_note_words(&r);
	EXPECT_EQ(enter(r.fd, 3, 0, 0), 2);
	note_all(&r);
	EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
	note_all(&r);
	ring_note_words(&r);
}

/* ... but not with SUBMIT_ALL. */
TEST(submit_all_goes_on_after_a_bad_sqe)
{
	struct ring r;

	ring_init(&r, 8, IORING_SETUP_SUBMIT_ALL);
	for (uint64_t i = 0; i < 6; i++)
		ring_nop(&r, i);
	r.sqes[r.array[0]].opcode = 255;
	r.sqes[r.array[2]].flags = 1u << 7;
	r.sqes[r.array[5]].personality = 9;
	EXPECT_EQ(ring_submit(&r), 6);
	note_all(&r);
	ring_note_words(&r);
}

/* A request that fails while it runs is no reason to stop. */
TEST(a_failing_request_does_not_stop_the_submission)
{
	struct iovec iov = {NULL, 0};
	struct ring r;

	ring_init(&r, 8, 0);
	ring_nop(&r, 0);
	ring_readv(&r, -1, &iov, 1, 0, 1);
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit(&r), 3);
	note_all(&r);
}

/* Nor is the wait lost: what was submitted before the bad one counts. */
TEST(bad_sqe_and_a_wait_in_one_enter)
{
	struct ring r;

	ring_init(&r, 8, 0);
	ring_nop(&r, 0);
	ring_nop(&r, 1);
	r.sqes[r.array[1]].opcode = 255;
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	note_all(&r);
}

TEST(an_sqe_may_be_reused_at_once)
{
	struct ring r;

	ring_init(&r, 2, 0);
	for (uint64_t i = 0; i < 3; i++) {
		ring_nop(&r, i);
		EXPECT_EQ(ring_submit(&r), 1);
		memset(r.sqes, 0xff, r.sqes_size);
	}
	note_all(&r);
}
