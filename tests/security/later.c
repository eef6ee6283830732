/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that start behind the exec of a privileged program: HEAD says what they wait for, TAIL what they want. */
#include "scene.h"

static const struct __kernel_timespec hour = {.tv_sec = 3600}, now = {.tv_nsec = 1};

static void wait_for_trigger(struct ring *r, unsigned flags)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_POLL_ADD, TRIGGER_FD, NULL, 0, 0);

	sqe->poll32_events = POLLIN;
	sqe->flags = (uint8_t)flags;
	sqe->user_data = HEAD;
}

static void read_in_a_worker(struct ring *r)
{
	static char byte[8];
	struct io_uring_sqe *sqe = queue(r, IORING_OP_READ, TRIGGER_FD, byte, 1, (uint64_t)-1);

	sqe->flags = IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_ASYNC;
	sqe->user_data = HEAD;
}

static void wait_for_timeout(struct ring *r)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_TIMEOUT, -1, &hour, 1, 0);

	sqe->timeout_flags = IORING_TIMEOUT_ETIME_SUCCESS;
	sqe->flags = IOSQE_IO_LINK;
	sqe->user_data = HEAD;
}

static bool head_is(const char *name)
{
	return strcmp(choice("HEAD", "poll"), name) == 0;
}

static void submit_both(struct ring *r)
{
	struct io_uring_sqe *tail;

	if (head_is("poll"))
		wait_for_trigger(r, IOSQE_IO_LINK);
	else if (head_is("drain"))
		wait_for_trigger(r, 0);
	else if (head_is("timeout"))
		wait_for_timeout(r);
	else if (head_is("worker"))
		read_in_a_worker(r);
	else
		FAIL("no such HEAD");
	tail = queue_attack(r);
	if (head_is("drain"))
		tail->flags = IOSQE_IO_DRAIN;
	EXPECT_EQ(ring_submit(r), 2);
}

/* The timeout runs out at once, if it is still there. */
static unsigned update_timeout(struct scene *s)
{
	struct io_uring_sqe *sqe = queue(&s->ring, IORING_OP_TIMEOUT_REMOVE, -1, (void *)(uintptr_t)HEAD, 0,
					 (uint64_t)(uintptr_t)&now);

	sqe->timeout_flags = IORING_TIMEOUT_UPDATE;
	sqe->user_data = LATER;
	EXPECT_EQ(ring_submit(&s->ring), 1);
	return 1;
}

static unsigned pull_the_trigger(struct scene *s)
{
	EXPECT_EQ(OK(write(s->trigger, ".", 1)), 1);
	return head_is("timeout") ? update_timeout(s) : 0;
}

TEST(a_request_that_starts_behind_an_exec)
{
	struct scene s;

	scene_begin(&s, 0, submit_both);
	scene_collect(&s, 2 + pull_the_trigger(&s));
	scene_end(&s);
}

/* What pends itself, and has an address of the submitter's memory. */
static void submit_read(struct ring *r)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_READ, TRIGGER_FD, VICTIM_PAGE + SPARE_AT, 1, (uint64_t)-1);

	sqe->flags = head_is("worker") ? IOSQE_ASYNC : 0;
	sqe->user_data = HEAD;
	EXPECT_EQ(ring_submit(r), 1);
}

TEST(a_read_that_ends_behind_an_exec)
{
	struct scene s;

	scene_begin(&s, 0, submit_read);
	pull_the_trigger(&s);
	scene_collect(&s, 1);
	scene_end(&s);
}

static void submit_recv(struct ring *r)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_RECV, SOCKET_FD, VICTIM_PAGE + SPARE_AT, 8, 0);

	sqe->flags = head_is("worker") ? IOSQE_ASYNC : 0;
	sqe->user_data = HEAD;
	EXPECT_EQ(ring_submit(r), 1);
}

TEST(a_recv_that_ends_behind_an_exec)
{
	struct scene s;

	scene_begin(&s, 0, submit_recv);
	EXPECT_EQ(OK(send(s.socket, "injected", 8, 0)), 8);
	scene_collect(&s, 1);
	scene_end(&s);
}

/* A buffer that the submitter has registered stays what it was, or is gone. */
static void register_page(struct ring *r)
{
	struct iovec iov = {VICTIM_PAGE, PAGE_SIZE};
	struct io_uring_rsrc_update2 update = {.offset = 1, .data = (uint64_t)(uintptr_t)&iov, .nr = 1};

	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update)), 1);
}

static void use_buffer(struct scene *s, unsigned opcode, int fd, unsigned where, unsigned len)
{
	struct io_uring_sqe *sqe = queue(&s->ring, opcode, fd, VICTIM_PAGE + where, len, (uint64_t)-1);
	struct cqe cqe;

	sqe->buf_index = 1;
	EXPECT_EQ(ring_submit_wait(&s->ring, 1), 1);
	EXPECT(ring_reap(&s->ring, &cqe));
}

TEST(a_registered_buffer)
{
	struct scene s;
	int ends[2];

	scene_begin(&s, 0, register_page);
	OK(pipe(ends));
	use_buffer(&s, IORING_OP_WRITE_FIXED, ends[1], SECRET_AT, SECRET_SIZE);
	OK(fcntl(ends[0], F_SETFL, O_NONBLOCK));
	(void)!read(ends[0], s.stolen, SECRET_SIZE); /* where scene_end() looks */
	EXPECT_EQ(OK(write(ends[1], "injected", 8)), 8);
	use_buffer(&s, IORING_OP_READ_FIXED, ends[0], SPARE_AT, 8);
	scene_end(&s);
}

/* An enter that waits while another thread executes: what it returns is not stored in the new program's memory. */
static void *exec_when_it_waits(void *tid)
{
	until_waiting(getpid(), *(pid_t *)tid);
	scene_become_victim();
	return NULL;
}

static void wait_in_enter(struct ring *r)
{
	static pid_t tid;
	struct uringfs_enter m;
	struct pollfd pfd = {.fd = r->fd, .events = URINGFS_POLL_WAIT};
	pthread_t thread;

	tid = gettid_();
	EXPECT_EQ(pthread_create(&thread, NULL, exec_when_it_waits, &tid), 0);
	if (!on_uringfs()) {
		enter(r->fd, 0, 1, GETEVENTS);
		return;
	}
	memset(&m, 0, sizeof(m));
	m.hdr.cmd = URINGFS_CMD_ENTER;
	m.hdr.size = sizeof(m);
	m.result = (uint64_t)(uintptr_t)(VICTIM_PAGE + SPARE_AT);
	m.min_complete = 1;
	m.flags = GETEVENTS;
	EXPECT(pwrite(r->fd, &m, sizeof(m), URINGFS_OFF_CTL) < 0 && errno == EINPROGRESS);
	ppoll(&pfd, 1, NULL, NULL);
}

TEST(an_enter_that_waits)
{
	struct scene s;

	scene_begin(&s, 0, wait_in_enter);
	scene_end(&s);
}

/* As root: else the attacks might fail for their own fault. */
TEST(the_same_request_of_who_may)
{
	struct scene s;
	const char *what = scene_of_who_may(&s);

	EXPECT(what != NULL);
	note("%s", what);
}
