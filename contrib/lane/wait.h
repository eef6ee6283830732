/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for CQEs in the client (io_uring/wait.c): how long, and the sleep. Part of client.h. */
#ifndef URINGFS_LANE_WAIT_H
#define URINGFS_LANE_WAIT_H

#include <linux/futex.h>
#include <sys/prctl.h>

#define LANE_NSEC 1000000000LL
#define LANE_EVER INT64_MAX
#define LANE_LONGEST 1000000000LL    /* seconds of a timeout; a longer one is the daemon's */
#define LANE_LOOK_NS LANE_NSEC	     /* whether the daemon is still there */
#define LANE_SLACK_MATTERS 1000000LL /* ns: of a sleep this short the timer slack, 50 us, is a part that shows */

static inline int64_t lane_now(void)
{
	struct timespec now = {0, 0};

	RAW(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	return now.tv_sec * LANE_NSEC + now.tv_nsec;
}

/* When a relative timeout ends, in CLOCK_MONOTONIC. 0: it is the daemon's. */
static inline int64_t lane_end_of(uint64_t address)
{
	struct __kernel_timespec ts;

	if (lane_fetch(&ts, address, sizeof(ts)) < 0 || ts.tv_sec < 0 || ts.tv_sec > LANE_LONGEST || ts.tv_nsec < 0 ||
	    ts.tv_nsec >= LANE_NSEC)
		return 0;
	return lane_now() + ts.tv_sec * LANE_NSEC + ts.tv_nsec;
}

/* struct io_uring_getevents_arg, whose third field has another name in headers before Linux 6.12. */
struct lane_getevents_arg {
	uint64_t sigmask;
	uint32_t sigmask_sz;
	uint32_t min_wait_usec;
	uint64_t ts;
};

/* io_get_ext_arg(): until when the call waits. 0: with a signal mask, a minimum wait, another clock, or an error, which are
 * the daemon's. */
static inline int64_t lane_until(uint32_t flags, const void *argp, size_t argsz)
{
	struct lane_getevents_arg arg;

	if (!(flags & IORING_ENTER_EXT_ARG))
		return argp ? 0 : LANE_EVER;
	if (flags & ~(uint32_t)(IORING_ENTER_EXT_ARG | IORING_ENTER_GETEVENTS) || argsz != sizeof(arg) ||
	    lane_fetch(&arg, (uintptr_t)argp, sizeof(arg)) < 0 || arg.sigmask || arg.min_wait_usec)
		return 0;
	return arg.ts ? lane_end_of(arg.ts) : LANE_EVER;
}

/* A signal came while all were blocked, and is about to be handled. */
static inline bool lane_is_interrupted(const uint64_t *mask)
{
	uint64_t pending = 0;

	RAW(SYS_rt_sigpending, &pending, sizeof(pending));
	pending &= ~*mask;
	return pending && pending & ~uringfs_ignored();
}

/* A sleep until then, or for a while: the timer slack is off where it shows. */
struct lane_nap {
	int64_t now, end;
	long slack;
};

static inline struct lane_nap lane_nap_begin(int64_t until)
{
	struct lane_nap nap;

	nap.now = lane_now();
	nap.end = until - nap.now > LANE_LOOK_NS ? nap.now + LANE_LOOK_NS : until;
	nap.slack = nap.end - nap.now < LANE_SLACK_MATTERS ? RAW(SYS_prctl, PR_GET_TIMERSLACK) : 0;
	if (nap.slack > 1)
		RAW(SYS_prctl, PR_SET_TIMERSLACK, 1);
	return nap;
}

static inline void lane_nap_end(const struct lane_nap *nap)
{
	if (nap->slack > 1)
		RAW(SYS_prctl, PR_SET_TIMERSLACK, nap->slack);
}

/* Until the word changes, or `until`, or for a while: 0, -EINTR, -ETIMEDOUT ... A signal's handler runs before. */
static inline long lane_doze(uint32_t *word, uint32_t value, int64_t until)
{
	struct lane_nap nap = lane_nap_begin(until);
	struct timespec ts;
	long ret;

	ts.tv_sec = nap.end / LANE_NSEC;
	ts.tv_nsec = nap.end % LANE_NSEC;
	ret = RAW(SYS_futex, word, FUTEX_WAIT_BITSET, value, &ts, 0, FUTEX_BITSET_MATCH_ANY);
	lane_nap_end(&nap);
	return ret;
}

#endif
