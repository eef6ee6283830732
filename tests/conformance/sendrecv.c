/* SPDX-License-Identifier: Apache-2.0 */
/* SEND and RECV. */
#include "net.h"

static char buf[1 << 20], out[1 << 20];

static struct io_uring_sqe sending(int fd, const void *data, unsigned len)
{
	return sqe_of(IORING_OP_SEND, fd, data, len);
}

static struct io_uring_sqe receiving(int fd, unsigned len)
{
	return sqe_of(IORING_OP_RECV, fd, buf, len);
}

static void note_buf(int n)
{
	note("\"%.*s\"", n > 0 ? n : 0, buf);
}

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

TEST(what_send_refuses)
{
	struct io_uring_sqe sqe;
	int sv[2], file = make_file(10);
	char *ro = map_then_hole(1);
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	run(&r, sending(-1, "x", 1));
	run(&r, sending(file, "x", 1));
	run(&r, sending(r.fd, "x", 1));
	run(&r, sending(sv[0], NULL, 1));
	run(&r, sending(sv[0], (void *)-4096L, 1));
	run(&r, sending(sv[0], ro + PAGE, 1));
	run(&r, sending(sv[0], ro + PAGE - 1, 2));
	sqe = sending(sv[0], "x", 1);
	sqe.ioprio = 64;
	run(&r, sqe);
	sqe = sending(sv[0], "x", 1);
	sqe.file_index = 1 << 16;
	run(&r, sqe);
	sqe = sending(sv[0], "x", 1);
	sqe.msg_flags = MSG_OOB;
	run(&r, sqe);
	run(&r, sending((int)OK(socket(AF_INET, SOCK_STREAM, 0)), "x", 1));
	run(&r, sending((int)OK(socket(AF_INET, SOCK_DGRAM, 0)), "x", 1));
}

TEST(a_bundle_without_buffers)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	sqe = sending(sv[0], "x", 1);
	sqe.ioprio = BUNDLE;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	while (note_cqe(&r).flags & IORING_CQE_F_MORE)
		;
	EXPECT_EQ(send(sv[1], "abc", 3, 0), 3);
	sqe = receiving(sv[0], 2);
	sqe.ioprio = BUNDLE;
	run(&r, sqe);
}

TEST(what_recv_refuses)
{
	struct io_uring_sqe sqe;
	int sv[2], file = make_file(10);
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	run(&r, receiving(-1, 1));
	run(&r, receiving(file, 1));
	run(&r, receiving(r.fd, 1));
	sqe = receiving(sv[1], 1);
	sqe.off = 1;
	run(&r, sqe);
	sqe = receiving(sv[1], 1);
	sqe.file_index = 1;
	run(&r, sqe);
	sqe = receiving(sv[1], 1);
	sqe.ioprio = 64;
	run(&r, sqe);
	sqe.ioprio = RECV_MULTISHOT;
	run(&r, sqe);
	sqe = receiving(sv[1], 1);
	sqe.addr = (uint64_t)-4096L;
	run(&r, sqe);
	run(&r, receiving((int)OK(socket(AF_INET, SOCK_STREAM, 0)), 1));
}

TEST(nothing_is_lost_to_a_bad_buffer)
{
	struct io_uring_sqe sqe;
	int sv[2];
	char *ro = map_pages(1, PROT_READ);
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 2; i++) {
		i ? tcp_pair(sv) : pair(SOCK_STREAM, sv);
		EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
		until_readable(sv[1]);
		sqe = receiving(sv[1], 3);
		sqe.addr = (uintptr_t)ro;
		run(&r, sqe);
		note_buf(run(&r, receiving(sv[1], 3)));
		start(&r, sqe);
		EXPECT_EQ(send(sv[0], "def", 3, 0), 3);
		note_cqe(&r);
		note_buf(run(&r, receiving(sv[1], 3)));
	}
}

TEST(to_an_address)
{
	struct sockaddr_in a, b;
	int x = udp_socket(&a), y = udp_socket(&b);
	struct io_uring_sqe sqe = sending(x, "udp", 3);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.off = (uintptr_t)&b;
	sqe.addr_len = sizeof(b);
	run(&r, sqe);
	note_buf(run(&r, receiving(y, 9)));
	sqe.addr_len = 4;
	run(&r, sqe);
	sqe.addr_len = 200;
	run(&r, sqe);
	sqe.addr_len = 16;
	sqe.off = 8;
	run(&r, sqe);
}

TEST(to_a_path)
{
	struct sockaddr_un a = {AF_UNIX, "there"};
	int x = (int)OK(socket(AF_UNIX, SOCK_DGRAM, 0)), y = (int)OK(socket(AF_UNIX, SOCK_DGRAM, 0));
	struct io_uring_sqe sqe = sending(x, "path", 4);
	char dir[] = "/tmp/uringfs-net-XXXXXX";
	struct ring r;

	EXPECT(mkdtemp(dir) != NULL);
	OK(chdir(dir));
	OK(bind(y, (struct sockaddr *)&a, sizeof(a)));
	ring_init(&r, 4, 0);
	sqe.off = (uintptr_t)&a;
	sqe.addr_len = sizeof(a);
	run(&r, sqe);
	note_buf(run(&r, receiving(y, 9)));
	OK(unlink("there"));
	run(&r, sqe);
	OK(rmdir(dir));
}

TEST(out_of_band)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	tcp_pair(sv);
	sqe = sending(sv[0], "!", 1);
	sqe.msg_flags = MSG_OOB;
	run(&r, sqe);
	{
		struct pollfd p = {sv[1], POLLPRI, 0};

		EXPECT_EQ(poll(&p, 1, 10000), 1);
	}
	sqe = receiving(sv[1], 4);
	sqe.msg_flags = MSG_OOB;
	/* whether more is there is another matter: the kernel counts the urgent byte, SIOCINQ does not */
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	note_buf(ring_wait(&r).res);
}

/* ---- provided buffers ---- */

static char pool[8][64];

static void provide(struct ring *r, unsigned n)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_PROVIDE_BUFFERS, (int)n, pool, 64);

	sqe.buf_group = 7;
	EXPECT_EQ(run(r, sqe), 0);
}

static struct io_uring_sqe selecting(int fd)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_RECV, fd, NULL, 0);

	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 7;
	return sqe;
}

TEST(a_provided_buffer)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_STREAM, sv);
	run(&r, selecting(sv[1]));
	provide(&r, 3);
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	run(&r, selecting(sv[1]));
	start(&r, selecting(sv[1]));
	EXPECT_EQ(send(sv[0], "def", 3, 0), 3);
	note_cqe(&r);
	OK(close(sv[0]));
	run(&r, selecting(sv[1]));
	run(&r, selecting(sv[1]));
}

TEST(multishot)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	for (int i = 0; i < 2; i++) {
		i ? tcp_pair(sv) : pair(SOCK_STREAM, sv);
		provide(&r, 4);
		sqe = selecting(sv[1]);
		sqe.ioprio = RECV_MULTISHOT;
		start(&r, sqe);
		for (int j = 0; j < 3; j++) {
			EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
			note_cqe(&r);
		}
		OK(close(sv[0]));
		note_cqe(&r);
		EXPECT_EQ(memcmp(pool[0], "abc", 3), 0);
		sqe = sqe_of(IORING_OP_REMOVE_BUFFERS, 8, NULL, 0);
		sqe.buf_group = 7;
		run(&r, sqe);
	}
}

TEST(multishot_of_datagrams_that_wait)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_DGRAM, sv);
	provide(&r, 3);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(send(sv[0], "abcd", (size_t)i + 1, 0), i + 1);
	sqe = selecting(sv[1]);
	sqe.ioprio = RECV_MULTISHOT;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	for (int i = 0; i < 4; i++)
		note_cqe(&r);
}

TEST(multishot_cancelled)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_STREAM, sv);
	provide(&r, 2);
	sqe = selecting(sv[1]);
	sqe.ioprio = RECV_MULTISHOT;
	start(&r, sqe);
	cancel(&r, sqe.user_data);
	note_cqe(&r);
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	run(&r, selecting(sv[1]));
}

TEST(a_multishot_with_a_limit)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_STREAM, sv);
	provide(&r, 4);
	sqe = selecting(sv[1]);
	sqe.ioprio = RECV_MULTISHOT;
	sqe.len = 4;
	sqe.file_index = 10;
	start(&r, sqe);
	EXPECT_EQ(send(sv[0], "0123456789abcdef", 16, 0), 16);
	for (int i = 0; i < 3; i++)
		note_cqe(&r);
	EXPECT_EQ(recv(sv[1], buf, 64, 0), 4);
}

TEST(a_selected_buffer_is_sent)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_SEND, 0, NULL, 0);
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_DGRAM, sv);
	strcpy(pool[0], "pooled");
	provide(&r, 2);
	sqe.fd = sv[0];
	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 7;
	sqe.len = 6;
	run(&r, sqe);
	EXPECT_EQ(recv(sv[1], buf, 64, 0), 64); /* all of it: what is asked for counts with buffer rings */
	note_buf(6);
	run(&r, sqe);
	run(&r, sqe);
}

/* ---- buffer rings ---- */

struct buf_ring_entry {
	uint64_t addr;
	uint32_t len;
	uint16_t bid, tail;
};

static struct buf_ring_entry *buffer_ring(struct ring *r, unsigned n, unsigned size)
{
	struct buf_ring_entry *br = (void *)map_pages(1, PROT_READ | PROT_WRITE);
	struct {
		uint64_t addr;
		uint32_t entries;
		uint16_t bgid, flags;
		uint64_t resv[3];
	} reg = {(uintptr_t)br, 8, 7, 0, {0}};

	EXPECT_EQ(sys_register(r->fd, 22, &reg, 1), 0);
	for (unsigned i = 0; i < n; i++) {
		br[i].addr = (uintptr_t)pool[i];
		br[i].len = size;
		br[i].bid = (uint16_t)i;
	}
	__atomic_store_n(&br[0].tail, n, __ATOMIC_RELEASE);
	return br;
}

TEST(from_a_buffer_ring)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	buffer_ring(&r, 3, 4);
	pair(SOCK_STREAM, sv);
	start(&r, selecting(sv[1]));
	EXPECT_EQ(send(sv[0], "0123456789", 10, 0), 10);
	note_cqe(&r);
	run(&r, selecting(sv[1]));
	run(&r, selecting(sv[1]));
	run(&r, selecting(sv[1]));
}

TEST(a_bundle_is_received)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	for (int i = 0; i < 2; i++) {
		struct {
			uint64_t addr;
			uint32_t entries;
			uint16_t bgid, flags;
			uint64_t resv[3];
		} reg = {0, 0, 7, 0, {0}};

		buffer_ring(&r, 4, 4);
		i ? tcp_pair(sv) : pair(SOCK_STREAM, sv);
		EXPECT_EQ(send(sv[0], "0123456789", 10, 0), 10);
		until_readable(sv[1]);
		sqe = selecting(sv[1]);
		sqe.ioprio = BUNDLE;
		run(&r, sqe);
		run(&r, sqe);
		EXPECT_EQ(sys_register(r.fd, 23, &reg, 1), 0);
	}
}

TEST(a_bundle_with_a_length)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	buffer_ring(&r, 8, 4);
	pair(SOCK_STREAM, sv);
	EXPECT_EQ(send(sv[0], "0123456789012345678901234567", 28, 0), 28);
	sqe = selecting(sv[1]);
	sqe.ioprio = BUNDLE;
	sqe.len = 13;
	run(&r, sqe);
	sqe.len = 2;
	run(&r, sqe);
}

TEST(a_multishot_of_bundles)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	buffer_ring(&r, 6, 4);
	pair(SOCK_STREAM, sv);
	sqe = selecting(sv[1]);
	sqe.ioprio = BUNDLE | RECV_MULTISHOT;
	start(&r, sqe);
	EXPECT_EQ(send(sv[0], "0123456789", 10, 0), 10);
	note_cqe(&r);
	note_cqe(&r);
	EXPECT_EQ(send(sv[0], "ab", 2, 0), 2);
	note_cqe(&r);
	OK(close(sv[0]));
	note_cqe(&r);
}

TEST(a_bundle_is_sent)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_SEND, 0, NULL, 0);
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	memcpy(pool[0], "abcd", 4);
	memcpy(pool[1], "efgh", 4);
	memcpy(pool[2], "ijkl", 4);
	buffer_ring(&r, 3, 4);
	pair(SOCK_STREAM, sv);
	sqe.fd = sv[0];
	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 7;
	sqe.ioprio = BUNDLE;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	while (note_cqe(&r).flags & IORING_CQE_F_MORE)
		;
	memset(buf, 0, 64);
	note("%zd", recv(sv[1], buf, 64, 0));
	note_buf(12);
	run(&r, sqe);
}

TEST(async_ones)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_STREAM, sv);
	sqe = receiving(sv[1], 9);
	sqe.flags = IOSQE_ASYNC;
	start(&r, sqe);
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	note_buf(note_cqe(&r).res);
	start(&r, sqe);
	cancel(&r, sqe.user_data);
	note_cqe(&r);
	sqe = sending(sv[0], "def", 3);
	sqe.flags = IOSQE_ASYNC;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	note_cqe(&r);
}

TEST(a_caller_that_dies_takes_nothing_along)
{
	int sv[2];
	pid_t pid;

	pair(SOCK_STREAM, sv);
	pid = (pid_t)OK(fork());
	if (!pid) {
		struct ring r;

		ring_init(&r, 8, 0);
		start(&r, receiving(sv[1], 9));
		_exit(0);
	}
	expect_child_ok(pid);
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	note_buf((int)OK(recv(sv[1], buf, 9, 0)));
}
