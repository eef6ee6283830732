/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client could have the daemon's main thread wait for, in calls that do not wait: the end of a socket with SO_LINGER
 * and bytes that nobody reads, whose last descriptor is the one that is closed here, or is in flight and thrown away with
 * a message that is received without room for it (unix_detach_fds()), or with the socket in whose queue it is. A
 * signal ends that wait (sk_stream_wait_close()), so one comes, again and again while such a call goes on.
 *
 * The timer is left alone between two calls: it goes off once more at most. Its signal restarts whatever else it meets.
 */
#include "../native.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define PATIENCE_NS 1000000
#define PATIENCE_SIGNAL (SIGRTMAX - 1)

static timer_t timer; /* a fork has none: arming it fails there, and it waits as others do */
static volatile sig_atomic_t waits, armed;

static void arm(void)
{
	const struct itimerspec once = {{0, 0}, {0, PATIENCE_NS}};

	armed = 1;
	if (timer_settime(timer, 0, &once, NULL) < 0)
		armed = 0;
}

static void again(int sig)
{
	int saved = errno;

	(void)sig;
	armed = 0;
	if (waits)
		arm();
	errno = saved;
}

static bool make_timer(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = PATIENCE_SIGNAL};
	struct sigaction sa = {.sa_handler = again, .sa_flags = SA_RESTART};
	sigset_t set;

	event.sigev_notify_thread_id = getpid();
	sigemptyset(&sa.sa_mask);
	sigemptyset(&set);
	sigaddset(&set, PATIENCE_SIGNAL);
	return sigaction(PATIENCE_SIGNAL, &sa, NULL) == 0 && timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 &&
	       pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0;
}

/* False: in another thread, which may wait */
bool patience_begin(void)
{
	static __thread enum { UNKNOWN, MAIN, OTHER } thread;

	if (thread == UNKNOWN)
		thread = syscall(SYS_gettid) == getpid() && make_timer() ? MAIN : OTHER;
	if (thread == OTHER)
		return false;
	waits = 1;
	if (!armed)
		arm();
	return true;
}

void patience_end(bool begun)
{
	if (begun)
		waits = 0;
}

void close_soon(int fd)
{
	bool begun = patience_begin();

	close(fd);
	patience_end(begun);
}

static PyObject *close_soon_(PyObject *Py_UNUSED(m), PyObject *arg)
{
	int fd;

	if (!get_int(arg, EBADF, &fd))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	close_soon(fd);
	Py_END_ALLOW_THREADS
	Py_RETURN_NONE;
}

PyMethodDef patience_methods[] = {
	{"close_soon", close_soon_, METH_O, "close_soon(fd)"},
	{NULL, NULL, 0, NULL},
};
