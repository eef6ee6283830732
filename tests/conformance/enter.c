/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring_enter(2): what it counts, what it waits for, what it refuses. */
#include "harness.h"

static void queue_nops(struct ring *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ring_nop(r, i);
	ring_store_tail(r);
}

TEST(nothing_to_do)
{
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(enter(r.fd, 0, 0, 0), 0);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	EXPECT_EQ(enter(r.fd, 4, 0, 0), 0);
	EXPECT_EQ(enter(r.fd, 4, 0, GETEVENTS), 0);
	ring_note_words(&r);
}

TEST(min_complete_without_getevents_does_not_wait)
{
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(enter(r.fd, 0, 3, 0), 0);
	EXPECT_EQ(enter(r.fd, 0, UINT32_MAX, 0), 0);
	queue_nops(&r, 1);
	EXPECT_EQ(enter(r.fd, 1, 4, 0), 1);
	ring_note_words(&r);
}

TEST(wait_is_over_when_enough_are_there)
{
	struct ring r;

	ring_init(&r, 4, 0);
	queue_nops(&r, 4);
	EXPECT_EQ(enter(r.fd, 4, 4, GETEVENTS), 4);
	EXPECT_EQ(enter(r.fd, 0, 1, GETEVENTS), 0);
	EXPECT_EQ(enter(r.fd, 0, 4, GETEVENTS), 0);
	ring_note_words(&r);
}

/* More than the CQ holds can never be there: the wait is for a full CQ. */
TEST(min_complete_is_capped_at_the_cq)
{
	struct ring r;

	ring_init(&r, 4, 0);
	queue_nops(&r, 4);
	EXPECT_EQ(enter(r.fd, 4, 0, 0), 4);
	queue_nops(&r, 4);
	EXPECT_EQ(enter(r.fd, 4, UINT32_MAX, GETEVENTS), 4);
	EXPECT_EQ(ring_ready(&r), r.p.cq_entries);
	EXPECT_EQ(enter(r.fd, 0, 9, GETEVENTS), 0);
	ring_note_words(&r);
}

TEST(unknown_flags_are_einval)
{
	struct ring r;

	ring_init(&r, 4, 0);
	queue_nops(&r, 1);
	EXPECT_EQ(enter(r.fd, 1, 0, 1u << 31), -EINVAL);
	EXPECT_EQ(enter(r.fd, 1, 1, GETEVENTS | 1u << 30), -EINVAL);
	EXPECT_EQ(enter(r.fd, 1, 0, UINT32_MAX), -EINVAL);
	ring_note_words(&r);
	EXPECT_EQ(enter(r.fd, 1, 1, GETEVENTS), 1);
}

/* Without an SQ thread there is none to wake: the flags are known, and change nothing. */
TEST(sq_thread_flags_are_harmless)
{
	struct ring r;

	ring_init(&r, 4, 0);
	queue_nops(&r, 2);
	EXPECT_EQ(enter(r.fd, 1, 0, IORING_ENTER_SQ_WAKEUP), 1);
	EXPECT_EQ(enter(r.fd, 1, 0, IORING_ENTER_SQ_WAIT), 1);
	ring_note_words(&r);
}

TEST(bad_descriptors_are_ebadf)
{
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(enter(-1, 0, 0, 0), -EBADF);
	EXPECT_EQ(enter(1 << 30, 0, 0, 0), -EBADF);
	EXPECT_EQ(enter(INT32_MIN, 1, 0, 0), -EBADF);
	OK(close(r.fd));
	EXPECT_EQ(enter(r.fd, 0, 0, 0), -EBADF);
	EXPECT_EQ(enter(r.fd, 1, 1, GETEVENTS), -EBADF);
}

TEST(bad_sigset_size_is_einval)
{
	sigset_t set;
	struct ring r;

	sigemptyset(&set);
	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_enter(r.fd, 0, 1, GETEVENTS, &set, 4), -EINVAL);
	EXPECT_EQ(sys_enter(r.fd, 0, 1, GETEVENTS, &set, 0), -EINVAL);
	EXPECT_EQ(sys_enter(r.fd, 0, 1, GETEVENTS, &set, sizeof(set)), -EINVAL);
}

/* The sigset is looked at by those who wait, and by nobody else. */
TEST(sigset_is_not_read_without_a_wait)
{
	sigset_t set;
	struct ring r;

	sigemptyset(&set);
	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_enter(r.fd, 0, 1, 0, &set, 4), 0);
	EXPECT_EQ(sys_enter(r.fd, 0, 0, GETEVENTS, &set, 4), 0);
	queue_nops(&r, 1);
	EXPECT_EQ(sys_enter(r.fd, 1, 1, GETEVENTS, &set, 4), 1);
	EXPECT_EQ(sys_enter(r.fd, 0, 1, GETEVENTS, &set, 4), 0);
}

TEST(bad_sigset_size_does_not_undo_the_submission)
{
	struct iovec iov;
	sigset_t set;
	struct ring r;
	char c;
	int p[2];

	sigemptyset(&set);
	OK(pipe(p));
	iov.iov_base = &c;
	iov.iov_len = 1;
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], &iov, 1, 0, 5);
	ring_store_tail(&r);
	EXPECT_EQ(sys_enter(r.fd, 1, 1, GETEVENTS, &set, 4), 1);
	OK(write(p[1], "x", 1));
	EXPECT_EQ(ring_wait(&r).user_data, 5);
	EXPECT_EQ(c, 'x');
}

TEST(null_sigset_with_any_size)
{
	struct ring r;

	ring_init(&r, 4, 0);
	queue_nops(&r, 2);
	EXPECT_EQ(sys_enter(r.fd, 1, 1, GETEVENTS, NULL, 0), 1);
	EXPECT_EQ(sys_enter(r.fd, 1, 2, GETEVENTS, NULL, 12345), 1);
}

TEST(submit_and_wait_for_a_slow_request)
{
	struct iovec iov;
	struct ring r;
	char buf[8] = "";
	int p[2];

	OK(pipe(p));
	iov.iov_base = buf;
	iov.iov_len = sizeof(buf);
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], &iov, 1, 0, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(ring_ready(&r), 0);
	OK(write(p[1], "hello", 5));
	EXPECT_EQ(enter(r.fd, 0, 1, GETEVENTS), 0);
	EXPECT_EQ(r.cqes[0].res, 5);
	EXPECT_EQ(memcmp(buf, "hello", 5), 0);
	ring_note_words(&r);
}

/* One slow request delays nobody: not those behind it, not those in front of it. */
TEST(slow_request_delays_nobody)
{
	struct iovec slow, quick;
	struct ring r;
	struct cqe cqe;
	char a, b[64];
	int p[2], file = make_file(64);

	OK(pipe(p));
	slow.iov_base = &a;
	slow.iov_len = 1;
	quick.iov_base = b;
	quick.iov_len = sizeof(b);
	ring_init(&r, 8, 0);
	ring_nop(&r, 1);
	ring_readv(&r, p[0], &slow, 1, 0, 2);
	ring_nop(&r, 3);
	ring_readv(&r, file, &quick, 1, 0, 4);
	EXPECT_EQ(ring_submit_wait(&r, 3), 4);
	for (int i = 0; i < 3; i++) {
		EXPECT(ring_reap(&r, &cqe));
		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	}
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT(is_pattern(b, 0, 64));
	OK(write(p[1], "x", 1));
	cqe = ring_wait(&r);
	note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	EXPECT_EQ(cqe.user_data, 2);
}

/* Two rings, one of them waiting: the other is not held up. */
TEST(rings_are_independent)
{
	struct iovec iov;
	struct ring slow, quick;
	struct cqe cqe;
	char c;
	int p[2];

	OK(pipe(p));
	iov.iov_base = &c;
	iov.iov_len = 1;
	ring_init(&slow, 4, 0);
	ring_init(&quick, 4, 0);
	ring_readv(&slow, p[0], &iov, 1, 0, 1);
	EXPECT_EQ(ring_submit(&slow), 1);
	for (uint64_t i = 0; i < 20; i++) {
		ring_nop(&quick, i);
		EXPECT_EQ(ring_submit_wait(&quick, 1), 1);
		EXPECT(ring_reap(&quick, &cqe));
		EXPECT_EQ(cqe.user_data, i);
	}
	EXPECT_EQ(ring_ready(&slow), 0);
	OK(write(p[1], "x", 1));
	EXPECT_EQ(ring_wait(&slow).res, 1);
}

TEST(twenty_pending_requests)
{
	struct iovec iov[20];
	struct ring r;
	char buf[20];
	int p[20][2];

	ring_init(&r, 32, 0);
	for (int i = 0; i < 20; i++) {
		OK(pipe(p[i]));
		iov[i].iov_base = &buf[i];
		iov[i].iov_len = 1;
		ring_readv(&r, p[i][0], &iov[i], 1, 0, (uint64_t)i);
	}
	EXPECT_EQ(ring_submit(&r), 20);
	EXPECT_EQ(ring_ready(&r), 0);
	for (int i = 19; i >= 0; i--) {
		struct cqe cqe;

		OK(write(p[i][1], &(char){(char)('a' + i)}, 1));
		cqe = ring_wait(&r);
		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
		EXPECT_EQ(cqe.user_data, i);
		EXPECT_EQ(buf[i], 'a' + i);
	}
}
