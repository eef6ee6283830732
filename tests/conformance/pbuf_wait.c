/* SPDX-License-Identifier: Apache-2.0 */
/* Reads that wait for data with a provided buffer; in chains; multishot. */
#include <pty.h>
#include "pbuf.h"

#include <linux/time_types.h>
#include <sys/eventfd.h>

TEST(a_pipe_with_data)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 2, 1, 20), 0);
	EXPECT_EQ(write(p[1], "hello", 5), 5);
	EXPECT_EQ(read_selected(&r, p[0], 64, 1), 5);
	EXPECT(memcmp(pool[0], "hello", 5) == 0);
	OK(close(p[1]));
	EXPECT_EQ(read_selected(&r, p[0], 64, 1), 0);
}

TEST(waiting_keeps_its_buffer)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int a[2], b[2];

	OK(pipe(a));
	OK(pipe(b));
	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 2, 1, 20), 0);
	sqe = selecting(IORING_OP_READ, a[0], 64, 1);
	sqe.user_data = 1;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	sqe.fd = b[0];
	sqe.user_data = 2;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(b[1], "second", 6), 6);
	note_cqe(&r);
	EXPECT_EQ(write(a[1], "first", 5), 5);
	note_cqe(&r);
	EXPECT(memcmp(pool[0], "first", 5) == 0);
	EXPECT(memcmp(pool[1], "second", 6) == 0);
}

TEST(none_is_left_to_remove)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 1, 1, 20), 0);
	sqe = selecting(IORING_OP_READ, p[0], 64, 1);
	sqe.user_data = 1;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(remove_buffers(&r, 1, 1), 0);
	EXPECT_EQ(write(p[1], "x", 1), 1);
	note_cqe(&r);
}

TEST(cancelled_it_says_which)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 1, 1, 20), 0);
	sqe = selecting(IORING_OP_READ, p[0], 64, 1);
	sqe.user_data = 1;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_ASYNC_CANCEL;
	sqe.addr = 1;
	sqe.user_data = 9;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	note_cqe(&r);
	note_cqe(&r);
	EXPECT_EQ(read_selected(&r, make_file(3), 3, 1), -ENOBUFS);
}

TEST(in_a_chain)
{
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 8, 0);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_PROVIDE_BUFFERS;
	sqe.flags = IOSQE_IO_LINK;
	sqe.fd = 1;
	sqe.addr = (uint64_t)(uintptr_t)pool;
	sqe.len = 64;
	sqe.buf_group = 3;
	sqe.off = 77;
	sqe.user_data = 1;
	*ring_sqe(&r) = sqe;
	sqe = selecting(IORING_OP_READ, make_file(64), 64, 3);
	sqe.flags |= IOSQE_IO_LINK;
	sqe.user_data = 2;
	*ring_sqe(&r) = sqe;
	ring_nop(&r, 3);
	EXPECT_EQ(ring_submit(&r), 3);
	for (int i = 0; i < 3; i++)
		note_cqe(&r);
}

TEST(a_short_read_breaks_the_chain)
{
	struct io_uring_sqe sqe = selecting(IORING_OP_READ, make_file(10), 64, 3);
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 1, 3, 0), 0);
	sqe.flags |= IOSQE_IO_LINK;
	sqe.user_data = 2;
	*ring_sqe(&r) = sqe;
	ring_nop(&r, 3);
	EXPECT_EQ(ring_submit(&r), 2);
	note_cqe(&r);
	note_cqe(&r);
}

static struct io_uring_sqe multishot(int fd, unsigned bgid)
{
	struct io_uring_sqe sqe = selecting(49, fd, 0, bgid); /* READ_MULTISHOT */

	sqe.user_data = 4;
	return sqe;
}

TEST(multishot_until_the_end)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 8, 3, 0), 0);
	*ring_sqe(&r) = multishot(p[0], 3);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(p[1], "one", 3), 3);
	note_cqe(&r);
	EXPECT_EQ(write(p[1], pool, 100), 100);
	note_cqe(&r);
	note_cqe(&r);
	OK(close(p[1]));
	note_cqe(&r);
	EXPECT_EQ(remove_buffers(&r, 8, 3), 5);
}

/* What a read that waits has taken, its CQE names, by whatever it is cancelled. */
TEST(cancelled_reads_of_each_kind)
{
	struct __kernel_timespec soon = {0, 20000000};
	struct io_uring_sqe sqe;
	uint64_t number = 1;
	struct ring r;
	int fds[4], p[2];

	OK(pipe(p));
	fds[0] = p[0];
	fds[1] = (int)OK(eventfd(0, 0));
	fds[2] = (int)OK(eventfd(0, EFD_SEMAPHORE));
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	fds[3] = p[0];
	ring_init(&r, 8, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &fds[1], 1), 0);
	memset(&sqe, 0, sizeof(sqe)); /* of an eventfd writes know no RWF_NOWAIT, reads do */
	sqe.opcode = IORING_OP_WRITE;
	sqe.flags = IOSQE_FIXED_FILE;
	sqe.addr = (uint64_t)(uintptr_t)&number;
	sqe.len = 8;
	run_sqe(&r, &sqe);
	EXPECT_EQ(read(fds[1], &number, 8), 8);
	for (int by_timeout = 0; by_timeout < 2; by_timeout++)
		for (int i = 0; i < 5; i++) {
			EXPECT_EQ(provide(&r, 1, 3, 20), 0);
			sqe = selecting(IORING_OP_READ, i < 4 ? fds[i] : 0, 52, 3);
			sqe.flags |= i < 4 ? 0 : IOSQE_FIXED_FILE;
			sqe.user_data = 1;
			sqe.flags |= by_timeout ? IOSQE_IO_LINK : 0;
			*ring_sqe(&r) = sqe;
			memset(&sqe, 0, sizeof(sqe));
			sqe.opcode = by_timeout ? IORING_OP_LINK_TIMEOUT : IORING_OP_ASYNC_CANCEL;
			sqe.addr = by_timeout ? (uint64_t)(uintptr_t)&soon : 1;
			sqe.len = (uint32_t)by_timeout;
			sqe.user_data = 2;
			*ring_sqe(&r) = sqe;
			EXPECT_EQ(ring_submit(&r), 2);
			for (int n = 0; n < 2; n++) {
				struct cqe cqe = ring_wait(&r);

				if (cqe.user_data == 1)
					note("%d: %d 0x%x", i, cqe.res, cqe.flags);
			}
			remove_buffers(&r, 8, 3);
		}
}

TEST(multishot_cancelled_behind_data)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 3, 3, 20), 0);
	*ring_sqe(&r) = multishot(p[0], 3);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(p[1], "abcd", 4), 4);
	note_cqe(&r);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_ASYNC_CANCEL;
	sqe.cancel_flags = IORING_ASYNC_CANCEL_ANY;
	sqe.user_data = 9;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	note_cqe(&r);
	note_cqe(&r);
}

/* pipe_clear_nowait(): RWF_NOWAIT is none of such a pipe's any more. */
TEST(reads_of_a_pipe_that_was_spliced)
{
	int null = (int)OK(open("/dev/null", O_WRONLY)), p[2];
	struct io_uring_sqe sqe;
	struct ring r;

	OK(pipe(p));
	EXPECT_EQ(write(p[1], "gone", 4), 4);
	EXPECT_EQ(OK(splice(p[0], NULL, null, NULL, 4, 0)), 4);
	EXPECT_EQ(write(p[1], "abcdefgh", 8), 8);
	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 4, 3, 20), 0);
	EXPECT_EQ(read_selected(&r, p[0], 64, 3), 8);
	sqe = selecting(IORING_OP_READ, p[0], 64, 3);
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(p[1], "abcd", 4), 4);
	note_cqe(&r);
	*ring_sqe(&r) = multishot(p[0], 3);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(p[1], "abc", 3), 3);
	note_cqe(&r);
	EXPECT_EQ(write(p[1], "ab", 2), 2);
	note_cqe(&r);
	EXPECT_EQ(write(p[1], "a", 1), 1);
	note_cqe(&r);
}

TEST(multishot_until_no_buffer_is_left)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 2, 3, 0), 0);
	*ring_sqe(&r) = multishot(p[0], 3);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(p[1], "one", 3), 3);
	note_cqe(&r);
	EXPECT_EQ(write(p[1], "two", 3), 3);
	note_cqe(&r);
	EXPECT_EQ(write(p[1], "three", 5), 5);
	note_cqe(&r);
}

TEST(multishot_that_is_refused)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(provide(&r, 2, 3, 0), 0);
	sqe = multishot(make_file(8), 3);
	EXPECT_EQ(run_sqe(&r, &sqe), -EBADFD);
	sqe = multishot(p[0], 3);
	sqe.len = 5;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe = multishot(p[0], 3);
	sqe.addr = 5;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe = multishot(p[0], 3);
	sqe.flags = 0;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe = multishot(p[1], 3);
	EXPECT_EQ(run_sqe(&r, &sqe), -EBADF);
	sqe = multishot(-1, 3);
	EXPECT_EQ(run_sqe(&r, &sqe), -EBADF);
	sqe = multishot(p[0], 4);
	EXPECT_EQ(run_sqe(&r, &sqe), -ENOBUFS);
	EXPECT_EQ(remove_buffers(&r, 8, 3), 2);
}

TEST(multishot_of_a_terminal_that_does_not_block)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int master, slave;

	ring_init(&r, 8, 0);
	OK(openpty(&master, &slave, NULL, NULL, NULL));
	OK(fcntl(slave, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(provide(&r, 4, 3, 0), 0);
	sqe = selecting(49, slave, 0, 3); /* IORING_OP_READ_MULTISHOT */
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(ring_ready(&r), 0);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(write(master, "abc\n", 4), 4);
		note_cqe(&r);
	}
}
