/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors, and news of children, that come while the program is in no io_uring_enter. */
#include "../conformance/harness.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define OP_WAITID 50

/* As an event loop does: it asks for nothing but POLLIN, and makes no call. */
static int poll_for_one(struct ring *r)
{
	struct pollfd p = {r->fd, POLLIN, 0};
	struct cqe cqe;

	while (!ring_reap(r, &cqe))
		EXPECT_EQ(OK(poll(&p, 1, 10000)), 1);
	note("user_data %llu", (unsigned long long)cqe.user_data);
	return cqe.res;
}

static void by_poller(struct ring *r)
{
	ring_store_tail(r);
	EXPECT_EQ(enter(r->fd, 0, 0, IORING_ENTER_SQ_WAKEUP), 0);
}

static struct io_uring_sqe *sqe_open(struct ring *r, const char *path, int flags, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_OPENAT;
	sqe->fd = AT_FDCWD;
	sqe->addr = (uintptr_t)path;
	sqe->open_flags = (uint32_t)flags;
	sqe->user_data = user_data;
	return sqe;
}

static struct io_uring_sqe *sqe_of(struct ring *r, uint8_t opcode, int fd, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->fd = fd;
	sqe->user_data = user_data;
	return sqe;
}

static void a_poller_opens_and_closes(void)
{
	int lowest = (int)OK(dup(0)), fd;
	struct io_uring_params p;
	struct ring r;
	char byte;

	OK(close(lowest));
	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_SQPOLL;
	ring_init_params(&r, 8, &p);
	for (int i = 0; i < 3; i++) {
		sqe_open(&r, "/proc/self/exe", i ? O_CLOEXEC : 0, 1);
		by_poller(&r);
		fd = poll_for_one(&r);
		EXPECT_EQ(fd, lowest + 1);
		EXPECT_EQ(OK(fcntl(fd, F_GETFD)), i ? FD_CLOEXEC : 0);
		EXPECT_EQ(OK(read(fd, &byte, 1)), 1);
		sqe_of(&r, IORING_OP_CLOSE, fd, 2);
		by_poller(&r);
		EXPECT_EQ(poll_for_one(&r), 0);
		EXPECT_EQ(fcntl(fd, F_GETFD), -1);
	}
	ring_close(&r);
}

TEST(a_poller_that_opens_and_closes)
{
	pid_t pid;

	a_poller_opens_and_closes();
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		a_poller_opens_and_closes();
		_exit(0);
	}
	expect_child_ok(pid);
	a_poller_opens_and_closes();
}

TEST(a_poller_whose_table_is_full)
{
	struct rlimit limit = {32, 32};
	struct io_uring_params p;
	struct ring r;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_SQPOLL;
	ring_init_params(&r, 8, &p);
	while (dup(0) >= 0 && fcntl(31, F_GETFD) < 0)
		;
	OK(setrlimit(RLIMIT_NOFILE, &limit));
	while (dup(0) >= 0)
		;
	sqe_open(&r, "/proc/self/exe", 0, 1);
	by_poller(&r);
	EXPECT_EQ(poll_for_one(&r), -EMFILE);
	OK(close(10));
	sqe_open(&r, "/proc/self/exe", 0, 1);
	by_poller(&r);
	EXPECT_EQ(poll_for_one(&r), 10);
}

static int connect_to(const struct sockaddr_un *name)
{
	int fd = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));

	OK(connect(fd, (const void *)name, sizeof(*name)));
	return fd;
}

TEST(accepts_while_it_polls)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int listener = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0)), fd, end, before = -1;
	struct ring r;

	snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "uringfs-%d", getpid());
	OK(bind(listener, (void *)&name, sizeof(name)));
	OK(listen(listener, 8));
	ring_init(&r, 8, 0);
	sqe_of(&r, IORING_OP_ACCEPT, listener, 1)->ioprio = 1; /* IORING_ACCEPT_MULTISHOT */
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
	for (int i = 0; i < 3; i++) {
		end = connect_to(&name);
		fd = poll_for_one(&r);
		OK(close(end)); /* not before: its number might be what is accepted */
		EXPECT_GE(fd, 0);
		EXPECT_EQ(OK(fcntl(fd, F_GETFD)), 0);
		EXPECT(fd > before);
		before = fd;
	}
}

TEST(an_open_that_lasts_while_it_polls)
{
	char path[64];
	struct ring r;
	int fd, end;

	snprintf(path, sizeof(path), "/tmp/uringfs-fifo-%d", getpid());
	OK(mkfifo(path, 0600));
	ring_init(&r, 8, 0);
	sqe_open(&r, path, O_RDONLY, 1)->flags = IOSQE_ASYNC;
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
	EXPECT_EQ(ring_ready(&r), 0);
	while ((end = open(path, O_WRONLY | O_NONBLOCK)) < 0)
		usleep(1000);
	OK(unlink(path));
	fd = poll_for_one(&r);
	EXPECT_GE(fd, 0);
	OK(close(end));
}

TEST(a_child_that_ends_while_it_polls)
{
	struct io_uring_sqe *sqe;
	struct ring r;
	pid_t pid;
	int p[2];
	char byte;

	OK(pipe(p));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		OK(close(p[1]));
		_exit(read(p[0], &byte, 1) == 0 ? 3 : 1);
	}
	ring_init(&r, 8, 0);
	sqe = sqe_of(&r, OP_WAITID, pid, 1);
	sqe->len = P_PID;
	sqe->file_index = WEXITED;
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
	EXPECT_EQ(ring_ready(&r), 0);
	OK(close(p[1]));
	EXPECT_EQ(poll_for_one(&r), 0);
	EXPECT_EQ(waitpid(pid, NULL, 0), -1);
	EXPECT_EQ(errno, ECHILD);
}

static void *ends(void *unused)
{
	return unused;
}

TEST(a_program_that_ends_with_its_last_thread)
{
	struct io_uring_params p;
	struct ring r;
	pthread_t thread;
	pid_t pid = (pid_t)OK(fork());

	if (pid == 0) {
		memset(&p, 0, sizeof(p));
		p.flags = IORING_SETUP_SQPOLL;
		ring_init_params(&r, 8, &p);
		EXPECT_EQ(pthread_create(&thread, NULL, ends, NULL), 0);
		pthread_exit(NULL);
	}
	expect_child_ok(pid);
}

/* Of the kernel's own threads only exec and exit are asked; those of the program are all of its new user. */
TEST(threads_of_a_program_that_changes_its_user)
{
	struct io_uring_params p;
	struct dirent *entry;
	struct ring r;
	DIR *tasks;

	if (getuid()) {
		note("not root");
		return;
	}
	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_SQPOLL;
	ring_init_params(&r, 8, &p);
	sqe_of(&r, IORING_OP_NOP, -1, 1);
	by_poller(&r);
	EXPECT_EQ(poll_for_one(&r), 0); /* the poller has its name by now */
	OK(setuid(65534));
	tasks = opendir("/proc/self/task");
	EXPECT(tasks != NULL);
	while ((entry = readdir(tasks))) {
		char path[300], line[256];
		bool kernels = false;
		FILE *status;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		status = fopen(path, "r");
		while (status && fgets(line, sizeof(line), status)) {
			kernels = kernels || !strncmp(line, "Name:\tiou-", 10);
			if (!kernels && !strncmp(line, "Uid:", 4))
				EXPECT_EQ(strtol(line + 4, NULL, 10), 65534);
		}
		if (status)
			fclose(status);
	}
}
