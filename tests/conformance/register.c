/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring_register(2): registered files, and what it refuses. */
#include "harness.h"

static char buf[64];

static int read_fixed(struct ring *r, int index)
{
	struct iovec iov = {buf, sizeof(buf)};
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_READV;
	sqe.flags = IOSQE_FIXED_FILE;
	sqe.fd = index;
	sqe.addr = (uint64_t)(uintptr_t)&iov;
	sqe.len = 1;
	return run_sqe(r, &sqe);
}

TEST(unknown_opcode_is_einval)
{
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, 1000, NULL, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, 0x7fffffff, NULL, 0), -EINVAL);
}

TEST(bad_descriptor_is_ebadf)
{
	int fds[1] = {0};
	struct ring r;

	ring_init(&r, 4, 0);
	OK(close(r.fd));
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, fds, 1), -EBADF);
}

TEST(files)
{
	int fds[3] = {make_file(10), -1, make_file(20)};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, fds, 3), 0);
	OK(close(fds[0]));
	OK(close(fds[2]));
	EXPECT_EQ(read_fixed(&r, 0), 10);
	EXPECT_EQ(read_fixed(&r, 1), -EBADF);
	EXPECT_EQ(read_fixed(&r, 2), 20);
	EXPECT_EQ(read_fixed(&r, 3), -EBADF);
	EXPECT_EQ(read_fixed(&r, -1), -EBADF);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, fds, 3), -EBUSY);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_FILES, NULL, 0), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_FILES, NULL, 0), -ENXIO);
	EXPECT_EQ(read_fixed(&r, 0), -EBADF);
}

TEST(files_that_are_refused)
{
	int fds[2] = {make_file(10), 1 << 30};
	struct ring r;

	ring_init(&r, 4, 0);
	note("none: %d", sys_register(r.fd, IORING_REGISTER_FILES, fds, 0));
	note("null: %d", sys_register(r.fd, IORING_REGISTER_FILES, NULL, 1));
	note("bad fd: %d", sys_register(r.fd, IORING_REGISTER_FILES, fds, 2));
	note("unmapped: %d", sys_register(r.fd, IORING_REGISTER_FILES, (void *)8, 2));
	note("too many: %d", sys_register(r.fd, IORING_REGISTER_FILES, fds, UINT32_MAX));
	note("unregister with arguments: %d", sys_register(r.fd, IORING_UNREGISTER_FILES, fds, 1));
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, fds, 1), 0);
}

TEST(files_update)
{
	int fds[2] = {make_file(10), -1}, next[1] = {make_file(30)}, none[1] = {-1};
	struct io_uring_files_update up;
	struct ring r;

	ring_init(&r, 4, 0);
	memset(&up, 0, sizeof(up));
	up.offset = 1;
	up.fds = (uint64_t)(uintptr_t)next;
	note("no table: %d", sys_register(r.fd, IORING_REGISTER_FILES_UPDATE, &up, 1));
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, fds, 2), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES_UPDATE, &up, 1), 1);
	EXPECT_EQ(read_fixed(&r, 1), 30);
	up.offset = 2;
	note("behind the end: %d", sys_register(r.fd, IORING_REGISTER_FILES_UPDATE, &up, 1));
	up.offset = 0;
	up.fds = (uint64_t)(uintptr_t)none;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES_UPDATE, &up, 1), 1);
	EXPECT_EQ(read_fixed(&r, 0), -EBADF);
	EXPECT_EQ(read_fixed(&r, 1), 30);
}

TEST(a_disabled_ring)
{
	struct ring r;

	ring_init(&r, 4, IORING_SETUP_R_DISABLED);
	ring_nop(&r, 1);
	note("enter: %d", ring_submit(&r));
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0);
	EXPECT_EQ(ring_submit(&r), 1);
	note("again: %d", sys_register(r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	ring_note_words(&r);
}

static void *enter_one(void *arg)
{
	struct ring *r = arg;

	return (void *)(intptr_t)enter(r->fd, 1, 0, 0);
}

TEST(a_single_issuer)
{
	struct ring r;
	pthread_t t;
	void *ret;

	ring_init(&r, 4, IORING_SETUP_SINGLE_ISSUER);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(pthread_create(&t, NULL, enter_one, &r), 0);
	EXPECT_EQ(pthread_join(t, &ret), 0);
	note("another thread: %ld", (long)(intptr_t)ret);
	EXPECT_EQ(ring_submit(&r), 1);
	ring_note_words(&r);
}

static void note_layout(unsigned flags)
{
	struct ring r;

	ring_init(&r, 8, flags);
	note("flags 0x%x: cqes %u array %u", r.p.flags, r.p.cq_off.cqes, r.p.sq_off.array);
	ring_close(&r);
}

TEST(layouts_of_large_entries)
{
	note_layout(IORING_SETUP_SQE128);
	note_layout(IORING_SETUP_CQE32);
	note_layout(IORING_SETUP_SQE128 | IORING_SETUP_CQE32);
}

TEST(task_run_flags)
{
	static const unsigned flags[] = {
		IORING_SETUP_COOP_TASKRUN,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	};

	for (int i = 0; i < 4; i++) {
		struct ring r;

		ring_init(&r, 4, flags[i]);
		ring_nop(&r, 1);
		EXPECT_EQ(ring_submit_wait(&r, 1), 1);
		ring_note_words(&r);
		ring_close(&r);
	}
}
