/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_MSG_RING: data and registered files for another ring. */
#include "events.h"

#ifndef IORING_MSG_RING_FLAGS_PASS
#define IORING_MSG_RING_FLAGS_PASS (1U << 1)
#endif
#ifndef IORING_MSG_RING_CQE_SKIP
#define IORING_MSG_RING_CQE_SKIP (1U << 0)
#endif
#define DATA 0
#define SEND_FD 1
#define PASS IORING_MSG_RING_FLAGS_PASS

static struct io_uring_sqe *msg(struct ring *r, int fd, uint64_t data, unsigned len, uint64_t user_data)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_MSG_RING, user_data, 0);

	sqe->fd = fd;
	sqe->off = data;
	sqe->len = len;
	return sqe;
}

static struct io_uring_sqe *send_fd(struct ring *r, int fd, unsigned src, unsigned dst, uint64_t user_data)
{
	struct io_uring_sqe *sqe = msg(r, fd, 0x77, 0, user_data);

	sqe->addr = SEND_FD;
	sqe->addr3 = src;
	sqe->file_index = dst;
	return sqe;
}

static int files(struct ring *r, const int *fds, unsigned n)
{
	return on_uringfs() ? uringfs_register(r->fd, IORING_REGISTER_FILES, (void *)fds, n)
			    : (int)syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_FILES, fds, n);
}

static void pair(struct ring *r, struct ring *s)
{
	ring_init(r, 8, 0);
	ring_init(s, 8, 0);
}

TEST(data)
{
	struct ring r, s;

	pair(&r, &s);
	msg(&r, s.fd, 0x1234567890abcdefULL, 99, 1);
	submit(&r);
	wait_for(&s, 1);
}

TEST(data_to_itself)
{
	struct ring r;

	ring_init(&r, 8, 0);
	msg(&r, r.fd, 7, 8, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_sorted(&r, 2);
}

TEST(a_negative_result)
{
	struct ring r, s;

	pair(&r, &s);
	msg(&r, s.fd, 5, (unsigned)-7, 1);
	submit(&r);
	wait_for(&s, 1);
}

TEST(flags_are_passed)
{
	struct ring r, s;

	pair(&r, &s);
	msg(&r, s.fd, 5, 6, 1)->file_index = 0x55;
	submit(&r);
	msg(&r, s.fd, 5, 6, 2)->file_index = 0x55;
	r.sqes[r.array[(r.tail - 1) & 7]].rw_flags = (int)PASS;
	submit(&r);
	wait_for(&s, 1);
	msg(&r, s.fd, 5, 6, 3)->rw_flags = (int)IORING_MSG_RING_CQE_SKIP;
	submit(&r);
	EXPECT_EQ(ring_ready(&s), 0);
}

TEST(a_waiter_wakes)
{
	struct ring r, s;
	pid_t pid;

	pair(&r, &s);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		wait_for(&s, 1);
		_exit(0);
	}
	until_waiting(pid, pid);
	msg(&r, s.fd, 5, 6, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	expect_child_ok(pid); /* who notes meanwhile what it got */
}

TEST(not_a_ring)
{
	struct ring r;
	int fds[2];

	make_pipe(fds);
	ring_init(&r, 8, 0);
	msg(&r, fds[0], 5, 6, 1);
	submit(&r);
	msg(&r, -1, 5, 6, 2);
	submit(&r);
}

TEST(fields)
{
	struct ring r, s;

	pair(&r, &s);
	msg(&r, s.fd, 5, 6, 1)->buf_index = 1;
	submit(&r);
	msg(&r, s.fd, 5, 6, 2)->addr = 2;
	submit(&r);
	msg(&r, s.fd, 5, 6, 3)->addr3 = 1;
	submit(&r);
	msg(&r, s.fd, 5, 6, 4)->rw_flags = 4;
	submit(&r);
	msg(&r, s.fd, 5, 6, 5)->ioprio = 1;
	submit(&r);
	msg(&r, s.fd, 5, 6, 6)->flags = IOSQE_BUFFER_SELECT;
	submit(&r);
	EXPECT_EQ(ring_ready(&s), 0);
}

TEST(into_a_full_cq)
{
	struct io_uring_params p;
	struct ring r, s;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_CQSIZE;
	p.cq_entries = 1;
	ring_init(&r, 8, 0);
	ring_init_params(&s, 1, &p);
	for (unsigned i = 0; i < 3; i++)
		msg(&r, s.fd, i, i, i);
	submit(&r);
	wait_for(&s, 3);
}

TEST(a_skipping_sender)
{
	struct ring r, s;

	pair(&r, &s);
	msg(&r, s.fd, 5, 6, 1)->flags = SKIP;
	submit(&r);
	wait_for(&s, 1);
}

TEST(in_a_chain)
{
	struct ring r, s;

	pair(&r, &s);
	msg(&r, s.fd, 5, 6, 1)->flags = LINK;
	msg(&r, -1, 5, 6, 2)->flags = LINK;
	msg(&r, s.fd, 7, 6, 3);
	submit(&r);
	wait_for(&s, 1);
	EXPECT_EQ(ring_ready(&s), 0);
}

TEST(a_file)
{
	struct ring r, s;
	int fds[2], none[2] = {-1, -1};

	pair(&r, &s);
	make_pipe(fds);
	EXPECT_EQ(files(&r, fds, 2), 0);
	send_fd(&r, s.fd, 0, 1, 1);
	submit(&r);
	EXPECT_EQ(files(&s, none, 2), 0);
	send_fd(&r, s.fd, 0, 1, 2);
	submit(&r);
	wait_for(&s, 1);
	poll_add(&s, 0, POLLIN, 0, 3, IOSQE_FIXED_FILE);
	submit(&s);
	send_fd(&r, s.fd, 1, (unsigned)-1, 4);
	submit(&r);
	wait_for(&s, 1);
	send_fd(&r, s.fd, 1, (unsigned)-1, 5);
	submit(&r);
	send_fd(&r, s.fd, 1, 3, 6);
	submit(&r);
	send_fd(&r, s.fd, 2, 1, 7);
	submit(&r);
	send_fd(&r, r.fd, 0, 1, 8);
	submit(&r);
	EXPECT_EQ(write(fds[1], "x", 1), 1);
	wait_for(&s, 1);
	poll_add(&s, 1, POLLOUT, 0, 9, IOSQE_FIXED_FILE);
	submit(&s);
}

TEST(a_file_without_a_word)
{
	struct ring r, s;
	int fds[2], none[2] = {-1, -1};

	pair(&r, &s);
	make_pipe(fds);
	EXPECT_EQ(files(&r, fds, 2), 0);
	EXPECT_EQ(files(&s, none, 2), 0);
	send_fd(&r, s.fd, 1, 1, 1)->rw_flags = (int)IORING_MSG_RING_CQE_SKIP;
	submit(&r);
	EXPECT_EQ(ring_ready(&s), 0);
	poll_add(&s, 0, POLLOUT, 0, 2, IOSQE_FIXED_FILE);
	submit(&s);
	send_fd(&r, s.fd, 1, 1, 3)->len = 1;
	submit(&r);
}

TEST(a_disabled_ring)
{
	struct ring r, s;

	ring_init(&r, 8, 0);
	ring_init(&s, 8, IORING_SETUP_R_DISABLED);
	msg(&r, s.fd, 5, 6, 1);
	submit(&r);
	send_fd(&r, s.fd, 0, 1, 2);
	submit(&r);
}
