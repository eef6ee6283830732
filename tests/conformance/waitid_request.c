/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_WAITID as a request: its fields, links, drains and cancellation, and what else ends it. */
#include "waitid.h"

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
	submit_waitid(&r, pid, WEXITED, 1);
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
		submit_waitid(&r, pid, WEXITED, 1);
	cancel(&r, 1, IORING_ASYNC_CANCEL_ALL, 2);
	submit(&r);
	submit_waitid(&r, pid, WEXITED, 3);
	cancel(&r, 0, IORING_ASYNC_CANCEL_ANY, 4);
	submit(&r);
	submit_waitid(&r, pid, WEXITED, 5);
	cancel(&r, 0, IORING_ASYNC_CANCEL_OP, 6)->len = OP_WAITID;
	submit(&r);
	cancel(&r, 5, IORING_ASYNC_CANCEL_USERDATA, 7);
	submit(&r);
	submit_waitid(&r, pid, WEXITED, 8);
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
	submit_waitid(&r, pid, WEXITED, 8);
}

TEST(with_a_link_timeout)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	waitid_(&r, P_PID, pid, &info, WEXITED, 1, LINK);
	link_timeout(&r, &soon, 0, 2, 0);
	submit_for(&r, 2);
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

TEST(the_ring_is_closed)
{
	struct ring r;
	pid_t pid;

	begin(&r);
	pid = child(0);
	submit_waitid(&r, pid, WEXITED, 1);
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
