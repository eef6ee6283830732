/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane's core (contrib/lane/core.h) in the daemon: what of a submission need not wait is taken off the ring,
 * performed and completed here, as far as it goes; Python, which is the reference, does all the rest. For a client in its
 * control write, by pidfd_getfd(2) and process_vm_readv(2); of others, which may be gone by now, NOPs alone.
 *
 * Nothing here may block, or act with rights that the client has not: so only reads of files whose reads ask nobody for
 * credentials (uringfs/host/files/blind.py, which says on which mounts: know_mount()), pipes, and what poll(2) says of pipes
 * and sockets. Each function is called with the interpreter lock.
 */
#include "taker.h"

#define OP(number) (UINT64_C(1) << (number))
#define NOPS OP(IORING_OP_NOP)
#define OPS                                                                                                \
	(NOPS | OP(IORING_OP_READV) | OP(IORING_OP_WRITEV) | OP(IORING_OP_POLL_ADD) | OP(IORING_OP_READ) | \
	 OP(IORING_OP_WRITE))

/* ---- one call ---- */

static void begin_call(Taker *t, int tid, PyObject *caller)
{
	t->tid = tid;
	t->caller = caller;
	t->pidfd = -1;
	t->nr_files = 0;
	t->page.seen = 0;
}

static void end_call(Taker *t)
{
	for (unsigned i = 0; i < t->nr_files; i++) {
		taker_let_go(t, &t->files[i]);
		Py_XDECREF(t->files[i].what);
	}
	t->recorder = NULL;
}

/* By whose events, and in which batch's name; None, None: nobody watches. False with an exception. */
static bool begin_watching(Taker *t, PyObject *recorder, PyObject *batch)
{
	if (recorder == Py_None || batch == Py_None)
		return true;
	if (!PyObject_TypeCheck(recorder, &recorder_type) || !PyObject_TypeCheck(batch, &batch_type)) {
		PyErr_SetString(PyExc_TypeError, "an EventRecorder and an EventBatch");
		return false;
	}
	t->recorder = (Recorder *)recorder;
	t->batch = (Batch *)batch;
	t->taken = 0;
	return true;
}

/* A chain may go on behind these entries, or what it lets go have to start before what follows. */
static void say_what_is_taken(Taker *t, uint64_t ops, bool links)
{
	t->page.ops[0] = (uint32_t)ops;
	t->page.ops[1] = (uint32_t)(ops >> 32);
	t->page.sqe_flags = LANE_CQE_SKIP_SUCCESS | (links ? LANE_LINKS : 0u);
}

static PyObject *taker_take(PyObject *self, PyObject *args)
{
	unsigned int entries, sq_head, cq_tail, room, cq_head, head_sq, head_cq;
	Taker *t = (Taker *)self;
	struct lane_pass p;
	PyObject *caller, *recorder = Py_None, *batch = Py_None;
	int tid, whole;

	if (!PyArg_ParseTuple(args, "iOIpIIIIII|OO:take", &tid, &caller, &entries, &whole, &sq_head, &cq_tail, &room,
			      &cq_head, &head_sq, &head_cq, &recorder, &batch))
		return NULL;
	if (!t->lane.rings) {
		PyErr_SetString(PyExc_ValueError, "the ring's memory has been released");
		return NULL;
	}
	if (!begin_watching(t, recorder, batch))
		return NULL;
	LANE_CLEAR(&p, sizeof(p));
	p.lane = &t->lane;
	p.head = sq_head;
	p.tail = p.published = cq_tail;
	p.room = room;
	p.left = entries;
	p.chained = true; /* nothing leaves the lane: there are no workers */
	t->page.cq_head = cq_head;
	t->page.cq_heads[0] = head_sq;
	t->page.cq_heads[1] = head_cq;
	begin_call(t, tid, caller);
	say_what_is_taken(t, caller == Py_None ? NOPS : OPS, whole);
	lane_take(&p);
	end_call(t);
	if (!p.taken)
		Py_RETURN_NONE;
	return Py_BuildValue("(IIIIIIO)", p.head, p.tail, p.room, t->page.cq_head, t->page.cq_heads[0],
			     t->page.cq_heads[1], t->page.seen & LANE_CQE_SKIP_SUCCESS ? Py_True : Py_False);
}

/* ---- the object ---- */

static void taker_drop(Taker *t)
{
	if (t->lane.rings) {
		t->lane.rings = NULL;
		PyBuffer_Release(&t->view);
	}
}

static void taker_dealloc(PyObject *obj)
{
	PyTypeObject *type = Py_TYPE(obj);

	taker_drop((Taker *)obj);
	type->tp_free(obj);
	Py_DECREF(type);
}

static PyObject *taker_release(PyObject *self, PyObject *Py_UNUSED(arg))
{
	taker_drop((Taker *)self);
	Py_RETURN_NONE;
}

/* Whether all that the core reaches lies in the buffer. */
static bool fits(const Taker *t, uint64_t mirror, uint64_t sqes)
{
	const struct lane *l = &t->lane;
	uint64_t size = (uint64_t)t->view.len, cqes = LANE_CQES + (uint64_t)l->cq_entries * l->cqe_size;
	uint64_t array = l->sq_array + (l->sq_array ? l->sq_entries * sizeof(uint32_t) : 0);

	return (uintptr_t)t->view.buf % 64 == 0 && cqes <= size && array <= size && l->sq_array % 4 == 0 &&
	       mirror % 64 == 0 && mirror <= size && cqes <= size - mirror && sqes % 64 == 0 && sqes <= size &&
	       (uint64_t)l->sq_entries * l->sqe_size <= size - sqes && !(l->sq_entries & (l->sq_entries - 1)) &&
	       !(l->cq_entries & (l->cq_entries - 1)) && l->sq_entries && l->cq_entries;
}

static PyObject *taker_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	unsigned long long mirror, sqes;
	PyObject *buffer;
	Taker *t = (Taker *)type->tp_alloc(type, 0);

	if (!t)
		return NULL;
	if (!PyArg_ParseTuple(args, "OIKKIIIII:Taker", &buffer, &t->lane.setup_flags, &mirror, &sqes,
			      &t->lane.sq_entries, &t->lane.cq_entries, &t->lane.sq_array, &t->lane.sqe_size,
			      &t->lane.cqe_size) ||
	    PyObject_GetBuffer(buffer, &t->view, PyBUF_SIMPLE | PyBUF_WRITABLE) < 0) {
		Py_DECREF(t);
		return NULL;
	}
	t->lane.rings = t->view.buf;
	if (!fits(t, mirror, sqes)) {
		PyErr_SetString(PyExc_ValueError, "the queues do not lie in the buffer");
		Py_DECREF(t);
		return NULL;
	}
	t->lane.host = &taker_host;
	t->lane.page = &t->page;
	t->lane.mirror = t->lane.rings + mirror;
	t->lane.sqes = t->lane.rings + sqes;
	return (PyObject *)t;
}

static PyObject *taker_know(PyObject *Py_UNUSED(m), PyObject *arg)
{
	unsigned long long mount = PyLong_AsUnsignedLongLong(arg);

	if (PyErr_Occurred())
		return NULL;
	taker_know_mount(mount);
	Py_RETURN_NONE;
}

static PyMethodDef taker_methods[] = {
	{"take", taker_take, METH_VARARGS,
	 "take(tid, caller, entries, whole, sq_head, cq_tail, room, cq_head, head_sq, head_cq, recorder, batch)"},
	{"release", taker_release, METH_NOARGS, "release(): give the buffer back"},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot taker_slots[] = {
	{Py_tp_new, taker_new},
	{Py_tp_dealloc, taker_dealloc},
	{Py_tp_methods, taker_methods},
	{0, NULL},
};

static PyType_Spec taker_spec = {
	.name = "uringfs.native._native.Taker",
	.basicsize = sizeof(Taker),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = taker_slots,
};

PyMethodDef lane_methods[] = {
	{"know_mount", taker_know, METH_O,
	 "know_mount(mount): reads of its files ask nobody for credentials; 0: of none"},
	{NULL, NULL, 0, NULL},
};

int lane_add_types(PyObject *module)
{
	PyObject *type = PyType_FromSpec(&taker_spec);
	int ret = type ? PyModule_AddObjectRef(module, "Taker", type) : -1;

	Py_XDECREF(type);
	return ret;
}
