/* SPDX-License-Identifier: Apache-2.0 */
/* ACCEPT: plain and direct, single and multishot. */
#include "net.h"

#include <sys/resource.h>

static struct sockaddr_in at;

static int connected(void)
{
	int fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0));

	OK(connect(fd, (struct sockaddr *)&at, sizeof(at)));
	return fd;
}

static struct io_uring_sqe on(int fd)
{
	return sqe_of(IORING_OP_ACCEPT, fd, NULL, 0);
}

static void expect_talk(int client, int server)
{
	char c = 0;

	EXPECT_EQ(send(client, "t", 1, 0), 1);
	EXPECT_EQ(recv(server, &c, 1, 0), 1);
	EXPECT_EQ(c, 't');
}

TEST(one_that_waits)
{
	int l = tcp_listener(&at), c = connected();
	struct ring r;

	ring_init(&r, 4, 0);
	expect_talk(c, run_new(&r, on(l)));
}

TEST(one_that_comes_later)
{
	int l = tcp_listener(&at), c;
	struct ring r;

	ring_init(&r, 4, 0);
	start(&r, on(l));
	c = connected();
	expect_talk(c, note_new(&r));
}

TEST(flags_of_the_descriptor)
{
	int l = tcp_listener(&at), fd;
	struct io_uring_sqe sqe = on(l);
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 4; i++) {
		connected();
		sqe.accept_flags = (i & 1 ? SOCK_NONBLOCK : 0) | (i & 2 ? SOCK_CLOEXEC : 0);
		fd = run_new(&r, sqe);
		note("status 0x%x, descriptor flags %d", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
	}
}

TEST(the_address)
{
	int l = tcp_listener(&at), c = connected();
	struct sockaddr_in mine, got;
	socklen_t len = sizeof(mine);
	struct io_uring_sqe sqe = on(l);
	struct ring r;

	ring_init(&r, 4, 0);
	OK(getsockname(c, (struct sockaddr *)&mine, &len));
	memset(&got, 0xaa, sizeof(got));
	sqe.addr = (uintptr_t)&got;
	sqe.off = (uintptr_t)&len;
	run_new(&r, sqe);
	note("len %u", len);
	EXPECT_EQ(memcmp(&got, &mine, sizeof(got)), 0);
	connected();
	memset(&got, 0xaa, sizeof(got));
	len = 2;
	run_new(&r, sqe);
	note("len %u family %u port 0x%x", len, got.sin_family, got.sin_port);
	connected();
	len = (socklen_t)-1;
	run_new(&r, sqe);
	connected();
	sqe.off = 0;
	run_new(&r, sqe);
	connected();
	sqe.addr = 8;
	sqe.off = (uintptr_t)&len;
	len = 16;
	run_new(&r, sqe);
}

TEST(the_address_of_a_unix_socket)
{
	int l = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0)), c = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));
	struct sockaddr_un a = {AF_UNIX, {0}}, got;
	socklen_t len = sizeof(a);
	struct io_uring_sqe sqe = on(l);
	struct ring r;

	OK(bind(l, (struct sockaddr *)&a, 2));
	OK(getsockname(l, (struct sockaddr *)&a, &len));
	OK(listen(l, 2));
	OK(connect(c, (struct sockaddr *)&a, len));
	ring_init(&r, 4, 0);
	len = sizeof(got);
	sqe.addr = (uintptr_t)&got;
	sqe.off = (uintptr_t)&len;
	expect_talk(c, run_new(&r, sqe));
	note("len %u family %u", len, got.sun_family);
}

TEST(more_wait)
{
	int l = tcp_listener(&at);
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 3; i++)
		connected();
	for (int i = 0; i < 3; i++)
		run_new(&r, on(l));
}

TEST(what_it_refuses)
{
	int l = tcp_listener(&at), file = make_file(1), p[2], udp = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
	struct io_uring_sqe sqe = on(l);
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	run(&r, on(-1));
	run(&r, on(file));
	run(&r, on(p[0]));
	run(&r, on(r.fd));
	run(&r, on(udp));
	run(&r, on((int)OK(socket(AF_INET, SOCK_STREAM, 0))));
	sqe.len = 1;
	run(&r, sqe);
	sqe = on(l);
	sqe.buf_index = 1;
	run(&r, sqe);
	sqe = on(l);
	sqe.accept_flags = 1;
	run(&r, sqe);
	sqe = on(l);
	sqe.ioprio = 8;
	run(&r, sqe);
	sqe = on(l);
	sqe.file_index = 1;
	sqe.accept_flags = SOCK_CLOEXEC;
	run(&r, sqe);
	sqe.accept_flags = 0;
	sqe.ioprio = ACCEPT_MULTISHOT;
	run(&r, sqe);
}

TEST(not_waiting)
{
	int l = tcp_listener(&at);
	struct io_uring_sqe sqe = on(l);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.ioprio = ACCEPT_DONTWAIT;
	run(&r, sqe);
	connected();
	run_new(&r, sqe);
}

TEST(poll_first)
{
	int l = tcp_listener(&at);
	struct io_uring_sqe sqe = on(l);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.ioprio = ACCEPT_POLL_FIRST;
	connected();
	run_new(&r, sqe);
	start(&r, sqe);
	connected();
	note_new(&r);
}

TEST(cancelled)
{
	int l = tcp_listener(&at);
	struct io_uring_sqe sqe = on(l);
	struct ring r;

	ring_init(&r, 4, 0);
	start(&r, sqe);
	cancel(&r, sqe.user_data);
	note_cqe(&r);
	sqe.ioprio = ACCEPT_MULTISHOT;
	start(&r, sqe);
	cancel(&r, sqe.user_data);
	note_cqe(&r);
	connected();
	run_new(&r, on(l));
}

TEST(direct)
{
	int l = tcp_listener(&at), c = connected();
	struct io_uring_sqe sqe = on(l);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.file_index = 2;
	run(&r, sqe);
	sparse_files(&r, 3);
	c = connected();
	run(&r, sqe);
	sqe = sqe_of(IORING_OP_SEND, 1, "hi", 2);
	sqe.flags = IOSQE_FIXED_FILE;
	run(&r, sqe);
	EXPECT_EQ(recv(c, &(char[8]){0}, 8, 0), 2);
	sqe = on(l);
	sqe.file_index = FILE_INDEX_ALLOC;
	connected();
	run(&r, sqe);
	start(&r, sqe);
	connected();
	note_cqe(&r);
	connected();
	run(&r, sqe);
}

TEST(multishot)
{
	int l = tcp_listener(&at), c[3];
	struct io_uring_sqe sqe = on(l);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.ioprio = ACCEPT_MULTISHOT;
	start(&r, sqe);
	for (int i = 0; i < 3; i++) {
		c[i] = connected();
		expect_talk(c[i], note_new(&r));
	}
	cancel(&r, sqe.user_data);
	note_cqe(&r);
}

TEST(multishot_of_those_that_wait)
{
	int l = tcp_listener(&at);
	struct io_uring_sqe sqe = on(l);
	struct ring r;

	ring_init(&r, 8, 0);
	for (int i = 0; i < 3; i++)
		connected();
	sqe.ioprio = ACCEPT_MULTISHOT;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	for (int i = 0; i < 3; i++)
		note_new(&r);
	EXPECT_EQ(ring_ready(&r), 0);
	connected();
	note_new(&r);
}

/* Programs die of it (pgagroal). */
TEST(multishot_does_not_overflow)
{
	int l = tcp_listener(&at), c;
	struct io_uring_sqe sqe = on(l);
	struct pollfd readable;
	struct cqe cqe;
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.ioprio = ACCEPT_MULTISHOT;
	start(&r, sqe);
	readable = (struct pollfd){r.fd, POLLIN | URINGFS_POLL_FETCH, 0};
	for (int i = 0; i < 10; i++) {
		c = connected();
		EXPECT_EQ(poll(&readable, 1, -1), 1);
		EXPECT_EQ(atomic_load(r.sq_flags) & IORING_SQ_CQ_OVERFLOW, 0);
		cqe = ring_wait(&r);
		EXPECT_EQ(cqe.flags, IORING_CQE_F_MORE);
		expect_talk(c, cqe.res);
		EXPECT_EQ(atomic_load(r.cq_overflow), 0);
	}
}

TEST(multishot_direct)
{
	int l = tcp_listener(&at);
	struct io_uring_sqe sqe = on(l);
	struct ring r;

	ring_init(&r, 8, 0);
	sparse_files(&r, 3);
	sqe.ioprio = ACCEPT_MULTISHOT;
	sqe.file_index = FILE_INDEX_ALLOC;
	connected();
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	note_cqe(&r);
	for (int i = 0; i < 3; i++) {
		connected();
		note_cqe(&r);
	}
	connected();
	EXPECT_EQ(ring_ready(&r), 0);
}

TEST(a_registered_listener_twice)
{
	int l = tcp_listener(&at);
	struct io_uring_sqe sqe = on(0);
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &l, 1), 0);
	sqe.flags = IOSQE_FIXED_FILE;
	start(&r, sqe);
	start(&r, sqe);
	connected();
	note_new(&r);
	connected();
	note_new(&r);
}

TEST(shutdown_ends_it)
{
	int l = tcp_listener(&at);
	struct ring r;

	ring_init(&r, 4, 0);
	start(&r, on(l));
	OK(shutdown(l, SHUT_RDWR));
	note_cqe(&r);
}

TEST(a_link_behind_it)
{
	int l = tcp_listener(&at);
	struct io_uring_sqe sqe = on(l), send = sqe_of(IORING_OP_SEND, 0, "welcome", 7);
	char buf[8] = "";
	int c;
	struct ring r;

	ring_init(&r, 4, 0);
	sparse_files(&r, 1);
	sqe.file_index = 1;
	sqe.flags = IOSQE_IO_LINK;
	send.flags = IOSQE_FIXED_FILE;
	push(&r, sqe);
	push(&r, send);
	EXPECT_EQ(ring_submit(&r), 2);
	c = connected();
	note_cqe(&r);
	note_cqe(&r);
	EXPECT_EQ(recv(c, buf, 8, 0), 7);
	note("%s", buf);
}

TEST(a_full_table)
{
	int l = tcp_listener(&at), c = connected();
	struct rlimit lim;
	struct ring r;

	(void)c;
	ring_init(&r, 4, 0);
	OK(getrlimit(RLIMIT_NOFILE, &lim));
	while (dup(l) >= 0)
		lim.rlim_cur = lim.rlim_cur > 64 ? 64 : lim.rlim_cur, OK(setrlimit(RLIMIT_NOFILE, &lim));
	EXPECT_EQ(errno, EMFILE);
	run_new(&r, on(l));
}
