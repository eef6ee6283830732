/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_POLL_ADD of a signalfd. */
#include "signalfd.h"

TEST(poll_of_what_is_pending)
{
	struct ring r;

	start(&r, 0);
	raise_both();
	poll_add(&r, fd, POLLIN, 0, 1, 0);
	submit(&r);
	poll_add(&r, fd, POLLOUT, 0, 2, 0);
	submit(&r);
	finish(&r, 1);
}

TEST(poll_of_what_comes)
{
	struct ring r;

	start(&r, 0);
	poll_add(&r, fd, POLLIN, 0, 1, 0);
	submit(&r);
	OK(kill(getpid(), SIGUSR1));
	wait_for(&r, 1);
	take(SIGUSR1);
	poll_add(&r, fd, POLLIN, 0, 2, 0);
	submit(&r);
	OK(syscall(SYS_tgkill, getpid(), gettid_(), SIGUSR2));
	wait_for(&r, 1);
	finish(&r, 0);
}

TEST(poll_of_another_signal)
{
	sigset_t set;
	struct ring r;

	start(&r, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	OK(sigprocmask(SIG_BLOCK, &set, NULL));
	poll_add(&r, fd, POLLIN, 0, 1, 0);
	submit(&r);
	OK(kill(getpid(), SIGHUP));
	nop(&r, 2, 0);
	submit(&r);
	finish(&r, 1);
}

TEST(multishot_poll)
{
	struct ring r;

	start(&r, 0);
	poll_add(&r, fd, POLLIN, IORING_POLL_ADD_MULTI, 1, 0);
	submit(&r);
	for (int i = 0; i < 3; i++) {
		OK(kill(getpid(), i & 1 ? SIGUSR2 : SIGUSR1));
		wait_for(&r, 1);
		take(i & 1 ? SIGUSR2 : SIGUSR1);
		nop(&r, 2, 0);
		submit_for(&r, 1);
	}
	finish(&r, 1);
}

TEST(poll_is_removed)
{
	struct ring r;

	start(&r, 0);
	poll_add(&r, fd, POLLIN, 0, 1, 0);
	submit(&r);
	poll_remove(&r, 1, 0, 0, 0, 2);
	submit_for(&r, 2);
	finish(&r, 0);
}
