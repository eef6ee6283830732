/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watcher's polls of Linux AIO: where they are submitted, and what wakes the loop.
 */
#include "watcher.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REQUESTS 1024	    /* of the first AIO context; the next are larger, for each is looked at */
#define MOST_REQUESTS 32768 /* of all; they have to fit in fs.aio-max-nr, with those of the machine's others */

static bool add_context(Watcher *w)
{
	unsigned nr = w->requests ? w->requests : REQUESTS;

	for (; nr >= REQUESTS; nr /= 2) {
		if (w->requests + nr <= MOST_REQUESTS && syscall(SYS_io_setup, nr, &w->contexts[w->ncontexts]) == 0) {
			w->ncontexts++;
			w->requests += nr;
			return true;
		}
	}
	return false;
}

static void prepare(const struct item *item, struct iocb *iocb, int eventfd)
{
	memset(iocb, 0, sizeof(*iocb));
	iocb->aio_data = item->key;
	iocb->aio_lio_opcode = IOCB_CMD_POLL;
	iocb->aio_fildes = (uint32_t)item->fd;
	iocb->aio_buf = item->events & 0xFFFF;
	iocb->aio_flags = eventfd < 0 ? 0 : IOCB_FLAG_RESFD;
	iocb->aio_resfd = eventfd < 0 ? 0 : (uint32_t)eventfd;
}

/* 0, or the errno: EAGAIN if there is no room for it, EINVAL if the file has several wait queues or none. */
int watcher_submit(Watcher *w, struct item *item)
{
	struct iocb *iocb = &item->iocb;
	unsigned i;

	prepare(item, iocb, !item->once ? w->completed : item->signals_late ? -1 : w->notify);
	for (i = w->full; i < CONTEXTS; i++) {
		if (i == w->ncontexts && !add_context(w))
			break;
		item->context = i;
		if (syscall(SYS_io_submit, w->contexts[i], 1L, &iocb) == 1) {
			item->armed = 1;
			return 0;
		}
		if (errno != EAGAIN)
			return errno;
		w->full = i + 1;
	}
	return EAGAIN;
}

/* False: it has completed. */
bool watcher_cancelled(Watcher *w, const struct item *item, struct iocb *iocb)
{
	struct io_event none;

	return syscall(SYS_io_cancel, w->contexts[item->context], iocb, &none) == 0 || errno == EINPROGRESS;
}

/* ---- what is wanted once ---- */

/* Once is once: nothing is lost if the thread does not look, and the loop is woken by the kernel itself. In a wake-up by
 * an eventfd no other can be signalled (eventfd_signal_allowed()), so aio_poll_wake() leaves even the completion to a
 * worker, and who looks meanwhile would see nothing. A poll that signals nobody completes at once. Most who submit come
 * again before the loop sleeps, and look: the one that wakes is begun when it does. */
int watcher_begin_once(Watcher *w, struct item *item)
{
	int error = watcher_submit(w, item);

	item->is_silent = !error && item->signals_late;
	if (item->is_silent)
		TAILQ_INSERT_TAIL(&w->silent, item, entry);
	return error;
}

void watcher_silent_no_more(Watcher *w, struct item *item)
{
	if (item->is_silent)
		TAILQ_REMOVE(&w->silent, item, entry);
	item->is_silent = false;
}

/* False: there is no room. */
static bool begin_waker(Watcher *w, struct item *item)
{
	struct iocb *iocb = &item->waker;

	prepare(item, iocb, w->notify);
	if (syscall(SYS_io_submit, w->contexts[item->context], 1L, &iocb) == 1)
		item->armed++;
	else if (errno == EAGAIN)
		return false;
	watcher_silent_no_more(w, item);
	return true;
}

/* Something that has happened is there to be taken. */
static bool any_completion(const Watcher *w)
{
	unsigned i;

	for (i = 0; i < w->ncontexts; i++) {
		const struct aio_ring *ring = (const struct aio_ring *)w->contexts[i];

		if (ring->head != __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE))
			return true;
	}
	return false;
}

/* The loop is to be woken by what there is, and, if it sleeps, by all there will be from now on. Where there is no room
 * for that, the thread looks instead. */
void watcher_before_wait(Watcher *w, bool sleeps)
{
	bool blind = w->blind;

	while (sleeps && !TAILQ_EMPTY(&w->silent) && !any_completion(w) && begin_waker(w, TAILQ_FIRST(&w->silent)))
		;
	w->blind = sleeps && !TAILQ_EMPTY(&w->silent) && !any_completion(w);
	if (w->blind && !blind)
		eventfd_write(w->completed, 1);
	if (any_completion(w)) {
		w->heard = true;
		eventfd_write(w->notify, 1);
	}
}
