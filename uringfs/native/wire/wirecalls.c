/* SPDX-License-Identifier: Apache-2.0 */
/* What Python asks of the FUSE wire: the message being dispatched, interrupts, backing files. */
#include "fusewire.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct wire_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define WIRE_BACKING_OPEN _IOW(229, 1, struct wire_backing_map)
#define WIRE_BACKING_CLOSE _IOW(229, 2, uint32_t)

/* uniques of interrupted requests that nobody has taken yet; eventfd is readable while there are any */
static struct {
	uint64_t *items;
	size_t count, room;
	int eventfd;
} interrupts = {.eventfd = -1};

void interrupts_add(uint64_t unique)
{
	const uint64_t one = 1;

	if (interrupts.count == interrupts.room) {
		size_t room = interrupts.room ? 2 * interrupts.room : 64;
		uint64_t *items = realloc(interrupts.items, room * sizeof(*items));

		if (!items)
			return; /* this wait goes on; the kernel asks but once */
		interrupts.items = items;
		interrupts.room = room;
	}
	interrupts.items[interrupts.count++] = unique;
	if (interrupts.eventfd >= 0 && write(interrupts.eventfd, &one, sizeof(one)) < 0)
		return; /* EAGAIN: the counter is full, so it is readable already */
}

void interrupts_clear(void)
{
	uint64_t counter;

	interrupts.count = 0;
	if (interrupts.eventfd >= 0 && read(interrupts.eventfd, &counter, sizeof(counter)) < 0)
		return; /* EAGAIN: nothing was signalled */
}

static PyObject *current(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(arg))
{
	return Py_BuildValue("KIIIII", (unsigned long long)wire.unique, wire.opcode, wire.tid, wire.uid, wire.gid,
			     wire.detail);
}

static PyObject *interrupt_fd(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(arg))
{
	if (interrupts.eventfd < 0) {
		interrupts.eventfd = eventfd(interrupts.count != 0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (interrupts.eventfd < 0)
			return raise_errno(errno);
	}
	return PyLong_FromLong(interrupts.eventfd);
}

static PyObject *take_interrupts(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(arg))
{
	PyObject *list = PyList_New((Py_ssize_t)interrupts.count);

	for (size_t i = 0; list && i < interrupts.count; i++) {
		PyObject *unique = PyLong_FromUnsignedLongLong(interrupts.items[i]);

		if (!unique)
			Py_CLEAR(list);
		else
			PyList_SET_ITEM(list, (Py_ssize_t)i, unique);
	}
	if (list)
		interrupts_clear();
	return list;
}

static PyObject *want_passthrough(PyObject *Py_UNUSED(m), PyObject *arg)
{
	int wanted = PyObject_IsTrue(arg);

	if (wanted < 0)
		return NULL;
	passthrough_wanted = wanted;
	Py_RETURN_NONE;
}

static PyObject *passthrough_granted(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(arg))
{
	return PyBool_FromLong((wire.granted & WIRE_PASSTHROUGH) != 0);
}

static PyObject *want_pagecache(PyObject *Py_UNUSED(m), PyObject *arg)
{
	if (!get_int(arg, EBADF, &shadow_wanted))
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *pagecache_granted(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(arg))
{
	return PyBool_FromLong((wire.granted & WIRE_DIRECT_IO_ALLOW_MMAP) != 0);
}

static PyObject *hooks_taken(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(arg))
{
	return PyBool_FromLong(wire.session != NULL);
}

/* The session's descriptor, or -1 with OSError(ENOTCONN) set. */
static int wire_fd(void)
{
	int fd = wire.session ? wire.fd : -1;

	if (fd < 0)
		raise_errno(ENOTCONN);
	return fd;
}

static PyObject *session_fd(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(arg))
{
	int fd = wire_fd();

	return fd < 0 ? NULL : PyLong_FromLong(fd);
}

/* Whether messages wait to be read, and none has been missing since emptied() was this. */
static PyObject *unread(PyObject *Py_UNUSED(m), PyObject *arg)
{
	struct pollfd wait = {.fd = wire.session ? fuse_session_fd(wire.session) : -1, .events = POLLIN};
	unsigned long since = PyLong_AsUnsignedLongMask(arg);

	if (PyErr_Occurred())
		return NULL;
	if (since != wire.emptied)
		Py_RETURN_FALSE;
	/* In this order: what the pager takes away meanwhile it has in its hands, or put aside, then. */
	return PyBool_FromLong((poll_now(&wait) > 0 && (wait.revents & POLLIN)) || (wire.paged && pager_holds()));
}

static PyObject *emptied(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(arg))
{
	return PyLong_FromUnsignedLong(wire.emptied);
}

static PyObject *backing_open(PyObject *Py_UNUSED(m), PyObject *arg)
{
	struct wire_backing_map map = {0};
	int id, fd = wire_fd();

	if (fd < 0 || !get_int(arg, EBADF, &map.fd))
		return NULL;
	id = ioctl(fd, WIRE_BACKING_OPEN, &map);
	return id < 0 ? raise_errno(errno) : PyLong_FromLong(id);
}

static PyObject *backing_close(PyObject *Py_UNUSED(m), PyObject *arg)
{
	int id, fd = wire_fd();
	uint32_t backing;

	if (fd < 0 || !get_int(arg, ENOENT, &id))
		return NULL;
	backing = (uint32_t)id;
	if (ioctl(fd, WIRE_BACKING_CLOSE, &backing) < 0)
		return raise_errno(errno);
	Py_RETURN_NONE;
}

PyMethodDef wire_methods[] = {
	{"current", current, METH_NOARGS, "current() -> (unique, opcode, tid, uid, gid, detail)"},
	{"interrupt_fd", interrupt_fd, METH_NOARGS, "interrupt_fd() -> int"},
	{"take_interrupts", take_interrupts, METH_NOARGS, "take_interrupts() -> list[int]"},
	{"want_passthrough", want_passthrough, METH_O, "want_passthrough(wanted)"},
	{"passthrough_granted", passthrough_granted, METH_NOARGS, "passthrough_granted() -> bool"},
	{"want_pagecache", want_pagecache, METH_O, "want_pagecache(shadow)"},
	{"pagecache_granted", pagecache_granted, METH_NOARGS, "pagecache_granted() -> bool"},
	{"pager_pid", pager_pid, METH_NOARGS, "pager_pid() -> int"},
	{"keeper_map", keeper_map, METH_VARARGS, "keeper_map(fd, offset, size) -> int"},
	{"keeper_unmap", keeper_unmap, METH_VARARGS, "keeper_unmap(address, size)"},
	{"keeper_pid", keeper_pid, METH_NOARGS, "keeper_pid() -> int"},
	{"hooks_taken", hooks_taken, METH_NOARGS, "hooks_taken() -> bool"},
	{"unread", unread, METH_O, "unread(since) -> bool"},
	{"emptied", emptied, METH_NOARGS, "emptied() -> int"},
	{"session_fd", session_fd, METH_NOARGS, "session_fd() -> int"},
	{"backing_open", backing_open, METH_O, "backing_open(fd) -> int"},
	{"backing_close", backing_close, METH_O, "backing_close(backing_id)"},
	{"shortcut_set", shortcut_set, METH_VARARGS, "shortcut_set(handler, poll_handler)"},
	{"poll_answer", poll_answer, METH_VARARGS, "poll_answer(unique, events)"},
	{NULL, NULL, 0, NULL},
};
