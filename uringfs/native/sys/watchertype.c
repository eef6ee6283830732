/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uringfs.native.Watcher: a watcher (watcher.c) as Python's object.
 */
#include "watcher.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static void watcher_shut(Watcher *w)
{
	int *fds[] = {&w->epoll, &w->barrier, &w->completed, &w->stop, &w->notify};
	unsigned i;

	if (w->runs) {
		pthread_mutex_lock(&w->lock);
		w->runs = false;
		pthread_cond_signal(&w->fetched);
		pthread_mutex_unlock(&w->lock);
		eventfd_write(w->stop, 1);
		Py_BEGIN_ALLOW_THREADS
		pthread_join(w->thread, NULL);
		Py_END_ALLOW_THREADS
	}
	for (i = 0; i < w->ncontexts; i++)
		syscall(SYS_io_destroy, w->contexts[i]);
	w->ncontexts = 0;
	for (i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

static PyObject *watcher_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	Watcher *w;

	if (!PyArg_ParseTuple(args, ":Watcher"))
		return NULL;
	w = (Watcher *)type->tp_alloc(type, 0);
	if (!w)
		return NULL;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->fetched, NULL);
	TAILQ_INIT(&w->idle);
	TAILQ_INIT(&w->silent);
	w->epoll = w->barrier = w->completed = w->stop = w->notify = -1;
	if (!watcher_open(w)) {
		int err = errno;

		Py_DECREF(w);
		return raise_errno(err);
	}
	return (PyObject *)w;
}

static void watcher_dealloc(Watcher *w)
{
	size_t i;

	watcher_shut(w);
	for (i = 0; i < w->nitems; i++)
		free(w->items[i]);
	free(w->items);
	free(w->free);
	free(w->events);
	pthread_cond_destroy(&w->fetched);
	pthread_mutex_destroy(&w->lock);
	Py_TYPE(w)->tp_free((PyObject *)w);
}

static PyObject *watcher_add(Watcher *w, PyObject *args)
{
	struct item *item;
	unsigned events;
	int fd, once, aio, late, error = ENOMEM;
	uint64_t key = 0;

	if (!PyArg_ParseTuple(args, "iIppp:add", &fd, &events, &once, &aio, &late))
		return NULL;
	if (!w->runs)
		return raise_errno(EBADF);
	pthread_mutex_lock(&w->lock);
	item = watcher_item_new(w);
	if (item) {
		item->fd = fd;
		item->events = events;
		item->once = once;
		item->aio = aio && !once;
		item->signals_late = late && once;
		key = item->key;
		error = watcher_begin(w, item);
		if (error)
			watcher_item_free(w, item);
	}
	pthread_mutex_unlock(&w->lock);
	return error ? raise_errno(error) : PyLong_FromUnsignedLongLong(key);
}

static PyObject *watcher_remove(Watcher *w, PyObject *arg)
{
	uint64_t key = PyLong_AsUnsignedLongLong(arg);
	struct item *item;
	bool ended = false;

	if (PyErr_Occurred())
		return NULL;
	pthread_mutex_lock(&w->lock);
	item = w->runs ? watcher_item(w, key) : NULL;
	if (item && !item->gone)
		ended = watcher_end(w, item);
	pthread_mutex_unlock(&w->lock);
	return PyBool_FromLong(ended);
}

static PyObject *before_wait(Watcher *w, PyObject *arg)
{
	int sleeps = PyObject_IsTrue(arg);

	if (sleeps < 0)
		return NULL;
	pthread_mutex_lock(&w->lock);
	if (w->runs && !TAILQ_EMPTY(&w->silent))
		watcher_before_wait(w, sleeps);
	pthread_mutex_unlock(&w->lock);
	Py_RETURN_NONE;
}

static PyObject *watcher_settle(Watcher *w, PyObject *Py_UNUSED(none))
{
	Py_BEGIN_ALLOW_THREADS
	pthread_mutex_lock(&w->lock);
	watcher_let_go(w);
	pthread_mutex_unlock(&w->lock);
	Py_END_ALLOW_THREADS
	Py_RETURN_NONE;
}

static PyObject *fetch(Watcher *w)
{
	PyObject *list = PyList_New((Py_ssize_t)w->nevents), *entry;
	size_t i;

	for (i = 0; list && i < w->nevents; i++) {
		const struct event *event = &w->events[i];
		struct item *item = watcher_item(w, event->key);

		entry = Py_BuildValue("KIK", event->key, event->mask, event->round);
		if (!entry)
			Py_CLEAR(list);
		else
			PyList_SET_ITEM(list, (Py_ssize_t)i, entry);
		if (item && item->once && item->armed)
			item->fetched = true;
		else if (item && item->once)
			watcher_item_free(w, item);
	}
	w->nevents = 0;
	return list;
}

/* AIO completes first and signals then, so who was woken may find that all has been told of. */
static PyObject *watcher_collect(Watcher *w, PyObject *arg)
{
	int woken = PyObject_IsTrue(arg);
	eventfd_t count;
	PyObject *list;

	if (woken < 0)
		return NULL;
	if (!w->runs)
		return PyList_New(0);
	pthread_mutex_lock(&w->lock);
	woken |= w->nevents != 0;
	watcher_look(w);
	if (woken || w->heard)
		eventfd_read(w->notify, &count);
	w->heard = false;
	list = fetch(w);
	pthread_cond_signal(&w->fetched);
	pthread_mutex_unlock(&w->lock);
	return list;
}

static PyObject *watcher_fileno(Watcher *w, PyObject *Py_UNUSED(none))
{
	return PyLong_FromLong(w->notify);
}

static PyObject *watcher_close(Watcher *w, PyObject *Py_UNUSED(none))
{
	watcher_shut(w);
	Py_RETURN_NONE;
}

static PyMethodDef watcher_methods[] = {
	{"add", (PyCFunction)watcher_add, METH_VARARGS, "add(fd, events, once, aio, late) -> int"},
	{"remove", (PyCFunction)watcher_remove, METH_O, "remove(key) -> bool"},
	{"before_wait", (PyCFunction)before_wait, METH_O, "before_wait(sleeps): what there is, and will be, wakes"},
	{"settle", (PyCFunction)watcher_settle, METH_NOARGS, "settle()"},
	{"collect", (PyCFunction)watcher_collect, METH_O, "collect(woken) -> list of (key, mask, round)"},
	{"fileno", (PyCFunction)watcher_fileno, METH_NOARGS, "fileno() -> int: readable when there are events"},
	{"close", (PyCFunction)watcher_close, METH_NOARGS, "close()"},
	{NULL, NULL, 0, NULL},
};

static PyTypeObject watcher_type = {
	/* clang-format off: a macro with its own comma */
	PyVarObject_HEAD_INIT(NULL, 0)
		/* clang-format on */
		.tp_name = "uringfs.native._native.Watcher",
	.tp_doc = "Watcher(): events of files, noticed as they happen",
	.tp_basicsize = sizeof(Watcher),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_new = watcher_new,
	.tp_dealloc = (destructor)watcher_dealloc,
	.tp_methods = watcher_methods,
};

int watcher_add_types(PyObject *module)
{
	if (PyType_Ready(&watcher_type) < 0)
		return -1;
	Py_INCREF(&watcher_type);
	if (PyModule_AddObject(module, "Watcher", (PyObject *)&watcher_type) < 0) {
		Py_DECREF(&watcher_type);
		return -1;
	}
	return 0;
}
