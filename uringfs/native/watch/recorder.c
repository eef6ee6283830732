/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EventRecorder: what watch/tracer.py does for every request, in C: it notes when a request is taken and issued, and
 * makes its event when it is complete. All that is rarer is the tracer's, which derives from it and is called for it:
 * _look_at_names(), _look_at_file() and _look_at_data() (note, request, most), _incoming(request, res, most),
 * _late(request, end), _beside(ring, user_data, res, cflags); and a batch's file(number, target).
 */
#include "events.h"

#include <string.h>

enum name { BACKLOG, CONTEXT, CQ, FILE_OF, INCOMING, LATE, BESIDE, DATA, FILES, PATHS, SQE, TAIL, TARGET, NAMES };
static const char *const spelt[NAMES] = {
	"backlog",	 "context",	   "cq",  "file", "_incoming", "_late", "_beside", "_look_at_data",
	"_look_at_file", "_look_at_names", "sqe", "tail", "target",
};
static PyObject *names[NAMES];

/* ---- a request's way ---- */

/* Those two are called for requests that are not watched, too. Borrowed; NULL perhaps with an exception. */
static Note *note_of(Recorder *r, PyObject *request)
{
	return (Note *)PyDict_GetItemWithError(r->live, request);
}

static Batch *batch_of(Recorder *r, PyObject *request)
{
	PyObject *context = PyObject_GetAttr(request, names[CONTEXT]), *found;

	if (!context)
		return NULL;
	found = PyDict_GetItemWithError(r->batches, context);
	Py_DECREF(context);
	return (Batch *)found;
}

static PyObject *nothing(void)
{
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

/* Have the tracer note what it shows of a request: `what` is one of _look_at_...(note, request, bytes of data). */
static PyObject *look_at(Recorder *r, enum name what, Note *n, PyObject *request)
{
	PyObject *most = PyLong_FromUnsignedLong(n->batch->data), *done = NULL;

	Py_INCREF(n);
	if (most)
		done = PyObject_CallMethodObjArgs((PyObject *)r, names[what], n, request, most, NULL);
	Py_DECREF(n);
	Py_XDECREF(most);
	return done;
}

static PyObject *taken(Recorder *r, Batch *b, PyObject *request, PyObject *sqe)
{
	unsigned int opcode = field(sqe, 0) & 255;
	uint64_t id = ++r->last_id, chain = chain_of(b, field(sqe, 1), id);
	PyObject *done = NULL;
	Note *n;

	if (!opcode_in(b->opcodes, opcode))
		Py_RETURN_NONE;
	n = note_make(b, id, chain, now());
	if (!n)
		return NULL;
	n->look = r->look[opcode];
	r->issuing = n->look & LOOK_NAMES ? 0 : id;
	if (PyDict_SetItem(r->live, request, (PyObject *)n) == 0)
		done = n->look & LOOK_NAMES ? look_at(r, PATHS, n, request) : Py_NewRef(Py_None);
	Py_DECREF(n);
	return done;
}

static PyObject *recorder_submit(Recorder *r, PyObject *request)
{
	Batch *b = batch_of(r, request);
	PyObject *sqe, *done;

	if (!b)
		return nothing();
	sqe = PyObject_GetAttr(request, names[SQE]);
	if (!sqe)
		return NULL;
	done = is_sqe(sqe) ? taken(r, b, request, sqe) : NULL;
	Py_DECREF(sqe);
	return done;
}

static PyObject *recorder_failed(Recorder *r, PyObject *const *args, Py_ssize_t nargs)
{
	if (!nargs_is("io_uring_req_failed", nargs, 2))
		return NULL;
	return recorder_submit(r, args[0]);
}

static PyObject *recorder_issue(Recorder *r, PyObject *request)
{
	Note *n = note_of(r, request);

	if (!n)
		return nothing();
	n->issued = n->id == r->issuing ? n->taken : now(); /* a clock costs as much as the rest of this */
	r->issuing = 0;
	n->how = HOW_INLINE;
	if (n->look & LOOK_OUTGOING && n->batch->data)
		return look_at(r, DATA, n, request);
	if (n->look & LOOK_FILE)
		return look_at(r, FILES, n, request);
	Py_RETURN_NONE;
}

/* It is not complete: note how it goes on, in place of one of those (1 << enum how). */
static PyObject *goes_on(Recorder *r, PyObject *request, enum how how, unsigned int instead_of)
{
	Note *n = note_of(r, request);

	if (!n)
		return nothing();
	if (instead_of & 1u << n->how)
		n->how = how;
	Py_RETURN_NONE;
}

static PyObject *recorder_skip_complete(Recorder *r, PyObject *request)
{
	return goes_on(r, request, HOW_ARMED, 1u << HOW_INLINE);
}

static PyObject *recorder_async_work(Recorder *r, PyObject *request)
{
	return goes_on(r, request, HOW_WORKER, ~(1u << HOW_POLL));
}

static PyObject *recorder_poll_arm(Recorder *r, PyObject *const *args, Py_ssize_t nargs)
{
	if (!nargs_is("io_uring_poll_arm", nargs, 2))
		return NULL;
	return goes_on(r, args[0], HOW_POLL, ~0u);
}

/* What a descriptor is, borrowed: bytes. Requests that follow each other mostly have the same few. */
static PyObject *batch_file(Batch *b, PyObject *sqe, PyObject *target)
{
	PyObject *file;
	unsigned i;

	for (i = 0; i < DESCRIBED; i++)
		if (b->targets[i] == target)
			return b->files[i];
	file = PyObject_CallMethodObjArgs((PyObject *)b, names[FILE_OF], PyTuple_GET_ITEM(sqe, 3), target, NULL);
	if (!file)
		return NULL;
	if (!PyBytes_Check(file)) {
		Py_DECREF(file);
		PyErr_SetString(PyExc_TypeError, "file(): bytes");
		return NULL;
	}
	i = b->next++ % DESCRIBED;
	Py_XSETREF(b->targets[i], Py_NewRef(target));
	Py_XSETREF(b->files[i], file);
	return file;
}

/* ---- events ---- */

/* Where its CQE comes to lie: cq.tail, behind what is in the backlog. -1 with an exception. */
static int64_t position(PyObject *ring)
{
	PyObject *cq = PyObject_GetAttr(ring, names[CQ]), *tail = NULL, *backlog = NULL;
	Py_ssize_t behind = -1;
	uint64_t at = 0;

	if (cq && (tail = PyObject_GetAttr(cq, names[TAIL])) && (backlog = PyObject_GetAttr(cq, names[BACKLOG]))) {
		behind = PyObject_Size(backlog);
		at = PyLong_AsUnsignedLongLongMask(tail);
	}
	Py_XDECREF(backlog);
	Py_XDECREF(tail);
	Py_XDECREF(cq);
	return behind < 0 || PyErr_Occurred() ? -1 : (int64_t)((at + behind) & UINT32_MAX);
}

/* The data of a request that has read res bytes: a new (bytes, whether there are more). */
static PyObject *incoming(Recorder *r, Note *n, PyObject *request, int res)
{
	PyObject *amount = PyLong_FromLong(res), *most = PyLong_FromUnsignedLong(n->batch->data), *found = NULL;

	if (amount && most)
		found = PyObject_CallMethodObjArgs((PyObject *)r, names[INCOMING], request, amount, most, NULL);
	Py_XDECREF(most);
	Py_XDECREF(amount);
	if (found && !(PyTuple_Check(found) && PyTuple_GET_SIZE(found) == 2)) {
		Py_CLEAR(found);
		PyErr_SetString(PyExc_TypeError, "_incoming(): (bytes, bool)");
	}
	return found;
}

static int emit_to(Recorder *r, struct event *e, Note *n, PyObject *request, PyObject *sqe)
{
	PyObject *target = PyObject_GetAttr(request, names[TARGET]), *found = NULL;
	PyObject *file = n->file, *data = n->data;
	struct texts t = {{NULL}};
	int done = -1;

	if (!target)
		return -1;
	if (target != Py_None) {
		e->flags |= e->sqe_flags & SQE_FIXED_FILE ? FLAG_FIXED : 0;
		file = batch_file(n->batch, sqe, target);
		if (!file)
			goto out;
	}
	if (e->res > 0 && n->batch->data && r->look[e->opcode] & LOOK_INCOMING) {
		found = incoming(r, n, request, e->res);
		if (!found)
			goto out;
		data = PyTuple_GET_ITEM(found, 0);
		e->flags |= PyTuple_GET_ITEM(found, 1) == Py_True ? FLAG_TRUNCATED : 0;
	}
	if (event_text(e, &t, 0, file) == 0 && event_text(e, &t, 1, n->name) == 0 &&
	    event_text(e, &t, 2, n->name2) == 0 && event_text(e, &t, 3, data) == 0)
		done = deliver(n->batch, e, &t);
out:
	Py_XDECREF(found);
	Py_DECREF(target);
	return done;
}

static int emit(Recorder *r, int kind, Note *n, PyObject *request, int res, uint32_t cflags, uint32_t at)
{
	PyObject *sqe = PyObject_GetAttr(request, names[SQE]);
	struct event e = {.version = EVENT_VERSION, .kind = kind, .res = res, .cflags = cflags, .position = at};
	int done = -1;

	if (sqe && is_sqe(sqe)) {
		event_note(&e, n);
		event_sqe(&e, sqe);
		done = choose(n->batch, e.opcode, res) ? emit_to(r, &e, n, request, sqe) : 0;
	}
	Py_XDECREF(sqe);
	return done;
}

/* The note of a request that is complete, no more among those under way: a new reference, NULL perhaps with an
   exception. */
static Note *ended(Recorder *r, PyObject *request)
{
	Note *n = note_of(r, request);
	PyObject *late;

	if (n) {
		Py_INCREF(n);
		if (PyDict_DelItem(r->live, request) < 0)
			Py_CLEAR(n);
		return n;
	}
	if (PyErr_Occurred() || PySet_Size(r->earlier) <= 0)
		return NULL;
	late = PyObject_CallMethodObjArgs((PyObject *)r, names[LATE], request, Py_True, NULL);
	if (late == Py_None)
		Py_CLEAR(late);
	return (Note *)late;
}

/* io_uring_complete(ring, request, user_data, res, cflags) */
static PyObject *recorder_complete(Recorder *r, PyObject *const *args, Py_ssize_t nargs)
{
	int64_t at;
	Note *n;
	int done;

	if (!nargs_is("io_uring_complete", nargs, 5))
		return NULL;
	if (args[1] == Py_None)
		return PyObject_CallMethodObjArgs((PyObject *)r, names[BESIDE], args[0], args[2], args[3], args[4],
						  NULL);
	n = ended(r, args[1]);
	if (!n)
		return nothing();
	at = position(args[0]);
	done = at < 0 ? -1
		      : emit(r, KIND_REQUEST, n, args[1], PyLong_AsUnsignedLongLongMask(args[3]),
			     PyLong_AsUnsignedLongLongMask(args[4]), at);
	Py_DECREF(n);
	return done < 0 ? NULL : nothing();
}

static PyObject *recorder_emit(Recorder *r, PyObject *args)
{
	PyObject *request;
	int kind, res;
	unsigned int cflags, at;
	Note *n;

	if (!PyArg_ParseTuple(args, "iO!OiII:emit", &kind, &note_type, &n, &request, &res, &cflags, &at))
		return NULL;
	return emit(r, kind, n, request, res, cflags, at) < 0 ? NULL : nothing();
}

static PyObject *recorder_late_note(Recorder *r, PyObject *batch)
{
	if (!PyObject_TypeCheck(batch, &batch_type))
		return PyErr_Format(PyExc_TypeError, "an EventBatch");
	return (PyObject *)note_make((Batch *)batch, ++r->last_id, 0, 0);
}

/* ---- the type ---- */

static int recorder_init(Recorder *r, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	PyObject *batches, *live, *earlier;
	const char *look;
	Py_ssize_t size;

	if (!PyArg_ParseTuple(args, "O!O!O!y#:EventRecorder", &PyDict_Type, &batches, &PyDict_Type, &live, &PySet_Type,
			      &earlier, &look, &size))
		return -1;
	memcpy(r->look, look, (size_t)size < sizeof(r->look) ? (size_t)size : sizeof(r->look));
	Py_XSETREF(r->batches, Py_NewRef(batches));
	Py_XSETREF(r->live, Py_NewRef(live));
	Py_XSETREF(r->earlier, Py_NewRef(earlier));
	return 0;
}

static int recorder_traverse(Recorder *r, visitproc visit, void *arg)
{
	Py_VISIT(r->batches);
	Py_VISIT(r->live);
	Py_VISIT(r->earlier);
	return 0;
}

static int recorder_clear(Recorder *r)
{
	Py_CLEAR(r->batches);
	Py_CLEAR(r->live);
	Py_CLEAR(r->earlier);
	return 0;
}

static void recorder_dealloc(Recorder *r)
{
	PyObject_GC_UnTrack(r);
	recorder_clear(r);
	Py_TYPE(r)->tp_free((PyObject *)r);
}

static PyMethodDef recorder_methods[] = {
	{"io_uring_submit_req", (PyCFunction)recorder_submit, METH_O, "of hooks.Subscriber"},
	{"io_issue_sqe", (PyCFunction)recorder_issue, METH_O, "of hooks.Subscriber"},
	{"io_issue_skip_complete", (PyCFunction)recorder_skip_complete, METH_O, "of hooks.Subscriber"},
	{"io_uring_queue_async_work", (PyCFunction)recorder_async_work, METH_O, "of hooks.Subscriber"},
	FASTCALL(io_uring_poll_arm, recorder_poll_arm, "of hooks.Subscriber"),
	FASTCALL(io_uring_req_failed, recorder_failed, "of hooks.Subscriber"),
	FASTCALL(io_uring_complete, recorder_complete, "of hooks.Subscriber"),
	{"emit", (PyCFunction)recorder_emit, METH_VARARGS, "emit(kind, note, request, res, cflags, position)"},
	{"reaped", (PyCFunction)event_reaped, METH_VARARGS, "reaped(ring, head, queues)"},
	{"late_note", (PyCFunction)recorder_late_note, METH_O, "late_note(batch) -> EventNote of what was under way"},
	{NULL, NULL, 0, NULL},
};

PyTypeObject recorder_type = {
	/* clang-format off: a macro with its own comma */
	PyVarObject_HEAD_INIT(NULL, 0)
		/* clang-format on */
		.tp_name = "uringfs.native._native.EventRecorder",
	.tp_doc = "EventRecorder(batches, live, earlier, look): one event of each request",
	.tp_basicsize = sizeof(Recorder),
	.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
	.tp_new = PyType_GenericNew,
	.tp_init = (initproc)recorder_init,
	.tp_traverse = (traverseproc)recorder_traverse,
	.tp_clear = (inquiry)recorder_clear,
	.tp_dealloc = (destructor)recorder_dealloc,
	.tp_methods = recorder_methods,
};

int watch_add_types(PyObject *module)
{
	PyTypeObject *const types[] = {&queue_type, &batch_type, &note_type, &recorder_type};
	size_t i;

	for (i = 0; i < NAMES; i++) {
		names[i] = PyUnicode_InternFromString(spelt[i]);
		if (!names[i])
			return -1;
	}
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (PyModule_AddType(module, types[i]) < 0)
			return -1;
	return 0;
}
