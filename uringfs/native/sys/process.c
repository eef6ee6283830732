/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's memory and files: process_vm_readv/writev, pidfds, preadv2/pwritev2, statx, and which of
 * the caller's pages are writable. Nothing here knows of rings or FUSE. Failures are OSError with the
 * kernel's errno; the interpreter lock is released around every system call that may wait.
 */
#include "../native.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

/* Linux 6.11, linux/fs.h */
struct uringfs_procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
_Static_assert(sizeof(struct uringfs_procmap_query) == 104, "struct procmap_query");
#define URINGFS_PROCMAP_QUERY _IOWR('f', 17, struct uringfs_procmap_query)
#define URINGFS_PROCMAP_QUERY_VMA_READABLE 0x01
#define URINGFS_PROCMAP_QUERY_VMA_WRITABLE 0x02

/* Linux 6.8, linux/stat.h: stx_mnt_id, which older headers have not, is the first of the spare words */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif
#define STX_MNT_ID_AT 144

/* ---- process_vm_readv, process_vm_writev ---- */

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
	ret = write ? process_vm_writev(tid, &local, 1, remote, n, 0)
		    : process_vm_readv(tid, &local, 1, remote, n, 0);
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

/* ---- writable_prefix, readable_prefix ---- */

struct span {
	uint64_t at, end; /* [at, end): what is still to be found accessible */
	bool write;
};

/* at moves to the end of the mapping when that is accessible and holds at; false otherwise. */
static bool span_advance(struct span *span, uint64_t start, uint64_t end, bool accessible)
{
	if (!accessible || start > span->at || end <= span->at)
		return false;
	span->at = end < span->end ? end : span->end;
	return true;
}

/* 0, or an errno; ENOTTY: this kernel has no PROCMAP_QUERY. */
static int prefix_query(int fd, struct span *span)
{
	while (span->at < span->end) {
		struct uringfs_procmap_query q = {
			.size = sizeof(q),
			.query_flags = span->write ? URINGFS_PROCMAP_QUERY_VMA_WRITABLE
						   : URINGFS_PROCMAP_QUERY_VMA_READABLE,
			.query_addr = span->at,
		};

		if (ioctl(fd, URINGFS_PROCMAP_QUERY, &q) < 0) /* ENOENT: no such mapping here; ESRCH: no mm */
			return errno == ENOENT ? 0 : errno;
		if (!span_advance(span, q.vma_start, q.vma_end, true))
			return 0;
	}
	return 0;
}

/* fd stays open. */
static int prefix_text(int fd, struct span *span)
{
	FILE *maps = fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 0), "re");
	char *line = NULL;
	size_t cap = 0;
	int err = 0;

	if (!maps)
		return errno;
	rewind(maps);
	errno = 0;
	while (span->at < span->end && getline(&line, &cap, maps) >= 0) {
		unsigned long long start, end;
		char perms[5];

		if (sscanf(line, "%llx-%llx %4s", &start, &end, perms) != 3) {
			err = EIO;
			break;
		}
		if (end > span->at && !span_advance(span, start, end, span->write ? perms[1] == 'w' : perms[0] == 'r'))
			break;
	}
	if (ferror(maps))
		err = errno;
	free(line);
	fclose(maps);
	return err;
}

static int prefix_of(int fd, struct span *span, bool text)
{
	int err = text ? ENOTTY : prefix_query(fd, span);

	return err == ENOTTY ? prefix_text(fd, span) : err;
}

static bool get_span(PyObject *const *args, struct span *span)
{
	uint64_t addr, size;

	if (!get_addr(args[0], &addr) || !get_addr(args[1], &size))
		return false;
	span->at = addr;
	span->end = size > UINT64_MAX - addr ? UINT64_MAX : addr + size;
	return true;
}

static PyObject *prefix(const char *name, PyObject *const *args, Py_ssize_t nargs, bool write, bool text)
{
	struct span span = {.write = write};
	uint64_t start;
	char path[32];
	int tid, fd, err;

	if (!nargs_is(name, nargs, 3) || !get_int(args[0], ESRCH, &tid) || !get_span(args + 1, &span))
		return NULL;
	if (tid <= 0)
		return raise_errno(ESRCH);
	start = span.at;
	snprintf(path, sizeof(path), "/proc/%d/maps", tid);
	Py_BEGIN_ALLOW_THREADS
	fd = open(path, O_RDONLY | O_CLOEXEC);
	err = fd >= 0 ? 0 : errno == ENOENT ? ESRCH : errno;
	if (fd >= 0) {
		err = prefix_of(fd, &span, text);
		close(fd);
	}
	Py_END_ALLOW_THREADS
	return err ? raise_errno(err) : PyLong_FromUnsignedLongLong(span.at - start);
}

static PyObject *mapped_prefix(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	struct span span = {0};
	uint64_t start;
	int fd, write, err;

	if (!nargs_is("mapped_prefix", nargs, 4) || !get_int(args[0], EBADF, &fd) || !get_span(args + 1, &span))
		return NULL;
	write = PyObject_IsTrue(args[3]);
	if (write < 0)
		return NULL;
	span.write = write;
	start = span.at;
	Py_BEGIN_ALLOW_THREADS
	err = prefix_of(fd, &span, false);
	Py_END_ALLOW_THREADS
	return err ? raise_errno(err) : PyLong_FromUnsignedLongLong(span.at - start);
}

static PyObject *writable_prefix(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	return prefix("writable_prefix", args, nargs, true, false);
}

static PyObject *readable_prefix(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	return prefix("readable_prefix", args, nargs, false, false);
}

static PyObject *writable_prefix_text(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	return prefix("writable_prefix_text", args, nargs, true, true);
}

/* ---- files ---- */

static PyObject *pidfd_open_(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	int tid, flags;
	long fd;

	if (!nargs_is("pidfd_open", nargs, 2) || !get_int(args[0], ESRCH, &tid) ||
	    !get_int(args[1], EINVAL, &flags))
		return NULL;
	fd = syscall(SYS_pidfd_open, tid, flags);
	return fd < 0 ? raise_errno(errno) : PyLong_FromLong(fd);
}

static PyObject *pidfd_getfd_(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	int pidfd, target;
	long fd;

	if (!nargs_is("pidfd_getfd", nargs, 2) || !get_int(args[0], EBADF, &pidfd) ||
	    !get_int(args[1], EBADF, &target))
		return NULL;
	Py_BEGIN_ALLOW_THREADS /* waits while the target is in execve(2) */
	fd = syscall(SYS_pidfd_getfd, pidfd, target, 0);
	Py_END_ALLOW_THREADS
	return fd < 0 ? raise_errno(errno) : PyLong_FromLong(fd);
}

static PyObject *transfer(const char *name, PyObject *const *args, Py_ssize_t nargs, bool write)
{
	Py_buffer data;
	struct iovec iov;
	uint64_t offset;
	ssize_t n;
	int fd, flags, err;

	if (!nargs_is(name, nargs, 4) || !get_int(args[0], EBADF, &fd) || !get_int(args[3], EOPNOTSUPP, &flags))
		return NULL;
	offset = PyLong_AsUnsignedLongLongMask(args[2]); /* loff_t: 2^64-1 is -1, as in sqe->off */
	if (offset == UINT64_MAX && PyErr_Occurred())
		return NULL;
	if (PyObject_GetBuffer(args[1], &data, write ? PyBUF_SIMPLE : PyBUF_WRITABLE) < 0)
		return NULL;
	iov = (struct iovec){data.buf, (size_t)data.len};
	Py_BEGIN_ALLOW_THREADS
	n = write ? pwritev2(fd, &iov, 1, (off_t)offset, flags) : preadv2(fd, &iov, 1, (off_t)offset, flags);
	err = errno;
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&data);
	return n < 0 ? raise_errno(err) : PyLong_FromSsize_t(n);
}

static PyObject *preadv2_(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	return transfer("preadv2", args, nargs, false);
}

static PyObject *pwritev2_(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	return transfer("pwritev2", args, nargs, true);
}

static PyObject *fd_identity(PyObject *Py_UNUSED(m), PyObject *arg)
{
	uint64_t mount = 0;
	struct statx st;
	int fd, ret;

	if (!get_int(arg, EBADF, &fd))
		return NULL;
	if (fd < 0) /* AT_FDCWD is no file */
		return raise_errno(EBADF);
	/* DONT_SYNC: a file of our own mount must not make us wait for ourselves */
	Py_BEGIN_ALLOW_THREADS
	ret = statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO | STATX_MNT_ID_UNIQUE, &st);
	Py_END_ALLOW_THREADS
	if (ret < 0)
		return raise_errno(errno);
	if (st.stx_mask & STATX_MNT_ID_UNIQUE)
		memcpy(&mount, (char *)&st + STX_MNT_ID_AT, sizeof(mount));
	return Py_BuildValue("KKIKK", (unsigned long long)makedev(st.stx_dev_major, st.stx_dev_minor),
			     (unsigned long long)st.stx_ino, (unsigned)st.stx_mode,
			     (unsigned long long)makedev(st.stx_rdev_major, st.stx_rdev_minor),
			     (unsigned long long)mount);
}

#define METHOD(name, func, doc) {#name, (PyCFunction)(void (*)(void))func, METH_FASTCALL, doc}
PyMethodDef process_methods[] = {
	METHOD(vm_read, vm_read, "vm_read(tid, address, size) -> bytes"),
	METHOD(vm_readv, vm_readv, "vm_readv(tid, ranges) -> bytes: the prefix that could be read"),
	METHOD(vm_write, vm_write, "vm_write(tid, address, data)"),
	METHOD(vm_writev, vm_writev, "vm_writev(tid, data, ranges) -> int: bytes written"),
	METHOD(readable_prefix, readable_prefix, "readable_prefix(tid, address, size) -> int"),
	METHOD(writable_prefix, writable_prefix, "writable_prefix(tid, address, size) -> int"),
	METHOD(mapped_prefix, mapped_prefix, "mapped_prefix(maps, address, size, write) -> int"),
	METHOD(writable_prefix_text, writable_prefix_text, "writable_prefix without PROCMAP_QUERY"),
	METHOD(pidfd_open, pidfd_open_, "pidfd_open(tid, flags) -> int"),
	METHOD(pidfd_getfd, pidfd_getfd_, "pidfd_getfd(pidfd, fd) -> int"),
	METHOD(preadv2, preadv2_, "preadv2(fd, buffer, offset, flags) -> int"),
	METHOD(pwritev2, pwritev2_, "pwritev2(fd, data, offset, flags) -> int"),
	{"fd_identity", fd_identity, METH_O, "fd_identity(fd) -> (st_dev, st_ino, st_mode, st_rdev, mount)"},
	{NULL, NULL, 0, NULL},
};
