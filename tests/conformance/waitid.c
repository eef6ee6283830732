/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_WAITID: children that end, stop and go on; what cannot be waited for; what ends a wait. */
#include "events.h"

#include <signal.h>
#include <sys/prctl.h>

#define OP_WAITID 50
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#define PIDFD_NONBLOCK O_NONBLOCK

static siginfo_t info;
static int go[2]; /* a child ends once this pipe is closed */

static struct io_uring_sqe *waitid_(struct ring *r, int which, pid_t id, siginfo_t *infop, int options,
				    uint64_t user_data, unsigned flags)
{
	struct io_uring_sqe *sqe = queue(r, OP_WAITID, user_data, flags);

	sqe->len = (uint32_t)which;
	sqe->fd = id;
	sqe->addr2 = (uint64_t)(uintptr_t)infop;
	sqe->file_index = (uint32_t)options;
	return sqe;
}

/* A child that waits for let_go(), then exits so. */
static pid_t child(int status)
{
	pid_t pid = (pid_t)OK(fork());
	char byte;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		while (read(go[0], &byte, 1) < 0)
			;
		_exit(status);
	}
	return pid;
}

static void let_go(void)
{
	close(go[1]);
}

/* Until waitid(2) would find it, without taking it. */
static void until_there(pid_t pid, int options)
{
	siginfo_t si;

	OK(waitid(P_PID, (id_t)pid, &si, options | WNOWAIT));
}

static void note_info(const siginfo_t *si, pid_t pid)
{
	note("signo %d code %d pid %s uid %s status %d", si->si_signo, si->si_code,
	     si->si_pid == pid ? "the child's" : si->si_pid ? "another" : "0",
	     si->si_uid == getuid() ? "ours" : "another", si->si_status);
}

static void begin(struct ring *r)
{
	OK(pipe2(go, O_CLOEXEC));
	memset(&info, 0xee, sizeof(info));
	ring_init(r, 16, 0);
}

TEST(a_child_that_has_ended)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(7);
	let_go();
	until_there(pid, WEXITED);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	submit(&r);
	note_info(&info, pid);
	EXPECT_EQ(waitpid(pid, NULL, WNOHANG), -1);
	EXPECT_EQ(errno, ECHILD);
}

TEST(a_child_that_will_end)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(7);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	submit(&r);
	let_go();
	wait_for(&r, 1);
	note_info(&info, pid);
	EXPECT_EQ(waitpid(pid, NULL, WNOHANG), -1);
}

TEST(submitted_and_waited_for_in_one)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(3);
	let_go();
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	wait_for(&r, 1);
	note_info(&info, pid);
}

TEST(killed)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	submit(&r);
	OK(kill(pid, SIGKILL));
	wait_for(&r, 1);
	note_info(&info, pid);
}

TEST(without_infop)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(7);
	waitid_(&r, P_PID, pid, NULL, WEXITED, 1, 0);
	submit(&r);
	let_go();
	wait_for(&r, 1);
	EXPECT_EQ(waitpid(pid, NULL, WNOHANG), -1);
}

TEST(infop_that_faults)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(7);
	waitid_(&r, P_PID, pid, (siginfo_t *)8, WEXITED, 1, 0);
	submit(&r);
	let_go();
	wait_for(&r, 1);
	note("left: %d", waitpid(pid, NULL, WNOHANG) == pid);
	waitid_(&r, P_PID, pid, (siginfo_t *)8, WEXITED, 2, 0);
	submit(&r);
}

TEST(nowait)
{
	struct ring r;
	pid_t pid;
	int status = 0;

	begin(&r);
	pid = child(9);
	waitid_(&r, P_PID, pid, &info, WEXITED | WNOWAIT, 1, 0);
	submit(&r);
	let_go();
	wait_for(&r, 1);
	note_info(&info, pid);
	waitid_(&r, P_PID, pid, &info, WEXITED | WNOWAIT, 2, 0);
	submit(&r);
	EXPECT_EQ(waitpid(pid, &status, WNOHANG), pid);
	note("status %#x", (unsigned)status);
}

TEST(nohang)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(9);
	waitid_(&r, P_PID, pid, &info, WEXITED | WNOHANG, 1, 0);
	submit(&r);
	note("signo %d pid %d", info.si_signo, info.si_pid);
	let_go();
	until_there(pid, WEXITED);
	waitid_(&r, P_PID, pid, &info, WEXITED | WNOHANG, 2, 0);
	submit(&r);
	note_info(&info, pid);
}

TEST(stopped_and_continued)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	waitid_(&r, P_PID, pid, &info, WSTOPPED, 1, 0);
	submit(&r);
	OK(kill(pid, SIGSTOP));
	wait_for(&r, 1);
	note_info(&info, pid);
	waitid_(&r, P_PID, pid, &info, WCONTINUED, 2, 0);
	submit(&r);
	OK(kill(pid, SIGCONT));
	wait_for(&r, 1);
	note_info(&info, pid);
	waitid_(&r, P_PID, pid, &info, WEXITED | WSTOPPED | WCONTINUED, 3, 0);
	submit(&r);
	OK(kill(pid, SIGTERM));
	wait_for(&r, 1);
	note_info(&info, pid);
}

TEST(a_stop_is_told_once)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	OK(kill(pid, SIGSTOP));
	until_there(pid, WSTOPPED);
	waitid_(&r, P_PID, pid, &info, WSTOPPED, 1, 0);
	submit(&r);
	waitid_(&r, P_PID, pid, &info, WSTOPPED | WNOHANG, 2, 0);
	submit(&r);
	waitid_(&r, P_PID, pid, &info, WSTOPPED, 3, 0);
	submit(&r);
	OK(kill(pid, SIGCONT));
	OK(kill(pid, SIGSTOP));
	wait_for(&r, 1);
	note_info(&info, pid);
	OK(kill(pid, SIGKILL));
}

TEST(a_stop_is_no_end)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(5);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	submit(&r);
	OK(kill(pid, SIGSTOP));
	until_there(pid, WSTOPPED);
	EXPECT_EQ(ring_ready(&r), 0);
	OK(kill(pid, SIGCONT));
	let_go();
	wait_for(&r, 1);
	note_info(&info, pid);
}

TEST(any_of_several)
{
	struct ring r;
	pid_t pids[3];

	begin(&r);
	for (int i = 0; i < 3; i++)
		pids[i] = child(10 + i);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 1, 0);
	submit(&r);
	OK(kill(pids[1], SIGKILL));
	wait_for(&r, 1);
	note_info(&info, pids[1]);
	let_go();
	until_there(pids[0], WEXITED);
	until_there(pids[2], WEXITED);
	for (int i = 0; i < 3; i++)
		waitid_(&r, P_ALL, 77, NULL, WEXITED, 2, 0);
	submit(&r);
}

TEST(a_child_that_comes_later)
{
	struct ring r;
	pid_t first, second;

	begin(&r);
	first = child(1);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 1, 0);
	submit(&r);
	second = (pid_t)OK(fork());
	if (second == 0)
		_exit(23);
	wait_for(&r, 1);
	note_info(&info, second);
	OK(kill(first, SIGKILL));
}

TEST(of_a_process_group)
{
	struct ring r;
	pid_t pid, other;

	begin(&r);
	other = child(1);
	pid = child(2);
	OK(setpgid(pid, pid));
	waitid_(&r, P_PGID, pid, &info, WEXITED, 1, 0);
	submit(&r);
	OK(kill(other, SIGKILL));
	until_there(other, WEXITED);
	EXPECT_EQ(ring_ready(&r), 0);
	OK(kill(pid, SIGTERM));
	wait_for(&r, 1);
	note_info(&info, pid);
	waitid_(&r, P_PGID, 0, &info, WEXITED, 2, 0);
	submit(&r);
	note_info(&info, other);
	waitid_(&r, P_PGID, pid, &info, WEXITED, 3, 0);
	submit(&r);
}

static int pidfd_of(pid_t pid, unsigned flags)
{
	return (int)OK(syscall(SYS_pidfd_open, pid, flags));
}

TEST(by_pidfd)
{
	struct ring r;
	pid_t pid;
	int fd;

	begin(&r);
	pid = child(6);
	fd = pidfd_of(pid, 0);
	waitid_(&r, P_PIDFD, fd, &info, WEXITED, 1, 0);
	submit(&r);
	close(fd); /* the request has what it needs */
	let_go();
	wait_for(&r, 1);
	note_info(&info, pid);
}

TEST(pidfds_that_will_not_do)
{
	struct ring r;
	pid_t pid;
	int fd;

	begin(&r);
	waitid_(&r, P_PIDFD, 999, &info, WEXITED, 1, 0);
	submit(&r);
	waitid_(&r, P_PIDFD, go[0], &info, WEXITED, 2, 0);
	submit(&r);
	note("stored: %d", info.si_signo == 0);
	fd = pidfd_of(getpid(), 0);
	waitid_(&r, P_PIDFD, fd, &info, WEXITED, 3, 0);
	submit(&r);
	note("stored: %d", info.si_signo == 0);
	pid = child(6);
	fd = pidfd_of(pid, PIDFD_NONBLOCK);
	waitid_(&r, P_PIDFD, fd, &info, WEXITED, 4, 0);
	submit(&r);
	note("signo %d", info.si_signo);
	let_go();
	EXPECT_EQ(waitpid(pid, NULL, 0), pid);
	waitid_(&r, P_PIDFD, fd, &info, WEXITED, 5, 0);
	submit(&r);
}

TEST(no_children)
{
	struct ring r;

	begin(&r);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 1, 0);
	submit(&r);
	note("signo %d pid %d", info.si_signo, info.si_pid);
	waitid_(&r, P_PID, getpid(), &info, WEXITED, 2, 0);
	waitid_(&r, P_PID, 1, &info, WEXITED, 3, 0);
	waitid_(&r, P_PID, 0x7fffffff, &info, WEXITED, 4, 0);
	waitid_(&r, P_PGID, 0x7fffffff, &info, WEXITED, 5, 0);
	waitid_(&r, P_ALL, 0, &info, WEXITED | WNOHANG, 6, 0);
	submit(&r);
}

TEST(arguments_that_are_none)
{
	static const int options[] = {0, WNOHANG, WNOWAIT, WEXITED | 0x10, WEXITED | 0x10000000};
	struct ring r;

	begin(&r);
	for (unsigned i = 0; i < sizeof(options) / sizeof(*options); i++)
		waitid_(&r, P_ALL, 0, &info, options[i], 10 + i, 0);
	waitid_(&r, 4, 1, &info, WEXITED, 20, 0);
	waitid_(&r, -1, 1, &info, WEXITED, 21, 0);
	waitid_(&r, P_PID, 0, &info, WEXITED, 22, 0);
	waitid_(&r, P_PID, -1, &info, WEXITED, 23, 0);
	waitid_(&r, P_PGID, -1, &info, WEXITED, 24, 0);
	waitid_(&r, P_PIDFD, -1, &info, WEXITED, 25, 0);
	submit(&r);
	note("untouched: %d", (unsigned char)info.si_signo == 0xee);
	waitid_(&r, P_ALL, -5, &info, WEXITED, 26, 0);
	waitid_(&r, P_ALL, 0, &info, (int)(WEXITED | 0xe0000000), 27, 0); /* __WNOTHREAD, __WALL, __WCLONE */
	submit(&r);
}

TEST(fields_that_must_be_0)
{
	struct ring r;

	begin(&r);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 1, 0)->addr = 1;
	submit(&r);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 2, 0)->buf_index = 1;
	submit(&r);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 3, 0)->addr3 = 1;
	submit(&r);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 4, 0)->rw_flags = 1;
	submit(&r);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 5, 0)->ioprio = 1;
	submit(&r);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 6, IOSQE_BUFFER_SELECT);
	submit(&r);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 7, IOSQE_FIXED_FILE);
	submit(&r);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 8, IOSQE_ASYNC);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 1);
}

TEST(cancelled)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	submit(&r);
	note("untouched: %d", (unsigned char)info.si_signo == 0xee);
	cancel(&r, 1, 0, 2);
	submit(&r);
	note("signo %d pid %d", info.si_signo, info.si_pid);
	cancel(&r, 1, 0, 3);
	submit(&r);
	let_go();
	EXPECT_EQ(waitpid(pid, NULL, 0), pid); /* it was left alone */
}

TEST(cancelled_in_several_ways)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	for (unsigned i = 0; i < 4; i++)
		waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	submit(&r);
	cancel(&r, 1, IORING_ASYNC_CANCEL_ALL, 2);
	submit(&r);
	waitid_(&r, P_PID, pid, &info, WEXITED, 3, 0);
	submit(&r);
	cancel(&r, 0, IORING_ASYNC_CANCEL_ANY, 4);
	submit(&r);
	waitid_(&r, P_PID, pid, &info, WEXITED, 5, 0);
	submit(&r);
	cancel(&r, 0, IORING_ASYNC_CANCEL_OP, 6)->len = OP_WAITID;
	submit(&r);
	cancel(&r, 5, IORING_ASYNC_CANCEL_USERDATA, 7);
	submit(&r);
	waitid_(&r, P_PID, pid, &info, WEXITED, 8, 0);
	submit(&r);
	cancel(&r, 8, IORING_ASYNC_CANCEL_FD, 9)->fd = go[0];
	submit(&r);
	let_go();
	wait_for(&r, 1);
}

TEST(linked)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, LINK);
	nop(&r, 2, 0);
	submit(&r);
	let_go();
	wait_for(&r, 2);
	waitid_(&r, P_PID, pid, &info, WEXITED, 3, LINK);
	nop(&r, 4, 0);
	submit(&r);
	waitid_(&r, P_PID, pid, &info, WEXITED, 5, HARD);
	nop(&r, 6, 0);
	submit(&r);
	nop(&r, 7, LINK);
	waitid_(&r, P_PID, pid, &info, WEXITED, 8, 0);
	submit(&r);
}

TEST(with_a_link_timeout)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, LINK);
	link_timeout(&r, &soon, 0, 2, 0);
	submit(&r);
	wait_for(&r, 2);
	waitid_(&r, P_PID, pid, &info, WEXITED, 3, LINK);
	link_timeout(&r, &never, 0, 4, 0);
	submit(&r);
	let_go();
	wait_for(&r, 2);
	note_info(&info, pid);
}

TEST(skips_its_cqe)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	let_go();
	until_there(pid, WEXITED);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, SKIP | LINK);
	nop(&r, 2, 0);
	submit(&r);
	waitid_(&r, P_PID, pid, &info, WEXITED, 3, SKIP);
	submit(&r);
}

TEST(drained_behind_it)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	nop(&r, 2, DRAIN);
	submit(&r);
	let_go();
	wait_for(&r, 2);
}

TEST(two_wait_for_one)
{
	struct ring r;
	pid_t pid;
	struct cqe a, b;

	begin(&r);
	pid = child(0);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	waitid_(&r, P_PID, pid, NULL, WEXITED, 2, 0);
	submit(&r);
	let_go();
	a = ring_wait(&r);
	b = ring_wait(&r);
	note("%d %d", a.res > b.res ? a.res : b.res, a.res > b.res ? b.res : a.res);
}

TEST(children_that_nobody_waits_for)
{
	struct ring r;
	pid_t pid;

	on_signal(SIGCHLD, SIG_IGN, 0);
	begin(&r);
	pid = child(0);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	submit(&r);
	let_go();
	wait_for(&r, 1);
	note("signo %d pid %d", info.si_signo, info.si_pid);
}

static void *forks(void *pid)
{
	*(_Atomic pid_t *)pid = child(4);
	pause(); /* its child is its own as long as it lives */
	return NULL;
}

TEST(a_child_of_another_thread)
{
	_Atomic pid_t pid = 0;
	pthread_t thread;
	struct ring r;

	begin(&r);
	EXPECT_EQ(pthread_create(&thread, NULL, forks, &pid), 0);
	while (!pid)
		sched_yield();
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	submit(&r);
	let_go();
	wait_for(&r, 1);
	note_info(&info, pid);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 2, 0);
	submit(&r);
}

TEST(the_ring_is_closed)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	submit(&r);
	ring_close(&r);
	let_go();
	/* The kernel cancels some time after the close, and until then it may reap the child. */
	EXPECT(waitpid(pid, NULL, 0) == pid || errno == ECHILD);
}

TEST(on_a_polled_ring)
{
	struct io_uring_params p = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 10};
	struct ring r;
	pid_t pid;

	begin(&r);
	ring_close(&r);
	ring_init_params(&r, 8, &p);
	pid = child(0);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, 0);
	ring_store_tail(&r);
	enter(r.fd, 1, 0, IORING_ENTER_SQ_WAKEUP);
	let_go();
	wait_for(&r, 1);
}
