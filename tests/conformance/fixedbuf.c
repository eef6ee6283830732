/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that use registered buffers. */
#include "fixedbuf.h"

#include <sys/socket.h>

#define NOP_INJECT_RESULT 1U
#define NOP_FILE 2U
#define NOP_FIXED_FILE 4U
#define NOP_FIXED_BUFFER 8U

TEST(read_and_write)
{
	char *a = map_pages(2, PROT_READ | PROT_WRITE), *b = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, 2 * PAGE}, {b, PAGE}};
	int file = make_file(3 * PAGE), out = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, iov, 2), 0);
	EXPECT_EQ(fixed(&r, RF, file, a, 2 * PAGE, 0, 0), 2 * PAGE);
	EXPECT(is_pattern(a, 0, 2 * PAGE));
	EXPECT_EQ(fixed(&r, RF, file, b + 10, 100, PAGE, 1), 100);
	EXPECT(is_pattern(b + 10, PAGE, 100));
	EXPECT_EQ(fixed(&r, WF, out, a + 5, 300, 0, 0), 300);
	EXPECT_EQ(OK(pread(out, b, PAGE, 0)), 300);
	EXPECT(is_pattern(b, 5, 300));
	EXPECT_EQ(unreg(&r), 0);
}

TEST(bounds)
{
	char *a = map_pages(2, PROT_READ | PROT_WRITE);
	struct iovec iov = {a + 100, 1000};
	int file = make_file(3 * PAGE);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, &iov, 1), 0);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 1000, 0, 0), 1000);
	EXPECT_EQ(fixed(&r, RF, file, a + 99, 10, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a + 1099, 2, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 1001, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a + 1100, 0, 0, 0), 0);
	EXPECT_EQ(fixed(&r, RF, file, a + 1101, 0, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, NULL, 0, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, (void *)~0UL, 10, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 0xffffffff, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, WF, file, a + 99, 10, 0, 0), -EFAULT);
}

TEST(no_such_buffer)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, PAGE}, {NULL, 0}};
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 0), -EFAULT);
	EXPECT_EQ(reg(&r, iov, 2), 0);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 1), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 2), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 0xffff), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, -1, a, 10, 0, 1), -EBADF);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 0), 10);
}

TEST(a_missing_buffer_does_not_end_the_submission)
{
	struct io_uring_sqe sqe = fixed_sqe(RF, make_file(10), NULL, 10, 0, 7);
	struct ring r;

	ring_init(&r, 4, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	ring_note_words(&r);
}

TEST(a_hundred_buffers)
{
	char *a = map_pages(100, PROT_READ | PROT_WRITE);
	struct iovec iov[100];
	int file = make_file(100 * 50);
	struct ring r;

	for (int i = 0; i < 100; i++) {
		iov[i].iov_base = a + (size_t)(99 - i) * PAGE + 7;
		iov[i].iov_len = 50;
	}
	ring_init(&r, 128, 0);
	EXPECT_EQ(reg(&r, iov, 100), 0);
	for (unsigned i = 0; i < 100; i++) {
		struct io_uring_sqe sqe = fixed_sqe(RF, file, iov[i].iov_base, 50, i * 50, i);

		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	}
	EXPECT_EQ(ring_submit_wait(&r, 100), 100);
	for (unsigned i = 0; i < 100; i++)
		EXPECT_EQ(ring_wait(&r).res, 50);
	for (unsigned i = 0; i < 100; i++)
		EXPECT(is_pattern(iov[i].iov_base, i * 50, 50));
	note("all of them");
}

TEST(pipes_and_sockets)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov = {a, PAGE};
	int p[2], s[2];
	struct ring r;

	OK(pipe(p));
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	memcpy(a, "0123456789", 10);
	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, &iov, 1), 0);
	EXPECT_EQ(fixed(&r, WF, p[1], a, 10, 0, 0), 10);
	EXPECT_EQ(fixed(&r, RF, p[0], a + 100, 100, 0, 0), 10);
	EXPECT_EQ(fixed(&r, WF, s[0], a + 100, 10, 0, 0), 10);
	EXPECT_EQ(fixed(&r, RF, s[1], a + 200, 5, 0, 0), 5);
	EXPECT_EQ(memcmp(a + 200, "01234", 5), 0);
}

/* The buffer is the registering process's: another process that enters reads into the same memory. */
TEST(the_memory_is_the_registering_process_s)
{
	char *a = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov = {a, PAGE};
	int file = make_file(100);
	struct ring r;
	pid_t pid;

	EXPECT(a != MAP_FAILED);
	OK(madvise(a, PAGE, MADV_DONTFORK)); /* what is pinned is not copied on write */
	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, &iov, 1), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		EXPECT_EQ(fixed(&r, RF, file, a, 100, 0, 0), 100);
		fflush(stdout);
		_exit(0);
	}
	expect_child_ok(pid);
	EXPECT(is_pattern(a, 0, 100));
}

static int vec(struct ring *r, int op, int fd, const struct iovec *iov, unsigned n, unsigned index)
{
	return fixed(r, op, fd, iov, n, 0, index);
}

TEST(vectors)
{
	char *a = map_pages(2, PROT_READ | PROT_WRITE);
	struct iovec buf = {a, 2 * PAGE}, iov[3] = {{a + 10, 5}, {a + PAGE - 3, 6}, {a, 4}};
	int file = make_file(1000), out = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, &buf, 1), 0);
	EXPECT_EQ(vec(&r, IORING_OP_READV_FIXED, file, iov, 3, 0), 15);
	EXPECT(is_pattern(a + 10, 0, 5) && is_pattern(a + PAGE - 3, 5, 6) && is_pattern(a, 11, 4));
	EXPECT_EQ(vec(&r, IORING_OP_WRITEV_FIXED, out, iov, 3, 0), 15);
	EXPECT_EQ(OK(pread(out, a, 100, 0)), 15);
	EXPECT(is_pattern(a, 0, 15));
}

TEST(vector_arguments)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec buf = {a, 1000};
	struct iovec none[2] = {{a, 5}, {a, 0}}, out[2] = {{a, 5}, {a + 999, 2}}, neg = {a, 1UL << 63};
	struct iovec far = {(void *)0xffff888000000000UL, 16};
	int file = make_file(1000);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(vec(&r, IORING_OP_READV_FIXED, file, none, 1, 0), -EFAULT);
	EXPECT_EQ(reg(&r, &buf, 1), 0);
	vec(&r, IORING_OP_READV_FIXED, file, none, 2, 0);
	vec(&r, IORING_OP_READV_FIXED, file, out, 2, 0);
	vec(&r, IORING_OP_READV_FIXED, file, &neg, 1, 0);
	vec(&r, IORING_OP_READV_FIXED, file, &far, 1, 0);
	vec(&r, IORING_OP_READV_FIXED, file, NULL, 0, 0);
	vec(&r, IORING_OP_READV_FIXED, file, NULL, 1, 0);
	vec(&r, IORING_OP_READV_FIXED, file, NULL, 1025, 0);
	vec(&r, IORING_OP_READV_FIXED, file, NULL, 1 << 22, 0);
	vec(&r, IORING_OP_READV_FIXED, file, NULL, UINT32_MAX, 0);
	vec(&r, IORING_OP_READV_FIXED, file, none, 1025, 0);
	vec(&r, IORING_OP_READV_FIXED, file, none, 1, 1);
	vec(&r, IORING_OP_READV_FIXED, -1, none, 1, 1);
	vec(&r, IORING_OP_WRITEV_FIXED, file, out, 2, 0);
	vec(&r, IORING_OP_WRITEV_FIXED, file, none, 1, 0);
}

static int nop_with(struct ring *r, unsigned flags, int fd, unsigned index)
{
	struct io_uring_sqe sqe = fixed_sqe(IORING_OP_NOP, fd, NULL, 7, 0, index);

	sqe.rw_flags = (int)flags;
	note("nop_flags=0x%x fd %s", flags, fd < 0 ? "none" : "some");
	return run_sqe(r, &sqe);
}

TEST(nop_with_files_and_buffers)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec buf = {a, 1000};
	int file = make_file(10);
	struct ring r;

	ring_init(&r, 4, 0);
	for (int round = 0; round < 2; round++) {
		nop_with(&r, NOP_FILE, file, 0);
		nop_with(&r, NOP_FILE, -1, 0);
		nop_with(&r, NOP_FIXED_FILE, -1, 0);
		nop_with(&r, NOP_FILE | NOP_FIXED_FILE, 0, 0);
		nop_with(&r, NOP_FILE | NOP_FIXED_FILE, 1, 0);
		nop_with(&r, NOP_FIXED_BUFFER, -1, 0);
		nop_with(&r, NOP_FIXED_BUFFER, -1, 1);
		nop_with(&r, NOP_FIXED_BUFFER | NOP_INJECT_RESULT, -1, 0);
		nop_with(&r, 0x20, 0, 0);
		nop_with(&r, 0x40, 0, 0);
		if (round == 0) {
			EXPECT_EQ(reg(&r, &buf, 1), 0);
			EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &file, 1), 0);
		}
	}
}

/* What cannot be found is not in the result, but it breaks a link. */
TEST(a_nop_without_its_file_breaks_a_link)
{
	struct io_uring_sqe sqe = fixed_sqe(IORING_OP_NOP, -1, NULL, 0, 0, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 2; i++) {
		sqe.rw_flags = (int)(i ? NOP_FIXED_BUFFER : NOP_FILE);
		sqe.flags = IOSQE_IO_LINK;
		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
		ring_nop(&r, 2);
		EXPECT_EQ(ring_submit_wait(&r, 2), 2);
		note_tags(&r);
	}
}

TEST(fixed_files_and_buffers_together)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec buf = {a, 1000};
	int file = make_file(1000);
	struct io_uring_sqe sqe = fixed_sqe(RF, 0, a, 500, 100, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, &buf, 1), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &file, 1), 0);
	sqe.flags = IOSQE_FIXED_FILE;
	EXPECT_EQ(run_sqe(&r, &sqe), 500);
	EXPECT(is_pattern(a, 100, 500));
	sqe.flags |= IOSQE_BUFFER_SELECT;
	EXPECT_EQ(run_sqe(&r, &sqe), -EOPNOTSUPP);
}
