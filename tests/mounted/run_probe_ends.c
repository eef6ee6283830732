/* SPDX-License-Identifier: Apache-2.0 */
/* For test_run.py, which kills the program, or the daemon under it, or knows what differs. */
#include "../conformance/harness.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

static void say_what_is_left(struct ring *r, int ret)
{
	struct io_uring_params p;

	printf("enter: %s\n", strerror(-ret));
	printf("enter: %s\n", strerror(-enter(r->fd, 1, 0, 0)));
	memset(&p, 0, sizeof(p));
	printf("setup: %s\n", strerror(-sys_setup(8, &p)));
}

TEST(busy)
{
	char buf[64];
	struct iovec iov = {buf, sizeof(buf)};
	int p[2];

	alarm(0);
	OK(pipe(p));
	for (;;) {
		struct ring r;

		ring_init(&r, 8, 0);
		ring_readv(&r, p[0], &iov, 1, 0, 1);
		ring_nop(&r, 2);
		EXPECT_EQ(ring_submit_wait(&r, 1), 2);
		OK(write(1, ".", 1));
		if (ring_ready(&r) == 1)
			ring_close(&r);
	}
}

/* The same with a poller, which opens files for it, and so with a thread of the library's. */
TEST(busy_poller)
{
	alarm(0);
	for (;;) {
		struct io_uring_params p;
		struct io_uring_sqe *sqe;
		struct ring r;
		struct cqe cqe;

		memset(&p, 0, sizeof(p));
		p.flags = IORING_SETUP_SQPOLL;
		ring_init_params(&r, 8, &p);
		for (int i = 0; i < 3; i++) {
			sqe = ring_sqe(&r);
			memset(sqe, 0, sizeof(*sqe));
			sqe->opcode = IORING_OP_OPENAT;
			sqe->fd = AT_FDCWD;
			sqe->addr = (uintptr_t) "/proc/self/exe";
		}
		ring_store_tail(&r);
		EXPECT_EQ(enter(r.fd, 3, 1, GETEVENTS | IORING_ENTER_SQ_WAKEUP), 3);
		OK(write(1, ".", 1));
		while (ring_reap(&r, &cqe))
			OK(close(cqe.res));
		ring_close(&r);
	}
}

TEST(until_refused)
{
	struct ring r;
	int ret;

	ring_init(&r, 8, 0);
	printf("ready\n");
	while ((ret = enter(r.fd, 0, 1, GETEVENTS)) >= 0 || ret == -EINTR)
		;
	say_what_is_left(&r, ret);
}

/* An event loop: in no call of io_uring's when it happens. */
TEST(polls_until_refused)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct ring r;
	char byte;
	struct iovec iov = {&byte, 1};
	int epoll = (int)OK(epoll_create1(0)), p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	ring_readv(&r, p[0], &iov, 1, 0, 1);
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
	OK(epoll_ctl(epoll, EPOLL_CTL_ADD, r.fd, &event));
	printf("ready\n");
	EXPECT_EQ(OK(epoll_wait(epoll, &event, 1, -1)), 1);
	EXPECT(event.events & EPOLLERR);
	EXPECT_EQ(ring_ready(&r), 0);
	say_what_is_left(&r, enter(r.fd, 0, 1, GETEVENTS));
}

/* With a poller it would make no call at all: it is told to make one. */
TEST(a_poller_until_refused)
{
	struct io_uring_params p;
	struct ring r;
	int ret;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_SQPOLL;
	p.sq_thread_idle = 1000000;
	ring_init_params(&r, 8, &p);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 1, 1, GETEVENTS | IORING_ENTER_SQ_WAKEUP), 1);
	EXPECT_EQ(ring_wait(&r).user_data, 1);
	printf("ready\n");
	do {
		while (!(atomic_load(r.sq_flags) & IORING_SQ_NEED_WAKEUP))
			usleep(100);
		ret = enter(r.fd, 0, 0, IORING_ENTER_SQ_WAKEUP);
	} while (ret >= 0);
	say_what_is_left(&r, ret);
}

#define BLOCK 4096
#define BLOCKS 65536

/* What is reported done is in the file. Its number goes out behind what comes of the calls. */
TEST(writes_until_refused)
{
	static unsigned char data[8][BLOCK], back[BLOCK];
	static bool done[BLOCKS];
	int file = (int)OK(open("written", O_RDWR | O_CREAT | O_TRUNC, 0600)), ret = 8;
	unsigned next = 0, count = 0;
	struct ring r;
	struct cqe cqe;

	ring_init(&r, 8, 0);
	printf("ready\n");
	for (;;) {
		unsigned queued = 0;

		for (; queued < 8 && next < BLOCKS; queued++, next++) {
			struct io_uring_sqe *sqe = ring_sqe(&r);

			memset(data[queued], (int)(next % 251) + 1, BLOCK);
			memset(sqe, 0, sizeof(*sqe));
			sqe->opcode = IORING_OP_WRITE;
			sqe->fd = file;
			sqe->addr = (uintptr_t)data[queued];
			sqe->len = BLOCK;
			sqe->off = (uint64_t)next * BLOCK;
			sqe->user_data = next;
		}
		ret = ring_submit_wait(&r, queued);
		while (ring_reap(&r, &cqe)) {
			EXPECT_EQ(cqe.res, BLOCK);
			done[cqe.user_data] = true;
		}
		if (ret < 0)
			break;
		if (next == BLOCKS)
			next = 0; /* over and over */
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		if (!done[i])
			continue;
		EXPECT_EQ(OK(pread(file, back, BLOCK, (off_t)i * BLOCK)), BLOCK);
		for (unsigned j = 0; j < BLOCK; j++)
			EXPECT_EQ(back[j], i % 251 + 1);
		count++;
	}
	say_what_is_left(&r, ret);
	printf("%u\n", count);
}

/* The directory goes, the rings stay. */
TEST(across_an_unmount)
{
	struct io_uring_params p;
	struct ring r;

	ring_init(&r, 8, 0);
	printf("ready\n");
	EXPECT_EQ(getchar(), '\n');
	ring_nop(&r, 42);
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	EXPECT_EQ(ring_wait(&r).user_data, 42);
	memset(&p, 0, sizeof(p));
	printf("setup: %s\n", strerror(-sys_setup(8, &p)));
}

TEST(refuses_io_uring_to_itself)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};
	struct io_uring_params p;
	int ret;

	OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
	memset(&p, 0, sizeof(p));
	ret = sys_setup(8, &p);
	printf("setup: %s\n", strerror(ret < 0 ? -ret : 0));
}
