/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words: 32-bit words of shared memory with the memory order of liburing's barrier.h. One object holds
 * one buffer exported, so an access costs no buffer protocol. All words the client shares are reached
 * through here, bounds and alignment checked.
 */
#include "native.h"

#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
	PyObject_HEAD
	Py_buffer view;
	uint32_t *words; /* NULL: released */
} Words;

static void words_drop(Words *self)
{
	if (self->words) {
		self->words = NULL;
		PyBuffer_Release(&self->view);
	}
}

static void words_dealloc(PyObject *obj)
{
	PyTypeObject *type = Py_TYPE(obj);

	words_drop((Words *)obj);
	type->tp_free(obj);
	Py_DECREF(type);
}

static PyObject *words_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"", NULL};
	PyObject *buffer;
	Words *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Words", names, &buffer))
		return NULL;
	self = (Words *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	if (PyObject_GetBuffer(buffer, &self->view, PyBUF_SIMPLE | PyBUF_WRITABLE) < 0) {
		Py_DECREF(self);
		return NULL;
	}
	self->words = self->view.buf;
	if (self->view.len && (uintptr_t)self->view.buf % sizeof(uint32_t)) {
		PyErr_SetString(PyExc_ValueError, "the buffer does not start at a multiple of 4");
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

/* The word at byte offset `offset`, or NULL with an exception set. */
static inline uint32_t *word_at(PyObject *obj, PyObject *offset)
{
	Words *self = (Words *)obj;
	Py_ssize_t off = PyLong_AsSsize_t(offset);

	if (off == -1 && PyErr_Occurred()) {
		if (!PyErr_ExceptionMatches(PyExc_OverflowError))
			return NULL;
		PyErr_Clear(); /* off is -1: out of range */
	}
	if (!self->words) {
		PyErr_SetString(PyExc_ValueError, "Words has been released");
		return NULL;
	}
	if (off < 0 || off > self->view.len - (Py_ssize_t)sizeof(uint32_t)) {
		PyErr_Format(PyExc_IndexError, "no 32-bit word at %R in %zd bytes", offset, self->view.len);
		return NULL;
	}
	if (off % (Py_ssize_t)sizeof(uint32_t)) {
		PyErr_Format(PyExc_ValueError, "offset %zd is not a multiple of 4", off);
		return NULL;
	}
	return self->words + off / (Py_ssize_t)sizeof(uint32_t);
}

/* The operands of a read-modify-write or store; value wraps to 32 bits, as __u32 does. */
static inline uint32_t *word_and_value(const char *name, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
				       uint32_t *value)
{
	unsigned long v;

	if (!nargs_is(name, nargs, 2))
		return NULL;
	v = PyLong_AsUnsignedLongMask(args[1]);
	if (v == (unsigned long)-1 && PyErr_Occurred())
		return NULL;
	*value = (uint32_t)v;
	return word_at(self, args[0]);
}

static PyObject *words_load(PyObject *self, PyObject *offset)
{
	uint32_t *word = word_at(self, offset);

	return word ? PyLong_FromUnsignedLong(__atomic_load_n(word, __ATOMIC_ACQUIRE)) : NULL;
}

static PyObject *words_store(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
	uint32_t value, *word = word_and_value("store", self, args, nargs, &value);

	if (!word)
		return NULL;
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	Py_RETURN_NONE;
}

static PyObject *words_fetch_or(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
	uint32_t value, *word = word_and_value("fetch_or", self, args, nargs, &value);

	return word ? PyLong_FromUnsignedLong(__atomic_fetch_or(word, value, __ATOMIC_SEQ_CST)) : NULL;
}

static PyObject *words_fetch_and(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
	uint32_t value, *word = word_and_value("fetch_and", self, args, nargs, &value);

	return word ? PyLong_FromUnsignedLong(__atomic_fetch_and(word, value, __ATOMIC_SEQ_CST)) : NULL;
}

static PyObject *words_fence(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(arg))
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	Py_RETURN_NONE;
}

static PyObject *words_wake(PyObject *self, PyObject *offset)
{
	uint32_t *word = word_at(self, offset);

	if (!word)
		return NULL;
	return PyLong_FromLong(syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
}

/* size bytes at offset, or NULL with an exception set */
static char *bytes_at(Words *self, PyObject *offset, Py_ssize_t size)
{
	Py_ssize_t off = PyLong_AsSsize_t(offset);

	if (off == -1 && PyErr_Occurred())
		return NULL;
	if (!self->words) {
		PyErr_SetString(PyExc_ValueError, "Words has been released");
		return NULL;
	}
	if (off < 0 || size < 0 || size > self->view.len || off > self->view.len - size) {
		PyErr_Format(PyExc_IndexError, "no %zd bytes at %R in %zd bytes", size, offset, self->view.len);
		return NULL;
	}
	return (char *)self->view.buf + off;
}

static PyObject *words_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
	Py_ssize_t size;
	char *start;

	if (!nargs_is("read", nargs, 2))
		return NULL;
	size = PyLong_AsSsize_t(args[1]);
	if (size == -1 && PyErr_Occurred())
		return NULL;
	start = bytes_at((Words *)self, args[0], size);
	return start ? PyBytes_FromStringAndSize(start, size) : NULL;
}

static PyObject *words_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
	Py_buffer data;
	char *start;

	if (!nargs_is("write", nargs, 2) || PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) < 0)
		return NULL;
	start = bytes_at((Words *)self, args[0], data.len);
	if (start)
		memcpy(start, data.buf, (size_t)data.len);
	PyBuffer_Release(&data);
	if (!start)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *words_release(PyObject *self, PyObject *Py_UNUSED(arg))
{
	words_drop((Words *)self);
	Py_RETURN_NONE;
}

static PyObject *words_enter(PyObject *self, PyObject *Py_UNUSED(arg))
{
	return Py_NewRef(self);
}

static PyObject *words_exit(PyObject *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
	return words_release(self, NULL);
}

static Py_ssize_t words_len(PyObject *self)
{
	return ((Words *)self)->words ? ((Words *)self)->view.len / (Py_ssize_t)sizeof(uint32_t) : 0;
}

#define METHOD(name, flags, doc) {#name, (PyCFunction)(void (*)(void))words_##name, flags, doc}
static PyMethodDef words_methods[] = {
	METHOD(load, METH_O, "load(offset) -> int: smp_load_acquire"),
	METHOD(store, METH_FASTCALL, "store(offset, value): smp_store_release"),
	METHOD(fetch_or, METH_FASTCALL, "fetch_or(offset, value) -> int: the value before"),
	METHOD(fetch_and, METH_FASTCALL, "fetch_and(offset, value) -> int: the value before"),
	METHOD(fence, METH_NOARGS, "fence(): smp_mb: what was stored before is seen before what is loaded behind"),
	METHOD(wake, METH_O, "wake(offset) -> int: FUTEX_WAKE: how many slept on the word"),
	METHOD(read, METH_FASTCALL, "read(offset, size) -> bytes: without an order of its own"),
	METHOD(write, METH_FASTCALL, "write(offset, data): without an order of its own"),
	METHOD(release, METH_NOARGS, "release(): give the buffer back; later accesses raise ValueError"),
	{"__enter__", words_enter, METH_NOARGS, NULL},
	{"__exit__", (PyCFunction)(void (*)(void))words_exit, METH_FASTCALL, NULL},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot words_slots[] = {
	{Py_tp_new, words_new},
	{Py_tp_dealloc, words_dealloc},
	{Py_tp_methods, words_methods},
	{Py_sq_length, words_len},
	{Py_tp_doc, "Words(buffer): atomic access to the 32-bit words of a writable buffer"},
	{0, NULL},
};

static PyType_Spec words_spec = {
	.name = "uringfs._words.Words",
	.basicsize = sizeof(Words),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = words_slots,
};

static struct PyModuleDef words_module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "uringfs._words",
	.m_doc = "Words of shared memory; see _words.pyi.",
	.m_size = -1,
};

/* A module of its own, without libfuse: clients need no more than this. */
PyMODINIT_FUNC PyInit__words(void)
{
	PyObject *module = PyModule_Create(&words_module), *type = PyType_FromSpec(&words_spec);

	if (!module || !type || PyModule_AddObjectRef(module, "Words", type) < 0)
		Py_CLEAR(module);
	Py_XDECREF(type);
	return module;
}
