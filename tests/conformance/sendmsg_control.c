/* SPDX-License-Identifier: Apache-2.0 */
/* SENDMSG and RECVMSG: control messages. */
#include "sendmsg.h"

static char incoming[512];

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

#define GROUP 5
#define ROOM 256
#define MULTISHOT (1U << 1) /* IORING_RECV_MULTISHOT */

static char buffers[8][ROOM];

static void send_pipes(int fd, int n)
{
	struct iovec v;
	struct msghdr m = text(&v, "fds");
	int p[4];

	OK(pipe(p));
	OK(pipe(p + 2));
	EXPECT_EQ(write(p[1], "1", 1), 1);
	EXPECT_EQ(write(p[3], "2", 1), 1);
	p[1] = p[2];
	attach(&m, SCM_RIGHTS, p, (size_t)n * sizeof(int));
	EXPECT_EQ(sendmsg(fd, &m, 0), 3);
	close(p[0]);
	close(p[2]);
}

/* What a shot has stored: struct io_uring_recvmsg_out, control messages, data. */
static void note_shot(struct cqe cqe, size_t controllen)
{
	char *at = buffers[cqe.flags >> IORING_CQE_BUFFER_SHIFT], c;
	struct msghdr m = {.msg_control = at + 16, .msg_controllen = ((uint32_t *)(void *)at)[1]};
	struct cmsghdr *one = CMSG_FIRSTHDR(&m);
	uint32_t *out = (void *)at;
	int fd;

	note("res=%d flags=%u: controllen=%u payloadlen=%u flags=0x%x \"%.3s\"", cqe.res, cqe.flags & 0xffff, out[1],
	     out[2], out[3], at + 16 + controllen);
	for (size_t n = 0; one && n < (one->cmsg_len - CMSG_LEN(0)) / sizeof(int); n++) {
		memcpy(&fd, CMSG_DATA(one) + n * sizeof(int), sizeof(fd));
		EXPECT_EQ(read(fd, &c, 1), 1);
		note("%c, cloexec %d", c, fcntl(fd, F_GETFD));
		close(fd);
	}
}

static void descriptors_of_a_multishot(size_t controllen, unsigned flags)
{
	struct msghdr m = {.msg_controllen = controllen};
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_SEQPACKET, sv);
	sqe = sqe_of(IORING_OP_PROVIDE_BUFFERS, 8, buffers, ROOM);
	sqe.buf_group = GROUP;
	run(&r, sqe);
	send_pipes(sv[0], 2);
	sqe = receiving(sv[1], &m);
	sqe.ioprio = MULTISHOT;
	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = GROUP;
	sqe.msg_flags = flags;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	note_shot(ring_wait(&r), controllen);
	for (int i = 0; i < 3; i++) {
		send_pipes(sv[0], 1 + i % 2);
		note_shot(ring_wait(&r), controllen);
	}
	EXPECT_EQ(send(sv[0], "no!", 3, 0), 3);
	note_shot(ring_wait(&r), controllen);
	close(sv[0]);
	note("%d", ring_wait(&r).res);
}

TEST(descriptors_in_a_multishot)
{
	descriptors_of_a_multishot(CMSG_SPACE(2 * sizeof(int)), 0);
}

TEST(descriptors_in_a_multishot_close_on_exec)
{
	descriptors_of_a_multishot(CMSG_SPACE(2 * sizeof(int)), MSG_CMSG_CLOEXEC);
}

TEST(descriptors_in_a_multishot_without_room)
{
	descriptors_of_a_multishot(CMSG_SPACE(sizeof(int)) - 4, 0);
	descriptors_of_a_multishot(0, 0);
}
