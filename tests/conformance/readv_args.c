/* SPDX-License-Identifier: Apache-2.0 */
/* READV's arguments: iovecs, descriptors, flags, and when they are read. */
#include "harness.h"

#include <limits.h>

static char buf[8192];

static struct io_uring_sqe readv_sqe(int fd, const struct iovec *iov, unsigned n)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_READV;
	sqe.fd = fd;
	sqe.addr = (uint64_t)(uintptr_t)iov;
	sqe.len = n;
	sqe.user_data = 0x1234;
	return sqe;
}

TEST(no_iovecs_read_nothing)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, NULL, 0, 0), 0);
	EXPECT_EQ(run_readv(&r, file, (void *)8, 0, 0), 0);
}

TEST(scattered_over_iovecs)
{
	char a[3], b[1], c[50];
	struct iovec iov[3] = {{a, 3}, {b, 1}, {c, 50}};
	int file = make_file(40);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, iov, 3, 0), 40);
	EXPECT(is_pattern(a, 0, 3) && is_pattern(b, 3, 1) && is_pattern(c, 4, 36));
}

TEST(a_thousand_and_twenty_four_iovecs)
{
	struct iovec iov[1024];
	int file = make_file(5000);
	struct ring r;

	for (int i = 0; i < 1024; i++) {
		iov[i].iov_base = buf + (1023 - i) * 4;
		iov[i].iov_len = 4;
	}
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, iov, 1024, 0), 4096);
	for (size_t i = 0; i < 1024; i++)
		EXPECT(is_pattern(buf + (1023 - i) * 4, i * 4, 4));
}

TEST(more_iovecs_are_einval)
{
	static struct iovec iov[1025];
	int file = make_file(5000);
	struct ring r;

	for (int i = 0; i < 1025; i++) {
		iov[i].iov_base = buf;
		iov[i].iov_len = 1;
	}
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, iov, 1025, 0), -EINVAL);
	EXPECT_EQ(run_readv(&r, file, iov, UINT32_MAX, 0), -EINVAL);
	EXPECT_EQ(run_readv(&r, file, iov, 1u << 31, 0), -EINVAL);
	EXPECT_EQ(run_readv(&r, file, NULL, 1025, 0), -EINVAL);
}

TEST(empty_iovecs_in_between)
{
	struct iovec iov[5] = {{NULL, 0}, {buf, 3}, {(void *)8, 0}, {buf + 3, 4}, {NULL, 0}};
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, iov, 5, 10), 7);
	EXPECT(is_pattern(buf, 10, 7));
}

TEST(only_empty_iovecs)
{
	struct iovec iov[3] = {{NULL, 0}, {buf, 0}, {NULL, 0}};
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, iov, 3, 0), 0);
	EXPECT_EQ(run_readv(&r, file, iov, 3, (uint64_t)-1), 0);
	EXPECT_EQ(lseek(file, 0, SEEK_CUR), 0);
}

TEST(iov_len_above_ssize_max_is_einval)
{
	struct iovec one = {buf, (size_t)1 << 63}, two[2] = {{buf, 4}, {buf, SIZE_MAX}};
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, &one, 1, 0), -EINVAL);
	EXPECT_EQ(run_readv(&r, file, two, 2, 0), -EINVAL);
}

/* The sum is cut at MAX_RW_COUNT, it does not overflow. */
TEST(iov_lens_that_sum_to_more_than_fits)
{
	struct iovec iov[3] = {{buf, 100}, {buf + 100, INT_MAX}, {buf, INT_MAX}};
	int file = make_file(1000);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, iov, 3, 0), 1000);
	EXPECT(is_pattern(buf, 0, 1000));
}

TEST(iovecs_may_overlap)
{
	struct iovec iov[2] = {{buf, 10}, {buf + 5, 10}};
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, iov, 2, 0), 20);
	EXPECT(is_pattern(buf, 0, 5) && is_pattern(buf + 5, 10, 10));
}

TEST(bad_descriptors_are_ebadf)
{
	struct iovec iov = {buf, 16};
	int file = make_file(10), closed = (int)OK(dup(file));
	struct ring r;

	OK(close(closed));
	ring_init(&r, 4, 0);
	if (closed == r.fd)
		closed = (int)OK(dup(file)), OK(close(closed));
	EXPECT_EQ(run_readv(&r, -1, &iov, 1, 0), -EBADF);
	EXPECT_EQ(run_readv(&r, closed, &iov, 1, 0), -EBADF);
	EXPECT_EQ(run_readv(&r, 1 << 30, &iov, 1, 0), -EBADF);
	EXPECT_EQ(run_readv(&r, INT32_MIN, &iov, 1, 0), -EBADF);
	EXPECT_EQ(run_readv(&r, INT32_MAX, &iov, 1, 0), -EBADF);
	EXPECT_EQ(run_readv(&r, -100, &iov, 1, 0), -EBADF); /* AT_FDCWD */
}

/* Arguments first, then the file. */
TEST(bad_iovecs_come_before_a_bad_descriptor)
{
	struct iovec wrong = {(void *)0xffff888000000000UL, 16};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, -1, NULL, 1, 0), -EFAULT);
	EXPECT_EQ(run_readv(&r, -1, NULL, 1025, 0), -EINVAL);
	run_readv(&r, -1, &wrong, 1, 0);
}

/* And so bad iovecs end a submission, as every request does that cannot be prepared. */
TEST(bad_iovecs_stop_the_submission)
{
	struct ring r;

	ring_init(&r, 8, 0);
	ring_nop(&r, 1);
	ring_readv(&r, 0, NULL, 1, 0, 2);
	ring_nop(&r, 3);
	EXPECT_EQ(ring_submit(&r), 2);
	note("user_data=%llu res=%d", (unsigned long long)r.cqes[1].user_data, r.cqes[1].res);
	ring_note_words(&r);
}

TEST(bad_buffer_does_not_stop_the_submission)
{
	struct iovec wrong = {map_then_hole(1) + PAGE, 16};
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 8, 0);
	ring_nop(&r, 1);
	ring_readv(&r, file, &wrong, 1, 0, 2);
	ring_nop(&r, 3);
	EXPECT_EQ(ring_submit_wait(&r, 3), 3);
	ring_note_words(&r);
}

/* SUBMIT_STABLE: after the submission, iovecs and SQE are the client's again. */
TEST(iovecs_may_be_overwritten_after_the_submission)
{
	struct iovec iov[2] = {{buf, 2}, {buf + 10, 30}};
	struct ring r;
	struct cqe cqe;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], iov, 2, 0, 8);
	EXPECT_EQ(ring_submit(&r), 1);
	memset(iov, 0xff, sizeof(iov));
	memset(r.sqes, 0xff, r.sqes_size);
	OK(write(p[1], "abcdef", 6));
	cqe = ring_wait(&r);
	note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	EXPECT_EQ(cqe.res, 6);
	EXPECT(memcmp(buf, "ab", 2) == 0 && memcmp(buf + 10, "cdef", 4) == 0);
}

static int with_rw_flags(struct ring *r, int fd, uint32_t rw_flags)
{
	struct iovec iov = {buf, 16};
	struct io_uring_sqe sqe = readv_sqe(fd, &iov, 1);

	sqe.rw_flags = rw_flags;
	note("rw_flags=0x%x", rw_flags);
	return run_sqe(r, &sqe);
}

TEST(rwf_hipri_needs_a_polled_ring)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(with_rw_flags(&r, file, RWF_HIPRI), -EINVAL);
}

TEST(rwf_nowait)
{
	int file = make_file(100), p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	with_rw_flags(&r, file, RWF_NOWAIT); /* a tmpfs knows it not */
	EXPECT_EQ(with_rw_flags(&r, p[0], RWF_NOWAIT), -EAGAIN);
	OK(write(p[1], "abc", 3));
	EXPECT_EQ(with_rw_flags(&r, p[0], RWF_NOWAIT), 3);
}

TEST(rwf_sync_flags_mean_nothing_to_a_read)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(with_rw_flags(&r, file, RWF_DSYNC), 16);
	EXPECT_EQ(with_rw_flags(&r, file, RWF_SYNC), 16);
	EXPECT_EQ(with_rw_flags(&r, file, RWF_APPEND), 16);
}

TEST(unknown_rw_flags_are_eopnotsupp)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(with_rw_flags(&r, file, 1u << 31), -EOPNOTSUPP);
	EXPECT_EQ(with_rw_flags(&r, file, 1u << 20), -EOPNOTSUPP);
	EXPECT_EQ(with_rw_flags(&r, file, UINT32_MAX), -EOPNOTSUPP);
	EXPECT_EQ(with_rw_flags(&r, -1, 1u << 31), -EBADF);
}

TEST(ioprio)
{
	static const uint16_t values[] = {
		2 << 13 | 4, /* best effort */
		3 << 13,     /* idle */
		2 << 13 | 7, /* the lowest */
		7 << 13,     /* no such class */
		5 << 13 | 1,
	};
	int file = make_file(100);
	struct iovec iov = {buf, 16};
	struct ring r;

	ring_init(&r, 4, 0);
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		struct io_uring_sqe sqe = readv_sqe(file, &iov, 1);

		sqe.ioprio = values[i];
		note("ioprio=0x%x", values[i]);
		EXPECT_EQ(run_sqe(&r, &sqe), values[i] >> 13 > 3 ? -EINVAL : 16);
	}
}

TEST(unregistered_personality_is_einval)
{
	int file = make_file(100);
	struct iovec iov = {buf, 16};
	struct io_uring_sqe sqe = readv_sqe(file, &iov, 1);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.personality = 3;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
}

TEST(buf_index_is_ignored)
{
	int file = make_file(100);
	struct iovec iov = {buf, 16};
	struct io_uring_sqe sqe = readv_sqe(file, &iov, 1);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.buf_index = 77;
	EXPECT_EQ(run_sqe(&r, &sqe), 16);
}

TEST(fixed_file_without_a_table_is_ebadf)
{
	int file = make_file(100);
	struct iovec iov = {buf, 16};
	struct io_uring_sqe sqe = readv_sqe(file, &iov, 1);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.flags = IOSQE_FIXED_FILE;
	EXPECT_EQ(run_sqe(&r, &sqe), -EBADF);
}
