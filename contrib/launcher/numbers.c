/* SPDX-License-Identifier: Apache-2.0 */
/* close_range(2), closefrom(3): what the kernel keeps without a descriptor (registered rings, files of requests in a
 * worker) is kept by one here, which these leave open. */
#include "trap.h"

#define KEPT 512u
#define KNOWN_FLAGS 2u /* CLOSE_RANGE_UNSHARE; with CLOEXEC nothing is closed */

static void sort(int *fds, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		for (unsigned j = i; j && fds[j] < fds[j - 1]; j--) {
			int higher = fds[j - 1];

			fds[j - 1] = fds[j];
			fds[j] = higher;
		}
}

/* In ascending order */
static unsigned all_kept(int *fds)
{
	unsigned n = trap_rings_kept(fds, KEPT);

	n += trap_files_kept(fds + n, KEPT - n);
	if (trap_state.directory && n < KEPT)
		fds[n++] = trap_state.directory - 1;
	sort(fds, n);
	return n;
}

static long close_between(unsigned first, unsigned last, unsigned flags)
{
	int fds[KEPT];
	unsigned n = all_kept(fds);
	long ret = 0;

	for (unsigned i = 0; i < n && ret == 0; i++) {
		unsigned fd = (unsigned)fds[i];

		if (fd < first || fd > last)
			continue;
		if (fd > first)
			ret = RAW(SYS_close_range, first, fd - 1, flags);
		first = fd + 1;
	}
	return ret == 0 && first <= last ? RAW(SYS_close_range, first, last, flags) : ret;
}

TRAP_EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	if (!trap_state.active || first > last || (unsigned)flags & ~KNOWN_FLAGS)
		return (int)raw_errno(RAW(SYS_close_range, first, last, flags));
	return (int)raw_errno(close_between(first, last, (unsigned)flags));
}

TRAP_EXPORT void closefrom(int low)
{
	close_range(low < 0 ? 0 : (unsigned)low, ~0u, 0);
}
