/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_REGISTER_PBUF_RING: buffer rings, incremental consumption, status. */
#include "pbufring.h"

TEST(in_order)
{
	int fd = make_file(300);
	struct ring r;
	struct buf *br;

	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	EXPECT_EQ(head_of(&r, 3), 0);
	EXPECT_EQ(read_selected(&r, fd, 10, 3), -ENOBUFS);
	add(br, pool[0], 64, 9);
	add(br, pool[1], 64, 5);
	EXPECT_EQ(read_selected(&r, fd, 10, 3), 10);
	EXPECT(is_pattern(pool[0], 0, 10));
	EXPECT_EQ(head_of(&r, 3), 1);
	EXPECT_EQ(read_selected(&r, fd, 0, 3), 64);
	EXPECT(is_pattern(pool[1], 0, 64));
	EXPECT_EQ(head_of(&r, 3), 2);
	EXPECT_EQ(read_selected(&r, fd, 10, 3), -ENOBUFS);
}

TEST(it_wraps)
{
	int fd = make_file(10);
	struct ring r;
	struct buf *br;

	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	for (unsigned i = 0; i < 10; i++) {
		add(br, pool[i % 8], 64, i);
		EXPECT_EQ(read_selected(&r, fd, 10, 3), 10);
	}
	EXPECT_EQ(head_of(&r, 3), 10);
}

TEST(what_is_refused)
{
	struct buf *br = (void *)map_pages(2, PROT_READ | PROT_WRITE);
	struct reg reg = {(uint64_t)(uintptr_t)br, 4, 1, 0, {0}};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(add_ring(&r, br, 0, 1, 0), -EINVAL);
	EXPECT_EQ(add_ring(&r, br, 3, 1, 0), -EINVAL);
	EXPECT_EQ(add_ring(&r, br, 65536, 1, 0), -EINVAL);
	EXPECT_EQ(add_ring(&r, (char *)br + 8, 4, 1, 0), -EINVAL);
	EXPECT_EQ(add_ring(&r, NULL, 4, 1, 0), -EFAULT);
	EXPECT_EQ(add_ring(&r, map_pages(1, PROT_NONE), 4, 1, 0), -EFAULT);
	note("unmapped behind: %d", add_ring(&r, map_then_hole(1), 512, 1, 0));
	EXPECT_EQ(add_ring(&r, br, 4, 1, 8), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PBUF_RING, NULL, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PBUF_RING, &reg, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PBUF_RING, &reg, 2), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PBUF_RING, (void *)8, 1), -EFAULT);
	reg.resv[2] = 1;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PBUF_RING, &reg, 1), -EINVAL);
	EXPECT_EQ(head_of(&r, 1), -ENOENT);
	EXPECT_EQ(add_ring(&r, br, 4, 1, 0), 0);
	EXPECT_EQ(add_ring(&r, br, 4, 1, 0), -EEXIST);
}

TEST(a_group_is_one_or_the_other)
{
	struct buf *br = (void *)map_pages(1, PROT_READ | PROT_WRITE);
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 8, 0);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_PROVIDE_BUFFERS;
	sqe.fd = 1;
	sqe.addr = (uint64_t)(uintptr_t)pool;
	sqe.len = 8;
	sqe.buf_group = 2;
	EXPECT_EQ(run_sqe(&r, &sqe), 0);
	EXPECT_EQ(add_ring(&r, br, 4, 2, 0), -EEXIST);
	EXPECT_EQ(head_of(&r, 2), -EINVAL);
	sqe.opcode = IORING_OP_REMOVE_BUFFERS;
	sqe.addr = sqe.len = 0;
	EXPECT_EQ(run_sqe(&r, &sqe), 1);
	EXPECT_EQ(add_ring(&r, br, 4, 2, 0), 0);
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.opcode = IORING_OP_PROVIDE_BUFFERS;
	sqe.addr = (uint64_t)(uintptr_t)pool;
	sqe.len = 8;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
}

TEST(unregistered)
{
	struct reg reg = {0, 0, 3, 0, {0}};
	struct ring r;
	struct buf *br;

	ring_init(&r, 8, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_PBUF_RING, &reg, 1), -ENOENT);
	br = buf_ring(&r, 3, 0);
	add(br, pool[0], 64, 0);
	reg.flags = 1;
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_PBUF_RING, &reg, 1), -EINVAL);
	reg.flags = 0;
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_PBUF_RING, &reg, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_PBUF_RING, &reg, 1), 0);
	EXPECT_EQ(read_selected(&r, make_file(4), 4, 3), -ENOBUFS);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_PBUF_RING, &reg, 1), -ENOENT);
	EXPECT_EQ(add_ring(&r, br, 4, 3, 0), 0);
	EXPECT_EQ(read_selected(&r, make_file(4), 4, 3), 4);
}

TEST(waiting_takes_no_buffer)
{
	struct io_uring_sqe sqe;
	struct ring r;
	struct buf *br;
	int a[2], b[2];

	OK(pipe(a));
	OK(pipe(b));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	add(br, pool[0], 64, 20);
	add(br, pool[1], 64, 21);
	sqe = selecting(IORING_OP_READ, a[0], 64, 3);
	sqe.user_data = 1;
	*ring_sqe(&r) = sqe;
	sqe.fd = b[0];
	sqe.user_data = 2;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 2);
	EXPECT_EQ(head_of(&r, 3), 0);
	EXPECT_EQ(write(b[1], "second", 6), 6);
	note_cqe(&r);
	EXPECT_EQ(write(a[1], "first", 5), 5);
	note_cqe(&r);
	EXPECT(memcmp(pool[0], "second", 6) == 0);
	EXPECT(memcmp(pool[1], "first", 5) == 0);
	EXPECT_EQ(head_of(&r, 3), 2);
}

TEST(failures)
{
	struct ring r;
	struct buf *br;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	add(br, pool[0], 64, 20);
	add(br, pool[1], 64, 21);
	EXPECT_EQ(read_selected(&r, p[1], 8, 3), -EBADF);
	note("head %d", head_of(&r, 3));
	EXPECT_EQ(read_selected(&r, (int)OK(open("/", O_RDONLY)), 8, 3), -EISDIR);
	note("head %d", head_of(&r, 3));
	EXPECT_EQ(read_selected(&r, make_file(0), 8, 3), 0);
	note("head %d", head_of(&r, 3));
}

TEST(a_pipes_end)
{
	struct ring r;
	struct buf *br;
	int p[2];

	OK(pipe(p));
	OK(close(p[1]));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	add(br, pool[0], 64, 20);
	EXPECT_EQ(read_selected(&r, p[0], 8, 3), 0);
	note("head %d", head_of(&r, 3));
}

static void incremental(bool file)
{
	struct ring r;
	struct buf *br;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, INC);
	add(br, pool, 100, 20);
	add(br, pool[4], 50, 21);
	for (int i = 0; i < 5; i++) {
		int fd = file ? make_file(40) : p[0];

		EXPECT_EQ(write(p[1], "0123456789012345678901234567890123456789", 40), 40);
		read_selected(&r, fd, 64, 3);
		note("head %d: %u %u at %d", head_of(&r, 3), br[0].len, br[1].len,
		     (int)(br[0].addr - (uint64_t)(uintptr_t)pool));
	}
}

TEST(incremental_with_a_pipe)
{
	incremental(false);
}

TEST(incremental_with_a_file)
{
	incremental(true);
}

TEST(multishot)
{
	struct io_uring_sqe sqe = selecting(49, 0, 0, 3); /* READ_MULTISHOT */
	struct ring r;
	struct buf *br;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	add(br, pool[0], 4, 20);
	add(br, pool[1], 4, 21);
	sqe.fd = p[0];
	sqe.user_data = 5;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(p[1], "abcd", 4), 4);
	note_cqe(&r);
	EXPECT_EQ(write(p[1], "ef", 2), 2);
	note_cqe(&r);
	add(br, pool[2], 8, 22);
	EXPECT_EQ(write(p[1], "ghi", 3), 3);
	note_cqe(&r);
	EXPECT_EQ(write(p[1], "j", 1), 1);
	note_cqe(&r);
	EXPECT_EQ(head_of(&r, 3), 3);
	EXPECT(memcmp(pool[2], "ghi", 3) == 0);
}

TEST(multishot_incremental)
{
	struct io_uring_sqe sqe = selecting(49, 0, 0, 3);
	struct ring r;
	struct buf *br;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, INC);
	add(br, pool[0], 6, 20);
	sqe.fd = p[0];
	sqe.user_data = 5;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(p[1], "abcd", 4), 4);
	note_cqe(&r);
	EXPECT_EQ(write(p[1], "ef", 2), 2);
	note_cqe(&r);
	EXPECT_EQ(write(p[1], "g", 1), 1);
	note_cqe(&r);
	EXPECT(memcmp(pool[0], "abcdef", 6) == 0);
	note("head %d", head_of(&r, 3));
}

TEST(asynchronous_takes_it_at_once)
{
	struct io_uring_sqe sqe = selecting(IORING_OP_READ, make_file(30), 64, 3);
	struct ring r;
	struct buf *br;

	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	add(br, pool[0], 64, 20);
	sqe.flags |= IOSQE_ASYNC;
	EXPECT_EQ(run_sqe(&r, &sqe), 30);
	EXPECT_EQ(head_of(&r, 3), 1);
}

TEST(reads_and_receives_that_wait_in_a_worker)
{
	struct io_uring_sqe sqe;
	struct ring r;
	struct buf *br;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	for (unsigned i = 0; i < 4; i++) {
		sqe = selecting(i % 2 ? IORING_OP_RECV : IORING_OP_READ, s[0], i < 2 ? 0 : 3, 3);
		sqe.flags |= IOSQE_ASYNC;
		add(br, pool[i], 4, 20 + i);
		*ring_sqe(&r) = sqe;
		EXPECT_EQ(ring_submit(&r), 1);
		EXPECT_EQ(write(s[1], "ab", 2), 2);
		note_cqe(&r);
		note("head %d", head_of(&r, 3));
	}
}

TEST(status_that_is_refused)
{
	struct status status;
	struct ring r;

	ring_init(&r, 8, 0);
	buf_ring(&r, 3, 0);
	memset(&status, 0, sizeof(status));
	status.bgid = 3;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PBUF_STATUS, &status, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PBUF_STATUS, NULL, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PBUF_STATUS, (void *)8, 1), -EFAULT);
	status.resv[7] = 1;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PBUF_STATUS, &status, 1), -EINVAL);
}

TEST(sends_that_fail)
{
	char *hole = map_then_hole(1);
	struct io_uring_sqe sqe;
	int s[2];
	struct ring r;
	struct buf *br;

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	add(br, hole + PAGE, 64, 9);
	sqe = selecting(IORING_OP_SEND, s[0], 0, 3);
	run_sqe(&r, &sqe);
	note("head %d", head_of(&r, 3));
	add(br, NULL, 64, 5);
	run_sqe(&r, &sqe);
	note("head %d", head_of(&r, 3));
	add(br, pool[0], 64, 7);
	run_sqe(&r, &sqe);
	note("head %d", head_of(&r, 3));
	OK(close(s[1]));
	sqe.msg_flags = MSG_NOSIGNAL;
	add(br, pool[0], 64, 8);
	run_sqe(&r, &sqe);
	note("head %d", head_of(&r, 3));
}

TEST(a_buffer_at_null)
{
	static const int ops[] = {IORING_OP_READ, IORING_OP_RECV};
	int s[2];
	struct ring r;
	struct buf *br;

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	EXPECT_EQ(OK(write(s[1], "data", 4)), 4);
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	add(br, NULL, 64, 9);
	for (int i = 0; i < 2; i++) {
		struct io_uring_sqe sqe = selecting((unsigned)ops[i], s[0], 3, 3);

		EXPECT_EQ(run_sqe(&r, &sqe), -ENOBUFS);
		note("head %d", head_of(&r, 3));
	}
}
