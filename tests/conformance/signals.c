/* SPDX-License-Identifier: Apache-2.0 */
/* Signals and a waiting enter: EINTR, masks as in ppoll(2), SIGKILL. */
#include "harness.h"

#include <sys/stat.h>

static volatile sig_atomic_t caught;

static void count(int sig)
{
	(void)sig;
	caught++;
}

struct waiter {
	pthread_t thread;
	struct ring *ring;
	unsigned to_submit, min_complete;
	const sigset_t *sigset;
	_Atomic pid_t tid;
	int ret;
};

static void *wait_in_enter(void *arg)
{
	struct waiter *w = arg;

	atomic_store(&w->tid, gettid_());
	w->ret = sys_enter(w->ring->fd, w->to_submit, w->min_complete, GETEVENTS, w->sigset, URINGFS_SIGSET_SIZE);
	return NULL;
}

/* A signal counts once the wait has begun. A ring file says how many wait; under a supervisor nothing else
 * does. The kernel's rings are no regular files: there until_waiting() is enough. */
static void until_counted(struct ring *r)
{
	const char *line = NULL;
	char text[4096], path[64];
	struct stat st;
	int fd;

	OK(fstat(r->fd, &st));
	if (!S_ISREG(st.st_mode))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", r->fd);
	fd = (int)OK(open(path, O_RDONLY | O_CLOEXEC)); /* the ring's own descriptor reads as the kernel's */
	/* Not for ever: the wait may have ended. */
	for (int i = 0; i < 1000 && !(line && atoi(line + strlen("\nWaiting:\t")) > 0); i++) {
		sched_yield();
		text[OK(pread(fd, text, sizeof(text) - 1, 0))] = 0;
		line = strstr(text, "\nWaiting:\t");
	}
	close(fd);
}

static void start(struct waiter *w)
{
	EXPECT_EQ(pthread_create(&w->thread, NULL, wait_in_enter, w), 0);
	while (!atomic_load(&w->tid))
		sched_yield();
	until_waiting(getpid(), w->tid);
	until_counted(w->ring);
}

static int finish(struct waiter *w)
{
	EXPECT_EQ(pthread_join(w->thread, NULL), 0);
	note("enter = %d, %d caught", w->ret, (int)caught);
	return w->ret;
}

static void one_nop(struct ring *r)
{
	struct cqe cqe;

	ring_nop(r, 1);
	EXPECT_EQ(ring_submit_wait(r, 1), 1);
	EXPECT(ring_reap(r, &cqe));
	note("the ring goes on: res=%d", cqe.res);
}

TEST(a_signal_ends_the_wait_with_eintr)
{
	struct ring r;
	struct waiter w = {.ring = &r, .min_complete = 1};

	on_signal(SIGUSR1, count, 0);
	ring_init(&r, 4, 0);
	start(&w);
	EXPECT_EQ(pthread_kill(w.thread, SIGUSR1), 0);
	EXPECT_EQ(finish(&w), -EINTR);
	EXPECT_EQ(caught, 1);
	one_nop(&r);
}

TEST(sa_restart_does_not_restart_it)
{
	struct ring r;
	struct waiter w = {.ring = &r, .min_complete = 1};

	on_signal(SIGUSR1, count, SA_RESTART);
	ring_init(&r, 4, 0);
	start(&w);
	EXPECT_EQ(pthread_kill(w.thread, SIGUSR1), 0);
	EXPECT_EQ(finish(&w), -EINTR);
	EXPECT_EQ(caught, 1);
	one_nop(&r);
}

TEST(what_was_submitted_is_returned_instead)
{
	struct ring r;
	struct waiter w = {.ring = &r, .to_submit = 2, .min_complete = 3};

	on_signal(SIGUSR1, count, 0);
	ring_init(&r, 4, 0);
	ring_nop(&r, 1);
	ring_nop(&r, 2);
	ring_store_tail(&r);
	start(&w);
	EXPECT_EQ(pthread_kill(w.thread, SIGUSR1), 0);
	EXPECT_EQ(finish(&w), 2);
	EXPECT_EQ(caught, 1);
	EXPECT_EQ(ring_ready(&r), 2);
	ring_note_words(&r);
}

/* io_cqring_wait(): EINTR is for those who find the CQ empty; one who has something to reap gets 0. */
TEST(a_signal_with_some_completions_there_is_no_error)
{
	struct ring r;
	struct waiter w = {.ring = &r, .min_complete = 2};

	on_signal(SIGUSR1, count, 0);
	ring_init(&r, 4, 0);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	start(&w);
	EXPECT_EQ(pthread_kill(w.thread, SIGUSR1), 0);
	EXPECT_EQ(finish(&w), 0);
	EXPECT_EQ(caught, 1);
	EXPECT_EQ(ring_ready(&r), 1);
}

TEST(interrupted_again_and_again)
{
	struct ring r;

	on_signal(SIGUSR1, count, 0);
	ring_init(&r, 4, 0);
	for (int i = 0; i < 30; i++) {
		struct waiter w = {.ring = &r, .min_complete = 1};

		start(&w);
		EXPECT_EQ(pthread_kill(w.thread, SIGUSR1), 0);
		EXPECT_EQ(pthread_join(w.thread, NULL), 0);
		EXPECT_EQ(w.ret, -EINTR);
		EXPECT_EQ(caught, i + 1);
	}
	one_nop(&r);
}

/* Blocked: the wait goes on, and ends by its completion. */
TEST(a_blocked_signal_does_not_end_the_wait)
{
	sigset_t set, old;
	struct ring r;
	struct waiter w = {.ring = &r, .min_complete = 1};

	on_signal(SIGUSR1, count, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ring_init(&r, 4, 0);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
	start(&w);
	EXPECT_EQ(pthread_kill(w.thread, SIGUSR1), 0);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(finish(&w), 0);
	EXPECT_EQ(caught, 0);
}

TEST(the_sigset_blocks_during_the_wait)
{
	sigset_t set;
	struct ring r;
	struct waiter w = {.ring = &r, .min_complete = 1, .sigset = &set};

	on_signal(SIGUSR1, count, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ring_init(&r, 4, 0);
	start(&w);
	EXPECT_EQ(pthread_kill(w.thread, SIGUSR1), 0);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(finish(&w), 0);
	EXPECT_EQ(caught, 1); /* at the end, when the old mask is back */
}

TEST(the_sigset_unblocks_during_the_wait)
{
	sigset_t set, none;
	struct ring r;
	struct waiter w = {.ring = &r, .min_complete = 1, .sigset = &none};

	on_signal(SIGUSR1, count, 0);
	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ring_init(&r, 4, 0);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	start(&w);
	EXPECT_EQ(pthread_kill(w.thread, SIGUSR1), 0);
	EXPECT_EQ(finish(&w), -EINTR);
	EXPECT_EQ(caught, 1);
}

TEST(a_pending_signal_that_the_sigset_admits_ends_it_at_once)
{
	sigset_t set, none, now;
	struct ring r;

	on_signal(SIGUSR1, count, 0);
	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ring_init(&r, 4, 0);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	EXPECT_EQ(raise(SIGUSR1), 0);
	EXPECT_EQ(caught, 0);
	EXPECT_EQ(sys_enter(r.fd, 0, 1, GETEVENTS, &none, URINGFS_SIGSET_SIZE), -EINTR);
	EXPECT_EQ(caught, 1);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
	EXPECT_EQ(sigismember(&now, SIGUSR1), 1);
	one_nop(&r);
}

TEST(the_mask_is_restored_after_a_completed_wait)
{
	sigset_t set, now;
	struct ring r;

	sigfillset(&set);
	ring_init(&r, 4, 0);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(sys_enter(r.fd, 1, 1, GETEVENTS, &set, URINGFS_SIGSET_SIZE), 1);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
	for (int sig = 1; sig < 32; sig++)
		EXPECT_EQ(sigismember(&now, sig), 0);
}

/* A handler that runs while nobody waits has nothing to interrupt. */
TEST(a_signal_before_the_wait_does_not_count)
{
	struct ring r;
	struct waiter w = {.ring = &r, .min_complete = 1};

	on_signal(SIGUSR1, count, 0);
	ring_init(&r, 4, 0);
	EXPECT_EQ(raise(SIGUSR1), 0);
	EXPECT_EQ(caught, 1);
	start(&w);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(finish(&w), 0);
}

TEST(an_ignored_signal_does_not_end_the_wait)
{
	struct ring r;
	struct waiter w = {.ring = &r, .min_complete = 1};

	on_signal(SIGUSR1, SIG_IGN, 0);
	ring_init(&r, 4, 0);
	start(&w);
	EXPECT_EQ(pthread_kill(w.thread, SIGUSR1), 0);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(finish(&w), 0);
}

static pid_t waiting_child(struct ring *r)
{
	pid_t pid = (pid_t)OK(fork());

	if (pid == 0)
		_exit(enter(r->fd, 0, 1, GETEVENTS) != 0);
	until_waiting(pid, pid);
	return pid;
}

static void killed_by(struct ring *r, int sig)
{
	pid_t pid = waiting_child(r);
	int status;

	OK(kill(pid, sig));
	status = wait_child(pid);
	note("signalled=%d by %d", WIFSIGNALED(status), WTERMSIG(status));
	EXPECT(WIFSIGNALED(status));
	EXPECT_EQ(WTERMSIG(status), sig);
}

TEST(signals_ignored_by_default_are_dropped_whenever_they_come)
{
	static const int signals[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
	struct __kernel_timespec ts = {0, 1000};
	struct io_uring_sqe *sqe;
	struct cqe cqe;
	struct ring r;
	pid_t pid;

	ring_init(&r, 8, 0);
	pid = (pid_t)OK(fork());
	if (pid == 0)
		for (unsigned i = 0;; i++)
			if (kill(getppid(), signals[i % 4]) < 0 || getppid() == 1)
				_exit(0);
	for (int i = 0; i < 300; i++) {
		sqe = ring_sqe(&r);
		sqe->opcode = IORING_OP_TIMEOUT;
		sqe->fd = -1;
		sqe->addr = (uint64_t)(uintptr_t)&ts;
		sqe->len = 1;
		EXPECT_EQ(ring_submit(&r), 1);
		EXPECT_EQ(enter(r.fd, 0, 1, GETEVENTS), 0);
		EXPECT(ring_reap(&r, &cqe));
	}
	OK(kill(pid, SIGKILL));
	wait_child(pid);
}

TEST(sigkill_kills_a_waiter)
{
	struct ring r;

	ring_init(&r, 4, 0);
	killed_by(&r, SIGKILL);
	one_nop(&r);
}

TEST(sigterm_kills_a_waiter)
{
	struct ring r;

	ring_init(&r, 4, 0);
	killed_by(&r, SIGTERM);
	one_nop(&r);
}

TEST(other_waiters_outlive_a_killed_one)
{
	struct ring r;
	pid_t a, b;

	ring_init(&r, 4, 0);
	a = waiting_child(&r);
	b = waiting_child(&r);
	OK(kill(a, SIGKILL));
	EXPECT(WIFSIGNALED(wait_child(a)));
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	expect_child_ok(b);
	note("the other one woke");
}

TEST(a_stopped_waiter_goes_on)
{
	struct ring r;
	int status;
	pid_t pid;

	ring_init(&r, 4, 0);
	pid = waiting_child(&r);
	OK(kill(pid, SIGSTOP));
	EXPECT_EQ(waitpid(pid, &status, WUNTRACED), pid);
	EXPECT(WIFSTOPPED(status));
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(ring_ready(&r), 1);
	OK(kill(pid, SIGCONT));
	status = wait_child(pid);
	EXPECT(WIFEXITED(status)); /* 0, or EINTR: POSIX leaves it open, and so does the kernel */
}
