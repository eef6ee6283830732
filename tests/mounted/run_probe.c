/* SPDX-License-Identifier: Apache-2.0 */
/* What programs do that matters to `uringfs run`. On the kernel and under the launcher the output is equal. */
#include "../conformance/harness.h"

#include <dirent.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#ifndef IORING_SETUP_NO_MMAP
#define IORING_SETUP_NO_MMAP (1U << 14)
#endif
#ifndef IORING_SETUP_REGISTERED_FD_ONLY
#define IORING_SETUP_REGISTERED_FD_ONLY (1U << 15)
#endif
#define OP_WAITID 50
#define ENTER_REGISTERED_RING (1U << 4)
#define REGISTER_USE_REGISTERED_RING (1U << 31)
#define REGISTER_RING_FDS 20
#define UNREGISTER_RING_FDS 21

extern char **environ;

static void a_nop(void)
{
	struct ring r;

	ring_init(&r, 4, 0);
	ring_nop(&r, 42);
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	EXPECT_EQ(ring_wait(&r).user_data, 42);
	ring_close(&r);
}

TEST(one_nop)
{
	a_nop();
	note("a nop");
}

/* ---- exec ---- */

static char *const again[] = {"probe", "one_nop", NULL};
static char *const no_environment[] = {NULL};

static void by_execve(void) { execve("/proc/self/exe", again, no_environment); }
static void by_null(void) { execve("/proc/self/exe", again, NULL); }
static void by_execle(void) { execle("/proc/self/exe", "probe", "one_nop", NULL, no_environment); }
static void by_execvpe(void) { execvpe("/proc/self/exe", again, no_environment); }
static void by_execl(void) { clearenv(); execl("/proc/self/exe", "probe", "one_nop", NULL); }
static void by_execlp(void) { clearenv(); execlp("/proc/self/exe", "probe", "one_nop", NULL); }
static void by_execv(void) { clearenv(); execv("/proc/self/exe", again); }
static void by_execvp(void) { clearenv(); execvp("/proc/self/exe", again); }
static void by_fexecve(void) { fexecve(open("/proc/self/exe", O_RDONLY), again, no_environment); }
static void by_own_preload(void)
{
	static char *const changed[] = {"LD_PRELOAD=", "URINGFS_TRAP_MOUNT=/nowhere", NULL};

	execve("/proc/self/exe", again, changed);
}

TEST(exec_without_our_environment)
{
	void (*const ways[])(void) = {by_execve, by_null,   by_execle, by_execvpe, by_execl,
				      by_execlp, by_execv, by_execvp, by_fexecve, by_own_preload};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		pid_t pid = (pid_t)OK(fork());

		if (pid == 0) {
			ways[i]();
			_exit(99);
		}
		expect_child_ok(pid);
	}
}

TEST(spawn_without_our_environment)
{
	pid_t pid;

	EXPECT_EQ(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, again, no_environment), 0);
	expect_child_ok(pid);
	EXPECT_EQ(posix_spawnp(&pid, "/proc/self/exe", NULL, NULL, again, no_environment), 0);
	expect_child_ok(pid);
}

TEST(vfork_and_exec)
{
	pid_t pid = (pid_t)OK(vfork());

	if (pid == 0) {
		execve("/proc/self/exe", again, no_environment);
		_exit(99);
	}
	expect_child_ok(pid);
	a_nop();
}

/* ---- SIGSYS ---- */

static volatile sig_atomic_t seen, seen_call;

static void on_sys(int sig)
{
	seen = sig;
}

static void on_sys_info(int sig, siginfo_t *info, void *context)
{
	(void)context;
	seen = sig;
	seen_call = info->si_syscall;
}

static void *blocked_in_a_thread(void *unused)
{
	sigset_t all;

	sigfillset(&all);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
	a_nop();
	return unused;
}

TEST(all_signals_blocked)
{
	pthread_t thread;
	sigset_t all;

	sigfillset(&all);
	OK(sigprocmask(SIG_BLOCK, &all, NULL));
	a_nop();
	EXPECT_EQ(pthread_create(&thread, NULL, blocked_in_a_thread, NULL), 0);
	EXPECT_EQ(pthread_join(thread, NULL), 0);
	execv("/proc/self/exe", again);
}

TEST(a_handler_of_sigsys)
{
	struct sigaction old;

	on_signal(SIGSYS, on_sys, 0);
	a_nop();
	EXPECT_EQ(seen, 0);
	OK(raise(SIGSYS));
	EXPECT_EQ(seen, SIGSYS);
	OK(sigaction(SIGSYS, NULL, &old));
	EXPECT(old.sa_handler == on_sys);
	EXPECT(signal(SIGSYS, SIG_IGN) == on_sys);
	OK(raise(SIGSYS));
	a_nop();
	EXPECT(signal(SIGSYS, SIG_DFL) == SIG_IGN);
	a_nop();
}

TEST(sigsys_kills)
{
	pid_t pid = (pid_t)OK(fork());
	int status;

	if (pid == 0) {
		a_nop();
		raise(SIGSYS);
		_exit(0);
	}
	status = wait_child(pid);
	EXPECT(WIFSIGNALED(status));
	EXPECT_EQ(WTERMSIG(status), SIGSYS);
}

TEST(a_filter_of_its_own)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};
	struct sigaction act;

	memset(&act, 0, sizeof(act));
	act.sa_sigaction = on_sys_info;
	act.sa_flags = SA_SIGINFO;
	OK(sigaction(SIGSYS, &act, NULL));
	OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
	syscall(SYS_getppid);
	EXPECT_EQ(seen, SIGSYS);
	EXPECT_EQ(seen_call, SYS_getppid);
	a_nop();
}

/* ---- a handler that enters, on top of a wait ---- */

static struct ring *inner;

static void enter_in_handler(int sig)
{
	(void)sig;
	ring_nop(inner, 7);
	EXPECT_EQ(ring_submit_wait(inner, 1), 1);
}

static void *interrupt(void *main_tid)
{
	pid_t tid = *(pid_t *)main_tid;

	until_waiting(getpid(), tid);
	OK(syscall(SYS_tgkill, getpid(), tid, SIGUSR1));
	return NULL;
}

TEST(a_handler_enters_while_the_program_waits)
{
	pid_t tid = gettid_();
	struct sigaction act;
	struct ring outer, r;
	pthread_t thread;

	ring_init(&outer, 4, 0);
	ring_init(&r, 4, 0);
	inner = &r;
	memset(&act, 0, sizeof(act));
	act.sa_handler = enter_in_handler;
	sigfillset(&act.sa_mask);
	OK(sigaction(SIGUSR1, &act, NULL));
	EXPECT_EQ(pthread_create(&thread, NULL, interrupt, &tid), 0);
	EXPECT_EQ(enter(outer.fd, 0, 1, GETEVENTS), -EINTR);
	EXPECT_EQ(pthread_join(thread, NULL), 0);
	EXPECT_EQ(ring_ready(&r), 1);
	EXPECT_EQ(ring_wait(&r).user_data, 7);
}

/* ---- descriptors ---- */

TEST(the_descriptor)
{
	int lowest = (int)OK(dup(0)), fd;
	struct io_uring_params p;

	OK(close(lowest));
	memset(&p, 0, sizeof(p));
	errno = 4711;
	fd = sys_setup(4, &p);
	EXPECT_EQ(fd, lowest);
	EXPECT_EQ(errno, 4711);
	EXPECT_EQ(OK(fcntl(fd, F_GETFD)), FD_CLOEXEC);
	EXPECT_EQ(OK(fcntl(fd, F_GETFL)) & O_ACCMODE, O_RDWR);
	EXPECT_EQ(sys_setup(4, (void *)8), -EFAULT);
	EXPECT_EQ(OK(dup(0)), lowest + 1); /* nothing is left of a setup that failed */
}

TEST(what_is_no_ring)
{
	int file = make_file(100);

	for (int op = 0; op < 2; op++) {
		EXPECT_EQ(enter(file, 1, 0, 0), -EOPNOTSUPP);
		EXPECT_EQ(enter(-1, 1, 0, 0), -EBADF);
		EXPECT_EQ(enter(1000, 1, 0, 0), -EBADF);
		EXPECT_EQ(sys_register(file, IORING_REGISTER_FILES, &file, 1), -EOPNOTSUPP);
		EXPECT_EQ(sys_register(1000, IORING_REGISTER_FILES, &file, 1), -EBADF);
		EXPECT_EQ(sys_register(file, 1000, NULL, 0), -EINVAL);
		EXPECT_EQ(enter(file, 1, 0, 1U << 30), -EINVAL);
	}
	EXPECT_EQ(OK(lseek(file, 0, SEEK_END)), 100);
}

/* By pidfd_getfd(2): through a socket the kernel passes no ring. */
TEST(a_ring_taken_by_another_process)
{
	pid_t parent = getpid(), pid;
	struct ring r;
	int fd;

	ring_init(&r, 4, 0);
	ring_nop(&r, 5);
	ring_store_tail(&r);
	fd = (int)OK(dup(r.fd));
	OK(close(r.fd));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		int pidfd = (int)OK(syscall(SYS_pidfd_open, parent, 0));

		OK(close(fd));
		EXPECT_EQ(enter((int)OK(syscall(SYS_pidfd_getfd, pidfd, fd, 0)), 1, 0, 0), 1);
		_exit(0);
	}
	expect_child_ok(pid);
	EXPECT_EQ(ring_ready(&r), 1);
	EXPECT_EQ(enter(fd, 0, 1, GETEVENTS), 0);
}

struct ring_update { /* struct io_uring_rsrc_update */
	uint32_t offset, resv;
	uint64_t data;
};

static long ring_fds(int fd, unsigned opcode, uint32_t offset, int ring, uint32_t *index)
{
	struct ring_update up = {offset, 0, ring < 0 ? 0 : (uint64_t)ring};
	long ret = sys_register(fd, opcode, &up, 1);

	if (index)
		*index = up.offset;
	return ret;
}

static void *in_another_thread(void *index)
{
	int fd = *(int *)index;

	EXPECT(enter(fd, 0, 0, ENTER_REGISTERED_RING) < 0);
	return NULL;
}

TEST(registered_ring_descriptors)
{
	struct ring r;
	uint32_t index = 99;
	pthread_t thread;

	ring_init(&r, 8, 0);
	EXPECT_EQ(ring_fds(r.fd, REGISTER_RING_FDS, UINT32_MAX, r.fd, &index), 1);
	note("index %u", index);
	EXPECT_EQ(ring_fds(r.fd, REGISTER_RING_FDS, index, r.fd, NULL), -EBUSY);
	EXPECT_EQ(ring_fds(r.fd, REGISTER_RING_FDS, 16, r.fd, NULL), -EINVAL);
	EXPECT_EQ(ring_fds(r.fd, REGISTER_RING_FDS, 3, 1000, NULL), -EBADF);
	EXPECT_EQ(ring_fds(r.fd, REGISTER_RING_FDS, 3, make_file(1), NULL), -EOPNOTSUPP);
	EXPECT_EQ(ring_fds(r.fd, UNREGISTER_RING_FDS, 16, -1, NULL), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, REGISTER_RING_FDS, (void *)8, 1), -EFAULT);
	EXPECT_EQ(sys_register(r.fd, REGISTER_RING_FDS, NULL, 17), -EINVAL);
	EXPECT_EQ(pthread_create(&thread, NULL, in_another_thread, &index), 0);
	EXPECT_EQ(pthread_join(thread, NULL), 0);
	OK(close(r.fd)); /* the entry keeps the ring */
	ring_nop(&r, 3);
	ring_store_tail(&r);
	EXPECT_EQ(enter((int)index, 1, 1, GETEVENTS | ENTER_REGISTERED_RING), 1);
	EXPECT_EQ(ring_ready(&r), 1);
	EXPECT_EQ(enter(5, 0, 0, ENTER_REGISTERED_RING), -EBADF);
	EXPECT_EQ(enter(16, 0, 0, ENTER_REGISTERED_RING), -EINVAL);
	EXPECT_EQ(ring_fds((int)index, UNREGISTER_RING_FDS | REGISTER_USE_REGISTERED_RING, index, -1, NULL), 1);
	EXPECT_EQ(enter((int)index, 0, 0, ENTER_REGISTERED_RING), -EBADF);
}

static void no_mmap(unsigned flags)
{
	char *rings = map_pages(4, PROT_READ | PROT_WRITE), *sqes = map_pages(1, PROT_READ | PROT_WRITE);
	uint64_t rings_at = (uintptr_t)rings, sqes_at = (uintptr_t)sqes;
	struct io_uring_params p;
	struct ring r;
	struct cqe cqe;
	int fd;

	memset(&p, 0, sizeof(p));
	memset(&r, 0, sizeof(r));
	p.flags = IORING_SETUP_NO_MMAP | flags;
	memcpy((char *)&p.cq_off + 32, &rings_at, 8);
	memcpy((char *)&p.sq_off + 32, &sqes_at, 8);
	fd = sys_setup(8, &p);
	EXPECT_GE(fd, 0);
	EXPECT_EQ(p.flags, IORING_SETUP_NO_MMAP | flags);
	r.p = p;
	r.sqes = (void *)sqes;
	r.sq_head = (void *)(rings + p.sq_off.head);
	r.sq_tail = (void *)(rings + p.sq_off.tail);
	r.cq_head = (void *)(rings + p.cq_off.head);
	r.cq_tail = (void *)(rings + p.cq_off.tail);
	r.array = (void *)(rings + p.sq_off.array);
	r.cqes = (void *)(rings + p.cq_off.cqes);
	ring_nop(&r, 11);
	ring_store_tail(&r);
	EXPECT_EQ(enter(fd, 1, 1, GETEVENTS | (flags ? ENTER_REGISTERED_RING : 0)), 1);
	EXPECT(ring_reap(&r, &cqe));
	note("no_mmap %x: %llu %d", flags, (unsigned long long)cqe.user_data, cqe.res);
	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_NO_MMAP;
	memcpy((char *)&p.cq_off + 32, &rings_at, 8);
	sqes_at++;
	memcpy((char *)&p.sq_off + 32, &sqes_at, 8);
	EXPECT_EQ(sys_setup(8, &p), -EINVAL);
}

TEST(rings_in_the_programs_memory)
{
	no_mmap(0);
	no_mmap(IORING_SETUP_REGISTERED_FD_ONLY);
}

TEST(registered_only_needs_memory_of_the_program)
{
	struct io_uring_params p;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_REGISTERED_FD_ONLY;
	EXPECT_EQ(sys_setup(8, &p), -EINVAL);
}

/* ---- descriptors that come while the program is in no io_uring_enter ---- */

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

static void connect_to(const struct sockaddr_un *name)
{
	int fd = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));

	OK(connect(fd, (const void *)name, sizeof(*name)));
	OK(close(fd));
}

TEST(accepts_while_it_polls)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int listener = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0)), fd, before = -1;
	struct ring r;

	snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "uringfs-%d", getpid());
	OK(bind(listener, (void *)&name, sizeof(name)));
	OK(listen(listener, 8));
	ring_init(&r, 8, 0);
	sqe_of(&r, IORING_OP_ACCEPT, listener, 1)->ioprio = 1; /* IORING_ACCEPT_MULTISHOT */
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
	for (int i = 0; i < 3; i++) {
		connect_to(&name);
		fd = poll_for_one(&r);
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

/* ---- for test_run.py, which kills the program, or the daemon under it ---- */

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

TEST(until_refused)
{
	struct io_uring_params p;
	struct ring r;
	int ret;

	ring_init(&r, 8, 0);
	printf("ready\n");
	while ((ret = enter(r.fd, 0, 1, GETEVENTS)) >= 0 || ret == -EINTR)
		;
	printf("enter: %s\n", strerror(-ret));
	printf("enter: %s\n", strerror(-enter(r.fd, 1, 0, 0)));
	memset(&p, 0, sizeof(p));
	printf("setup: %s\n", strerror(-sys_setup(8, &p)));
}
