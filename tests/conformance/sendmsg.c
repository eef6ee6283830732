/* SPDX-License-Identifier: Apache-2.0 */
/* SENDMSG and RECVMSG: vectors, addresses, struct msghdr, multishot. */
#include "sendmsg.h"

TEST(vectors)
{
	struct iovec v[3] = {{"ab", 2}, {"", 0}, {"cde", 3}}, w[2] = {{buf, 1}, {buf + 8, 9}};
	struct msghdr m = message(v, 3), n = message(w, 2);
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	run(&r, sending(sv[0], &m));
	run(&r, receiving(sv[1], &n));
	note("%c %s", buf[0], buf + 8);
	note("namelen=%u controllen=%zu flags=0x%x", n.msg_namelen, n.msg_controllen, n.msg_flags);
	m = message(NULL, 0);
	run(&r, sending(sv[0], &m));
}

TEST(addresses)
{
	struct sockaddr_in a, b, from;
	int x = udp_socket(&a), y = udp_socket(&b);
	struct iovec v, w;
	struct msghdr m = text(&v, "udp"), n = into(&w, 64);
	struct ring r;

	ring_init(&r, 4, 0);
	m.msg_name = &b;
	m.msg_namelen = sizeof(b);
	run(&r, sending(x, &m));
	memset(&from, 0, sizeof(from));
	n.msg_name = &from;
	n.msg_namelen = sizeof(from);
	run(&r, receiving(y, &n));
	note_msg(&n);
	EXPECT_EQ(memcmp(&from, &a, sizeof(a)), 0);
	run(&r, sending(x, &m));
	memset(&from, 0, sizeof(from));
	n.msg_namelen = 2;
	run(&r, receiving(y, &n));
	note_msg(&n);
	note("family %u port %u", from.sin_family, from.sin_port);
	m.msg_name = (void *)8;
	run(&r, sending(x, &m));
	m.msg_name = &b;
	m.msg_namelen = (socklen_t)-1;
	run(&r, sending(x, &m));
	m.msg_namelen = 4;
	run(&r, sending(x, &m));
}

TEST(pending_keeps_its_copy)
{
	struct iovec w;
	struct msghdr n = into(&w, 64);
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	start(&r, receiving(sv[1], &n));
	w.iov_base = NULL;
	EXPECT_EQ(send(sv[0], "stable", 6, 0), 6);
	note_cqe(&r);
	note_msg(&n);
}

TEST(truncated_datagrams)
{
	struct io_uring_sqe sqe;
	struct iovec w;
	struct msghdr n;
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_DGRAM, sv);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(send(sv[0], "abcdef", 6, 0), 6);
		n = into(&w, 3);
		sqe = receiving(sv[1], &n);
		sqe.msg_flags = i == 1 ? MSG_TRUNC : i == 2 ? MSG_WAITALL : 0;
		sqe.flags = IOSQE_IO_LINK;
		push(&r, sqe);
		push(&r, sqe_of(IORING_OP_NOP, -1, NULL, 0));
		EXPECT_EQ(ring_submit(&r), 2);
		note_cqe(&r);
		note_cqe(&r);
		note_msg(&n);
	}
}

TEST(waitall)
{
	struct io_uring_sqe sqe;
	struct iovec w;
	struct msghdr n = into(&w, 9);
	int sv[2];
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	sqe = receiving(sv[1], &n);
	sqe.msg_flags = MSG_WAITALL;
	start(&r, sqe);
	for (int j = 0; j < 3; j++)
		EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	note_cqe(&r);
	note_msg(&n);
}

TEST(what_sendmsg_refuses)
{
	struct iovec v;
	struct msghdr m = text(&v, "x");
	struct io_uring_sqe sqe;
	int sv[2], file = make_file(1);
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	run(&r, sending(-1, &m));
	run(&r, sending(file, &m));
	run(&r, sending(r.fd, &m));
	run(&r, sending(sv[0], NULL));
	sqe = sending(sv[0], &m);
	sqe.off = 1;
	run(&r, sqe);
	sqe = sending(sv[0], &m);
	sqe.file_index = 1;
	run(&r, sqe);
	sqe = sending(sv[0], &m);
	sqe.ioprio = 64;
	run(&r, sqe);
	sqe.ioprio = BUNDLE;
	run(&r, sqe);
	m.msg_iovlen = 1025;
	run(&r, sending(sv[0], &m));
	m.msg_iovlen = 1;
	m.msg_iov = NULL;
	run(&r, sending(sv[0], &m));
	m.msg_iov = &v;
	v.iov_len = (size_t)-1;
	run(&r, sending(sv[0], &m));
	v.iov_len = 1;
	v.iov_base = (void *)8;
	run(&r, sending(sv[0], &m));
	v.iov_base = (void *)-4096L;
	run(&r, sending(sv[0], &m));
}

TEST(what_recvmsg_refuses)
{
	struct iovec v;
	struct msghdr m = into(&v, 8);
	struct io_uring_sqe sqe;
	int sv[2], file = make_file(1);
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	run(&r, receiving(-1, &m));
	run(&r, receiving(file, &m));
	run(&r, receiving(sv[0], NULL));
	sqe = receiving(sv[0], &m);
	sqe.off = 1;
	run(&r, sqe);
	sqe = receiving(sv[0], &m);
	sqe.file_index = 1;
	run(&r, sqe);
	sqe = receiving(sv[0], &m);
	sqe.ioprio = 64;
	run(&r, sqe);
	sqe.ioprio = BUNDLE;
	run(&r, sqe);
	sqe.ioprio = RECV_MULTISHOT;
	run(&r, sqe);
	m.msg_iovlen = 1025;
	run(&r, receiving(sv[0], &m));
	sqe = receiving(sv[0], &m);
	sqe.flags = IOSQE_BUFFER_SELECT;
	m.msg_iovlen = 2;
	run(&r, sqe);
	m.msg_iovlen = 1;
	m.msg_name = buf;
	m.msg_namelen = (socklen_t)-1;
	run(&r, receiving(sv[0], &m));
	sqe = receiving(sv[0], &m);
	sqe.msg_flags = MSG_DONTWAIT;
	m.msg_name = NULL;
	run(&r, sqe);
}

TEST(multishot)
{
	static char pool[4][128];
	struct io_uring_recvmsg_out o;
	struct sockaddr_in a, b;
	int x = udp_socket(&a), y = udp_socket(&b), one = 1;
	struct msghdr m;
	struct io_uring_sqe sqe = sqe_of(IORING_OP_PROVIDE_BUFFERS, 4, pool, 128);
	struct ring r;

	ring_init(&r, 8, 0);
	sqe.buf_group = 3;
	run(&r, sqe);
	OK(connect(x, (struct sockaddr *)&b, sizeof(b)));
	OK(setsockopt(y, SOL_SOCKET, SO_TIMESTAMP, &one, sizeof(one)));
	m = message(NULL, 0);
	m.msg_namelen = 20;
	m.msg_controllen = 32;
	sqe = receiving(y, &m);
	sqe.ioprio = RECV_MULTISHOT;
	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 3;
	m.msg_name = buf;
	start(&r, sqe);
	for (int i = 0; i < 3; i++) {
		char big[100] = "datagram";
		struct cqe cqe;
		char *at;

		EXPECT_EQ(send(x, big, i == 2 ? 100 : 9, 0), i == 2 ? 100 : 9);
		cqe = note_cqe(&r);
		at = pool[cqe.flags >> 16];
		memcpy(&o, at, sizeof(o));
		note("namelen=%u controllen=%u payloadlen=%u flags=0x%x", o.namelen, o.controllen, o.payloadlen,
		     o.flags);
		EXPECT_EQ(memcmp(at + sizeof(o), &a, sizeof(a)), 0);
		note("%s", at + sizeof(o) + 20 + 32);
	}
	cancel(&r, sqe.user_data);
	note_cqe(&r);
}

/* msg_name says nothing: there is room for as much of an address as msg_namelen says. */
TEST(a_multishot_looks_at_no_name)
{
	static const int rooms[] = {0, 4, 16, 28, 140, -1, 0x7fffffff};
	static char pool[2][256];

	for (unsigned i = 0; i < sizeof(rooms) / sizeof(*rooms); i++) {
		struct sockaddr_in a, b;
		int x = udp_socket(&a), y = udp_socket(&b); /* what a ring that is closed has pending ends later */
		struct io_uring_sqe sqe = sqe_of(IORING_OP_PROVIDE_BUFFERS, 2, pool, sizeof(*pool));
		struct msghdr m = message(NULL, 0);
		struct io_uring_recvmsg_out o;
		struct cqe cqe;
		struct ring r;
		char *at;

		OK(connect(x, (struct sockaddr *)&b, sizeof(b)));
		ring_init(&r, 8, 0);
		sqe.buf_group = 3;
		run(&r, sqe);
		m.msg_namelen = (socklen_t)rooms[i];
		sqe = receiving(y, &m);
		sqe.ioprio = RECV_MULTISHOT;
		sqe.flags = IOSQE_BUFFER_SELECT;
		sqe.buf_group = 3;
		if (rooms[i] < 0 || rooms[i] > 1000) {
			run(&r, sqe);
			continue;
		}
		m.msg_name = i & 1 ? buf : NULL;
		start(&r, sqe);
		EXPECT_EQ(send(x, "datagram", 9, 0), 9);
		cqe = note_cqe(&r);
		at = pool[cqe.flags >> 16];
		memcpy(&o, at, sizeof(o));
		note("namelen=%u payloadlen=%u flags=0x%x", o.namelen, o.payloadlen, o.flags);
		if (rooms[i] >= (int)sizeof(a))
			EXPECT_EQ(memcmp(at + sizeof(o), &a, sizeof(a)), 0);
		note("%s", at + sizeof(o) + rooms[i]);
		ring_close(&r);
	}
}

TEST(a_multishot_buffer_too_small)
{
	static char pool[16];
	struct msghdr m = message(NULL, 0);
	int sv[2];
	struct io_uring_sqe sqe = sqe_of(IORING_OP_PROVIDE_BUFFERS, 1, pool, 8);
	struct ring r;

	ring_init(&r, 8, 0);
	sqe.buf_group = 3;
	run(&r, sqe);
	pair(SOCK_DGRAM, sv);
	sqe = receiving(sv[1], &m);
	sqe.ioprio = RECV_MULTISHOT;
	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 3;
	run(&r, sqe);
}
