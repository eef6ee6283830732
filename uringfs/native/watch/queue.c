/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EventQueue: one reader's events, one behind the other as bytes. Bounded; what does not fit is lost and counted, and
 * an event of its own says so at the place where it is missing.
 */
#include "events.h"

#include <string.h>
#include <structmember.h>

#define KEPT (512 << 10) /* bytes that an empty queue may keep: of some that come between two reads */
#define FIRST (64 << 10)

static size_t queue_size(const Queue *q)
{
	return q->end - q->begin;
}

/* Room for so many bytes more at the end: -1 with an exception. */
static int queue_reserve(Queue *q, size_t more)
{
	size_t used = queue_size(q), capacity = q->capacity ? q->capacity : FIRST;
	char *bigger;

	if (q->end + more <= q->capacity)
		return 0;
	if (q->begin && used + more <= q->capacity / 2) {
		memmove(q->buffer, q->buffer + q->begin, used);
		q->begin = 0;
		q->end = used;
		return 0;
	}
	while (capacity < q->end + more)
		capacity *= 2;
	bigger = PyMem_Realloc(q->buffer, capacity);
	if (!bigger) {
		PyErr_NoMemory();
		return -1;
	}
	q->buffer = bigger;
	q->capacity = capacity;
	return 0;
}

static void queue_copy(Queue *q, const void *data, size_t size)
{
	memcpy(q->buffer + q->end, data, size);
	q->end += size;
}

static void queue_lose(Queue *q)
{
	q->lost++;
	q->total_lost++;
}

bool queue_room(Queue *q)
{
	if (queue_size(q) < q->most)
		return true;
	queue_lose(q);
	return false;
}

static struct event lost_event(Queue *q)
{
	struct event event = {.size = sizeof(event), .version = EVENT_VERSION, .kind = EVENT_LOST, .id = q->lost};

	q->lost = 0;
	return event;
}

/* Begin an event of that size; *first: nothing was there before. */
static int queue_begin(Queue *q, size_t size, bool *first)
{
	*first = q->begin == q->end;
	if (queue_reserve(q, size + sizeof(struct event)) < 0)
		return -1;
	if (q->lost) {
		struct event lost = lost_event(q);

		queue_copy(q, &lost, sizeof(lost));
	}
	return 0;
}

static int queue_wake(Queue *q, bool first)
{
	PyObject *done;

	if (!first)
		return 0;
	done = PyObject_CallNoArgs(q->wake);
	Py_XDECREF(done);
	return done ? 0 : -1;
}

int queue_put(Queue *q, const struct event *head, const struct texts *texts)
{
	bool first;
	int i;

	if (queue_begin(q, head->size, &first) < 0)
		return -1;
	queue_copy(q, head, sizeof(*head));
	for (i = 0; i < 4; i++)
		if (head->lengths[i])
			queue_copy(q, texts->at[i], head->lengths[i]);
	return queue_wake(q, first);
}

static PyObject *queue_push(Queue *q, PyObject *event)
{
	bool first;
	char *data;
	Py_ssize_t size;

	if (PyBytes_AsStringAndSize(event, &data, &size) < 0)
		return NULL;
	if ((size_t)size < sizeof(struct event) || ((struct event *)data)->size != (size_t)size)
		return PyErr_Format(PyExc_ValueError, "not one event");
	if (!queue_room(q))
		Py_RETURN_NONE;
	if (queue_begin(q, size, &first) < 0)
		return NULL;
	queue_copy(q, data, size);
	if (queue_wake(q, first) < 0)
		return NULL;
	Py_RETURN_NONE;
}

/* Bytes of the first event. */
static size_t queue_first(const Queue *q)
{
	uint32_t size;

	memcpy(&size, q->buffer + q->begin, sizeof(size));
	return size;
}

static PyObject *queue_remove(Queue *q, size_t size)
{
	PyObject *found = PyBytes_FromStringAndSize(q->buffer + q->begin, size);

	if (!found)
		return NULL;
	q->begin += size;
	if (q->begin < q->end)
		return found;
	q->begin = q->end = 0;
	if (q->capacity > KEPT) {
		PyMem_Free(q->buffer);
		q->buffer = NULL;
		q->capacity = 0;
	}
	return found;
}

static PyObject *queue_next(Queue *q, PyObject *Py_UNUSED(none))
{
	struct event lost;

	if (q->begin < q->end)
		return queue_remove(q, queue_first(q));
	if (!q->lost)
		return PyErr_Format(PyExc_IndexError, "no event");
	lost = lost_event(q);
	return PyBytes_FromStringAndSize((char *)&lost, sizeof(lost));
}

static PyObject *queue_take(Queue *q, PyObject *most)
{
	size_t room = PyLong_AsSize_t(most), begin = q->begin, size;

	if (room == (size_t)-1 && PyErr_Occurred())
		return NULL;
	if (queue_size(q) <= room) {
		room = queue_size(q);
	} else {
		for (; (size = queue_first(q)) <= room; room -= size)
			q->begin += size;
		room = q->begin - begin;
		q->begin = begin;
	}
	return room ? queue_remove(q, room) : PyBytes_FromStringAndSize(NULL, 0);
}

static PyObject *queue_want(Queue *q, PyObject *args)
{
	const char *mask;
	Py_ssize_t size;
	int failed;

	if (!PyArg_ParseTuple(args, "y#p:want", &mask, &size, &failed))
		return NULL;
	if (size != sizeof(q->opcodes))
		return PyErr_Format(PyExc_ValueError, "a mask has %zu bytes", sizeof(q->opcodes));
	memcpy(q->opcodes, mask, sizeof(q->opcodes));
	q->failed = failed;
	Py_RETURN_NONE;
}

static PyObject *queue_get_size(Queue *q, void *Py_UNUSED(closure))
{
	return PyLong_FromSize_t(queue_size(q));
}

static PyObject *queue_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	PyObject *wake;
	Py_ssize_t most;
	Queue *q;

	if (!PyArg_ParseTuple(args, "nO:EventQueue", &most, &wake))
		return NULL;
	q = (Queue *)type->tp_alloc(type, 0);
	if (!q)
		return NULL;
	q->most = most;
	memset(q->opcodes, 0xff, sizeof(q->opcodes));
	q->wake = Py_NewRef(wake);
	return (PyObject *)q;
}

static int queue_traverse(Queue *q, visitproc visit, void *arg)
{
	Py_VISIT(q->wake);
	return 0;
}

static int queue_clear(Queue *q)
{
	Py_CLEAR(q->wake);
	return 0;
}

static void queue_dealloc(Queue *q)
{
	PyObject_GC_UnTrack(q);
	queue_clear(q);
	PyMem_Free(q->buffer);
	Py_TYPE(q)->tp_free((PyObject *)q);
}

static PyMethodDef queue_methods[] = {
	{"push", (PyCFunction)queue_push, METH_O, "push(event)"},
	{"next", (PyCFunction)queue_next, METH_NOARGS, "next() -> bytes of one event. IndexError: there is none"},
	{"take", (PyCFunction)queue_take, METH_O, "take(most) -> bytes: whole events"},
	{"want", (PyCFunction)queue_want, METH_VARARGS, "want(mask of opcodes, failures alone)"},
	{NULL, NULL, 0, NULL},
};

static PyMemberDef queue_members[] = {
	{"lost", T_ULONGLONG, offsetof(Queue, lost), READONLY, "events, since the last that was kept"},
	{"total_lost", T_ULONGLONG, offsetof(Queue, total_lost), READONLY, "events"},
	{NULL, 0, 0, 0, NULL},
};

static PyGetSetDef queue_getset[] = {
	{"size", (getter)queue_get_size, NULL, "bytes of events that wait", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject queue_type = {
	/* clang-format off: a macro with its own comma */
	PyVarObject_HEAD_INIT(NULL, 0)
		/* clang-format on */
		.tp_name = "uringfs.native._native.EventQueue",
	.tp_doc = "EventQueue(most, wake): a reader's events",
	.tp_basicsize = sizeof(Queue),
	.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.tp_new = queue_new,
	.tp_traverse = (traverseproc)queue_traverse,
	.tp_clear = (inquiry)queue_clear,
	.tp_dealloc = (destructor)queue_dealloc,
	.tp_methods = queue_methods,
	.tp_members = queue_members,
	.tp_getset = queue_getset,
};
