/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's memory: process_vm_readv(2), process_vm_writev(2). Failures are OSError with the
 * kernel's errno; the interpreter lock is released around every system call that may wait.
 */
#include "../native.h"

#include <limits.h>
#include <sys/uio.h>

/* `ranges` as iovecs; sum gets their length. -1 with an exception set. */
static Py_ssize_t get_iovecs(PyObject *ranges, struct iovec *iov, size_t *sum)
{
	PyObject *seq = PySequence_Fast(ranges, "ranges must be a sequence of (address, length)");
	Py_ssize_t i, n;

	if (!seq)
		return -1;
	n = PySequence_Fast_GET_SIZE(seq);
	*sum = 0;
	if (n > IOV_MAX) {
		raise_errno(EINVAL);
		n = -1;
	}
	for (i = 0; i < n; i++) {
		PyObject *pair = PySequence_Fast_GET_ITEM(seq, i);
		uint64_t addr;
		Py_ssize_t len;

		if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
			PyErr_SetString(PyExc_TypeError, "a range is a tuple (address, length)");
			break;
		}
		if (!get_addr(PyTuple_GET_ITEM(pair, 0), &addr))
			break;
		len = PyLong_AsSsize_t(PyTuple_GET_ITEM(pair, 1));
		if (len == -1 && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_OverflowError))
			break;
		/* import_iovec: a length or a sum that does not fit ssize_t */
		if (len < 0 || (size_t)len > (size_t)SSIZE_MAX - *sum) {
			PyErr_Clear();
			raise_errno(EINVAL);
			break;
		}
		iov[i].iov_base = (void *)(uintptr_t)addr;
		iov[i].iov_len = (size_t)len;
		*sum += (size_t)len;
	}
	Py_DECREF(seq);
	return i == n ? n : -1;
}

static ssize_t vm_copy(bool write, int tid, void *mem, size_t size, const struct iovec *remote, size_t n)
{
	struct iovec local = {mem, size};
	ssize_t ret;

	Py_BEGIN_ALLOW_THREADS
	ret = write ? process_vm_writev(tid, &local, 1, remote, n, 0) : process_vm_readv(tid, &local, 1, remote, n, 0);
	Py_END_ALLOW_THREADS
	return ret;
}

static PyObject *vm_read(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	uint64_t addr;
	Py_ssize_t size;
	PyObject *data;
	struct iovec remote;
	ssize_t n;
	int tid, err;

	if (!nargs_is("vm_read", nargs, 3) || !get_int(args[0], ESRCH, &tid) || !get_addr(args[1], &addr))
		return NULL;
	size = PyLong_AsSsize_t(args[2]);
	if (size < 0)
		return PyErr_Occurred() ? NULL : raise_errno(EINVAL);
	data = PyBytes_FromStringAndSize(NULL, size);
	if (!data || size == 0)
		return data;
	remote = (struct iovec){(void *)(uintptr_t)addr, (size_t)size};
	n = vm_copy(false, tid, PyBytes_AS_STRING(data), (size_t)size, &remote, 1);
	if (n == size)
		return data;
	err = n < 0 ? errno : EFAULT;
	Py_DECREF(data);
	return raise_errno(err);
}

static PyObject *vm_readv(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	struct iovec remote[IOV_MAX];
	Py_ssize_t count;
	PyObject *data;
	size_t sum;
	ssize_t n;
	int tid, err;

	if (!nargs_is("vm_readv", nargs, 2) || !get_int(args[0], ESRCH, &tid))
		return NULL;
	count = get_iovecs(args[1], remote, &sum);
	if (count < 0)
		return NULL;
	data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)sum);
	if (!data || sum == 0)
		return data;
	n = vm_copy(false, tid, PyBytes_AS_STRING(data), sum, remote, (size_t)count);
	if (n <= 0) {
		err = n < 0 ? errno : EFAULT;
		Py_DECREF(data);
		return raise_errno(err);
	}
	if ((size_t)n < sum)
		_PyBytes_Resize(&data, n);
	return data;
}

static PyObject *vm_write(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	struct iovec remote;
	Py_buffer data;
	uint64_t addr;
	ssize_t n = 0;
	int tid, err;

	if (!nargs_is("vm_write", nargs, 3) || !get_int(args[0], ESRCH, &tid) || !get_addr(args[1], &addr) ||
	    PyObject_GetBuffer(args[2], &data, PyBUF_SIMPLE) < 0)
		return NULL;
	if (data.len) {
		remote = (struct iovec){(void *)(uintptr_t)addr, (size_t)data.len};
		n = vm_copy(true, tid, data.buf, (size_t)data.len, &remote, 1);
	}
	err = n == data.len ? 0 : n < 0 ? errno : EFAULT;
	PyBuffer_Release(&data);
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *vm_writev(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	struct iovec remote[IOV_MAX];
	Py_ssize_t count;
	Py_buffer data;
	ssize_t n = 0;
	size_t sum;
	int tid, err;

	if (!nargs_is("vm_writev", nargs, 3) || !get_int(args[0], ESRCH, &tid))
		return NULL;
	count = get_iovecs(args[2], remote, &sum);
	if (count < 0 || PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) < 0)
		return NULL;
	if (data.len && sum)
		n = vm_copy(true, tid, data.buf, (size_t)data.len, remote, (size_t)count);
	err = n < 0 ? errno : n == 0 && data.len && sum ? EFAULT : 0;
	PyBuffer_Release(&data);
	return err ? raise_errno(err) : PyLong_FromSsize_t(n);
}

PyMethodDef vm_methods[] = {
	FASTCALL(vm_read, vm_read, "vm_read(tid, address, size) -> bytes"),
	FASTCALL(vm_readv, vm_readv, "vm_readv(tid, ranges) -> bytes: the prefix that could be read"),
	FASTCALL(vm_write, vm_write, "vm_write(tid, address, data)"),
	FASTCALL(vm_writev, vm_writev, "vm_writev(tid, data, ranges) -> int: bytes written"),
	{NULL, NULL, 0, NULL},
};
