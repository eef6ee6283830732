/* SPDX-License-Identifier: Apache-2.0 */
/* PROVIDE_BUFFERS and REMOVE_BUFFERS, and reads that take from them. */
#include "pbuf.h"

TEST(in_order)
{
	int fd = make_file(300);
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 3, 7, 100), 0);
	EXPECT_EQ(read_selected(&r, fd, 20, 7), 20);
	EXPECT(is_pattern(pool[0], 0, 20));
	EXPECT_EQ(read_selected(&r, fd, 500, 7), 64);
	EXPECT(is_pattern(pool[1], 0, 64));
	EXPECT_EQ(read_selected(&r, fd, 0, 7), 64);
	EXPECT(is_pattern(pool[2], 0, 64));
	EXPECT_EQ(read_selected(&r, fd, 20, 7), -ENOBUFS);
	EXPECT_EQ(provide(&r, 1, 7, 65535), 0);
	EXPECT_EQ(read_selected(&r, fd, 20, 7), 20);
}

TEST(groups)
{
	int fd = make_file(10);
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(read_selected(&r, fd, 10, 0), -ENOBUFS);
	EXPECT_EQ(provide(&r, 1, 0, 1), 0);
	EXPECT_EQ(provide(&r, 1, 65535, 2), 0);
	EXPECT_EQ(read_selected(&r, fd, 10, 1), -ENOBUFS);
	EXPECT_EQ(read_selected(&r, fd, 10, 65535), 10);
	EXPECT_EQ(read_selected(&r, fd, 10, 0), 10);
}

TEST(removal)
{
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(remove_buffers(&r, 1, 5), -ENOENT);
	EXPECT_EQ(provide(&r, 8, 5, 0), 0);
	EXPECT_EQ(remove_buffers(&r, 3, 5), 3);
	EXPECT_EQ(remove_buffers(&r, 100, 5), 5);
	EXPECT_EQ(remove_buffers(&r, 1, 5), 0);
	EXPECT_EQ(read_selected(&r, make_file(4), 4, 5), -ENOBUFS);
	EXPECT_EQ(remove_buffers(&r, 0, 5), -EINVAL);
	EXPECT_EQ(remove_buffers(&r, -1, 5), -EINVAL);
	EXPECT_EQ(remove_buffers(&r, 65537, 5), -EINVAL);
	EXPECT_EQ(remove_buffers(&r, 65536, 5), 0);
}

TEST(removal_takes_the_first)
{
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 3, 5, 10), 0);
	EXPECT_EQ(remove_buffers(&r, 2, 5), 2);
	EXPECT_EQ(read_selected(&r, make_file(4), 4, 5), 4);
}

TEST(what_is_refused)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		int n;
		uint64_t bid;
	} bad[] = {
		{4096, 64, 0, 0},	  {4096, 64, -1, 0},	  {4096, 64, 65537, 0},
		{4096, 0, 1, 0},	  {4096, 64, 1, 65536},	  {4096, 64, 2, 65535},
		{~0ULL, 64, 1, 0},	  {1ULL << 47, 64, 1, 0}, {0xffff800000000000, 64, 1, 0},
		{4096, 0x80000000, 1, 3}, {4096, 64, 1, ~0ULL},	  {8, 64, 1, 0},
	};
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 8, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		note("%zu: %d", i, provide_at(&r, (void *)(uintptr_t)bad[i].addr, bad[i].len, bad[i].n, 1, bad[i].bid));
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_PROVIDE_BUFFERS;
	sqe.fd = 1;
	sqe.len = 1;
	sqe.addr = 4096;
	sqe.rw_flags = 1;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.rw_flags = 0;
	sqe.splice_fd_in = 1;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.splice_fd_in = 0;
	sqe.opcode = IORING_OP_REMOVE_BUFFERS;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
}

TEST(the_most_there_may_be)
{
	struct ring r;

	ring_init(&r, 8, 0);
	note("%d", provide_at(&r, (void *)4096, 1, 65536, 1, 0));
	note("%d", provide_at(&r, (void *)4096, 1, 1, 1, 0));
	note("%d", remove_buffers(&r, 65536, 1));
}

TEST(a_buffer_that_faults)
{
	char *hole = map_then_hole(1);
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(provide_at(&r, hole + PAGE, 16, 1, 1, 9), 0);
	EXPECT_EQ(read_selected(&r, make_file(8), 8, 1), -EFAULT);
	EXPECT_EQ(read_selected(&r, make_file(8), 8, 1), -ENOBUFS);
}

/* io_buffer_select() answers with an address: NULL is none. */
TEST(a_buffer_at_null)
{
	static const int ops[] = {IORING_OP_READ, IORING_OP_RECV};
	int s[2];
	struct ring r;

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	EXPECT_EQ(OK(write(s[1], "data", 4)), 4);
	ring_init(&r, 4, 0);
	for (int i = 0; i < 2; i++) {
		struct io_uring_sqe sqe = selecting((unsigned)ops[i], s[0], 3, (unsigned)i);

		EXPECT_EQ(provide_at(&r, NULL, 10, 2, (unsigned)i, 77), 0);
		EXPECT_EQ(run_sqe(&r, &sqe), -ENOBUFS);
		run_sqe(&r, &sqe); /* the second lies at 10 */
		run_sqe(&r, &sqe);
	}
}

/* A buffer that SEND has taken is used up, though nothing was sent. */
TEST(sends_that_fail)
{
	char *hole = map_then_hole(1);
	struct io_uring_sqe sqe;
	int s[2];
	struct ring r;

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 4, 0);
	EXPECT_EQ(provide_at(&r, hole + PAGE, 10, 2, 5, 77), 0);
	EXPECT_EQ(provide_at(&r, NULL, 10, 2, 5, 88), 0);
	EXPECT_EQ(provide_at(&r, pool, 10, 3, 5, 99), 0);
	sqe = selecting(IORING_OP_SEND, s[0], 0, 5);
	for (int i = 0; i < 5; i++)
		run_sqe(&r, &sqe);
	OK(close(s[1]));
	sqe.msg_flags = MSG_NOSIGNAL;
	for (int i = 0; i < 3; i++)
		run_sqe(&r, &sqe);
}

TEST(failures_of_the_file)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 8, 1, 0), 0);
	EXPECT_EQ(read_selected(&r, -1, 8, 1), -EBADF);
	EXPECT_EQ(read_selected(&r, p[1], 8, 1), -EBADF);
	note("a directory: %d", read_selected(&r, (int)OK(open("/", O_RDONLY)), 8, 1));
	EXPECT_EQ(read_selected(&r, make_file(0), 8, 1), 0);
	EXPECT_EQ(read_selected(&r, make_file(5), 8, 1), 5);
}

TEST(who_cannot_select)
{
	struct io_uring_sqe sqe = selecting(IORING_OP_NOP, -1, 0, 1);
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 1, 1, 0), 0);
	EXPECT_EQ(run_sqe(&r, &sqe), -EOPNOTSUPP);
	sqe.opcode = IORING_OP_WRITE;
	EXPECT_EQ(run_sqe(&r, &sqe), -EOPNOTSUPP);
}

TEST(a_vector_of_one)
{
	struct iovec iov[2] = {{NULL, 12}, {NULL, 5}};
	struct io_uring_sqe sqe = selecting(IORING_OP_READV, make_file(30), 1, 1);
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 4, 1, 0), 0);
	sqe.addr = (uint64_t)(uintptr_t)iov;
	EXPECT_EQ(run_sqe(&r, &sqe), 12);
	EXPECT(is_pattern(pool[0], 0, 12));
	sqe.len = 2;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.len = 0;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.len = 1;
	sqe.addr = 8;
	EXPECT_EQ(run_sqe(&r, &sqe), -EFAULT);
}
