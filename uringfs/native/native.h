/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of uringfs.native._native share. Each file exports one array of methods, or a type (identity.c
 * both); module.c joins them. words.c is a module of its own, uringfs._words. Everything is built
 * with hidden visibility: the module is loaded with RTLD_GLOBAL, and only the hooks of fusewire.c may be
 * seen by other libraries.
 */
#ifndef URINGFS_NATIVE_H
#define URINGFS_NATIVE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

extern PyMethodDef wire_methods[];
extern PyMethodDef vm_methods[];
extern PyMethodDef maps_methods[];
extern PyMethodDef files_methods[];
extern PyMethodDef socket_methods[];
extern PyMethodDef epoll_methods[];
extern PyMethodDef identity_methods[];
extern PyMethodDef lane_methods[];
extern PyMethodDef patience_methods[];
int identity_add_types(PyObject *module);
int watcher_add_types(PyObject *module);
int watch_add_types(PyObject *module);
int points_add_types(PyObject *module);
int lane_add_types(PyObject *module);

/* patience.c: around a call that a client's socket must not have the main thread wait in; close(2) like that. */
bool patience_begin(void);
void patience_end(bool begun);
void close_soon(int fd);

/* poll(2) of one descriptor, now. Even then it looks for signals (do_poll()), which are no answer. */
static inline int poll_now(struct pollfd *wait)
{
	int n;

	do
		n = poll(wait, 1, 0);
	while (n < 0 && errno == EINTR);
	return n;
}

/* raise OSError(err) */
static inline PyObject *raise_errno(int err)
{
	errno = err;
	return PyErr_SetFromErrno(PyExc_OSError);
}

static inline bool nargs_is(const char *name, Py_ssize_t have, Py_ssize_t want)
{
	if (have == want)
		return true;
	PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments (%zd given)", name, want, have);
	return false;
}

/* A C int. A number that is none raises OSError(err), so hostile values become the kernel's errno. */
static inline bool get_int(PyObject *obj, int err, int *out)
{
	int overflow;
	long long v = PyLong_AsLongLongAndOverflow(obj, &overflow);

	if (v == -1 && !overflow && PyErr_Occurred())
		return false;
	if (overflow || v < INT32_MIN || v > INT32_MAX) {
		raise_errno(err);
		return false;
	}
	*out = (int)v;
	return true;
}

/* An unsigned 64-bit address; outside of 0..2^64-1 nothing can be mapped: EFAULT. */
static inline bool get_addr(PyObject *obj, uint64_t *out)
{
	*out = PyLong_AsUnsignedLongLong(obj);
	if (*out != UINT64_MAX || !PyErr_Occurred())
		return true;
	if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
		PyErr_Clear();
		raise_errno(EFAULT);
	}
	return false;
}

/* A row of a method table, for a function that is called with an array of arguments */
#define FASTCALL(name, func, doc) {#name, (PyCFunction)(void (*)(void))func, METH_FASTCALL, doc}

#endif /* URINGFS_NATIVE_H */
