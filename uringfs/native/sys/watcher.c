/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watcher: what happens to files, noticed as io_poll_wake() notices it, in the call that makes it. Nothing here
 * knows of rings.
 *
 * An epoll instance says what is ready when it is asked, so an event that is over by then is none. Linux AIO's
 * IOCB_CMD_POLL keeps the mask of the wake-up (aio_poll_wake()) and completes in its order, but once, and at once
 * where the file is ready. So what is wanted once is AIO's alone; what is wanted again and again is epoll's, and AIO
 * watches beside it as long as the file is not ready. One wake-up that both of them tell of is one event.
 *
 * A thread takes the events of the latter as they come, so that the next may be one of its own. It never needs Python's
 * lock, which the loop may hold for milliseconds. What is wanted once stays in AIO's ring until anybody looks.
 */
#include "watcher.h"

#include <linux/time_types.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST 256 /* events of one epoll_wait(2) */
#define IDLE 8	 /* watches looked at for whether they are ready no more, at a time */
#define SETTLE_MS 5

static bool ready(const struct item *item)
{
	struct pollfd poll_fd = {.fd = item->fd, .events = (short)item->events};

	return poll_now(&poll_fd) != 0;
}

/* AIO beside epoll: while the file is ready it would tell of that alone. */
static void watch_beside(Watcher *w, struct item *item)
{
	if (!item->aio || item->armed || item->is_idle)
		return;
	if (!ready(item)) {
		item->aio = watcher_submit(w, item) == 0;
		return;
	}
	item->is_idle = true;
	TAILQ_INSERT_TAIL(&w->idle, item, entry);
}

static void push(Watcher *w, struct item *item, uint32_t mask)
{
	if (w->nevents == w->room) {
		size_t room = w->room ? 2 * w->room : MOST;
		struct event *events = realloc(w->events, room * sizeof(*events));

		if (!events)
			return; /* an event is lost, as is all else by now */
		w->events = events;
		w->room = room;
	}
	item->ready = false;
	item->at = w->nevents;
	item->round = w->round;
	w->events[w->nevents++] = (struct event){item->key, w->round, mask};
}

/* True if it is the first that is heard of a watch in this round, which epoll may tell of, too. */
static bool completion(Watcher *w, const struct io_event *event)
{
	struct item *item = watcher_item(w, event->data);
	uint32_t mask = (uint32_t)event->res;
	uint64_t silent;

	if (!item)
		return false;
	silent = item->signals_late ? (uint64_t)(uintptr_t)&item->iocb : 0;
	mask &= item->events | EPOLLERR | EPOLLHUP; /* a wake-up names more */
	item->armed--;
	w->full = MIN(w->full, item->context);
	w->heard |= item->once && event->obj != silent;
	if (item->gone) {
		if (!item->armed) {
			w->ending[item->context]--;
			watcher_item_free(w, item);
		}
		return false;
	}
	if (item->told) { /* the second of the two */
		if (item->fetched)
			watcher_item_free(w, item);
		return false;
	}
	if (item->armed && !mask) /* one was given up when it was too late for the other */
		return false;
	watcher_silent_no_more(w, item);
	item->told = item->once;
	if (item->stale) {
		item->stale = false;
		watch_beside(w, item);
		return false;
	}
	if (item->round == w->round && !item->once) {
		w->events[item->at].mask = mask; /* the wake-up's, not what holds by now */
		return false;
	}
	push(w, item, mask);
	return !item->once;
}

/* Past the system call: the ring is ours, the kernel reads its head (user_refill_reqs_available()). */
static bool take_completions(Watcher *w)
{
	bool fresh = false;
	unsigned i;

	for (i = 0; i < w->ncontexts; i++) {
		struct aio_ring *ring = (struct aio_ring *)w->contexts[i];
		uint32_t head = ring->head, tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);

		while (head != tail) {
			fresh |= completion(w, &ring->events[head % ring->nr]);
			head = (head + 1) % ring->nr;
			__atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
		}
	}
	return fresh;
}

/* ---- both ---- */

/* Without a timeout epoll_wait(2) looks without the lock, and finds nothing while the thread's poll(2) has the list in
 * its hands (ep_events_available(), ep_start_scan()). A timeout that is over at once makes it look again, with it. */
static int all_ready(Watcher *w, struct epoll_event *events)
{
	const struct __kernel_timespec at_once = {0, 1};
	long n = syscall(SYS_epoll_pwait2, w->epoll, events, MOST, &at_once, NULL, 0UL);

	return (int)n;
}

/* surely: an event is known to be there. */
static void take_ready(Watcher *w, bool surely)
{
	struct epoll_event events[MOST];
	struct item *item;
	int i, n;

	do {
		n = surely ? all_ready(w, events) : epoll_wait(w->epoll, events, MOST, 0);
		for (i = 0; i < n; i++) {
			item = watcher_item(w, events[i].data.u64);
			if (!item)
				continue;
			if (item->round != w->round)
				push(w, item, events[i].events);
			item->ready = true;
		}
	} while (n == MOST);
}

static void no_longer_idle(Watcher *w, struct item *item)
{
	TAILQ_REMOVE(&w->idle, item, entry);
	item->is_idle = false;
}

/* One that is not ready any more. Nobody tells: a few are looked at each time. */
static void look_at_idle(Watcher *w)
{
	struct item *item;
	unsigned i;

	for (i = 0; i < IDLE && (item = TAILQ_FIRST(&w->idle)) != NULL; i++) {
		no_longer_idle(w, item);
		watch_beside(w, item);
	}
}

/* Epoll has told of a wake-up without a mask (pipe_release()): for that AIO asks the file, in a thread of the
 * kernel's, and tells of it when that has run. */
static void give_up(Watcher *w, struct item *item)
{
	struct io_event none;

	syscall(SYS_io_cancel, w->contexts[item->context], &item->iocb, &none);
	item->stale = true;
}

/* A wake-up comes to AIO's entry in the file's wait queue and then to epoll's. Whoever takes the queue's lock comes
 * behind all of it. True if there was one that only AIO has told of. */
static bool wait_for_epoll(Watcher *w, size_t *i)
{
	struct epoll_event event = {.events = EPOLLET};
	bool waited = false;
	struct item *item;

	for (; *i < w->nevents; ++*i) {
		item = watcher_item(w, w->events[*i].key);
		if (item && !item->once && !item->ready) {
			waited = true;
			if (epoll_ctl(w->barrier, EPOLL_CTL_ADD, item->fd, &event) == 0)
				epoll_ctl(w->barrier, EPOLL_CTL_DEL, item->fd, NULL);
		}
	}
	return waited;
}

/* All there is, after a completion that has been taken already, or NULL. Who sees epoll's event can see AIO's, whose
 * entry is the newer one and so comes first. */
static void gather(Watcher *w, const struct io_event *taken)
{
	size_t i = w->nevents, waited = i;
	bool more = false;

	w->round++;
	if (taken)
		completion(w, taken);
	look_at_idle(w);
	do {
		take_completions(w);
		take_ready(w, more);
		more = take_completions(w);
		more |= wait_for_epoll(w, &waited);
	} while (more);
	for (; i < w->nevents; i++) {
		struct item *item = watcher_item(w, w->events[i].key);

		if (item && item->armed && !item->once)
			give_up(w, item);
		else if (item)
			watch_beside(w, item);
	}
}

void watcher_gather(Watcher *w)
{
	gather(w, NULL);
}

/* For who does not sleep in the epoll instance: while nothing is in it, all there is is AIO's. */
void watcher_look(Watcher *w)
{
	if (w->watched) {
		gather(w, NULL);
	} else {
		w->round++;
		take_completions(w);
	}
}

/* ---- the type ---- */

/* 0, or an errno. */
int watcher_begin(Watcher *w, struct item *item)
{
	struct epoll_event event = {.events = item->events | EPOLLET, .data.u64 = item->key};

	if (item->once)
		return watcher_begin_once(w, item);
	if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, item->fd, &event) < 0)
		return errno;
	w->watched++;
	watch_beside(w, item);
	if (item->is_idle)
		eventfd_write(w->completed, 1); /* the thread looks after it from now on */
	return 0;
}

/* False: it has happened, and will be told of. */
bool watcher_end(Watcher *w, struct item *item)
{
	if (!item->once) {
		epoll_ctl(w->epoll, EPOLL_CTL_DEL, item->fd, NULL);
		w->watched--;
	} else if (item->told) {
		return false;
	}
	if (item->is_idle)
		no_longer_idle(w, item);
	watcher_silent_no_more(w, item);
	if (!item->armed) {
		watcher_item_free(w, item);
		return true;
	}
	if (!watcher_cancelled(w, item, &item->iocb) && item->once)
		return false;
	if (item->armed > 1 && !watcher_cancelled(w, item, &item->waker))
		return false;
	item->gone = true;
	w->ending[item->context]++;
	return true;
}

/* Waits until the kernel has let go of the files of what was cancelled. The completions that this comes across are
 * events, of which epoll may tell, too. */
void watcher_let_go(Watcher *w)
{
	struct timespec most = {0, SETTLE_MS * 1000000L};
	struct io_event event;
	unsigned i;

	gather(w, NULL);
	for (i = 0; i < w->ncontexts; i++)
		while (w->ending[i] && syscall(SYS_io_getevents, w->contexts[i], 1L, 1L, &event, &most) == 1)
			gather(w, &event);
	if (w->nevents)
		eventfd_write(w->notify, 1);
}
