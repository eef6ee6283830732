/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's files: pidfds and what they give, preadv2(2), pwritev2(2), statx(2). Failures are OSError with the
 * kernel's errno; the interpreter lock is released around every system call that may wait.
 */
#include "../native.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

/* Linux 6.8, linux/stat.h: stx_mnt_id, which older headers have not, is the first of the spare words */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif
#define STX_MNT_ID_AT 144

static PyObject *pidfd_open_(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	int tid, flags;
	long fd;

	if (!nargs_is("pidfd_open", nargs, 2) || !get_int(args[0], ESRCH, &tid) || !get_int(args[1], EINVAL, &flags))
		return NULL;
	fd = syscall(SYS_pidfd_open, tid, flags);
	return fd < 0 ? raise_errno(errno) : PyLong_FromLong(fd);
}

static PyObject *pidfd_getfd_(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	int pidfd, target;
	long fd;

	if (!nargs_is("pidfd_getfd", nargs, 2) || !get_int(args[0], EBADF, &pidfd) || !get_int(args[1], EBADF, &target))
		return NULL;
	Py_BEGIN_ALLOW_THREADS /* waits while the target is in execve(2) */
	fd = syscall(SYS_pidfd_getfd, pidfd, target, 0);
	Py_END_ALLOW_THREADS
	return fd < 0 ? raise_errno(errno) : PyLong_FromLong(fd);
}

enum way { READS, READS_SOCKET, WRITES };

static PyObject *transfer(const char *name, PyObject *const *args, Py_ssize_t nargs, enum way way)
{
	Py_buffer data;
	struct iovec iov;
	uint64_t offset;
	ssize_t n;
	int fd, flags, err;
	bool begun = false;

	if (!nargs_is(name, nargs, 4) || !get_int(args[0], EBADF, &fd) || !get_int(args[3], EOPNOTSUPP, &flags))
		return NULL;
	offset = PyLong_AsUnsignedLongLongMask(args[2]); /* loff_t: 2^64-1 is -1, as in sqe->off */
	if (offset == UINT64_MAX && PyErr_Occurred())
		return NULL;
	if (PyObject_GetBuffer(args[1], &data, way == WRITES ? PyBUF_SIMPLE : PyBUF_WRITABLE) < 0)
		return NULL;
	iov = (struct iovec){data.buf, (size_t)data.len};
	Py_BEGIN_ALLOW_THREADS
	if (way == READS_SOCKET)
		begun = patience_begin();
	n = way == WRITES ? pwritev2(fd, &iov, 1, (off_t)offset, flags) : preadv2(fd, &iov, 1, (off_t)offset, flags);
	err = errno;
	patience_end(begun);
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&data);
	return n < 0 ? raise_errno(err) : PyLong_FromSsize_t(n);
}

static PyObject *preadv2_(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	return transfer("preadv2", args, nargs, READS);
}

static PyObject *sock_preadv2(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	return transfer("sock_preadv2", args, nargs, READS_SOCKET);
}

static PyObject *pwritev2_(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	return transfer("pwritev2", args, nargs, WRITES);
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

static PyObject *poll_mask(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	struct pollfd wait = {-1, 0, 0};
	int events, n;

	if (!nargs_is("poll_mask", nargs, 2) || !get_int(args[0], EBADF, &wait.fd) ||
	    !get_int(args[1], EINVAL, &events))
		return NULL;
	wait.events = (short)events;
	Py_BEGIN_ALLOW_THREADS
	n = poll_now(&wait);
	Py_END_ALLOW_THREADS
	return n < 0 ? raise_errno(errno) : PyLong_FromLong((unsigned short)wait.revents);
}

PyMethodDef files_methods[] = {
	FASTCALL(pidfd_open, pidfd_open_, "pidfd_open(tid, flags) -> int"),
	FASTCALL(pidfd_getfd, pidfd_getfd_, "pidfd_getfd(pidfd, fd) -> int"),
	FASTCALL(preadv2, preadv2_, "preadv2(fd, buffer, offset, flags) -> int"),
	FASTCALL(sock_preadv2, sock_preadv2, "sock_preadv2(fd, buffer, offset, flags) -> int"),
	FASTCALL(pwritev2, pwritev2_, "pwritev2(fd, data, offset, flags) -> int"),
	FASTCALL(poll_mask, poll_mask, "poll_mask(fd, events) -> int"),
	{"fd_identity", fd_identity, METH_O, "fd_identity(fd) -> (st_dev, st_ino, st_mode, st_rdev, mount)"},
	{NULL, NULL, 0, NULL},
};
