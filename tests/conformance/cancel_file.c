/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_ASYNC_CANCEL by file and by opcode. */
#include "cancel.h"

TEST(of_a_file)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1);
	submit(&r);
	cancel_fd(&r, other[0], 0, 2);
	submit(&r);
	cancel_fd(&r, fds[0], 0, 3);
	submit(&r);
}

TEST(of_a_file_by_another_descriptor)
{
	struct ring r;
	int copy;

	start(&r);
	copy = (int)OK(dup(fds[0]));
	poll_one(&r, fds[0], 1);
	submit(&r);
	cancel_fd(&r, copy, 0, 2);
	submit(&r);
}

TEST(of_another_description_of_the_same_file)
{
	char path[64];
	struct ring r;
	int again;

	start(&r);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[0]);
	again = (int)OK(open(path, O_RDONLY | O_NONBLOCK));
	poll_one(&r, fds[0], 1);
	submit(&r);
	cancel_fd(&r, again, 0, 2);
	submit(&r);
	finish(&r, 1);
}

TEST(all_of_a_file)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1);
	poll_one(&r, fds[0], 2);
	poll_one(&r, other[0], 3);
	timeout(&r, &never, 0, 0, 4, 0);
	ring_readv(&r, fds[0], &iov, 1, 0, 5);
	submit(&r);
	cancel_fd(&r, fds[0], ALL, 6);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_sorted(&r, 4);
	finish(&r, 2);
}

TEST(of_a_file_and_a_user_data)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1);
	poll_one(&r, fds[0], 2);
	poll_one(&r, other[0], 2);
	submit(&r);
	cancel(&r, 2, FD | USERDATA | ALL, 6)->fd = fds[0];
	submit(&r);
	cancel(&r, 3, FD | USERDATA, 7)->fd = fds[0];
	submit(&r);
	finish(&r, 2);
}

TEST(of_an_opcode)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1);
	timeout(&r, &never, 0, 0, 2, 0);
	ring_readv(&r, other[0], &iov, 1, 0, 3);
	submit(&r);
	cancel(&r, 0, OP, 4)->len = IORING_OP_TIMEOUT;
	submit(&r);
	cancel(&r, 0, OP, 5)->len = IORING_OP_POLL_ADD;
	submit(&r);
	cancel(&r, 0, OP, 6)->len = IORING_OP_NOP;
	submit(&r);
	cancel(&r, 0, OP | ALL, 7)->len = IORING_OP_READV;
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
}

TEST(of_an_opcode_and_a_file)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1);
	ring_readv(&r, fds[0], &iov, 1, 0, 2);
	submit(&r);
	cancel(&r, 0, OP | FD, 3)->fd = fds[0];
	submit(&r);
	cancel(&r, 0, OP | FD | ALL, 3)->fd = fds[0];
	r.sqes[r.array[(r.tail - 1) & 31]].len = IORING_OP_POLL_ADD;
	submit(&r);
	finish(&r, 1);
}

TEST(of_a_closed_descriptor)
{
	struct ring r;
	int fd;

	start(&r);
	fd = (int)OK(dup(fds[0]));
	poll_one(&r, fd, 1);
	submit(&r);
	OK(close(fd));
	cancel_fd(&r, fd, 0, 2);
	submit(&r);
	cancel_fd(&r, -1, ALL, 3);
	submit(&r);
	cancel_fd(&r, fds[0], 0, 4);
	submit(&r);
}

TEST(of_a_registered_file)
{
	struct ring r;

	start(&r);
	if (on_uringfs())
		EXPECT_EQ(uringfs_register(r.fd, IORING_REGISTER_FILES, fds, 2), 0);
	else
		EXPECT_EQ(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_FILES, fds, 2), 0);
	poll_add(&r, 0, POLLIN, 0, 1, IOSQE_FIXED_FILE);
	poll_one(&r, fds[0], 2);
	submit(&r);
	cancel_fd(&r, 0, FIXED | ALL, 3);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_sorted(&r, 3);
	cancel_fd(&r, 2, FIXED, 4);
	submit(&r);
	cancel_fd(&r, 1, 0, 5);
	r.sqes[r.array[(r.tail - 1) & 31]].flags = IOSQE_FIXED_FILE;
	submit(&r);
}
