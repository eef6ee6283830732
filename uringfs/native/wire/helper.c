/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two helper processes of the page-cache backend (pager.c, keeper.c) do first, once they are forked: they
 * close the daemon's descriptors, but for a few, and leave a terminal's signals to the daemon.
 */
#include "fusewire.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

void helper_keep_only(const int *fds, int count)
{
	unsigned low = 0;

	for (;;) {
		unsigned next = ~0u;

		for (int i = 0; i < count; i++) {
			if ((unsigned)fds[i] >= low && (unsigned)fds[i] < next)
				next = (unsigned)fds[i];
		}
		if (next > low)
			syscall(SYS_close_range, low, next == ~0u ? ~0u : next - 1, 0);
		if (next == ~0u)
			return;
		low = next + 1;
	}
}

void helper_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}
