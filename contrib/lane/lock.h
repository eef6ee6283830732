/* SPDX-License-Identifier: Apache-2.0 */
/* Who has the lane: docs/lane.md, "The lock". Part of core.h. All signals are blocked in here. */
#ifndef URINGFS_LANE_LOCK_H
#define URINGFS_LANE_LOCK_H

#include <limits.h>
#include <linux/futex.h>
#include <time.h>

#include "raw.h"

#define LANE_SPINS 200
#define LANE_SLEEPS 8
#define LANE_SLEEP_NS 1000000L
/* F_SETSIG, F_GETSIG of fcntl(2): a number by which an eventfd of ours is known; without O_ASYNC it does nothing. */
#define LANE_SETSIG 10
#define LANE_GETSIG 11
#define LANE_WAKE_MARK 61

#if defined(__x86_64__)
#define lane_pause() __asm__ volatile("pause")
#else
#define lane_pause() __asm__ volatile("yield")
#endif

static inline void lane_unlock_word(struct lane *l)
{
	uint32_t *lock = &l->page->lock;

	if (__atomic_exchange_n(lock, 0, __ATOMIC_SEQ_CST) & URINGFS_LANE_SLEEPERS)
		RAW(SYS_futex, lock, FUTEX_WAKE, 1);
	lane_fence_behind_rmw();
}

/* Until somebody lets go, or for a moment. False: it is not worth waiting. */
static inline bool lane_sleep(struct lane *l, unsigned turn)
{
	struct timespec moment = {0, LANE_SLEEP_NS};
	uint32_t *lock = &l->page->lock, value;

	if (turn < LANE_SPINS) {
		lane_pause();
		return true;
	}
	value = lane_load(lock);
	if (value && !(value & URINGFS_LANE_SLEEPERS) &&
	    !__atomic_compare_exchange_n(lock, &value, value | URINGFS_LANE_SLEEPERS, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED))
		return true;
	if (value)
		RAW(SYS_futex, lock, FUTEX_WAIT, value | URINGFS_LANE_SLEEPERS, &moment);
	return turn < LANE_SPINS + LANE_SLEEPS;
}

/* False: the daemon has it, or wants it, or another client keeps it. Then whoever asked enters the daemon, which
 * is the kick for having been here. */
static inline bool lane_lock(struct lane *l)
{
	struct uringfs_lane *page = l->page;
	uint32_t mine = l->holder;

	for (unsigned turn = 0; !lane_load(&page->daemon); turn++) {
		uint32_t nobody = 0;

		if (__atomic_compare_exchange_n(&page->lock, &nobody, mine, false, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED)) {
			lane_fence_behind_rmw();
			if (!lane_load(&page->daemon))
				return true;
			lane_unlock_word(l);
			return false;
		}
		if (!lane_sleep(l, turn))
			return false;
		if (turn >= LANE_SPINS)
			mine = l->holder | URINGFS_LANE_SLEEPERS; /* there may be others */
	}
	return false;
}

/* The state of the queues, as it is while we have the lane. False: they are not those of the attach any more. */
static inline bool lane_look(struct lane_pass *p)
{
	struct uringfs_lane *page = p->lane->page;

	p->head = lane_load(&page->sq_head);
	p->tail = p->published = (uint32_t)lane_now_posted(p->lane);
	p->room = p->lane->room_at == p->tail ? p->lane->room : 0;
	return lane_load(&page->version) && lane_load(&page->generation) == p->lane->generation;
}

/* Who sleeps until cq_tail is that far. The word changes with the lane. */
static inline void lane_rouse(struct lane_pass *p)
{
	struct uringfs_lane *page = p->lane->page;

	p->rouses = (int32_t)(p->tail - page->wake_at) >= 0 ? page->sleepers : 0;
	if (!p->rouses)
		return;
	p->foreign = p->rouses & URINGFS_LANE_POLLS && p->rouses >> 16 != p->lane->holder;
	page->sleepers = p->foreign ? p->rouses & ~1u : 0; /* the daemon finds it there */
	lane_store(&page->wakes, page->wakes + 1);
}

/* A program that closes every number there is has closed it, too, and may have a file of its own there. */
static inline bool lane_wake_is_ours(const struct lane *l)
{
	return l->wake > 0 && RAW(SYS_fcntl, l->wake - 1, LANE_GETSIG) == LANE_WAKE_MARK;
}

static inline void lane_signal(const struct lane *l)
{
	const uint64_t one = 1;

	if (lane_wake_is_ours(l))
		RAW(SYS_write, l->wake - 1, &one, sizeof(one));
}

static inline void lane_leave(struct lane_pass *p)
{
	p->lane->room = p->room;
	p->lane->room_at = p->tail;
	lane_publish(p);
	lane_rouse(p);
	lane_unlock_word(p->lane);
	if (p->rouses & 1)
		RAW(SYS_futex, &p->lane->page->wakes, FUTEX_WAKE, INT_MAX);
	if (p->rouses & URINGFS_LANE_POLLS && !p->foreign)
		lane_signal(p->lane);
	p->rouses = 0;
}

/* What of attention asks for a kick by who has posted, or has come when the daemon wanted the lane. */
static inline bool lane_is_wanted(const struct lane_pass *p)
{
	const struct uringfs_lane *page = p->lane->page;

	if (lane_load(&page->daemon) || p->foreign)
		return true;
	return p->posted && lane_load(&page->attention);
}

#endif
