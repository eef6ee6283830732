/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_WAITID: children that end, stop and go on, found by each kind of id; what cannot be waited for. */
#include "waitid.h"

#define PIDFD_NONBLOCK O_NONBLOCK

TEST(a_child_that_has_ended)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(7);
	let_go();
	until_there(pid, WEXITED);
	submit_waitid(&r, pid, WEXITED, 1);
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
	submit_waitid(&r, pid, WEXITED, 1);
	let_go();
	wait_for(&r, 1);
	note_info(&info, pid);
	EXPECT_EQ(waitpid(pid, NULL, WNOHANG), -1);
}

TEST(killed)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	submit_waitid(&r, pid, WEXITED, 1);
	OK(kill(pid, SIGKILL));
	wait_for(&r, 1);
	note_info(&info, pid);
}

TEST(nowait)
{
	struct ring r;
	pid_t pid;
	int status = 0;

	begin(&r);
	pid = child(9);
	submit_waitid(&r, pid, WEXITED | WNOWAIT, 1);
	let_go();
	wait_for(&r, 1);
	note_info(&info, pid);
	submit_waitid(&r, pid, WEXITED | WNOWAIT, 2);
	EXPECT_EQ(waitpid(pid, &status, WNOHANG), pid);
	note("status %#x", (unsigned)status);
}

TEST(nohang)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(9);
	submit_waitid(&r, pid, WEXITED | WNOHANG, 1);
	note("signo %d pid %d", info.si_signo, info.si_pid);
	let_go();
	until_there(pid, WEXITED);
	submit_waitid(&r, pid, WEXITED | WNOHANG, 2);
	note_info(&info, pid);
}

TEST(stopped_and_continued)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	submit_waitid(&r, pid, WSTOPPED, 1);
	OK(kill(pid, SIGSTOP));
	wait_for(&r, 1);
	note_info(&info, pid);
	submit_waitid(&r, pid, WCONTINUED, 2);
	OK(kill(pid, SIGCONT));
	wait_for(&r, 1);
	note_info(&info, pid);
	submit_waitid(&r, pid, WEXITED | WSTOPPED | WCONTINUED, 3);
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
	submit_waitid(&r, pid, WSTOPPED, 1);
	submit_waitid(&r, pid, WSTOPPED | WNOHANG, 2);
	submit_waitid(&r, pid, WSTOPPED, 3);
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
	submit_waitid(&r, pid, WEXITED, 1);
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

TEST(children_that_nobody_waits_for)
{
	struct ring r;
	pid_t pid;

	on_signal(SIGCHLD, SIG_IGN, 0);
	begin(&r);
	pid = child(0);
	submit_waitid(&r, pid, WEXITED, 1);
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
	submit_waitid(&r, pid, WEXITED, 1);
	let_go();
	wait_for(&r, 1);
	note_info(&info, pid);
	waitid_(&r, P_ALL, 0, &info, WEXITED, 2, 0);
	submit(&r);
}
