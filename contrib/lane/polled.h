/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that polls a ring with IORING_SETUP_SQPOLL (io_uring/sqpoll.c): docs/lane.md, "Polled rings". Needs core.h. */
#ifndef URINGFS_LANE_POLLED_H
#define URINGFS_LANE_POLLED_H

#include <limits.h>

#define LANE_SQ_FLAGS 36

static inline bool lane_is_polled(const struct lane *l)
{
	return l->setup_flags & IORING_SETUP_SQPOLL;
}

/* IORING_ENTER_SQ_WAKEUP */
static inline void lane_wake_poller(struct lane *l)
{
	uint32_t *word = &l->page->wakeups;

	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
	RAW(SYS_futex, word, FUTEX_WAKE, INT_MAX);
}

/* io_sqring_full() */
static inline bool lane_sq_is_full(const struct lane *l)
{
	return lane_word(l->rings, LANE_SQ_TAIL) - lane_word(l->rings, LANE_SQ_HEAD) == l->sq_entries;
}

static inline uint32_t lane_unpolled(const struct lane *l)
{
	return lane_word(l->rings, LANE_SQ_TAIL) - lane_load(&l->page->sq_head);
}

/* __io_sq_thread(): one round. How many requests were taken; and how many are the daemon's, which are the next. */
static inline uint32_t lane_poll_round(struct lane *l, uint32_t *left)
{
	struct lane_pass p;

	lane_worker_pass(&p, l);
	*left = lane_unpolled(l);
	if (!lane_lock(l))
		return 0;
	if (lane_look(&p)) {
		p.left = lane_queued(&p);
		if (p.left)
			lane_take(&p);
	}
	*left = p.left;
	if (p.outside)
		return p.taken;
	lane_leave(&p);
	if (lane_is_wanted(&p))
		lane_kick_by(&p);
	return p.taken;
}

/* io_sqd_update_thread_idle() has passed: clients are to say when there is something, from now on; or not any more. */
static inline void lane_poller_sleeps(struct lane *l, bool sleeps)
{
	uint32_t *flags = (uint32_t *)(void *)(l->rings + LANE_SQ_FLAGS);

	if (sleeps)
		__atomic_fetch_or(flags, IORING_SQ_NEED_WAKEUP, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(flags, ~IORING_SQ_NEED_WAKEUP, __ATOMIC_SEQ_CST);
}

#endif
