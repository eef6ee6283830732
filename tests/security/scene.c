/* SPDX-License-Identifier: Apache-2.0 */
/* The attacker, who has a child that becomes the victim. */
#include "submitter.h"

const char *choice(const char *variable, const char *fallback)
{
	const char *value = getenv(variable);

	return value ? value : fallback;
}

bool rings_are_files(void)
{
	const char *channel = choice("SECURITY_CHANNEL", "kernel");

	return strcmp(channel, "control") == 0 || strcmp(channel, "trap") == 0;
}

const char *at(const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *path = paths[next++ % 4];
	const char *directory = getenv("SECURITY_DIR");

	if (!directory)
		FAIL("SECURITY_DIR is not set");
	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

void scene_keep(submit_fn *prepare)
{
	self.prepare = prepare;
}

static int scene_take(struct scene *s, int fd)
{
	return (int)OK(syscall(SYS_pidfd_getfd, s->pidfd, fd, 0));
}

static void register_resources(struct scene *s)
{
	struct iovec iov[] = {{s->stolen, PAGE_SIZE}, {NULL, 0}};
	int32_t slots[2] = {-1, -1};

	EXPECT_EQ(sys_register(s->ring.fd, IORING_REGISTER_BUFFERS, iov, 2), 0);
	EXPECT_EQ(sys_register(s->ring.fd, IORING_REGISTER_FILES, slots, 2), 0);
}

static void take_ring(struct scene *s, int from)
{
	struct hello hello;

	EXPECT_EQ(OK(read(from, &hello, sizeof(hello))), sizeof(hello));
	if (hello.child) { /* the submitter is a child of the child */
		close(s->pidfd);
		s->pidfd = (int)OK(syscall(SYS_pidfd_open, hello.child, 0));
	}
	s->ring.fd = scene_take(s, hello.fd);
	s->ring.p = hello.p;
	ring_map(&s->ring, MAP_SHARED);
	register_resources(s);
	if (self.prepare)
		s->kept = scene_take(s, KEEP_FD);
}

/* One byte, or the end: false. */
static bool hear(int fd)
{
	char byte;

	return OK(read(fd, &byte, 1)) == 1;
}

enum { LOOT, TRIGGER, BAIT, READY, GO, HELLO, WELCOME, EXECED, PIPES };

static void place(int pipes[PIPES][2], int socket)
{
	const int moves[][2] = {{pipes[LOOT][1], LOOT_FD},	 {socket, SOCKET_FD},
				{pipes[TRIGGER][0], TRIGGER_FD}, {pipes[BAIT][0], BAIT_FD},
				{pipes[READY][1], READY_FD},	 {pipes[GO][0], GO_FD},
				{pipes[GO][0], STDIN_FILENO}};

	for (size_t i = 0; i < sizeof(moves) / sizeof(*moves); i++)
		OK(dup2(moves[i][0], moves[i][1]));
}

static void be_child(int pipes[PIPES][2], int socket)
{
	place(pipes, socket);
	hold_harmless();
	self.hello = pipes[HELLO][1];
	self.welcome = pipes[WELCOME][0];
	self.execed = pipes[EXECED][1];
	close(pipes[GO][1]);
	close(pipes[WELCOME][1]);
	close(pipes[TRIGGER][1]);
	submit_and_exec();
}

static void be_attacker(struct scene *s, int pipes[PIPES][2])
{
	s->pidfd = (int)OK(syscall(SYS_pidfd_open, s->child, 0));
	s->loot = pipes[LOOT][0];
	s->trigger = pipes[TRIGGER][1];
	s->ready = pipes[READY][0];
	s->go = pipes[GO][1];
	s->execed = pipes[EXECED][0];
	for (int i = 0; i < PIPES; i++)
		close(pipes[i][i == TRIGGER || i == GO || i == WELCOME ? 0 : 1]);
	take_ring(s, pipes[HELLO][0]);
	EXPECT_EQ(OK(write(pipes[WELCOME][1], ".", 1)), 1);
	close(pipes[HELLO][0]);
	close(pipes[WELCOME][1]);
	close(pipes[BAIT][0]);
}

static void furnish(struct scene *s, int pipes[PIPES][2], int pair[2])
{
	memset(s, 0, sizeof(*s));
	s->stolen = stolen = map_pages(1, PROT_READ | PROT_WRITE);
	strcpy(stolen, "injected");
	for (int i = 0; i < PIPES; i++)
		OK(pipe2(pipes[i], O_CLOEXEC));
	OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	EXPECT_EQ(OK(write(pipes[BAIT][1], "injected", 8)), 8);
}

static void start(struct scene *s, unsigned flags, submit_fn *submit)
{
	int pipes[PIPES][2], pair[2];

	furnish(s, pipes, pair);
	self.flags = flags;
	self.submit = submit;
	fflush(stdout);
	s->child = (pid_t)OK(fork());
	if (s->child == 0)
		be_child(pipes, pair[1]);
	close(pair[1]);
	s->socket = pair[0];
	be_attacker(s, pipes);
}

/* Behind what the submitter has queued. */
static void go_on_queueing(struct scene *s)
{
	s->ring.tail = atomic_load(s->ring.sq_tail);
}

static const char *victim(const char *program)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.%s", program, choice("VICTIM", "setuid"));
	return at(name);
}

void scene_begin(struct scene *s, unsigned flags, submit_fn *submit)
{
	static char ready[16], go[16];

	snprintf(ready, sizeof(ready), "%d", READY_FD);
	snprintf(go, sizeof(go), "%d", GO_FD);
	self.argv[0] = victim("holder");
	self.argv[1] = at("secret");
	self.argv[2] = ready;
	self.argv[3] = go;
	start(s, flags, submit);
	EXPECT(hear(s->ready));
	go_on_queueing(s);
}

void scene_exec(struct scene *s, unsigned flags, submit_fn *submit, const char *program, const char *argument)
{
	self.argv[0] = victim(program);
	self.argv[1] = at("secret");
	self.argv[2] = argument;
	start(s, flags, submit);
	EXPECT(!hear(s->execed));
	go_on_queueing(s);
}

void scene_collect(struct scene *s, unsigned n)
{
	while (n--) {
		struct cqe cqe = ring_wait(&s->ring);

		fprintf(stderr, "request %llu: %d\n", (unsigned long long)cqe.user_data, cqe.res);
		EXPECT(cqe.user_data >= HEAD && cqe.user_data <= LATER);
		s->cqes[cqe.user_data] = cqe;
	}
}

const char *scene_of_who_may(struct scene *s)
{
	int pipes[PIPES][2], pair[2];

	furnish(s, pipes, pair);
	place(pipes, pair[1]);
	hold(at("secret"));
	put_message();
	s->loot = pipes[LOOT][0];
	s->socket = pair[0];
	ring_init(&s->ring, 16, 0);
	register_resources(s);
	queue_attack(&s->ring);
	EXPECT_EQ(ring_submit(&s->ring), 1);
	scene_collect(s, 1);
	if (memcmp(VICTIM_PAGE + SPARE_AT, "\0\0\0\0\0\0\0", 8) != 0)
		return "a store to the victim's memory";
	if (!file_is_whole(VICTIM_PAGE)) {
		OK(pwrite(VICTIM_FD, VICTIM_PAGE + SECRET_AT, strlen(VICTIM_PAGE + SECRET_AT), 0));
		return "a change of the victim's file";
	}
	return gained(s);
}

void scene_end(struct scene *s)
{
	const char *what = gained(s);
	int status;

	close(s->go);
	status = wait_child(s->child);
	EXPECT(WIFEXITED(status));
	status = WEXITSTATUS(status);
	if (!what && status == VICTIM_CHANGED)
		what = "a change of the victim's memory, or of its file";
	note("gained: %s", what ? what : "nothing");
	if (what)
		FAIL("gained: %s", what);
	EXPECT_EQ(status, 0);
}

void scene_forget(struct scene *s)
{
	const int each[] = {s->loot, s->socket, s->trigger, s->ready, s->execed, s->pidfd};

	ring_close(&s->ring);
	for (size_t i = 0; i < sizeof(each) / sizeof(*each); i++)
		close(each[i]);
}
