/* SPDX-License-Identifier: Apache-2.0 */
/* READ, WRITE and WRITEV on files: offsets, memory, links. */
#include "rw.h"

static char buf[1 << 16];

TEST(write_then_read_back)
{
	int file = make_file(0);
	char back[5000];
	struct ring r;

	fill(buf, 5000);
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, buf, 5000, 0), 5000);
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, back, 5000, 0), 5000);
	EXPECT(is_pattern(back, 0, 5000));
	note_size(file);
}

TEST(read_at_offsets)
{
	int file = make_file(10000);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, buf, 100, 5000), 100);
	EXPECT(is_pattern(buf, 5000, 100));
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, buf, 100, 9950), 50);
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, buf, 100, 10000), 0);
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, buf, 0, 0), 0);
}

TEST(writev_gathers)
{
	char a[3] = "abc", b[1] = "d", c[20] = "efghijklmnopqrstuvw";
	struct iovec iov[5] = {{a, 3}, {NULL, 0}, {b, 1}, {c, 19}, {NULL, 0}};
	int file = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, iov, 5, 2), 23);
	EXPECT_EQ(OK(pread(file, buf, 100, 0)), 25);
	EXPECT_EQ(memcmp(buf, "\0\0abcdefghijklmnopqrstuvw", 25), 0);
}

TEST(writev_arguments)
{
	struct iovec none = {buf, (size_t)1 << 63}, far = {(void *)0xffff888000000000UL, 16};
	int file = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, NULL, 0, 0), 0);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, NULL, 1, 0), -EFAULT);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, buf, 1025, 0), -EINVAL);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, &none, 1, 0), -EINVAL);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, &far, 1, 0), -EFAULT);
	note_size(file);
}

TEST(kernel_addresses_end_the_submission)
{
	int file = make_file(10);
	struct ring r;

	ring_init(&r, 8, 0);
	for (int op = IORING_OP_READ; op <= IORING_OP_WRITE; op++) {
		struct io_uring_sqe sqe = rw_sqe(op, file, (void *)0xffff888000000000UL, 16, 0);

		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
		ring_nop(&r, 2);
		note("submitted %d", ring_submit(&r));
		note("submitted %d", ring_submit(&r));
	}
	ring_note_words(&r);
}

TEST(holes_read_as_zeros)
{
	int file = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, "x", 1, 1 << 20), 1);
	note_size(file);
	EXPECT_EQ(OK(pread(file, buf, 10, 100)), 10);
	EXPECT_EQ(buf[0], 0);
}

TEST(offsets_out_of_range)
{
	int file = make_file(10);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, buf, 10, (uint64_t)-2), -EINVAL);
	EXPECT_EQ(put(&r, file, buf, 10, 1ULL << 63), -EINVAL);
	EXPECT_EQ(put(&r, file, buf, 10, INT64_MAX - 5), -EINVAL);
	put(&r, file, buf, 10, INT64_MAX - 10);
	put(&r, file, buf, 10, 1ULL << 60);
	note_size(file);
}

TEST(several_megabytes_at_once)
{
	const size_t size = 5 << 20;
	int file = make_file(0);
	char *data = map_pages((unsigned)(size / PAGE), PROT_READ | PROT_WRITE);
	char *back = map_pages((unsigned)(size / PAGE), PROT_READ | PROT_WRITE);
	struct ring r;

	fill(data, size);
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, data, size, 0), size);
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, back, size, 0), size);
	EXPECT(is_pattern(back, 0, size));
	EXPECT_EQ(put(&r, file, data, size, (uint64_t)-1), size);
	EXPECT_EQ(lseek(file, 0, SEEK_CUR), size);
}

TEST(memory_that_ends_half_way)
{
	char *at = map_then_hole(2);
	int file = make_file(0);
	struct ring r;

	fill(at, 2 * PAGE);
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, at + 100, 3 * PAGE, 0), 2 * PAGE - 100);
	note_size(file);
	EXPECT_EQ(put(&r, file, at + 2 * PAGE, 10, 0), -EFAULT);
	EXPECT_EQ(put(&r, file, NULL, 10, 0), -EFAULT);
	EXPECT_EQ(put(&r, file, NULL, 0, 0), 0);
	EXPECT_EQ(OK(pread(file, buf, PAGE, 0)), PAGE);
	EXPECT(is_pattern(buf, 100, PAGE));
}

TEST(read_only_descriptor_is_ebadf)
{
	int fd = (int)OK(open("/dev/null", O_RDONLY)), path = (int)OK(open("/tmp", O_PATH)), p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, fd, buf, 10, 0), -EBADF);
	EXPECT_EQ(put(&r, p[0], buf, 10, 0), -EBADF);
	EXPECT_EQ(put(&r, path, buf, 10, 0), -EBADF);
	EXPECT_EQ(put(&r, -1, buf, 10, 0), -EBADF);
	EXPECT_EQ(rw(&r, IORING_OP_READ, p[1], buf, 10, 0), -EBADF);
}

TEST(dev_null_takes_all)
{
	int fd = (int)OK(open("/dev/null", O_WRONLY));
	char *large = map_pages(1024, PROT_READ);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, fd, buf, 100, 0), 100);
	EXPECT_EQ(put(&r, fd, buf, 100, (uint64_t)-1), 100);
	EXPECT_EQ(put(&r, fd, buf, 100, 12345), 100);
	EXPECT_EQ(put(&r, fd, large, 1024 * PAGE, 0), 1024 * PAGE);
}

TEST(dev_full)
{
	int fd = (int)OK(open("/dev/full", O_WRONLY));
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, fd, buf, 100, 0), -ENOSPC);
	EXPECT_EQ(put(&r, fd, buf, 0, 0), 0);
}

TEST(directory_and_ring)
{
	int dir = (int)OK(open("/tmp", O_RDONLY | O_DIRECTORY));
	struct ring r, other;

	ring_init(&r, 4, 0);
	ring_init(&other, 4, 0);
	EXPECT_EQ(put(&r, dir, buf, 10, 0), -EBADF);
	EXPECT_EQ(put(&r, other.fd, buf, 10, 0), -EINVAL);
	EXPECT_EQ(put(&r, r.fd, buf, 10, 0), -EINVAL);
}

TEST(write_linked_to_read)
{
	struct io_uring_sqe sqe;
	int file = make_file(0);
	char back[100];
	struct ring r;

	ring_init(&r, 8, 0);
	sqe = rw_sqe(IORING_OP_WRITE, file, "linked", 6, 0);
	sqe.flags = IOSQE_IO_LINK;
	sqe.user_data = 1;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	sqe = rw_sqe(IORING_OP_READ, file, back, 6, 0);
	sqe.user_data = 2;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	for (int i = 0; i < 2; i++) {
		struct cqe cqe = ring_wait(&r);

		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	}
	EXPECT_EQ(memcmp(back, "linked", 6), 0);
}

TEST(many_writes_in_one_enter)
{
	int file = make_file(0);
	struct ring r;

	fill(buf, sizeof(buf));
	ring_init(&r, 64, 0);
	for (unsigned i = 0; i < 64; i++) {
		struct io_uring_sqe sqe = rw_sqe(IORING_OP_WRITE, file, buf + (63 - i) * 1000, 1000, (63 - i) * 1000);

		sqe.user_data = i;
		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	}
	EXPECT_EQ(ring_submit_wait(&r, 64), 64);
	for (int i = 0; i < 64; i++)
		EXPECT_EQ(ring_wait(&r).res, 1000);
	EXPECT_EQ(OK(pread(file, buf, 64000, 0)), 64000);
	EXPECT(is_pattern(buf, 0, 64000));
	note_size(file);
}

TEST(ioprio_and_flags_of_a_write)
{
	int file = make_file(0);
	struct io_uring_sqe sqe = rw_sqe(IORING_OP_WRITE, file, buf, 10, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.ioprio = 2 << 13 | 4;
	EXPECT_EQ(run_sqe(&r, &sqe), 10);
	sqe.ioprio = 7 << 13;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.ioprio = 0;
	sqe.flags = IOSQE_BUFFER_SELECT;
	EXPECT_EQ(run_sqe(&r, &sqe), -EOPNOTSUPP);
	sqe.flags = IOSQE_ASYNC;
	EXPECT_EQ(run_sqe(&r, &sqe), 10);
	sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit_wait(&r, 1), 2);
	note("user_data=%llu", (unsigned long long)ring_wait(&r).user_data);
	EXPECT_EQ(ring_ready(&r), 0);
}

TEST(fixed_files)
{
	int file = make_file(100);
	struct io_uring_sqe sqe = rw_sqe(IORING_OP_WRITE, 0, "fixed", 5, 10);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &file, 1), 0);
	sqe.flags = IOSQE_FIXED_FILE;
	EXPECT_EQ(run_sqe(&r, &sqe), 5);
	OK(close(file));
	sqe.opcode = IORING_OP_READ;
	sqe.addr = (uint64_t)(uintptr_t)buf;
	EXPECT_EQ(run_sqe(&r, &sqe), 5);
	EXPECT_EQ(memcmp(buf, "fixed", 5), 0);
	sqe.fd = 1;
	EXPECT_EQ(run_sqe(&r, &sqe), -EBADF);
}

/* The file system has begun by then: what it leaves behind is its own. */
TEST(memory_that_faults_behind_the_end)
{
	char *at = map_then_hole(1);
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned flags = 0; flags < 3; flags++) {
		int file = make_file(100);
		struct io_uring_sqe sqe = rw_sqe(IORING_OP_WRITE, file, at + PAGE, 10, 5000);

		sqe.rw_flags = flags == 1 ? RWF_NOWAIT : flags == 2 ? RWF_APPEND : 0;
		run_sqe(&r, &sqe);
		note_size(file);
		sqe.addr -= 3;
		run_sqe(&r, &sqe);
		note_size(file);
		sqe.off = (uint64_t)-1;
		sqe.addr = 0;
		run_sqe(&r, &sqe);
		note_size(file);
	}
}
