/* SPDX-License-Identifier: Apache-2.0 */
/* What is noted of the requests under way, and how an event is made of it. */
#include "events.h"

#include <string.h>
#include <structmember.h>
#include <time.h>

enum { SQE_FIELDS = 14 };

uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

/* ---- batches ---- */

static PyObject *batch_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	PyObject *queues;
	const char *comm, *mask;
	Py_ssize_t comm_size, mask_size, i;
	Batch *b = (Batch *)type->tp_alloc(type, 0);

	if (!b)
		return NULL;
	if (!PyArg_ParseTuple(args, "KIIIy#O!y#I", &b->ring, &b->uid, &b->pid, &b->tid, &comm, &comm_size,
			      &PyTuple_Type, &queues, &mask, &mask_size, &b->data))
		goto failed;
	for (i = 0; i < PyTuple_GET_SIZE(queues); i++)
		if (!PyObject_TypeCheck(PyTuple_GET_ITEM(queues, i), &queue_type)) {
			PyErr_SetString(PyExc_TypeError, "a tuple of EventQueue");
			goto failed;
		}
	memcpy(b->comm, comm, (size_t)comm_size < sizeof(b->comm) ? (size_t)comm_size : sizeof(b->comm));
	memcpy(b->opcodes, mask, (size_t)mask_size < sizeof(b->opcodes) ? (size_t)mask_size : sizeof(b->opcodes));
	b->queues = Py_NewRef(queues);
	b->queued = now();
	return (PyObject *)b;
failed:
	Py_DECREF(b);
	return NULL;
}

static void batch_forget(Batch *b)
{
	unsigned i;

	for (i = 0; i < DESCRIBED; i++) {
		Py_CLEAR(b->targets[i]);
		Py_CLEAR(b->files[i]);
	}
}

/* Another call begins, for which the same holds. */
static PyObject *batch_again(Batch *b, PyObject *Py_UNUSED(none))
{
	batch_forget(b);
	b->chain = 0;
	b->queued = now();
	Py_RETURN_NONE;
}

static void batch_dealloc(Batch *b)
{
	Py_XDECREF(b->queues);
	batch_forget(b);
	Py_TYPE(b)->tp_free((PyObject *)b);
}

static PyMethodDef batch_methods[] = {
	{"again", (PyCFunction)batch_again, METH_NOARGS, "again(): another call begins, for which the same holds"},
	{NULL, NULL, 0, NULL},
};

PyTypeObject batch_type = {
	/* clang-format off: a macro with its own comma */
	PyVarObject_HEAD_INIT(NULL, 0)
		/* clang-format on */
		.tp_name = "uringfs.native._native.EventBatch",
	.tp_doc = "EventBatch(ring, uid, pid, tid, comm, queues, mask of opcodes, bytes of data)",
	.tp_basicsize = sizeof(Batch),
	.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.tp_new = batch_new,
	.tp_dealloc = (destructor)batch_dealloc,
	.tp_methods = batch_methods,
};

/* ---- notes ---- */

Note *note_make(Batch *b, uint64_t id, uint64_t chain, uint64_t taken)
{
	Note *n = (Note *)note_type.tp_alloc(&note_type, 0);

	if (!n)
		return NULL;
	n->batch = (Batch *)Py_NewRef(b);
	n->id = id;
	n->chain = chain;
	n->queued = b->queued;
	n->taken = taken;
	return n;
}

static void note_dealloc(Note *n)
{
	Py_XDECREF(n->batch);
	Py_XDECREF(n->file);
	Py_XDECREF(n->name);
	Py_XDECREF(n->name2);
	Py_XDECREF(n->data);
	Py_TYPE(n)->tp_free((PyObject *)n);
}

static PyMemberDef note_members[] = {
	{"batch", T_OBJECT_EX, offsetof(Note, batch), READONLY, "of its call"},
	{"how", T_UBYTE, offsetof(Note, how), 0, "record.How"},
	{"flags", T_UBYTE, offsetof(Note, flags), 0, "of the event"},
	{"file", T_OBJECT, offsetof(Note, file), 0, "bytes or None"},
	{"name", T_OBJECT, offsetof(Note, name), 0, "bytes or None"},
	{"name2", T_OBJECT, offsetof(Note, name2), 0, "bytes or None"},
	{"data", T_OBJECT, offsetof(Note, data), 0, "bytes or None"},
	{NULL, 0, 0, 0, NULL},
};

PyTypeObject note_type = {
	/* clang-format off: a macro with its own comma */
	PyVarObject_HEAD_INIT(NULL, 0)
		/* clang-format on */
		.tp_name = "uringfs.native._native.EventNote",
	.tp_doc = "a request under way",
	.tp_basicsize = sizeof(Note),
	.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.tp_dealloc = (destructor)note_dealloc,
	.tp_members = note_members,
};

/* ---- events ---- */

bool is_sqe(PyObject *sqe)
{
	if (PyTuple_Check(sqe) && PyTuple_GET_SIZE(sqe) == SQE_FIELDS)
		return true;
	PyErr_SetString(PyExc_TypeError, "not an Sqe");
	return false;
}

void event_sqe(struct event *e, PyObject *sqe)
{
	e->opcode = field(sqe, 0);
	e->sqe_flags = field(sqe, 1);
	e->ioprio = field(sqe, 2);
	e->fd = field(sqe, 3);
	e->off = field(sqe, 4);
	e->addr = field(sqe, 5);
	e->len = field(sqe, 6);
	e->rw_flags = field(sqe, 7);
	e->user_data = field(sqe, 8);
	e->buf_index = field(sqe, 9);
	e->personality = field(sqe, 10);
	e->file_index = field(sqe, 11);
	e->addr3 = field(sqe, 12);
	e->pad = field(sqe, 13);
}

void event_batch(struct event *e, const Batch *b)
{
	e->ring = b->ring;
	e->uid = b->uid;
	e->pid = b->pid;
	e->tid = b->tid;
	e->queued = b->queued;
	memcpy(e->comm, b->comm, sizeof(e->comm));
}

void event_note(struct event *e, const Note *n)
{
	event_batch(e, n->batch);
	e->how = n->how;
	e->flags = n->flags;
	e->id = n->id;
	e->chain = n->chain;
	e->taken = n->taken;
	e->issued = n->issued;
	e->queued = n->queued;
}

int event_text(struct event *e, struct texts *t, int i, PyObject *bytes)
{
	if (!bytes || bytes == Py_None)
		return 0;
	if (!PyBytes_Check(bytes) || PyBytes_GET_SIZE(bytes) > UINT16_MAX) {
		PyErr_SetString(PyExc_TypeError, "a text of an event: up to 65535 bytes");
		return -1;
	}
	t->at[i] = PyBytes_AS_STRING(bytes);
	e->lengths[i] = PyBytes_GET_SIZE(bytes);
	return 0;
}

int deliver(Batch *b, struct event *e, const struct texts *t)
{
	Py_ssize_t i;

	e->size = sizeof(*e) + e->lengths[0] + e->lengths[1] + e->lengths[2] + e->lengths[3];
	e->completed = now();
	for (i = 0; i < PyTuple_GET_SIZE(b->queues); i++) {
		Queue *q = (Queue *)PyTuple_GET_ITEM(b->queues, i);

		if (q->chosen && queue_put(q, e, t) < 0)
			return -1;
	}
	return 0;
}

bool choose(Batch *b, unsigned int opcode, int res)
{
	Py_ssize_t i;
	bool any = false;

	for (i = 0; i < PyTuple_GET_SIZE(b->queues); i++) {
		Queue *q = (Queue *)PyTuple_GET_ITEM(b->queues, i);

		q->chosen = opcode_in(q->opcodes, opcode) && (res < 0 || !q->failed) && queue_room(q);
		any |= q->chosen;
	}
	return any;
}

/* reaped(ring, head, queues): an event of no request */
PyObject *event_reaped(PyObject *Py_UNUSED(recorder), PyObject *args)
{
	struct event e = {.size = sizeof(e), .version = EVENT_VERSION, .kind = KIND_REAPED};
	const struct texts none = {{NULL}};
	unsigned long long ring;
	unsigned int head;
	PyObject *queues;
	Py_ssize_t i;

	if (!PyArg_ParseTuple(args, "KIO!:reaped", &ring, &head, &PyTuple_Type, &queues))
		return NULL;
	e.ring = ring;
	e.position = head;
	e.completed = now();
	for (i = 0; i < PyTuple_GET_SIZE(queues); i++) {
		Queue *q = (Queue *)PyTuple_GET_ITEM(queues, i);

		if (!PyObject_TypeCheck((PyObject *)q, &queue_type))
			return PyErr_Format(PyExc_TypeError, "a tuple of EventQueue");
		if (queue_room(q) && queue_put(q, &e, &none) < 0)
			return NULL;
	}
	Py_RETURN_NONE;
}
