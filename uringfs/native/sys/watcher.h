/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watcher's own parts: watcher.c has the events, watcheraio.c AIO's polls, watcheritems.c whose they are, watcherthread.c the thread, and
 * watchertype.c is what Python sees. Whoever calls a function of these has the lock, but for watcher_open().
 */
#ifndef URINGFS_WATCHER_H
#define URINGFS_WATCHER_H

#include "../native.h"

#include <linux/aio_abi.h>
#include <pthread.h>
#include <sys/queue.h>

#define CONTEXTS 32
#define NO_ITEM UINT64_MAX

struct item {
	uint64_t key;	/* its place, and above that how often that was taken */
	uint64_t round; /* of collect(), in which it was told of */
	size_t at;	/* and where, among the events */
	unsigned context;
	struct iocb iocb, waker; /* waker: the second, of what signals late; see watcher_begin_once() */
	TAILQ_ENTRY(item) entry; /* of `idle` or `silent` */
	int fd;
	uint32_t events;
	unsigned armed; /* completions to come */
	/* signals_late: its wake-ups cannot signal an eventfd at once; told: of what is wanted once; ready: epoll has told
	 * of it in this round */
	bool used, once, signals_late, is_silent, told, fetched, gone, stale, is_idle, aio, ready;
};

struct event {
	uint64_t key, round;
	uint32_t mask;
};

typedef struct {
	PyObject_HEAD
	pthread_mutex_t lock;
	pthread_cond_t fetched;
	pthread_t thread;
	bool runs, heard;	     /* heard: what signalled `notify` has been taken since that was read */
	int epoll, barrier;	     /* epoll instances */
	int completed, stop, notify; /* eventfds */
	aio_context_t contexts[CONTEXTS];
	unsigned ncontexts, requests, full; /* full: the context to try first */
	struct item **items;
	size_t nitems, nfree, watched; /* watched: in the epoll instance */
	uint32_t *free;
	struct event *events;
	size_t nevents, room;
	uint64_t round;
	unsigned ending[CONTEXTS]; /* cancelled, and the kernel has not let go of the file yet */
	/* idle: their file was ready; silent: nobody is woken by them */
	TAILQ_HEAD(, item) idle, silent;
	bool blind; /* some of them stay so while the loop sleeps */
} Watcher;

/* struct aio_ring (fs/aio.c), which is mapped at the context's address */
struct aio_ring {
	uint32_t id, nr, head, tail, magic, compat_features, incompat_features, header_length;
	struct io_event events[];
};

/* The item of a key; NULL if there is none any more. */
struct item *watcher_item(Watcher *w, uint64_t key);
struct item *watcher_item_new(Watcher *w);
void watcher_item_free(Watcher *w, struct item *item);
int watcher_begin(Watcher *w, struct item *item);
bool watcher_end(Watcher *w, struct item *item);
void watcher_let_go(Watcher *w);
/* Add what has happened to w->events. */
void watcher_gather(Watcher *w);
void watcher_look(Watcher *w);
void watcher_before_wait(Watcher *w, bool sleeps);
bool watcher_open(Watcher *w);
int watcher_submit(Watcher *w, struct item *item);
int watcher_begin_once(Watcher *w, struct item *item);
bool watcher_cancelled(Watcher *w, const struct item *item, struct iocb *iocb);
void watcher_silent_no_more(Watcher *w, struct item *item);

#endif
