/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll_ctl(2) with a client's numbers: an epoll instance knows its files by their descriptors, so what a
 * client adds, changes or removes must have the client's number here too. A thread with a descriptor table
 * of its own does it. No Python runs in that thread: a finalizer that closes a descriptor there would close
 * another one than it means.
 */
#include "../native.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#define CLOSE_RANGE_UNSHARE_ 2U

struct call {
	int epoll, operation, target, number;
	struct epoll_event event, *event_at;
	int error;
};

/* A descriptor that is not the one to be used. */
static int beside(int number, int fd)
{
	return fd == number ? dup(fd) : fd;
}

static int in_own_table(struct call *call)
{
	int process, epoll, target;

	/* The standard descriptors stay, all others are fetched back from the process. */
	if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_UNSHARE_) < 0)
		return errno;
	process = beside(call->number, (int)syscall(SYS_pidfd_open, getpid(), 0));
	if (process < 0)
		return errno;
	epoll = beside(call->number, (int)syscall(SYS_pidfd_getfd, process, call->epoll, 0));
	target = epoll < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, call->target, 0);
	if (target < 0 || (target != call->number && dup2(target, call->number) < 0))
		return errno;
	return epoll_ctl(epoll, call->operation, call->number, call->event_at) < 0 ? errno : 0;
}

static void *thread(void *arg)
{
	struct call *call = arg;

	call->error = in_own_table(call);
	return NULL; /* and its table goes with it */
}

static PyObject *epoll_ctl_(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	struct call call = {.event_at = NULL};
	sigset_t all, old;
	pthread_t id;
	int error;

	if (!nargs_is("epoll_ctl", nargs, 5) || !get_int(args[0], EBADF, &call.epoll) ||
	    !get_int(args[2], EBADF, &call.target) || !get_int(args[3], EBADF, &call.number))
		return NULL;
	call.operation = (int)PyLong_AsUnsignedLongMask(args[1]);
	if (PyErr_Occurred())
		return NULL;
	if (!PyBytes_Check(args[4]) || (PyBytes_GET_SIZE(args[4]) && PyBytes_GET_SIZE(args[4]) != sizeof(call.event))) {
		PyErr_SetString(PyExc_ValueError, "the event is a struct epoll_event or empty");
		return NULL;
	}
	if (PyBytes_GET_SIZE(args[4])) {
		memcpy(&call.event, PyBytes_AS_STRING(args[4]), sizeof(call.event));
		call.event_at = &call.event;
	}
	Py_BEGIN_ALLOW_THREADS
	sigfillset(&all); /* a handler there would not find the descriptor it reports to */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&id, NULL, thread, &call);
	if (!error) {
		pthread_join(id, NULL);
		error = call.error;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	Py_END_ALLOW_THREADS
	if (error)
		return raise_errno(error);
	Py_RETURN_NONE;
}

PyMethodDef epoll_methods[] = {
	{"epoll_ctl", (PyCFunction)(void (*)(void))epoll_ctl_, METH_FASTCALL,
	 "epoll_ctl(epoll, operation, target, number, event)"},
	{NULL, NULL, 0, NULL},
};
