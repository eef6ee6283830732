/* SPDX-License-Identifier: Apache-2.0 */
/* New descriptors: those of a privileged program must not come to who has submitted for it, neither by the agent that
 * it has left nor by what that program itself is made to fetch. On the kernel they would be in its table. */
#include "scene.h"

static void open_later(struct ring *r)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_POLL_ADD, TRIGGER_FD, NULL, 0, 0);

	sqe->poll32_events = POLLIN;
	sqe->flags = IOSQE_IO_LINK;
	sqe->user_data = HEAD;
	queue(r, IORING_OP_OPENAT, AT_FDCWD, VICTIM_PAGE + PATH_AT, 0, 0)->user_data = TAIL;
	EXPECT_EQ(ring_submit(r), 2);
}

static void leave_an_agent(struct ring *r)
{
	int agent = (int)OK(uringfs_agent(r->fd));

	OK(dup2(agent, KEEP_FD));
	OK(close(agent));
}

/* What the launcher has for itself: a socket, where descriptors are in nobody's way */
static void find_the_launchers(struct ring *r)
{
	socklen_t size = sizeof(int);
	int type, fd;

	(void)r;
	for (fd = 1023; fd > KEEP_FD; fd--)
		if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET)
			break;
	EXPECT(fd > KEEP_FD);
	OK(dup2(fd, KEEP_FD));
}

/* In this process's table, whoever has put it there */
static bool has_secret(void)
{
	for (int fd = 0; fd < 1024; fd++)
		if (reads_secret(fd))
			return true;
	return false;
}

/* The number of the next descriptor. */
static int next_number(void)
{
	int fd = (int)OK(fcntl(STDIN_FILENO, F_DUPFD, 0));

	close(fd);
	return fd;
}

/* Until both requests are complete, be the agent. */
static bool serve(struct scene *s, int agent)
{
	struct pollfd each[] = {{.fd = s->ring.fd, .events = POLLIN}, {.fd = agent, .events = POLLIN}};
	bool stolen = false;

	while (ring_ready(&s->ring) < 2) {
		int next = next_number();

		OK(poll(each, 2, -1));
		if (each[1].revents && uringfs_serve(agent) == 1)
			stolen |= reads_secret(next);
		if (each[1].revents & POLLHUP)
			each[1].fd = -1;
	}
	return stolen;
}

TEST(an_agent)
{
	struct scene s;

	if (rings_are_files())
		scene_keep(leave_an_agent);
	scene_begin(&s, 0, open_later);
	EXPECT_EQ(OK(write(s.trigger, ".", 1)), 1);
	if (rings_are_files() && serve(&s, s.kept))
		FAIL("gained: a descriptor of the secret");
	scene_collect(&s, 2);
	if (has_secret())
		FAIL("gained: a descriptor of the secret");
	scene_end(&s);
}

static void submit_nothing(struct ring *r)
{
	(void)r;
}

/* The same, while a poller that may be there looks for requests. */
static bool serve_poller(struct scene *s)
{
	struct pollfd pfd = {.fd = rings_are_files() ? s->kept : -1, .events = POLLIN};
	bool stolen = false;

	while (!ring_ready(&s->ring) && enter(s->ring.fd, 1, 0, IORING_ENTER_SQ_WAKEUP) != -EOWNERDEAD) {
		int next = next_number();

		OK(poll(&pfd, 1, 1));
		if (pfd.revents && uringfs_serve(s->kept) == 1)
			stolen |= reads_secret(next);
		if (pfd.revents & POLLHUP)
			pfd.fd = -1;
	}
	return stolen;
}

static void queue_for_the_poller(submit_fn *prepare)
{
	struct scene s;

	if (rings_are_files())
		scene_keep(prepare);
	scene_begin(&s, IORING_SETUP_SQPOLL, submit_nothing);
	queue(&s.ring, IORING_OP_OPENAT, AT_FDCWD, VICTIM_PAGE + PATH_AT, 0, 0)->user_data = TAIL;
	ring_store_tail(&s.ring);
	if (serve_poller(&s) || has_secret())
		FAIL("gained: a descriptor of the secret");
	scene_end(&s);
}

TEST(an_agent_of_a_poller)
{
	queue_for_the_poller(leave_an_agent);
}

TEST(the_launchers_agent_of_a_poller)
{
	queue_for_the_poller(find_the_launchers);
}

/* As root, without an exec: else the attacks might fail for their own fault. */
TEST(a_descriptor_of_who_may)
{
	struct scene s;
	int trigger[2];

	memset(&s, 0, sizeof(s));
	OK(pipe(trigger));
	OK(dup2(trigger[0], TRIGGER_FD));
	held_page(at("secret"));
	ring_init(&s.ring, 16, 0);
	if (rings_are_files())
		leave_an_agent(&s.ring);
	open_later(&s.ring);
	EXPECT_EQ(OK(write(trigger[1], ".", 1)), 1);
	if (rings_are_files())
		EXPECT(serve(&s, KEEP_FD));
	scene_collect(&s, 2);
	EXPECT(has_secret());
	note("gained: a descriptor of the secret");
}

/* What a victim that copies its input to its standard error output tells the daemon: give me what there is. */
static size_t fetch_message(char *input)
{
	struct uringfs_fetch m;

	memset(&m, 0, sizeof(m));
	m.hdr.cmd = URINGFS_CMD_FETCH;
	m.hdr.size = sizeof(m);
	m.result = (uint64_t)(uintptr_t)(VICTIM_PAGE + SPARE_AT + 256);
	m.entries = (uint64_t)(uintptr_t)(VICTIM_PAGE + SPARE_AT + 512);
	m.room = 1;
	m.sock = SOCKET_FD;
	m.can = URINGFS_CAN;
	memset(input, 0, 256);
	memcpy(input, &m, sizeof(m));
	return sizeof(m);
}

static void open_later_and_be_heard(struct ring *r)
{
	open_later(r);
	OK(dup2(r->fd, STDERR_FILENO));
}

TEST(a_delivery)
{
	struct pollfd pfd;
	struct scene s;
	char input[256], size[16];

	snprintf(size, sizeof(size), "%zu", fetch_message(input));
	scene_exec(&s, 0, open_later_and_be_heard, "copier", size);
	EXPECT_EQ(OK(write(s.trigger, ".", 1)), 1);
	pfd = (struct pollfd){.fd = s.ring.fd, .events = POLLIN | URINGFS_POLL_FETCH};
	OK(poll(&pfd, 1, -1));
	EXPECT_EQ(OK(write(s.go, input, sizeof(input))), sizeof(input));
	close(s.go);
	wait_child(s.child);
	if (message_tells(s.socket))
		FAIL("gained: a descriptor of the secret");
	note("gained: nothing");
}
