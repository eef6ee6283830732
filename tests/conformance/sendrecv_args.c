/* SPDX-License-Identifier: Apache-2.0 */
/* SEND and RECV: arguments, addresses, bad buffers, out-of-band data. */
#include "sendrecv.h"

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
	char dir[TEMPORARY];
	struct ring r;

	temporary(dir, "uringfs-net");
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
