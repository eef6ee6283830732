/* SPDX-License-Identifier: Apache-2.0 */
/* SEND_ZC and SENDMSG_ZC: what is seen of them is a second CQE. */
#include "net.h"

static char buf[64];

static struct io_uring_sqe sending(int fd, const void *data, unsigned len)
{
	return sqe_of(OP_SEND_ZC, fd, data, len);
}

/* Both CQEs; the notification is the last. */
static void run_zc(struct ring *r, struct io_uring_sqe sqe)
{
	push(r, sqe);
	EXPECT_EQ(ring_submit(r), 1);
	while (note_cqe(r).flags & IORING_CQE_F_MORE)
		;
	EXPECT_EQ(ring_ready(r), 0);
}

static void drain(int fd, int n)
{
	EXPECT_EQ(recv(fd, buf, (size_t)n, MSG_WAITALL), n);
}

TEST(over_tcp)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	tcp_pair(sv);
	push(&r, sending(sv[0], "hello", 5));
	EXPECT_EQ(ring_submit(&r), 1);
	note_cqe(&r);
	drain(sv[1], 5);
	note_cqe(&r);
	EXPECT_EQ(memcmp(buf, "hello", 5), 0);
}

TEST(over_udp)
{
	struct sockaddr_in a, b;
	int x = udp_socket(&a), y = udp_socket(&b);
	struct io_uring_sqe sqe = sending(x, "hello", 5);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.off = (uintptr_t)&b;
	sqe.addr_len = sizeof(b);
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	note_cqe(&r);
	drain(y, 5);
	note_cqe(&r);
}

TEST(not_over_unix)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	run_zc(&r, sending(sv[0], "hello", 5));
	run_zc(&r, sending(-1, "hello", 5));
	run_zc(&r, sending(make_file(1), "hello", 5));
}

TEST(usage_is_reported)
{
	int sv[2];
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 4, 0);
	tcp_pair(sv);
	sqe = sending(sv[0], "hello", 5);
	sqe.ioprio = SEND_REPORT_USAGE;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	note_cqe(&r);
	drain(sv[1], 5);
	note_cqe(&r);
}

TEST(what_it_refuses)
{
	int sv[2];
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 4, 0);
	tcp_pair(sv);
	sqe = sending(sv[0], "x", 1);
	sqe.addr3 = 1;
	run_zc(&r, sqe);
	sqe = sending(sv[0], "x", 1);
	sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
	run_zc(&r, sqe);
	sqe = sending(sv[0], "x", 1);
	sqe.ioprio = 1 << 7;
	run_zc(&r, sqe);
	sqe = sending(sv[0], "x", 1);
	sqe.file_index = 1 << 16;
	run_zc(&r, sqe);
	sqe = sending(sv[0], (void *)-4096L, 1);
	run_zc(&r, sqe);
	sqe = sending(sv[0], NULL, 1);
	run_zc(&r, sqe);
	sqe = sending(sv[0], "x", 1);
	sqe.off = 8;
	sqe.addr_len = 16;
	run_zc(&r, sqe);
}

TEST(from_a_registered_buffer)
{
	static char data[64] = "0123456789registered";
	struct iovec iov = {data, sizeof(data)};
	int sv[2];
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 4, 0);
	tcp_pair(sv);
	sqe = sending(sv[0], data + 10, 10);
	sqe.ioprio = SEND_FIXED_BUF;
	run_zc(&r, sqe);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_BUFFERS, &iov, 1), 0);
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	note_cqe(&r);
	drain(sv[1], 10);
	note_cqe(&r);
	EXPECT_EQ(memcmp(buf, "registered", 10), 0);
	sqe.len = 64;
	run_zc(&r, sqe);
	sqe.len = 10;
	sqe.buf_index = 1;
	run_zc(&r, sqe);
}

TEST(messages)
{
	struct iovec iov = {"message", 7};
	struct msghdr m;
	int sv[2];
	struct io_uring_sqe sqe;
	struct ring r;

	memset(&m, 0, sizeof(m));
	m.msg_iov = &iov;
	m.msg_iovlen = 1;
	ring_init(&r, 4, 0);
	tcp_pair(sv);
	sqe = sqe_of(OP_SENDMSG_ZC, sv[0], &m, 1);
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	note_cqe(&r);
	drain(sv[1], 7);
	note_cqe(&r);
	sqe.addr = 8;
	run_zc(&r, sqe);
	sqe = sqe_of(OP_SENDMSG_ZC, sv[0], &m, 1);
	sqe.off = 1;
	run_zc(&r, sqe);
	pair(SOCK_STREAM, sv);
	run_zc(&r, sqe_of(OP_SENDMSG_ZC, sv[0], &m, 1));
}

TEST(a_message_from_a_registered_buffer)
{
	static char data[64] = "one two three";
	struct iovec iov = {data, sizeof(data)}, v[2] = {{data + 4, 3}, {data, 3}};
	struct msghdr m;
	int sv[2];
	struct io_uring_sqe sqe;
	struct ring r;

	memset(&m, 0, sizeof(m));
	m.msg_iov = v;
	m.msg_iovlen = 2;
	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_BUFFERS, &iov, 1), 0);
	tcp_pair(sv);
	sqe = sqe_of(OP_SENDMSG_ZC, sv[0], &m, 1);
	sqe.ioprio = SEND_FIXED_BUF;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	note_cqe(&r);
	drain(sv[1], 6);
	note_cqe(&r);
	EXPECT_EQ(memcmp(buf, "twoone", 6), 0);
	v[1].iov_len = 65;
	run_zc(&r, sqe);
}

TEST(the_other_end_is_gone)
{
	struct linger hard = {1, 0};
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	tcp_pair(sv);
	OK(setsockopt(sv[1], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
	OK(close(sv[1]));
	until_readable(sv[0]);
	run_zc(&r, sending(sv[0], "x", 1));
	run_zc(&r, sending(sv[0], "x", 1));
}

TEST(a_link_behind_it)
{
	int sv[2], nops = 0;
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 4, 0);
	tcp_pair(sv);
	sqe = sending(sv[0], "hello", 5);
	sqe.flags = IOSQE_IO_LINK;
	push(&r, sqe);
	push(&r, sqe_of(IORING_OP_NOP, -1, NULL, 0));
	EXPECT_EQ(ring_submit(&r), 2);
	drain(sv[1], 5);
	for (int i = 0; i < 3; i++) {
		struct cqe cqe = ring_wait(&r);

		nops += cqe.user_data == 0x50c0;
		EXPECT_EQ(cqe.res, cqe.flags & IORING_CQE_F_MORE ? 5 : 0);
	}
	note("%d nop", nops);
}

TEST(cancelled)
{
	int sv[2];
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 4, 0);
	tcp_pair(sv);
	fill(sv[0]);
	sqe = sending(sv[0], "x", 1);
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	cancel(&r, sqe.user_data);
	note_cqe(&r);
	note_cqe(&r);
}
