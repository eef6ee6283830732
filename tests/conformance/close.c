/* SPDX-License-Identifier: Apache-2.0 */
/* CLOSE and FIXED_FD_INSTALL. */
#include "paths.h"
#include "uapi_extra.h"

#define OP_FIXED_FD_INSTALL 54
#define FIXED_FD_NO_CLOEXEC 1u

static int run_install(struct ring *r, int index, unsigned flags)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = OP_FIXED_FD_INSTALL;
	sqe.flags = IOSQE_FIXED_FILE;
	sqe.fd = index;
	sqe.rw_flags = (int)flags;
	return run_sqe_hidden(r, &sqe);
}

TEST(closes_a_descriptor)
{
	struct ring r;
	int fd;

	ring_init(&r, 4, 0);
	fd = (int)OK(open("/dev/null", O_RDONLY));
	run_close(&r, fd, 0);
	note("%d", fcntl(fd, F_GETFD) < 0 ? errno : 0);
	run_close(&r, fd, 0);
}

TEST(no_such_descriptor)
{
	struct ring r;

	ring_init(&r, 4, 0);
	run_close(&r, -1, 0);
	run_close(&r, 12345, 0);
	run_close(&r, INT32_MAX, 0);
	run_close(&r, INT32_MIN, 0);
}

TEST(a_ring_is_not_closed)
{
	struct ring r;

	ring_init(&r, 4, 0);
	run_close(&r, r.fd, 0);
	OK(fcntl(r.fd, F_GETFD));
}

TEST(the_last_descriptor_of_a_pipe)
{
	struct ring r;
	int p[2];
	char byte;

	ring_init(&r, 4, 0);
	OK(pipe(p));
	run_close(&r, p[1], 0);
	EXPECT_EQ(read(p[0], &byte, 1), 0); /* the end of the file: nobody holds the other end */
}

TEST(one_of_two_descriptors)
{
	struct ring r;
	int p[2], copy;
	char byte;

	ring_init(&r, 4, 0);
	OK(pipe(p));
	copy = (int)OK(dup(p[1]));
	run_close(&r, p[1], 0);
	EXPECT_EQ(write(copy, "x", 1), 1);
	EXPECT_EQ(read(p[0], &byte, 1), 1);
}

TEST(fields_that_are_refused)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int fd;

	ring_init(&r, 4, 0);
	fd = (int)OK(open("/dev/null", O_RDONLY));
	for (int i = 0; i < 9; i++) {
		close_sqe(&sqe, fd, 0);
		sqe.off = i == 0;
		sqe.addr = i == 1;
		sqe.len = i == 2;
		sqe.rw_flags = i == 3;
		sqe.buf_index = i == 4;
		sqe.flags = i == 5 ? IOSQE_FIXED_FILE : 0;
		sqe.file_index = i == 6;
		sqe.ioprio = i == 7;
		sqe.personality = i == 8;
		run_sqe(&r, &sqe);
	}
	OK(fcntl(fd, F_GETFD));
}

TEST(direct_descriptors)
{
	int fds[3] = {make_file(10), -1, make_file(20)};
	struct ring r;

	ring_init(&r, 4, 0);
	run_close(&r, 0, 1);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, fds, 3), 0);
	run_close(&r, 0, 1);
	read_fixed(&r, 0);
	run_close(&r, 0, 1);
	run_close(&r, 0, 2);
	run_close(&r, 0, 4);
	run_close(&r, 0, UINT32_MAX);
	run_close(&r, fds[2], 3);
	read_fixed(&r, 2);
}

TEST(close_then_read_in_a_link)
{
	struct iovec iov;
	struct ring r;
	char buf[16];
	int fd;

	ring_init(&r, 4, 0);
	fd = make_file(10);
	iov.iov_base = buf;
	iov.iov_len = sizeof(buf);
	close_sqe(ring_sqe(&r), fd, 0);
	last_sqe(&r)->flags = IOSQE_IO_LINK;
	last_sqe(&r)->user_data = 1;
	ring_readv(&r, fd, &iov, 1, 0, 2);
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	note_all(&r, 2);
}

TEST(read_then_close_in_a_link)
{
	struct iovec iov;
	struct ring r;
	char buf[16];
	int fd;

	ring_init(&r, 4, 0);
	fd = make_file(10);
	iov.iov_base = buf;
	iov.iov_len = 10;
	ring_readv(&r, fd, &iov, 1, 0, 1);
	last_sqe(&r)->flags = IOSQE_IO_LINK;
	close_sqe(ring_sqe(&r), fd, 0);
	last_sqe(&r)->user_data = 2;
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	note_all(&r, 2);
	note("%d", fcntl(fd, F_GETFD) < 0 ? errno : 0);
}

TEST(a_failed_close_breaks_its_link)
{
	struct ring r;

	ring_init(&r, 4, 0);
	close_sqe(ring_sqe(&r), -1, 0);
	last_sqe(&r)->flags = IOSQE_IO_LINK;
	last_sqe(&r)->user_data = 1;
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	note_all(&r, 2);
}

TEST(many_at_once)
{
	struct ring r;
	int fds[32];

	ring_init(&r, 32, 0);
	for (int i = 0; i < 32; i++)
		fds[i] = (int)OK(open("/dev/null", O_RDONLY));
	for (int i = 0; i < 32; i++) {
		close_sqe(ring_sqe(&r), fds[i], 0);
		last_sqe(&r)->user_data = (uint64_t)i + 1;
	}
	EXPECT_EQ(ring_submit_wait(&r, 32), 32);
	note_all(&r, 32);
	for (int i = 0; i < 32; i++)
		EXPECT(fcntl(fds[i], F_GETFD) < 0);
}

TEST(another_thread_submits)
{
	struct ring r;
	int fd;

	ring_init(&r, 4, 0);
	fd = (int)OK(open("/dev/null", O_RDONLY));
	close_sqe(ring_sqe(&r), fd, 0);
	last_sqe(&r)->user_data = 1;
	EXPECT_EQ(ring_submit(&r), 1);
	note_all(&r, 1);
	note("%d", fcntl(fd, F_GETFD) < 0 ? errno : 0);
}

TEST(installs_a_registered_file)
{
	int fds[2] = {make_file(10), -1}, fd;
	struct ring r;
	char buf[16];

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, fds, 2), 0);
	OK(lseek(fds[0], 4, SEEK_SET));
	fd = note_fd(run_install(&r, 0, 0));
	note("flags %d position %ld", fcntl(fd, F_GETFD), (long)lseek(fd, 0, SEEK_CUR));
	EXPECT_EQ(read(fd, buf, sizeof(buf)), 6);
	note("shared position %ld", (long)lseek(fds[0], 0, SEEK_CUR));
	fd = note_fd(run_install(&r, 0, FIXED_FD_NO_CLOEXEC));
	note("flags %d", fcntl(fd, F_GETFD));
	run_install(&r, 0, 2);
	run_install(&r, 1, 0);
	run_install(&r, 2, 0);
	run_install(&r, -1, 0);
}

TEST(install_is_not_for_a_personality)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int fd = make_file(8);

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &fd, 1), 0);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = OP_FIXED_FD_INSTALL;
	sqe.flags = IOSQE_FIXED_FILE;
	sqe.personality = (uint16_t)OK(sys_register(r.fd, IORING_REGISTER_PERSONALITY, NULL, 0));
	run_sqe(&r, &sqe);
}

TEST(install_refuses_fields)
{
	int fds[1] = {make_file(10)};
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, fds, 1), 0);
	for (int i = 0; i < 8; i++) {
		memset(&sqe, 0, sizeof(sqe));
		sqe.opcode = OP_FIXED_FD_INSTALL;
		sqe.flags = i == 0 ? 0 : IOSQE_FIXED_FILE;
		sqe.off = i == 1;
		sqe.addr = i == 2;
		sqe.len = i == 3;
		sqe.buf_index = i == 4;
		sqe.file_index = i == 5;
		sqe.addr3 = i == 6;
		sqe.ioprio = i == 7;
		run_sqe(&r, &sqe);
	}
}
