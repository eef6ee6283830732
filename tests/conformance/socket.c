/* SPDX-License-Identifier: Apache-2.0 */
/* SOCKET, BIND, LISTEN, CONNECT, SHUTDOWN, and the commands of sockets. */
#include "net.h"

static struct io_uring_sqe make(int domain, int type, int protocol)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_SOCKET, domain, NULL, (unsigned)protocol);

	sqe.off = (uint64_t)type;
	return sqe;
}

static struct io_uring_sqe named(int op, int fd, const void *addr, size_t len)
{
	struct io_uring_sqe sqe = sqe_of(op, fd, addr, 0);

	sqe.off = len;
	return sqe;
}

static void note_kind(int fd)
{
	int domain, type, protocol;
	socklen_t len = sizeof(int);

	OK(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len));
	OK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len));
	OK(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len));
	note("domain %d type %d protocol %d, status 0x%x, descriptor flags %d", domain, type, protocol,
	     fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
}

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
	strcpy(dir, "/tmp/uringfs-net-XXXXXX");
	EXPECT(mkdtemp(dir) != NULL);
	OK(chdir(dir));
	strcpy(a.sun_path, "sock");
	return a;
}

TEST(unix_paths)
{
	char dir[64];
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

/* As who the other end sees, and with whose rights a path is looked up. */
TEST(another_user_connects)
{
	char dir[64];
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

TEST(shutdown_ends_a_direction)
{
	int sv[2];
	char c;
	struct ring r;

	ring_init(&r, 4, 0);
	pair(SOCK_STREAM, sv);
	run(&r, sqe_of(IORING_OP_SHUTDOWN, sv[0], NULL, SHUT_WR));
	EXPECT_EQ(recv(sv[1], &c, 1, 0), 0);
	EXPECT_EQ(send(sv[1], "x", 1, 0), 1);
	run(&r, sqe_of(IORING_OP_SHUTDOWN, sv[0], NULL, SHUT_RDWR));
	run(&r, sqe_of(IORING_OP_SHUTDOWN, sv[0], NULL, 3));
	run(&r, sqe_of(IORING_OP_SHUTDOWN, sv[0], NULL, 0x80000000));
}

TEST(what_shutdown_refuses)
{
	int fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0)), file = make_file(1);
	struct io_uring_sqe sqe = sqe_of(IORING_OP_SHUTDOWN, fd, NULL, SHUT_RD);
	struct ring r;

	ring_init(&r, 4, 0);
	run(&r, sqe);
	run(&r, sqe_of(IORING_OP_SHUTDOWN, file, NULL, SHUT_RD));
	run(&r, sqe_of(IORING_OP_SHUTDOWN, -1, NULL, SHUT_RD));
	sqe.off = 1;
	run(&r, sqe);
	sqe = sqe_of(IORING_OP_SHUTDOWN, fd, &sqe, SHUT_RD);
	run(&r, sqe);
	sqe = sqe_of(IORING_OP_SHUTDOWN, fd, NULL, SHUT_RD);
	sqe.rw_flags = 1;
	run(&r, sqe);
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

static struct io_uring_sqe command(int fd, unsigned op, int level, int name, void *value, unsigned len)
{
	struct io_uring_sqe sqe = sqe_of(OP_URING_CMD, fd, NULL, 0);

	sqe.off = op;
	sqe.addr = (uint32_t)level | (uint64_t)(uint32_t)name << 32;
	sqe.addr3 = (uint64_t)(uintptr_t)value;
	sqe.file_index = len;
	return sqe;
}

TEST(queue_lengths)
{
	int sv[2], up[2], l;
	struct sockaddr_in a;
	struct ring r;

	ring_init(&r, 4, 0);
	tcp_pair(sv);
	EXPECT_EQ(send(sv[0], "seven!!", 7, 0), 7);
	until_readable(sv[1]);
	run(&r, command(sv[1], 0, 0, 0, NULL, 0));
	run(&r, command(sv[1], 1, 0, 0, NULL, 0));
	l = tcp_listener(&a);
	run(&r, command(l, 0, 0, 0, NULL, 0));
	pair(SOCK_STREAM, up);
	run(&r, command(up[1], 0, 0, 0, NULL, 0));
}

TEST(socket_options)
{
	int fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0)), value = 1, got = -1, one = 1;
	struct ring r;

	ring_init(&r, 4, 0);
	run(&r, command(fd, 3, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(value)));
	run(&r, command(fd, 2, SOL_SOCKET, SO_KEEPALIVE, &got, sizeof(got)));
	note("%d", got);
	run(&r, command(fd, 2, SOL_SOCKET, SO_TYPE, &got, 2));
	run(&r, command(fd, 3, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	run(&r, command(fd, 2, IPPROTO_TCP, TCP_NODELAY, &got, sizeof(got)));
	run(&r, command(fd, 3, SOL_SOCKET, SO_KEEPALIVE, NULL, sizeof(value)));
	run(&r, command(fd, 2, SOL_SOCKET, SO_KEEPALIVE, NULL, sizeof(value)));
	run(&r, command(fd, 3, SOL_SOCKET, SO_KEEPALIVE, &value, 1));
	run(&r, command(fd, 3, SOL_SOCKET, SO_KEEPALIVE, &value, (unsigned)-1));
	run(&r, command(fd, 2, SOL_SOCKET, SO_KEEPALIVE, &value, (unsigned)-1));
	run(&r, command(fd, 2, SOL_SOCKET, 9999, &got, sizeof(got)));
	run(&r, command(fd, 3, SOL_SOCKET, 9999, &got, sizeof(got)));
}

/* io_shutdown() goes without req_set_fail(). */
TEST(a_shutdown_that_fails_breaks_no_link)
{
	int sv[2];
	struct ring r;
	struct cqe cqe;

	pair(SOCK_STREAM, sv);
	ring_init(&r, 4, 0);
	for (int skip = 0; skip < 2; skip++) {
		struct io_uring_sqe sqe = sqe_of(IORING_OP_SHUTDOWN, sv[0], NULL, 3);

		sqe.flags = (uint8_t)(IOSQE_IO_LINK | (skip ? IOSQE_CQE_SKIP_SUCCESS : 0));
		sqe.user_data = 1;
		*ring_sqe(&r) = sqe;
		ring_nop(&r, 2);
		EXPECT_EQ(ring_submit_wait(&r, skip ? 1 : 2), 2);
		while (ring_reap(&r, &cqe))
			note("cqe %llu %d", (unsigned long long)cqe.user_data, cqe.res);
	}
}

/* Every family has options, not every one an ioctl of its own. */
TEST(commands_of_unix_sockets)
{
	int sv[2], value = 1;
	struct ring r;

	pair(SOCK_STREAM, sv);
	ring_init(&r, 4, 0);
	for (unsigned cmd = 0; cmd < 4; cmd++)
		run(&r, command(sv[0], cmd, SOL_SOCKET, SO_TYPE, &value, sizeof(value)));
	note("%d", value);
}

TEST(commands_that_are_refused)
{
	int fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0)), file = make_file(1), p[2];
	struct io_uring_sqe sqe;
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	run(&r, command(fd, 77, 0, 0, NULL, 0));
	run(&r, command(file, 0, 0, 0, NULL, 0));
	run(&r, command(p[0], 0, 0, 0, NULL, 0));
	run(&r, command(-1, 0, 0, 0, NULL, 0));
	sqe = command(fd, 0, 0, 0, NULL, 0);
	sqe.off |= 1ULL << 32;
	run(&r, sqe);
	sqe = command(fd, 0, 0, 0, NULL, 0);
	sqe.rw_flags = 4;
	run(&r, sqe);
	sqe.rw_flags = 2;
	run(&r, sqe);
}
