/* SPDX-License-Identifier: Apache-2.0 */
/* Whose files, whose memory: those of the process that enters. And what its end leaves behind. */
#include "harness.h"

/* The parent queues, the child enters: the child's descriptor, the child's buffer. */
TEST(a_child_enters_with_its_own_files_and_memory)
{
	int mine = make_file(100), other = make_file(3000);
	char *buf = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov = {buf, PAGE};
	struct ring r;
	pid_t pid;

	ring_init(&r, 4, 0);
	ring_readv(&r, mine, &iov, 1, 0, 1);
	ring_store_tail(&r);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		OK(dup2(other, mine));
		EXPECT_EQ(enter(r.fd, 1, 1, GETEVENTS), 1);
		EXPECT(is_pattern(buf, 0, 3000));
		_exit(0);
	}
	expect_child_ok(pid);
	EXPECT_EQ(r.cqes[0].res, 3000);
	for (size_t i = 0; i < PAGE; i++)
		EXPECT_EQ(buf[i], 0);
	note("res=%d, and nothing in the parent's memory", r.cqes[0].res);
}

TEST(a_descriptor_only_the_parent_has_is_ebadf_in_the_child)
{
	int file = make_file(100);
	struct ring r;
	char buf[16];
	struct iovec iov = {buf, sizeof(buf)};
	pid_t pid;

	ring_init(&r, 4, 0);
	ring_readv(&r, file, &iov, 1, 0, 1);
	ring_readv(&r, file, &iov, 1, 0, 2);
	ring_store_tail(&r);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		OK(close(file));
		EXPECT_EQ(enter(r.fd, 1, 1, GETEVENTS), 1);
		_exit(0);
	}
	expect_child_ok(pid);
	EXPECT_EQ(enter(r.fd, 1, 2, GETEVENTS), 1);
	note("child res=%d parent res=%d", r.cqes[0].res, r.cqes[1].res);
	EXPECT_EQ(r.cqes[0].res, -EBADF);
	EXPECT_EQ(r.cqes[1].res, 16);
}

TEST(parent_and_child_enter_in_turn)
{
	struct ring r;
	pid_t pid;

	ring_init(&r, 16, 0);
	for (uint64_t i = 0; i < 12; i++)
		ring_nop(&r, i);
	ring_store_tail(&r);
	for (int i = 0; i < 3; i++) {
		pid = (pid_t)OK(fork());
		if (pid == 0)
			_exit(enter(r.fd, 2, 0, 0) != 2);
		expect_child_ok(pid);
		EXPECT_EQ(enter(r.fd, 2, 0, 0), 2);
	}
	for (uint64_t i = 0; i < 12; i++)
		EXPECT_EQ(r.cqes[i].user_data, i);
	ring_note_words(&r);
}

/* A request belongs to whoever submitted it. After their end it takes no data; that it was cancelled
 * is seen, at the latest, when the data comes. */
static void expect_cancelled(struct ring *r, int p[2])
{
	struct cqe cqe;
	char got = 0;

	OK(write(p[1], "x", 1));
	cqe = ring_wait(r);
	note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	EXPECT_EQ(cqe.res, -ECANCELED);
	EXPECT_EQ(OK(read(p[0], &got, 1)), 1);
	EXPECT_EQ(got, 'x');
}

TEST(exit_cancels_the_childs_request)
{
	struct ring r;
	pid_t pid;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		char c;
		struct iovec iov = {&c, 1};

		ring_readv(&r, p[0], &iov, 1, 0, 4);
		EXPECT_EQ(ring_submit(&r), 1);
		_exit(0);
	}
	expect_child_ok(pid);
	expect_cancelled(&r, p);
}

TEST(sigkill_cancels_the_childs_request)
{
	struct ring r;
	pid_t pid;
	int p[2], ready[2];
	char c;

	OK(pipe(p));
	OK(pipe(ready));
	ring_init(&r, 4, 0);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		struct iovec iov = {&c, 1};

		ring_readv(&r, p[0], &iov, 1, 0, 4);
		EXPECT_EQ(ring_submit(&r), 1);
		OK(write(ready[1], "x", 1));
		for (;;)
			pause();
	}
	EXPECT_EQ(OK(read(ready[0], &c, 1)), 1);
	OK(kill(pid, SIGKILL));
	EXPECT(WIFSIGNALED(wait_child(pid)));
	expect_cancelled(&r, p);
}

TEST(exit_with_pending_requests)
{
	pid_t pid = (pid_t)OK(fork());

	if (pid == 0) {
		struct ring r;
		char buf[8];
		struct iovec iov[8];

		ring_init(&r, 8, 0);
		for (int i = 0; i < 8; i++) {
			int p[2];

			OK(pipe(p));
			iov[i].iov_base = &buf[i];
			iov[i].iov_len = 1;
			ring_readv(&r, p[0], &iov[i], 1, 0, (uint64_t)i);
		}
		EXPECT_EQ(ring_submit(&r), 8);
		_exit(0);
	}
	expect_child_ok(pid);
	note("gone");
}

/* A pending READV holds the file, not the descriptor. */
TEST(descriptor_closed_while_pending)
{
	struct ring r;
	struct cqe cqe;
	char c = 0;
	struct iovec iov = {&c, 1};
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], &iov, 1, 0, 4);
	EXPECT_EQ(ring_submit(&r), 1);
	OK(close(p[0]));
	OK(write(p[1], "z", 1));
	cqe = ring_wait(&r);
	note("res=%d c=%c", cqe.res, c);
	EXPECT_EQ(cqe.res, 1);
}

TEST(descriptor_reused_while_pending)
{
	struct ring r;
	struct cqe cqe;
	char c = 0;
	struct iovec iov = {&c, 1};
	int p[2], zero;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], &iov, 1, 0, 4);
	EXPECT_EQ(ring_submit(&r), 1);
	zero = (int)OK(open("/dev/zero", O_RDONLY));
	OK(dup2(zero, p[0]));
	OK(write(p[1], "z", 1));
	cqe = ring_wait(&r);
	note("res=%d c=%c", cqe.res, c);
	EXPECT_EQ(c, 'z');
}

TEST(ring_closed_with_a_request_pending)
{
	struct ring r, next;
	char c;
	struct iovec iov = {&c, 1};
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], &iov, 1, 0, 4);
	EXPECT_EQ(ring_submit(&r), 1);
	ring_close(&r);
	OK(close(p[1]));
	OK(close(p[0]));
	ring_init(&next, 4, 0);
	ring_nop(&next, 1);
	EXPECT_EQ(ring_submit_wait(&next, 1), 1);
	note("the next ring works");
}

/* exec: the ring is close-on-exec, the program runs, the parent's copy goes on. */
TEST(exec_in_a_child)
{
	struct ring r;
	pid_t pid;

	ring_init(&r, 4, 0);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		ring_nop(&r, 1);
		EXPECT_EQ(ring_submit(&r), 1);
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	expect_child_ok(pid);
	ring_note_words(&r);
	EXPECT_EQ(ring_ready(&r), 1);
}

/* io_uring_task_cancel(): what the process has submitted is cancelled by the exec, while the next program runs. */
TEST(exec_cancels_what_pends)
{
	struct __kernel_timespec hour = {3600, 0};
	int results[5] = {0}, p[2], in[2], out[2];
	struct io_uring_sqe *sqe;
	struct ring r;
	pid_t pid;
	char c;

	OK(pipe(p));
	OK(pipe(in));
	OK(pipe(out));
	ring_init(&r, 8, 0);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		struct iovec iov = {&c, 1};

		ring_readv(&r, p[0], &iov, 1, 0, 1);
		sqe = ring_sqe(&r);
		sqe->opcode = IORING_OP_POLL_ADD;
		sqe->fd = p[0];
		sqe->poll32_events = POLLIN;
		sqe->user_data = 2;
		sqe = ring_sqe(&r);
		sqe->opcode = IORING_OP_TIMEOUT;
		sqe->fd = -1;
		sqe->addr = (uint64_t)(uintptr_t)&hour;
		sqe->len = 1;
		sqe->flags = IOSQE_IO_LINK;
		sqe->user_data = 3;
		ring_nop(&r, 4);
		EXPECT_EQ(ring_submit(&r), 4);
		OK(fcntl(r.fd, F_SETFD, 0));
		OK(dup2(in[0], 0));
		OK(dup2(out[1], 1));
		execl("/bin/cat", "cat", (char *)NULL);
		_exit(127);
	}
	EXPECT_EQ(OK(write(in[1], "x", 1)), 1);
	EXPECT_EQ(OK(read(out[0], &c, 1)), 1); /* it is cat */
	for (int i = 0; i < 4; i++) {
		struct cqe cqe = ring_wait(&r);

		EXPECT(cqe.user_data >= 1 && cqe.user_data <= 4);
		results[cqe.user_data] = cqe.res;
	}
	for (int i = 1; i < 5; i++)
		note("%d: %d", i, results[i]);
	EXPECT_EQ(waitpid(pid, NULL, WNOHANG), 0);
	OK(kill(pid, SIGKILL));
	EXPECT(WIFSIGNALED(wait_child(pid)));
	EXPECT_EQ(OK(write(p[1], "x", 1)), 1);
	EXPECT_EQ(OK(read(p[0], &c, 1)), 1);
}
