/* SPDX-License-Identifier: Apache-2.0 */
/* SEND and RECV: what comes, what waits, what ends it. */
#include "sendrecv.h"

static char out[1 << 20];

TEST(over_each_kind)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 4; i++) {
		if (i < 3)
			pair(types[i], sv);
		else
			tcp_pair(sv);
		run(&r, sending(sv[0], "hello", 5));
		until_readable(sv[1]);
		note_buf(run(&r, receiving(sv[1], 64)));
		run(&r, sending(sv[0], "hello", 0));
	}
}

TEST(data_comes_later)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 2; i++) {
		i ? tcp_pair(sv) : pair(SOCK_STREAM, sv);
		start(&r, receiving(sv[1], 64));
		EXPECT_EQ(send(sv[0], "later", 5, 0), 5);
		note_buf(note_cqe(&r).res);
	}
}

TEST(an_o_nonblock_socket_waits_too)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv));
	start(&r, receiving(sv[1], 64));
	EXPECT_EQ(send(sv[0], "later", 5, 0), 5);
	note_cqe(&r);
	note("status 0x%x", fcntl(sv[1], F_GETFL));
}

TEST(dontwait)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	sqe = receiving(sv[1], 64);
	sqe.msg_flags = MSG_DONTWAIT;
	run(&r, sqe);
	fill(sv[0]);
	sqe = sending(sv[0], "x", 1);
	sqe.msg_flags = MSG_DONTWAIT;
	run(&r, sqe);
	sqe.ioprio = POLL_FIRST;
	run(&r, sqe);
}

TEST(a_send_waits_for_room)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	fill(sv[0]);
	start(&r, sending(sv[0], "x", 1));
	while (recv(sv[1], buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	note_cqe(&r);
}

TEST(the_end)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 2; i++) {
		i ? tcp_pair(sv) : pair(SOCK_STREAM, sv);
		start(&r, receiving(sv[1], 64));
		OK(shutdown(sv[0], SHUT_WR));
		note_cqe(&r);
		run(&r, receiving(sv[1], 64));
	}
}

TEST(the_other_end_is_gone)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	OK(close(sv[1]));
	run(&r, sending(sv[0], "x", 1)); /* and no SIGPIPE */
	run(&r, receiving(sv[0], 1));
	pair(SOCK_DGRAM, sv);
	OK(close(sv[1]));
	run(&r, sending(sv[0], "x", 1));
}

TEST(more_is_there)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 3; i++) {
		i == 2 ? tcp_pair(sv) : pair(i ? SOCK_DGRAM : SOCK_STREAM, sv);
		EXPECT_EQ(send(sv[0], "abcdef", 6, 0), 6);
		until_readable(sv[1]);
		run(&r, receiving(sv[1], 4));
	}
}

TEST(peek_and_trunc)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_DGRAM, sv);
	EXPECT_EQ(send(sv[0], "abcdef", 6, 0), 6);
	sqe = receiving(sv[1], 4);
	sqe.msg_flags = MSG_PEEK;
	note_buf(run(&r, sqe));
	sqe.msg_flags = MSG_PEEK | MSG_TRUNC;
	run(&r, sqe);
	note_buf(run(&r, receiving(sv[1], 4)));
	tcp_pair(sv);
	EXPECT_EQ(send(sv[0], "abcdef", 6, 0), 6);
	until_readable(sv[1]);
	sqe = receiving(sv[1], 4);
	sqe.msg_flags = MSG_TRUNC;
	run(&r, sqe);
	note_buf(run(&r, receiving(sv[1], 4)));
}

TEST(waitall_collects)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 2; i++) {
		i ? tcp_pair(sv) : pair(SOCK_STREAM, sv);
		sqe = receiving(sv[1], 9);
		sqe.msg_flags = MSG_WAITALL;
		start(&r, sqe);
		for (int j = 0; j < 3; j++) {
			EXPECT_EQ(ring_ready(&r), 0);
			EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
		}
		note_buf(note_cqe(&r).res);
	}
}

TEST(waitall_ends_short)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	sqe = receiving(sv[1], 9);
	sqe.msg_flags = MSG_WAITALL;
	sqe.flags = IOSQE_IO_LINK;
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	push(&r, sqe);
	push(&r, sqe_of(IORING_OP_NOP, -1, NULL, 0));
	EXPECT_EQ(ring_submit(&r), 2);
	EXPECT_EQ(ring_ready(&r), 0);
	OK(close(sv[0]));
	note_cqe(&r);
	note_cqe(&r);
}

TEST(waitall_cancelled_keeps_what_came)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	sqe = receiving(sv[1], 9);
	sqe.msg_flags = MSG_WAITALL;
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	start(&r, sqe);
	cancel(&r, sqe.user_data);
	note_buf(note_cqe(&r).res);
}

TEST(a_short_receive_keeps_the_link)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	sqe = receiving(sv[1], 9);
	sqe.flags = IOSQE_IO_LINK;
	push(&r, sqe);
	push(&r, sqe_of(IORING_OP_NOP, -1, NULL, 0));
	EXPECT_EQ(ring_submit(&r), 2);
	note_cqe(&r);
	note_cqe(&r);
}

TEST(a_big_send_is_whole_with_waitall)
{
	struct io_uring_sqe sqe;
	size_t got = 0;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)pattern(i);
	sqe = sending(sv[0], out, sizeof(out));
	sqe.msg_flags = MSG_WAITALL;
	start(&r, sqe);
	while (got < sizeof(out)) {
		ssize_t n = OK(recv(sv[1], buf + got, sizeof(buf) - got, 0));

		EXPECT(n > 0);
		got += (size_t)n;
	}
	note_cqe(&r);
	EXPECT(is_pattern(buf, 0, sizeof(buf)));
}

TEST(poll_first)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	sqe = receiving(sv[1], 9);
	sqe.ioprio = POLL_FIRST;
	start(&r, sqe);
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	note_buf(note_cqe(&r).res);
	EXPECT_EQ(send(sv[0], "def", 3, 0), 3);
	note_buf(run(&r, sqe));
	sqe = sending(sv[0], "ghi", 3);
	sqe.ioprio = POLL_FIRST;
	run(&r, sqe);
	note_buf(run(&r, receiving(sv[1], 9)));
}

TEST(cancelled)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	start(&r, receiving(sv[1], 9));
	cancel(&r, receiving(sv[1], 9).user_data);
	note_cqe(&r);
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	note_buf(run(&r, receiving(sv[1], 9)));
	fill(sv[0]);
	start(&r, sending(sv[0], "x", 1));
	cancel(&r, sending(sv[0], "x", 1).user_data);
	note_cqe(&r);
}

TEST(a_timeout_races)
{
	struct __kernel_timespec soon = {0, 1000000};
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	sqe = receiving(sv[1], 9);
	sqe.flags = IOSQE_IO_LINK;
	push(&r, sqe);
	sqe = sqe_of(IORING_OP_LINK_TIMEOUT, -1, &soon, 1);
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 2);
	note_cqe(&r);
	note_cqe(&r);
}

TEST(two_receivers_of_one_registered_file)
{
	struct io_uring_sqe sqe = receiving(0, 1);
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &sv[1], 1), 0);
	sqe.flags = IOSQE_FIXED_FILE;
	start(&r, sqe);
	start(&r, sqe);
	EXPECT_EQ(send(sv[0], "a", 1, 0), 1);
	note_cqe(&r);
	EXPECT_EQ(send(sv[0], "b", 1, 0), 1);
	note_cqe(&r);
}
