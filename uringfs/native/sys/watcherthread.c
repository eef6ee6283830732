/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watcher's thread: it takes events as they come, and looks at what was ready until it is ready no more.
 */
#include "watcher.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LIMIT 65536	/* events that nobody has fetched: the thread waits */
#define SLICE_NS 100000 /* the least there is */
#define FIRST_PAUSE_NS 20000L
#define LONGEST_PAUSE_NS 100000000L

/* struct sched_attr (<linux/sched/types.h>), as far as it is needed */
struct slice {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* From Linux 6.12 on who wants short slices is not made to wait for long ones. Its share of the CPU stays what it is,
 * so this is no way to take anybody's. */
static void soon_scheduled(void)
{
	struct slice slice = {.size = sizeof(slice), .nice = getpriority(PRIO_PROCESS, 0), .runtime = SLICE_NS};

	if (sched_getscheduler(0) == SCHED_OTHER)
		syscall(SYS_sched_setattr, 0, &slice, 0);
	prctl(PR_SET_TIMERSLACK, 1UL);
}

/* ns until the next look at what is idle: many events are over in a moment, some last. pause: the last; 0 behind an
 * event. */
static long next_pause(long pause)
{
	return pause ? MIN(2 * pause, LONGEST_PAUSE_NS) : FIRST_PAUSE_NS;
}

static void *run(void *arg)
{
	Watcher *w = arg;
	struct pollfd fds[2] = {{.fd = w->epoll, .events = POLLIN}, {.fd = w->stop, .events = POLLIN}};
	struct timespec pause = {0, 0};
	int n;

	soon_scheduled();
	while ((n = ppoll(fds, 2, pause.tv_nsec ? &pause : NULL, NULL)) >= 0 || errno == EINTR) {
		pthread_mutex_lock(&w->lock);
		while (w->nevents >= LIMIT && w->runs)
			pthread_cond_wait(&w->fetched, &w->lock);
		if (w->runs)
			watcher_gather(w);
		if (w->nevents)
			eventfd_write(w->notify, 1);
		pause.tv_nsec = TAILQ_EMPTY(&w->idle) && !w->blind ? 0 : next_pause(n > 0 ? 0 : pause.tv_nsec);
		pthread_mutex_unlock(&w->lock);
		if (!w->runs)
			break;
	}
	return NULL;
}

bool watcher_open(Watcher *w)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = NO_ITEM};
	sigset_t all, old;
	int error;

	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->barrier = epoll_create1(EPOLL_CLOEXEC);
	w->completed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->stop = eventfd(0, EFD_CLOEXEC);
	w->notify = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epoll < 0 || w->barrier < 0 || w->completed < 0 || w->stop < 0 || w->notify < 0 ||
	    epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->completed, &event) < 0)
		return false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	w->runs = true;
	error = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->runs = !error;
	errno = error;
	return w->runs;
}
