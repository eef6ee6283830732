/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that polls a ring with IORING_SETUP_SQPOLL: sqpoll_probe MODE DIRECTORY. What it prints is the same on the
 * kernel's io_uring and under `uringfs run`. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "probe_ring.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define NOBODY 65534
#define SIZE 4096
#define SQ_WAKEUP IORING_ENTER_SQ_WAKEUP

static const char *directory;

static void set_up_polled(struct ring *r, unsigned entries, unsigned flags, unsigned idle_ms)
{
	memset(r, 0, sizeof(*r));
	r->p.flags = IORING_SETUP_SQPOLL | flags;
	r->p.sq_thread_idle = idle_ms;
	r->fd = (int)syscall(SYS_io_uring_setup, entries, &r->p);
	map_ring(r);
}

/* Seen by the poller when all of them are there */
static void put_all(struct ring *r, const struct io_uring_sqe *sqes, unsigned count)
{
	unsigned tail = *word(r, r->p.sq_off.tail);

	for (unsigned i = 0; i < count; i++) {
		unsigned index = (tail + i) % r->p.sq_entries;

		r->sqes[index] = sqes[i];
		word(r, r->p.sq_off.array)[index] = index;
	}
	__atomic_store_n(word(r, r->p.sq_off.tail), tail + count, __ATOMIC_SEQ_CST);
}

static void put(struct ring *r, const struct io_uring_sqe *sqe)
{
	put_all(r, sqe, 1);
}

static struct io_uring_sqe sqe_of(int opcode, int fd, unsigned long user_data)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (unsigned char)opcode;
	sqe.fd = fd;
	sqe.user_data = user_data;
	return sqe;
}

static void put_nop(struct ring *r, unsigned long user_data)
{
	const struct io_uring_sqe sqe = sqe_of(IORING_OP_NOP, -1, user_data);

	put(r, &sqe);
}

static int asleep(const struct ring *r)
{
	return __atomic_load_n(word(r, r->p.sq_off.flags), __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP;
}

static long wake(const struct ring *r, unsigned submit, unsigned wait)
{
	unsigned flags = SQ_WAKEUP | (wait ? IORING_ENTER_GETEVENTS : 0);
	long ret = syscall(SYS_io_uring_enter, r->fd, submit, wait, flags, NULL, 0);

	return ret < 0 ? -errno : ret;
}

static unsigned ready(const struct ring *r)
{
	return __atomic_load_n(word(r, r->p.cq_off.tail), __ATOMIC_ACQUIRE) - *word(r, r->p.cq_off.head);
}

/* Without a call, but where one is asked for */
static void until_ready(const struct ring *r, unsigned count)
{
	while (ready(r) < count) {
		if (asleep(r))
			CHECK(wake(r, 0, 0) >= 0);
		sched_yield();
	}
}

/* Its result; it is this request's. */
static int reap(const struct ring *r, unsigned long user_data)
{
	unsigned *head = word(r, r->p.cq_off.head);
	const struct io_uring_cqe *cqe = cqe_at(r, *head);
	int res;

	until_ready(r, 1);
	CHECK(cqe->user_data == user_data);
	res = cqe->res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return res;
}

static int res_of(struct ring *r, const struct io_uring_sqe *sqe)
{
	put(r, sqe);
	return reap(r, sqe->user_data);
}

static void end(struct ring *r)
{
	unmap_ring(r);
	CHECK(close(r->fd) == 0);
}

/* Of this process; by the name of this thread's. uid: or -1 */
static unsigned pollers(long uid, char *cpus)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned count = 0, of_user;
	struct dirent *entry;
	char name[32];

	CHECK(tasks);
	snprintf(name, sizeof(name), "iou-sqp-%ld\n", (long)syscall(SYS_gettid));
	name[15] = 0;
	while ((entry = readdir(tasks))) {
		char path[300], line[256], comm[32] = "", allowed[64] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		f = fopen(path, "r");
		of_user = 1;
		while (f && fgets(line, sizeof(line), f)) {
			sscanf(line, "Name:\t%31s", comm);
			sscanf(line, "Cpus_allowed_list:\t%63s", allowed);
			if (uid >= 0 && !strncmp(line, "Uid:", 4))
				of_user = strtol(line + 4, NULL, 10) == uid;
		}
		if (f)
			fclose(f);
		if (strncmp(comm, name, strcspn(name, "\n")) || !of_user)
			continue;
		count++;
		if (cpus)
			strcpy(cpus, allowed);
	}
	closedir(tasks);
	return count;
}

/* ---- modes ---- */

static void a_thread(void)
{
	char cpus[64] = "";
	unsigned count;
	struct ring r;

	set_up_polled(&r, 8, IORING_SETUP_SQ_AFF, 50); /* sq_thread_cpu 0 */
	put_nop(&r, 1);
	reap(&r, 1);
	count = pollers(-1, cpus);
	printf("%u on %s\n", count, cpus);
	while (!asleep(&r))
		sched_yield();
	put_nop(&r, 2);
	CHECK(wake(&r, 1, 1) == 1 && ready(&r) == 1);
	end(&r);
	while (pollers(-1, NULL))
		sched_yield();
}

/* Chains of what the poller performs, or its workers, behind a read that waits for its pipe */
static void transfers(void)
{
	static char data[SIZE] = "what is written", back[SIZE], late[SIZE];
	int fd = open(directory, O_RDWR | O_TMPFILE, 0600), pipes[2];
	struct io_uring_sqe sqe, chain[8];
	struct ring r;

	CHECK(fd >= 0 && pipe(pipes) == 0);
	set_up_polled(&r, 64, 0, 100);
	for (int turn = 0; turn < 50; turn++) {
		sqe = sqe_of(IORING_OP_READ, pipes[0], 0);
		sqe.addr = (unsigned long)late;
		sqe.len = SIZE;
		put(&r, &sqe);
		for (unsigned i = 0; i < 8; i++) {
			chain[i] = sqe_of(i % 2 ? IORING_OP_READ : IORING_OP_WRITE, fd, 1 + i);
			chain[i].flags = (unsigned char)(IOSQE_IO_LINK * (i < 7) | IOSQE_ASYNC * (turn % 2));
			chain[i].addr = (unsigned long)(i % 2 ? back : data);
			chain[i].len = SIZE;
			chain[i].off = i / 2 * SIZE;
		}
		put_all(&r, chain, 8);
		for (unsigned i = 0; i < 8; i++)
			CHECK(reap(&r, 1 + i) == SIZE);
		CHECK(!memcmp(data, back, SIZE) && write(pipes[1], "late", 4) == 4);
		CHECK(reap(&r, 0) == 4 && !memcmp(late, "late", 4));
		sqe = sqe_of(IORING_OP_FSYNC, fd, 9);
		CHECK(res_of(&r, &sqe) == 0);
	}
	printf("all\n");
	end(&r);
}

static void forks(void)
{
	struct ring r;
	int status;

	set_up_polled(&r, 8, 0, 10);
	for (int turn = 0; turn < 20; turn++) {
		pid_t pid = fork();

		if (pid == 0) {
			put_nop(&r, 3);
			_exit(wake(&r, 1, 1) != 1 || pollers(-1, NULL));
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		CHECK(reap(&r, 3) == 0 && ready(&r) == 0);
		put_nop(&r, 4);
		CHECK(reap(&r, 4) == 0);
	}
	printf("both\n");
	end(&r);
}

static void *a_ring(void *unused)
{
	struct ring r;

	for (int turn = 0; turn < 4; turn++) {
		set_up_polled(&r, 8, 0, 20);
		for (unsigned long i = 0; i < 200; i++) {
			put_nop(&r, i);
			CHECK(reap(&r, i) == 0);
		}
		end(&r);
	}
	return unused;
}

static void threads(void)
{
	pthread_t ids[4];

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&ids[i], NULL, a_ring, NULL) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(ids[i], NULL) == 0);
	printf("all\n");
}

static int open_secret(struct ring *r, const char *path)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_OPENAT, AT_FDCWD, 5);
	int fd;

	sqe.addr = (unsigned long)path;
	fd = res_of(r, &sqe);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

/* io_sq_offload_create(): a ring's requests have the rights of who has set it up, as they were then. */
static void rights(int by_libc)
{
	struct ring before, after;
	char path[300];

	snprintf(path, sizeof(path), "%s/secret", directory);
	CHECK(close(open(path, O_CREAT | O_RDWR, 0600)) == 0);
	set_up_polled(&before, 8, 0, 10);
	printf("before %d\n", open_secret(&before, path));
	CHECK((by_libc ? setresuid(NOBODY, NOBODY, NOBODY) : syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY)) == 0);
	if (getenv("URINGFS_TRAP_MOUNT")) /* the kernel's may go on, but cannot be told what to do */
		CHECK(pollers(-1, NULL) == 0);
	printf("self %d\n", open(path, O_RDONLY));
	printf("behind it %d\n", open_secret(&before, path));
	set_up_polled(&after, 8, 0, 10);
	printf("another ring %d\n", open_secret(&after, path));
	if (getenv("URINGFS_TRAP_MOUNT"))
		CHECK(pollers(NOBODY, NULL) == pollers(-1, NULL));
	end(&before);
	end(&after);
}

/* What a call that changes no more than this leaves */
static void filters(void)
{
	struct ring r;

	set_up_polled(&r, 8, 0, 10);
	for (unsigned long i = 0; i < 100; i++) {
		put_nop(&r, i);
		if (i == 50)
			CHECK(syscall(SYS_prctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0, 0) == 0);
		CHECK(reap(&r, i) == 0);
	}
	printf("all\n");
	end(&r);
}

/* The process that has set the ring up is killed; who shares it finds each request once, and that the poller is gone. */
static void send_ring(int to, const struct ring *r)
{
	char space[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = {(void *)(unsigned long)&r->p, sizeof(r->p)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &r->fd, sizeof(int));
	CHECK(sendmsg(to, &msg, 0) == sizeof(r->p));
}

static void receive_ring(int from, struct ring *r)
{
	char space[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = {&r->p, sizeof(r->p)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};

	memset(r, 0, sizeof(*r));
	CHECK(recvmsg(from, &msg, 0) == sizeof(r->p) && CMSG_FIRSTHDR(&msg));
	memcpy(&r->fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	map_ring(r);
}

static void submit_without_end(int to)
{
	struct ring r;

	set_up_polled(&r, 256, 0, 1);
	send_ring(to, &r);
	for (unsigned long i = 0;; i++) {
		while (*word(&r, r.p.sq_off.tail) - __atomic_load_n(word(&r, r.p.sq_off.head), __ATOMIC_ACQUIRE) >= 200)
			if (asleep(&r))
				wake(&r, 0, 0);
		put_nop(&r, i);
		if (asleep(&r))
			wake(&r, 0, 0);
	}
}

static unsigned long count_in_order(const struct ring *r)
{
	unsigned *head = word(r, r->p.cq_off.head);
	unsigned long next = 0;

	for (; ready(r); next++) {
		const struct io_uring_cqe *cqe = cqe_at(r, *head);

		CHECK(cqe->user_data == next && (cqe->res == 0 || cqe->res == -ECANCELED));
		__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	}
	return next;
}

static void killed(void)
{
	for (unsigned turn = 0; turn < 20; turn++) {
		int sockets[2], status;
		struct ring r;
		pid_t pid;

		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
		pid = fork();
		if (pid == 0)
			submit_without_end(sockets[1]);
		receive_ring(sockets[0], &r);
		usleep(turn * 50);
		CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
		while (wake(&r, 1, 0) != -EOWNERDEAD)
			sched_yield();
		count_in_order(&r);
		end(&r);
		close(sockets[0]);
		close(sockets[1]);
	}
	printf("none is lost\n");
}

/* Of a program that is another by now */
static void execs(char **argv)
{
	struct ring r;
	char number[16];

	set_up_polled(&r, 8, 0, 10);
	put_nop(&r, 1);
	reap(&r, 1);
	fcntl(r.fd, F_SETFD, 0);
	snprintf(number, sizeof(number), "%d", r.fd);
	execl("/proc/self/exe", argv[0], "executed", number, (char *)NULL);
	CHECK(0);
}

static void executed(const char *number)
{
	struct ring r;
	long ret;

	memset(&r, 0, sizeof(r));
	r.fd = atoi(number);
	while ((ret = wake(&r, 1, 0)) == 1)
		sched_yield();
	printf("%ld, %u\n", ret, pollers(-1, NULL));
}

/* No thread is to be had: the daemon polls. */
static void limit(void)
{
	const struct rlimit none = {0, 0};
	struct ring r;

	CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0 && setrlimit(RLIMIT_NPROC, &none) == 0);
	set_up_polled(&r, 8, 0, 10);
	for (unsigned long i = 0; i < 20; i++) {
		put_nop(&r, i);
		CHECK(reap(&r, i) == 0);
	}
	printf("%u\n", pollers(-1, NULL));
}

/* How many of them this process has taken itself */
static void counts(void)
{
	struct ring r;

	set_up_polled(&r, 64, 0, 1000);
	for (unsigned long i = 0; i < 1000; i++) {
		put_nop(&r, i);
		CHECK(reap(&r, i) == 0);
	}
	say_taken(&r, stdout);
	end(&r);
}

int main(int argc, char **argv)
{
	const char *mode = argv[1];

	CHECK(argc > 2);
	directory = argv[2];
	alarm(240);
	if (!strcmp(mode, "a-thread"))
		a_thread();
	else if (!strcmp(mode, "transfers"))
		transfers();
	else if (!strcmp(mode, "forks"))
		forks();
	else if (!strcmp(mode, "threads"))
		threads();
	else if (!strcmp(mode, "libc"))
		rights(1);
	else if (!strcmp(mode, "raw"))
		rights(0);
	else if (!strcmp(mode, "filters"))
		filters();
	else if (!strcmp(mode, "killed"))
		killed();
	else if (!strcmp(mode, "execs"))
		execs(argv);
	else if (!strcmp(mode, "executed"))
		executed(argv[2]);
	else if (!strcmp(mode, "limit"))
		limit();
	else
		counts();
	return 0;
}
