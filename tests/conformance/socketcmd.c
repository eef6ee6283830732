/* SPDX-License-Identifier: Apache-2.0 */
/* SHUTDOWN, and the commands of sockets (URING_CMD). */
#include "socket.h"

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
