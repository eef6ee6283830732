/* SPDX-License-Identifier: Apache-2.0 */
/* SENDMSG and RECVMSG: addresses, control messages, struct msghdr. */
#include "net.h"

static char buf[4096], control[512], incoming[512];

static struct io_uring_sqe sending(int fd, struct msghdr *m)
{
	return sqe_of(IORING_OP_SENDMSG, fd, m, 1);
}

static struct io_uring_sqe receiving(int fd, struct msghdr *m)
{
	return sqe_of(IORING_OP_RECVMSG, fd, m, 1);
}

static struct msghdr message(struct iovec *iov, size_t n)
{
	struct msghdr m;

	memset(&m, 0, sizeof(m));
	m.msg_iov = iov;
	m.msg_iovlen = n;
	return m;
}

static struct msghdr into(struct iovec *iov, size_t len)
{
	memset(buf, 0, sizeof(buf));
	iov->iov_base = buf;
	iov->iov_len = len;
	return message(iov, 1);
}

static struct msghdr text(struct iovec *iov, const char *s)
{
	iov->iov_base = (void *)s;
	iov->iov_len = strlen(s);
	return message(iov, 1);
}

static void note_msg(const struct msghdr *m)
{
	note("\"%s\" namelen=%u controllen=%zu flags=0x%x", buf, m->msg_namelen, m->msg_controllen, m->msg_flags);
}

static struct cmsghdr *attach(struct msghdr *m, int type, const void *data, size_t len)
{
	struct cmsghdr *c;

	memset(control, 0, sizeof(control));
	m->msg_control = control;
	m->msg_controllen = CMSG_SPACE(len);
	c = CMSG_FIRSTHDR(m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	return c;
}

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

TEST(descriptors_are_sent)
{
	struct iovec v, w;
	struct msghdr m = text(&v, "fd"), n = into(&w, 64);
	int sv[2], p[2], fd;
	char c = 0;
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	attach(&m, SCM_RIGHTS, &p[0], sizeof(int));
	run(&r, sending(sv[0], &m));
	n.msg_control = control;
	n.msg_controllen = sizeof(control);
	EXPECT_EQ(recvmsg(sv[1], &n, 0), 2);
	note_msg(&n);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&n)), sizeof(fd));
	EXPECT_EQ(write(p[1], "!", 1), 1);
	EXPECT_EQ(read(fd, &c, 1), 1);
	EXPECT_EQ(c, '!');
}

TEST(descriptors_are_received)
{
	struct iovec v, w;
	struct msghdr m = text(&v, "fds"), n;
	int sv[2], p[2], fds[2];
	char c = 0;
	struct io_uring_sqe sqe;
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	for (int i = 0; i < 3; i++) {
		n = into(&w, 64);
		memset(incoming, 0, sizeof(incoming));
		n.msg_control = incoming;
		n.msg_controllen = sizeof(incoming);
		sqe = receiving(sv[1], &n);
		sqe.msg_flags = i ? MSG_CMSG_CLOEXEC : 0;
		if (i == 2)
			start(&r, sqe);
		attach(&m, SCM_RIGHTS, p, sizeof(p));
		EXPECT_EQ(sendmsg(sv[0], &m, 0), 3);
		if (i < 2) {
			push(&r, sqe);
			EXPECT_EQ(ring_submit(&r), 1);
		}
		note_cqe(&r);
		note_msg(&n);
		memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&n)), sizeof(fds));
		note("descriptor flags %d %d", fcntl(fds[0], F_GETFD), fcntl(fds[1], F_GETFD));
		EXPECT_EQ(write(fds[1], "!", 1), 1);
		EXPECT_EQ(read(fds[0], &c, 1), 1);
	}
}

TEST(no_room_for_descriptors)
{
	struct iovec v, w;
	struct msghdr m = text(&v, "fds"), n;
	int sv[2], p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	for (int i = 0; i < 2; i++) {
		attach(&m, SCM_RIGHTS, p, sizeof(p));
		EXPECT_EQ(sendmsg(sv[0], &m, 0), 3);
		n = into(&w, 64);
		n.msg_control = control;
		n.msg_controllen = i ? CMSG_SPACE(sizeof(int)) - 4 : 0;
		run(&r, receiving(sv[1], &n));
		note_msg(&n);
	}
}

TEST(descriptors_that_cannot_be_sent)
{
	struct iovec v;
	struct msghdr m = text(&v, "fd");
	int sv[2], bad = 9999;
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	attach(&m, SCM_RIGHTS, &bad, sizeof(bad));
	run(&r, sending(sv[0], &m));
	bad = -1;
	attach(&m, SCM_RIGHTS, &bad, sizeof(bad));
	run(&r, sending(sv[0], &m));
	attach(&m, SCM_RIGHTS, &r.fd, sizeof(r.fd));
	run(&r, sending(sv[0], &m));
	attach(&m, SCM_RIGHTS, &bad, sizeof(bad))->cmsg_len = 4096;
	run(&r, sending(sv[0], &m));
	m.msg_control = NULL;
	run(&r, sending(sv[0], &m));
	m.msg_controllen = 1UL << 40;
	run(&r, sending(sv[0], &m));
}

TEST(who_sent_it)
{
	struct iovec v, w;
	struct msghdr m = text(&v, "me"), n = into(&w, 64);
	struct ucred cred;
	int sv[2], one = 1;
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	OK(setsockopt(sv[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
	for (int i = 0; i < 3; i++) {
		if (i < 2)
			run(&r, sending(sv[0], &m));
		else
			run(&r, sqe_of(IORING_OP_SEND, sv[0], "me", 2));
		memset(control, 0, sizeof(control));
		n = into(&w, 64);
		n.msg_control = control;
		n.msg_controllen = sizeof(control);
		run(&r, receiving(sv[1], &n));
		note_msg(&n);
		memcpy(&cred, CMSG_DATA(CMSG_FIRSTHDR(&n)), sizeof(cred));
		EXPECT_EQ(cred.pid, getpid());
		EXPECT_EQ(cred.uid, getuid());
		EXPECT_EQ(cred.gid, getgid());
		attach(&m, SCM_CREDENTIALS, &cred, sizeof(cred));
	}
}

TEST(another_ones_credentials)
{
	pid_t pid;

	if (getuid())
		skip("needs root");
	pid = (pid_t)OK(fork());
	if (!pid) {
		struct iovec v;
		struct msghdr m = text(&v, "me");
		struct ucred cred = {getpid(), 0, 0};
		int sv[2];
		struct ring r;

		ring_init(&r, 4, 0);
		OK(setresgid(4321, 4321, 4321));
		OK(setresuid(1234, 1234, 1234));
		pair(SOCK_STREAM, sv);
		attach(&m, SCM_CREDENTIALS, &cred, sizeof(cred));
		run(&r, sending(sv[0], &m));
		cred.uid = 1234;
		cred.gid = 4321;
		attach(&m, SCM_CREDENTIALS, &cred, sizeof(cred));
		run(&r, sending(sv[0], &m));
		cred.pid = 1;
		attach(&m, SCM_CREDENTIALS, &cred, sizeof(cred));
		run(&r, sending(sv[0], &m));
		_exit(0);
	}
	expect_child_ok(pid);
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
	struct sockaddr_in a, b;
	int x = udp_socket(&a), y = udp_socket(&b);

	OK(connect(x, (struct sockaddr *)&b, sizeof(b)));
	for (unsigned i = 0; i < sizeof(rooms) / sizeof(*rooms); i++) {
		struct io_uring_sqe sqe = sqe_of(IORING_OP_PROVIDE_BUFFERS, 2, pool, sizeof(*pool));
		struct msghdr m = message(NULL, 0);
		struct io_uring_recvmsg_out o;
		struct cqe cqe;
		struct ring r;
		char *at;

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
