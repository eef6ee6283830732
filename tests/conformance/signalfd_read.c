/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_READ of a signalfd. */
#include "signalfd.h"

TEST(read_of_what_is_pending)
{
	struct ring r;

	start(&r, 0);
	raise_both();
	read_op(&r, sizeof(infos), 1);
	submit_for(&r, 1);
	note_infos(2);
	finish(&r, 0);
}

TEST(read_of_one_of_two)
{
	struct ring r;

	start(&r, 0);
	raise_both();
	read_op(&r, sizeof(*infos) + 100, 1);
	submit_for(&r, 1);
	note_infos(1);
	take(SIGUSR2);
	finish(&r, 0);
}

TEST(read_of_what_comes)
{
	struct ring r;

	start(&r, 0);
	for (unsigned i = 0; i < 3; i++) {
		read_op(&r, sizeof(*infos), i);
		submit(&r);
		OK(kill(getpid(), SIGUSR1));
		wait_for(&r, 1);
		note_infos(1);
	}
	finish(&r, 0);
}

TEST(read_of_too_little)
{
	struct ring r;

	start(&r, 0);
	read_op(&r, sizeof(*infos) - 1, 1);
	submit_for(&r, 1);
	read_op(&r, 0, 2);
	submit_for(&r, 1);
	raise_both();
	read_op(&r, sizeof(*infos) - 1, 3);
	submit_for(&r, 1);
	finish(&r, 0);
}

TEST(read_that_does_not_wait)
{
	struct ring r;

	start(&r, SFD_NONBLOCK);
	read_op(&r, sizeof(*infos), 1);
	submit(&r);
	OK(kill(getpid(), SIGUSR1)); /* O_NONBLOCK changes nothing */
	wait_for(&r, 1);
	read_op(&r, sizeof(*infos), 2)->rw_flags = RWF_NOWAIT;
	submit_for(&r, 1);
	raise_both();
	read_op(&r, sizeof(infos), 3)->rw_flags = RWF_NOWAIT;
	submit_for(&r, 1);
	note_infos(2);
	finish(&r, 0);
}

TEST(read_is_cancelled)
{
	struct ring r;

	start(&r, 0);
	read_op(&r, sizeof(*infos), 1);
	submit(&r);
	cancel(&r, 1, 0, 2);
	submit_for(&r, 2);
	OK(kill(getpid(), SIGUSR1));
	nop(&r, 3, 0);
	submit_for(&r, 1);
	take(SIGUSR1);
	finish(&r, 0);
}

TEST(read_behind_a_poll)
{
	struct ring r;

	start(&r, 0);
	poll_add(&r, fd, POLLIN, 0, 1, LINK);
	read_op(&r, sizeof(*infos), 2);
	submit(&r);
	OK(kill(getpid(), SIGUSR1));
	wait_for(&r, 2);
	note_infos(1);
	finish(&r, 0);
}
