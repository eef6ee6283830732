/* SPDX-License-Identifier: Apache-2.0 */
/* What programs do that matters to `uringfs run`. On the kernel and under the launcher the output is equal. */
#include "../conformance/harness.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#ifndef IORING_SETUP_NO_MMAP
#define IORING_SETUP_NO_MMAP (1U << 14)
#endif
#ifndef IORING_SETUP_REGISTERED_FD_ONLY
#define IORING_SETUP_REGISTERED_FD_ONLY (1U << 15)
#endif
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

/* The first thread of a process: its memory is gone then. */
static void until_exited(pid_t pid)
{
	char byte, copy;
	struct iovec here = {&copy, 1}, there = {&byte, 1};

	while (process_vm_readv(pid, &here, 1, &there, 1, 0) == 1)
		usleep(1000);
}

/* ---- exec ---- */

static char *const again[] = {"probe", "one_nop", NULL};
static char *const no_environment[] = {NULL};

static void by_execve(void)
{
	execve("/proc/self/exe", again, no_environment);
}
static void by_null(void)
{
	execve("/proc/self/exe", again, NULL);
}
static void by_execle(void)
{
	execle("/proc/self/exe", "probe", "one_nop", NULL, no_environment);
}
static void by_execvpe(void)
{
	execvpe("/proc/self/exe", again, no_environment);
}
static void by_execl(void)
{
	clearenv();
	execl("/proc/self/exe", "probe", "one_nop", NULL);
}
static void by_execlp(void)
{
	clearenv();
	execlp("/proc/self/exe", "probe", "one_nop", NULL);
}
static void by_execv(void)
{
	clearenv();
	execv("/proc/self/exe", again);
}
static void by_execvp(void)
{
	clearenv();
	execvp("/proc/self/exe", again);
}
static void by_fexecve(void)
{
	fexecve(open("/proc/self/exe", O_RDONLY), again, no_environment);
}
static void by_own_preload(void)
{
	static char *const changed[] = {"LD_PRELOAD=", "URINGFS_TRAP_MOUNT=/nowhere", NULL};

	execve("/proc/self/exe", again, changed);
}

TEST(exec_without_our_environment)
{
	void (*const ways[])(void) = {by_execve, by_null,  by_execle, by_execvpe, by_execl,
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

static void *outlives_the_first(void *unused)
{
	until_exited(getpid());
	a_nop();
	exit(0);
	return unused;
}

TEST(the_first_thread_ends)
{
	pthread_t thread;
	pid_t pid = (pid_t)OK(fork());

	if (pid == 0) {
		EXPECT_EQ(pthread_create(&thread, NULL, outlives_the_first, NULL), 0);
		pthread_exit(NULL);
	}
	expect_child_ok(pid);
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

static void filter(uint32_t nr, uint32_t answer)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};

	OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	OK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
}

TEST(a_filter_of_its_own)
{
	struct sigaction act;

	memset(&act, 0, sizeof(act));
	act.sa_sigaction = on_sys_info;
	act.sa_flags = SA_SIGINFO;
	OK(sigaction(SIGSYS, &act, NULL));
	filter(SYS_getppid, SECCOMP_RET_TRAP);
	syscall(SYS_getppid);
	EXPECT_EQ(seen, SIGSYS);
	EXPECT_EQ(seen_call, SYS_getppid);
	a_nop();
}

TEST(filters_of_its_own_that_refuse_and_kill)
{
	pid_t pid;
	int status;

	filter(SYS_getppid, SECCOMP_RET_ERRNO | 42);
	a_nop();
	EXPECT_EQ(syscall(SYS_getppid), -1);
	EXPECT_EQ(errno, 42);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		filter(SYS_getpgid, SECCOMP_RET_KILL_PROCESS);
		a_nop();
		syscall(SYS_getpgid, 0);
		_exit(0);
	}
	status = wait_child(pid);
	EXPECT(WIFSIGNALED(status));
	EXPECT_EQ(WTERMSIG(status), SIGSYS);
	execv("/proc/self/exe", again);
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

TEST(a_ring_is_not_read_or_written)
{
	char byte = 0;
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(read(r.fd, &byte, 1), -1);
	note("%d", errno);
	EXPECT_EQ(write(r.fd, &byte, 1), -1);
	note("%d", errno);
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
