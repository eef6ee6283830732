/* SPDX-License-Identifier: Apache-2.0 */
/* The attacker's side of scene.h, the submitter's, and the requests. */
#include "scene.h"

#include <sched.h>
#include <semaphore.h>
#include <sys/prctl.h>

#define STACK_SIZE 65536

static char *stolen; /* scene.stolen: the submitter names it, too */

const char *choice(const char *variable, const char *fallback)
{
	const char *value = getenv(variable);

	return value ? value : fallback;
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

/* ---- requests ---- */

struct io_uring_sqe *queue(struct ring *r, unsigned opcode, int fd, const void *addr, unsigned len, uint64_t off)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	EXPECT(sqe != NULL);
	sqe->opcode = (uint8_t)opcode;
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)addr;
	sqe->len = len;
	sqe->off = off;
	return sqe;
}

static void set(struct io_uring_sqe *sqe, unsigned opcode, int fd, unsigned at_page, unsigned len)
{
	sqe->opcode = (uint8_t)opcode;
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)(VICTIM_PAGE + at_page);
	sqe->len = len;
}

/* Into memory of the attacker */
static void read_fixed(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_READ_FIXED, VICTIM_FD, 0, SECRET_SIZE);
	sqe->addr = (uint64_t)(uintptr_t)stolen;
}

/* The victim's descriptor into its memory: it is changed */
static void read_own(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_READ, VICTIM_FD, SPARE_AT, SECRET_SIZE);
}

/* The attacker's bytes into the victim's memory */
static void inject(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_READ, BAIT_FD, SPARE_AT, 8);
	sqe->off = (uint64_t)-1;
}

static void write_memory(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_WRITE, LOOT_FD, SECRET_AT, SECRET_SIZE);
	sqe->off = (uint64_t)-1;
}

static void send_memory(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_SEND, SOCKET_FD, SECRET_AT, SECRET_SIZE);
}

static void splice_file(struct io_uring_sqe *sqe)
{
	sqe->opcode = IORING_OP_SPLICE;
	sqe->splice_fd_in = VICTIM_FD;
	sqe->splice_off_in = 0;
	sqe->fd = LOOT_FD;
	sqe->off = (uint64_t)-1;
	sqe->len = SECRET_SIZE;
}

/* The attacker's bytes into the victim's file */
static void write_file(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_WRITE_FIXED, VICTIM_FD, 0, 8);
	sqe->addr = (uint64_t)(uintptr_t)stolen;
}

static void truncate_file(struct io_uring_sqe *sqe)
{
	sqe->opcode = 55; /* IORING_OP_FTRUNCATE */
	sqe->fd = VICTIM_FD;
	sqe->off = 1;
}

/* Requests of these read a number in the attacker's memory, which a sibling keeps. It lies where the victim has
 * memory, too: whoever asks whether there is any must not be content with that. */
struct message {
	int32_t number;
	struct iovec iov;
	struct msghdr msg;
	union {
		struct cmsghdr header;
		char buf[CMSG_SPACE(sizeof(int))];
	} rights;
};
#define MESSAGE ((struct message *)(VICTIM_PAGE + MESSAGE_AT))

static void put_message(struct message *m)
{
	m->number = VICTIM_FD;
	m->iov = (struct iovec){m, sizeof(m->number)};
	m->msg = (struct msghdr){.msg_iov = &m->iov, .msg_iovlen = 1, .msg_control = &m->rights,
				 .msg_controllen = sizeof(m->rights)};
	m->rights.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
					    .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&m->rights.header), &m->number, sizeof(m->number));
}

static void send_descriptor(struct io_uring_sqe *sqe)
{
	sqe->opcode = IORING_OP_SENDMSG;
	sqe->fd = SOCKET_FD;
	sqe->addr = (uint64_t)(uintptr_t)&MESSAGE->msg;
	sqe->len = 1;
}

static void register_file(struct io_uring_sqe *sqe)
{
	sqe->opcode = IORING_OP_FILES_UPDATE;
	sqe->fd = -1;
	sqe->addr = (uint64_t)(uintptr_t)&MESSAGE->number;
	sqe->len = 1;
}

static void open_path(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_OPENAT, AT_FDCWD, PATH_AT, 0);
	sqe->open_flags = O_RDONLY;
	sqe->file_index = 1;
}

static void make_directory(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_MKDIRAT, AT_FDCWD, MADE_AT, 0777);
}

static void raw_socket(struct io_uring_sqe *sqe)
{
	sqe->opcode = IORING_OP_SOCKET;
	sqe->fd = AF_PACKET;
	sqe->off = SOCK_RAW;
	sqe->file_index = 1;
}

static const struct attack {
	const char *name;
	void (*queue)(struct io_uring_sqe *sqe);
} attacks[] = {
	{"read_fixed", read_fixed},
	{"read", read_own},
	{"inject", inject},
	{"write", write_memory},
	{"send", send_memory},
	{"splice", splice_file},
	{"write_file", write_file},
	{"ftruncate", truncate_file},
	{"sendmsg", send_descriptor},
	{"files_update", register_file},
	{"openat", open_path},
	{"mkdirat", make_directory},
	{"socket", raw_socket},
};

static const struct attack *attack_of(const char *name)
{
	for (size_t i = 0; i < sizeof(attacks) / sizeof(*attacks); i++)
		if (strcmp(attacks[i].name, name) == 0)
			return &attacks[i];
	FAIL("no such attack: %s", name);
}

struct io_uring_sqe *queue_attack(struct ring *r)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	EXPECT(sqe != NULL);
	attack_of(choice("TAIL", "splice"))->queue(sqe);
	sqe->user_data = TAIL;
	return sqe;
}

/* ---- the submitter ---- */

static struct {
	unsigned flags;
	submit_fn *prepare, *submit;
	const char *argv[5];
	bool indirect; /* a child of the attacker's child */
	int settled[2];
	int execed; /* kept by nobody who does not become the victim */
	int hello, welcome; /* to the attacker: its ring is there; from it: it has taken that */
	struct ring ring;
} self;

struct hello {
	pid_t child; /* 0: the attacker's own child */
	int fd;
	struct io_uring_params p;
};

static void make_ring_and_submit(void)
{
	struct hello hello;
	char byte;

	memset(&hello, 0, sizeof(hello));
	ring_init(&self.ring, 16, self.flags);
	hello.child = self.indirect ? getpid() : 0;
	hello.fd = self.ring.fd;
	if (self.prepare)
		self.prepare(&self.ring);
	hello.p = self.ring.p;
	EXPECT_EQ(OK(write(self.hello, &hello, sizeof(hello))), sizeof(hello));
	EXPECT_EQ(OK(read(self.welcome, &byte, 1)), 1);
	self.submit(&self.ring);
}

void scene_become_victim(void)
{
	execv(self.argv[0], (char **)self.argv);
	FAIL("%s: %s", self.argv[0], strerror(errno));
}

static void *exec_thread(void *unused)
{
	(void)unused;
	scene_become_victim();
	return NULL;
}

static void *submit_thread(void *done)
{
	make_ring_and_submit();
	sem_post(done);
	pause(); /* its end would end what it has submitted */
	return NULL;
}

static int both(void *unused)
{
	(void)unused;
	make_ring_and_submit();
	scene_become_victim();
	return 1;
}

/* A process that shares something with the submitter, and keeps it as it was. Ends with the victim. */
static int sibling(void *closes)
{
	if (closes)
		close(self.execed);
	syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	syscall(SYS_write, self.settled[1], ".", 1);
	while (pause() < 0) {
	}
	return 1;
}

static pid_t clone_with(int (*fn)(void *), int flags, void *arg)
{
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return (pid_t)OK(clone(fn, stack + STACK_SIZE, flags | SIGCHLD, arg));
}

static void keep_sibling(int flags, void *closes)
{
	char byte;

	OK(pipe2(self.settled, O_CLOEXEC));
	clone_with(sibling, flags, closes);
	EXPECT_EQ(OK(read(self.settled[0], &byte, 1)), 1);
}

static void submit_and_exec(void)
{
	const char *how = choice("HOW", "exec");
	pthread_t thread;
	pid_t child;
	sem_t done;

	if (strcmp(how, "clone_vm") == 0)
		keep_sibling(CLONE_VM, &self);
	if (strcmp(how, "clone_files") == 0)
		keep_sibling(CLONE_FILES, NULL);
	if (strcmp(how, "vfork") == 0) {
		self.indirect = true;
		child = clone_with(both, CLONE_VM | CLONE_VFORK, NULL);
		close(self.execed);
		_exit(WEXITSTATUS(wait_child(child)));
	}
	if (strcmp(how, "by_another_thread") == 0) {
		make_ring_and_submit();
		EXPECT_EQ(pthread_create(&thread, NULL, exec_thread, NULL), 0);
		for (;;)
			pause();
	}
	if (strcmp(how, "of_another_thread") == 0) {
		sem_init(&done, 0, 0);
		EXPECT_EQ(pthread_create(&thread, NULL, submit_thread, &done), 0);
		while (sem_wait(&done) < 0) {
		}
		scene_become_victim();
	}
	both(NULL);
}

/* Harmless things where the victim will have its secrets. */
static void hold_harmless(void)
{
	int harmless = (int)OK(memfd_create("harmless", 0));

	EXPECT_EQ(OK(write(harmless, "harmless", 8)), 8);
	OK(dup2(harmless, VICTIM_FD));
	strcpy(held_page(at("secret")) + SECRET_AT, "harmless");
	put_message(MESSAGE);
}

/* ---- the attacker ---- */

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
	const int moves[][2] = {{pipes[LOOT][1], LOOT_FD},   {socket, SOCKET_FD},       {pipes[TRIGGER][0], TRIGGER_FD},
				{pipes[BAIT][0], BAIT_FD},   {pipes[READY][1], READY_FD}, {pipes[GO][0], GO_FD},
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

static void start(struct scene *s, unsigned flags, submit_fn *submit)
{
	int pipes[PIPES][2], pair[2];

	memset(s, 0, sizeof(*s));
	s->stolen = stolen = map_pages(1, PROT_READ | PROT_WRITE);
	strcpy(stolen, "injected");
	for (int i = 0; i < PIPES; i++)
		OK(pipe2(pipes[i], O_CLOEXEC));
	OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	EXPECT_EQ(OK(write(pipes[BAIT][1], "injected", 8)), 8);
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

/* ---- what has been gained ---- */

static bool is_secret(const char *data, ssize_t n)
{
	return n > 0 && memmem(data, (size_t)n, SECRET_TEXT, strlen(SECRET_TEXT)) != NULL;
}

static bool comes_out(int fd)
{
	char data[PAGE_SIZE];

	OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	return is_secret(data, read(fd, data, sizeof(data)));
}

bool reads_secret(int fd)
{
	char data[SECRET_SIZE];

	return is_secret(data, pread(fd, data, sizeof(data), 0));
}

/* What a message says, and what it brings. */
bool message_tells(int sock)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	char data[PAGE_SIZE];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);
	int fd = -1;

	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return is_secret(data, n) || reads_secret(fd);
}

/* The direct descriptor that an open has left. */
static bool is_open(struct scene *s)
{
	struct io_uring_sqe *sqe = queue(&s->ring, IORING_OP_READ_FIXED, 0, s->stolen, SECRET_SIZE, 0);
	struct cqe cqe;

	sqe->flags = IOSQE_FIXED_FILE;
	ring_submit_wait(&s->ring, 1);
	return ring_reap(&s->ring, &cqe) && is_secret(s->stolen, cqe.res);
}

bool leaves_file(void)
{
	const char *tail = choice("TAIL", "splice");

	return strcmp(tail, "openat") == 0 || strcmp(tail, "files_update") == 0;
}

static const char *gained(struct scene *s)
{
	const char *tail = choice("TAIL", "splice");

	if (is_secret(s->stolen, PAGE_SIZE))
		return "the secret, in memory";
	if (comes_out(s->loot))
		return "the secret, by a pipe";
	if (message_tells(s->socket))
		return "the secret, by a socket";
	if (strcmp(tail, "socket") == 0 && s->cqes[TAIL].user_data && s->cqes[TAIL].res >= 0)
		return "a raw socket";
	if (leaves_file() && !(s->ring.p.flags & IORING_SETUP_SQPOLL) && is_open(s))
		return "the secret, by a direct descriptor";
	if (access(at("secret.made"), F_OK) == 0)
		return "a directory of root's";
	return NULL;
}

const char *scene_of_who_may(struct scene *s)
{
	int pipes[PIPES][2], pair[2];

	memset(s, 0, sizeof(*s));
	s->stolen = stolen = map_pages(1, PROT_READ | PROT_WRITE);
	strcpy(stolen, "injected");
	for (int i = 0; i < PIPES; i++)
		OK(pipe2(pipes[i], O_CLOEXEC));
	OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
	EXPECT_EQ(OK(write(pipes[BAIT][1], "injected", 8)), 8);
	place(pipes, pair[1]);
	hold(at("secret"));
	put_message(MESSAGE);
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
