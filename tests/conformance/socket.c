/* SPDX-License-Identifier: Apache-2.0 */
/* SOCKET, BIND, LISTEN, CONNECT. */
#include "socket.h"

TEST(plain_descriptors)
{
	struct ring r;

	ring_init(&r, 4, 0);
	note_kind(run_new(&r, make(AF_INET, SOCK_STREAM, 0)));
	note_kind(run_new(&r, make(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)));
	note_kind(run_new(&r, make(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP)));
}

TEST(what_socket_refuses)
{
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 4, 0);
	run(&r, make(-1, SOCK_STREAM, 0));
	run(&r, make(9999, SOCK_STREAM, 0));
	run(&r, make(AF_INET, 14, 0));
	run(&r, make(AF_INET, SOCK_STREAM, 9999));
	run(&r, make(AF_INET, SOCK_STREAM, IPPROTO_UDP));
	run(&r, make(AF_INET, SOCK_STREAM | 0x1000, 0));
	sqe = make(AF_INET, SOCK_STREAM, 0);
	sqe.addr = 1;
	run(&r, sqe);
	sqe = make(AF_INET, SOCK_STREAM, 0);
	sqe.rw_flags = 1;
	run(&r, sqe);
	sqe = make(AF_INET, SOCK_STREAM, 0);
	sqe.buf_index = 1;
	run(&r, sqe);
	sqe = make(AF_INET, SOCK_STREAM, 0);
	sqe.ioprio = 1;
	run(&r, sqe);
	sqe = make(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sqe.file_index = 1;
	run(&r, sqe);
}

TEST(a_direct_socket_talks)
{
	struct sockaddr_in a;
	int l = tcp_listener(&a), peer;
	struct io_uring_sqe sqe = make(AF_INET, SOCK_STREAM, 0);
	char buf[8];
	struct ring r;

	ring_init(&r, 8, 0);
	sparse_files(&r, 4);
	sqe.file_index = 3;
	run(&r, sqe);
	sqe = named(IORING_OP_CONNECT, 2, &a, sizeof(a));
	sqe.flags = IOSQE_FIXED_FILE;
	run(&r, sqe);
	peer = (int)OK(accept(l, NULL, NULL));
	sqe = sqe_of(IORING_OP_SEND, 2, "direct", 6);
	sqe.flags = IOSQE_FIXED_FILE;
	run(&r, sqe);
	EXPECT_EQ(recv(peer, buf, 8, 0), 6);
	EXPECT_EQ(memcmp(buf, "direct", 6), 0);
}

TEST(direct_slots)
{
	struct io_uring_sqe sqe = make(AF_UNIX, SOCK_STREAM, 0);
	struct ring r;

	ring_init(&r, 8, 0);
	sqe.file_index = 1;
	run(&r, sqe);
	sparse_files(&r, 2);
	sqe.file_index = FILE_INDEX_ALLOC;
	run(&r, sqe);
	run(&r, sqe);
	run(&r, sqe);
	sqe.file_index = 3;
	run(&r, sqe);
	sqe.file_index = 2;
	run(&r, sqe);
}

TEST(bind_listen_connect)
{
	struct sockaddr_in a = loopback();
	socklen_t len = sizeof(a);
	int l, c;
	struct ring r;

	ring_init(&r, 8, 0);
	l = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
	c = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
	run(&r, named(OP_BIND, l, &a, sizeof(a)));
	run(&r, named(OP_BIND, l, &a, sizeof(a)));
	OK(getsockname(l, (struct sockaddr *)&a, &len));
	EXPECT(a.sin_port != 0);
	run(&r, named(IORING_OP_CONNECT, c, &a, sizeof(a)));
	run(&r, sqe_of(OP_LISTEN, l, NULL, 4));
	c = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
	run(&r, named(IORING_OP_CONNECT, c, &a, sizeof(a)));
	run(&r, named(IORING_OP_CONNECT, c, &a, sizeof(a)));
	OK(accept(l, NULL, NULL));
}

TEST(what_bind_refuses)
{
	struct sockaddr_in a = loopback(), other;
	int l = tcp_listener(&other), fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0)), file = make_file(1);
	struct io_uring_sqe sqe;
	struct ring r;

	(void)l;
	ring_init(&r, 8, 0);
	run(&r, named(OP_BIND, -1, &a, sizeof(a)));
	run(&r, named(OP_BIND, file, &a, sizeof(a)));
	run(&r, named(OP_BIND, r.fd, &a, sizeof(a)));
	run(&r, named(OP_BIND, fd, NULL, sizeof(a)));
	run(&r, named(OP_BIND, fd, NULL, 0));
	run(&r, named(OP_BIND, fd, &a, 3));
	run(&r, named(OP_BIND, fd, &a, 129));
	run(&r, named(OP_BIND, fd, &a, 0xffffffff));
	run(&r, named(OP_BIND, fd, &other, sizeof(other)));
	a.sin_addr.s_addr = htonl(0x01020304);
	run(&r, named(OP_BIND, fd, &a, sizeof(a)));
	a.sin_family = AF_UNIX;
	run(&r, named(OP_BIND, fd, &a, sizeof(a)));
	sqe = named(OP_BIND, fd, &a, sizeof(a));
	sqe.len = 1;
	run(&r, sqe);
	sqe = named(OP_BIND, fd, &a, sizeof(a));
	sqe.rw_flags = 1;
	run(&r, sqe);
	sqe = named(OP_BIND, fd, &a, sizeof(a));
	sqe.file_index = 1;
	run(&r, sqe);
}

TEST(what_listen_refuses)
{
	int fd = (int)OK(socket(AF_INET, SOCK_DGRAM, 0)), file = make_file(1);
	struct io_uring_sqe sqe = sqe_of(OP_LISTEN, fd, NULL, 1);
	struct ring r;

	ring_init(&r, 8, 0);
	run(&r, sqe);
	sqe.addr = 1;
	run(&r, sqe);
	sqe = sqe_of(OP_LISTEN, fd, NULL, 1);
	sqe.off = 1;
	run(&r, sqe);
	run(&r, sqe_of(OP_LISTEN, file, NULL, 1));
	run(&r, sqe_of(OP_LISTEN, -1, NULL, 1));
	fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
	run(&r, sqe_of(OP_LISTEN, fd, NULL, (unsigned)-1));
}

TEST(what_connect_refuses)
{
	struct sockaddr_in a = loopback();
	int fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0)), file = make_file(1);
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 8, 0);
	run(&r, named(IORING_OP_CONNECT, -1, &a, sizeof(a)));
	run(&r, named(IORING_OP_CONNECT, file, &a, sizeof(a)));
	run(&r, named(IORING_OP_CONNECT, fd, NULL, sizeof(a)));
	run(&r, named(IORING_OP_CONNECT, fd, &a, 1));
	run(&r, named(IORING_OP_CONNECT, fd, &a, 129));
	a.sin_family = 77;
	run(&r, named(IORING_OP_CONNECT, fd, &a, sizeof(a)));
	sqe = named(IORING_OP_CONNECT, fd, &a, sizeof(a));
	sqe.len = 1;
	run(&r, sqe);
	sqe = named(IORING_OP_CONNECT, fd, &a, sizeof(a));
	sqe.rw_flags = 1;
	run(&r, sqe);
	sqe = named(IORING_OP_CONNECT, fd, &a, sizeof(a));
	sqe.ioprio = 1;
	run(&r, sqe);
}

TEST(a_refused_connection)
{
	struct sockaddr_in a;
	int l = tcp_listener(&a), fd;
	struct ring r;

	OK(close(l));
	ring_init(&r, 4, 0);
	fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
	run(&r, named(IORING_OP_CONNECT, fd, &a, sizeof(a)));
	fd = (int)OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	run(&r, named(IORING_OP_CONNECT, fd, &a, sizeof(a)));
}

TEST(a_non_blocking_socket_connects_as_well)
{
	struct sockaddr_in a;
	int l = tcp_listener(&a), fd;
	struct ring r;

	ring_init(&r, 4, 0);
	fd = (int)OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	run(&r, named(IORING_OP_CONNECT, fd, &a, sizeof(a)));
	OK(accept(l, NULL, NULL));
	note("status 0x%x", fcntl(fd, F_GETFL));
}

static struct sockaddr_un in_scratch(char *dir)
{
	struct sockaddr_un a;

	memset(&a, 0, sizeof(a));
	a.sun_family = AF_UNIX;
	temporary(dir, "uringfs-net");
	EXPECT(mkdtemp(dir) != NULL);
	OK(chdir(dir));
	strcpy(a.sun_path, "sock");
	return a;
}

TEST(unix_paths)
{
	char dir[TEMPORARY];
	struct sockaddr_un a = in_scratch(dir);
	int l = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0)), c = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct stat st;
	struct ring r;

	ring_init(&r, 4, 0);
	run(&r, named(IORING_OP_CONNECT, c, &a, sizeof(a)));
	umask(027);
	run(&r, named(OP_BIND, l, &a, sizeof(a)));
	OK(stat("sock", &st));
	note("mode 0%o uid %d", st.st_mode, st.st_uid);
	run(&r, named(IORING_OP_CONNECT, c, &a, sizeof(a)));
	run(&r, sqe_of(OP_LISTEN, l, NULL, 4));
	run(&r, named(IORING_OP_CONNECT, c, &a, sizeof(a)));
	OK(getsockopt(OK(accept(l, NULL, NULL)), SOL_SOCKET, SO_PEERCRED, &cred, &len));
	note("peer uid %d gid %d", cred.uid, cred.gid);
	run(&r, named(OP_BIND, (int)OK(socket(AF_UNIX, SOCK_STREAM, 0)), &a, sizeof(a)));
	OK(unlink("sock"));
	OK(rmdir(dir));
}

static void note_peer(const char *what, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	OK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len));
	note("%s: myself %d", what, cred.pid == getpid());
}

TEST(each_end_sees_the_process)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 2; i++) {
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		int l = (int)OK(socket(AF_UNIX, types[i], 0)), c = (int)OK(socket(AF_UNIX, types[i], 0));
		socklen_t len = sizeof(a);

		OK(bind(l, (struct sockaddr *)&a, sizeof(a.sun_family))); /* a name of its own */
		OK(getsockname(l, (struct sockaddr *)&a, &len));
		run(&r, named(IORING_OP_CONNECT, c, &a, len));
		run(&r, sqe_of(OP_LISTEN, l, NULL, 4));
		run(&r, named(IORING_OP_CONNECT, c, &a, len));
		run(&r, named(IORING_OP_CONNECT, c, &a, len));
		note_peer("who connected", (int)OK(accept(l, NULL, NULL)));
		note_peer("who listens", c);
	}
	run(&r, sqe_of(OP_LISTEN, (int)OK(socket(AF_UNIX, SOCK_DGRAM, 0)), NULL, 4));
}

/* As who the other end sees, and with whose rights a path is looked up. */
TEST(another_user_connects)
{
	char dir[TEMPORARY];
	struct sockaddr_un a = in_scratch(dir);
	int l = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));
	struct ucred cred;
	socklen_t len = sizeof(cred);
	pid_t pid;

	if (getuid())
		skip("needs root");
	OK(chmod(dir, 0755));
	OK(bind(l, (struct sockaddr *)&a, sizeof(a)));
	OK(listen(l, 4));
	OK(chmod("sock", 0666));
	pid = (pid_t)OK(fork());
	if (!pid) {
		struct ring r;
		int c;

		ring_init(&r, 4, 0);
		OK(setresgid(4321, 4321, 4321));
		OK(setresuid(1234, 1234, 1234));
		c = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));
		run(&r, named(IORING_OP_CONNECT, c, &a, sizeof(a)));
		strcpy(a.sun_path, "other");
		run(&r, named(OP_BIND, c, &a, sizeof(a)));
		c = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
		{
			struct sockaddr_in low = loopback();

			low.sin_port = htons(80);
			run(&r, named(OP_BIND, c, &low, sizeof(low)));
		}
		run_new(&r, make(AF_INET, SOCK_RAW, IPPROTO_ICMP));
		_exit(0);
	}
	expect_child_ok(pid);
	OK(getsockopt(OK(accept(l, NULL, NULL)), SOL_SOCKET, SO_PEERCRED, &cred, &len));
	note("peer uid %d gid %d", cred.uid, cred.gid);
	OK(chmod("sock", 0600));
	pid = (pid_t)OK(fork());
	if (!pid) {
		struct ring r;

		ring_init(&r, 4, 0);
		OK(setresuid(1234, 1234, 1234));
		run(&r, named(IORING_OP_CONNECT, (int)OK(socket(AF_UNIX, SOCK_STREAM, 0)), &a, sizeof(a)));
		_exit(0);
	}
	expect_child_ok(pid);
	OK(unlink("sock"));
	OK(rmdir(dir));
}

TEST(a_socket_of_another_network)
{
	struct sockaddr_in a;
	int l = tcp_listener(&a), fd;
	struct ring r;

	(void)l;
	if (getuid())
		skip("needs root");
	OK(unshare(CLONE_NEWNET));
	ring_init(&r, 4, 0);
	fd = run_new(&r, make(AF_INET, SOCK_STREAM, 0));
	run(&r, named(IORING_OP_CONNECT, fd, &a, sizeof(a)));
	note("connect(2): %d", connect((int)OK(socket(AF_INET, SOCK_STREAM, 0)), (void *)&a, sizeof(a)) ? errno : 0);
}

TEST(a_chain_makes_a_server)
{
	static const int ops[] = {IORING_OP_SOCKET, OP_BIND, OP_LISTEN};
	struct sockaddr_in a = loopback();
	struct ring r;

	ring_init(&r, 8, 0);
	sparse_files(&r, 1);
	for (int i = 0; i < 3; i++) {
		struct io_uring_sqe sqe = sqe_of(ops[i], 0, i == 1 ? &a : NULL, i == 2 ? 4 : 0);

		if (i == 0) {
			sqe.fd = AF_INET;
			sqe.off = SOCK_STREAM;
			sqe.file_index = 1;
		} else {
			sqe.flags = IOSQE_FIXED_FILE;
		}
		if (i == 1)
			sqe.off = sizeof(a);
		if (i < 2)
			sqe.flags |= IOSQE_IO_LINK;
		push(&r, sqe);
	}
	EXPECT_EQ(ring_submit(&r), 3);
	for (int i = 0; i < 3; i++)
		note_cqe(&r);
}
