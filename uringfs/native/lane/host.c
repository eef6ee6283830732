/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host functions of taker.c: files and memory of a client that is blocked in its control write, by pidfd_getfd(2)
 * and process_vm_readv(2). What is not sure to be right here is answered with -EAGAIN, and is Python's then.
 */
#include "taker.h"

#include <limits.h>
#include <poll.h>

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif
#define MOST_MOUNTS 256u

char bounce[MOST_BYTES];
static uint64_t mounts[MOST_MOUNTS];
static unsigned nr_mounts;

/* ---- the client's files ---- */

static bool mount_is_known(uint64_t mount)
{
	for (unsigned i = 0; mount && i < nr_mounts; i++)
		if (mounts[i] == mount)
			return true;
	return false;
}

void taker_know_mount(uint64_t mount)
{
	if (!mount)
		nr_mounts = 0;
	else if (nr_mounts < MOST_MOUNTS && !mount_is_known(mount))
		mounts[nr_mounts++] = mount;
}

/* The client's pidfd; -1: it has none for us. */
static int get_pidfd(Taker *t)
{
	PyObject *answer;

	if (t->pidfd >= 0 || t->caller == Py_None)
		return t->pidfd;
	answer = PyObject_CallMethod(t->caller, "process_fd", NULL);
	if (!answer || (answer != Py_None && !get_int(answer, EBADF, &t->pidfd)))
		PyErr_Clear(); /* Python finds out, when it does the request */
	if (!answer || answer == Py_None)
		t->caller = Py_None;
	Py_XDECREF(answer);
	return t->pidfd;
}

/* What it is, without asking whoever serves it: there may be nobody, or ourselves. */
static long look_at(struct fetched *f)
{
	struct statx st;

	if (statx(f->own, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MNT_ID_UNIQUE, &st) < 0)
		return -EAGAIN;
	f->mode = st.stx_mode;
	f->mount = st.stx_mask & STATX_MNT_ID_UNIQUE ? st.stx_mnt_id : 0;
	return 0;
}

/* Of a mount that is not known a close(2) may wait for whoever answers for it (FUSE_FLUSH): Python has a thread do it. */
void taker_let_go(Taker *t, const struct fetched *f)
{
	PyObject *done;

	if (S_ISREG(f->mode) && mount_is_known(f->mount)) {
		close(f->own);
	} else if (!S_ISREG(f->mode)) {
		close_soon(f->own);
	} else {
		done = PyObject_CallMethod(t->caller, "let_go", "i", f->own);
		if (!done)
			PyErr_WriteUnraisable(t->caller);
		Py_XDECREF(done);
	}
}

/* 0; -EBADF; -EAGAIN: it is Python's */
static long fetch(Taker *t, int fd, struct fetched **found)
{
	struct fetched *f = &t->files[t->nr_files];
	int pidfd;

	for (unsigned i = 0; i < t->nr_files; i++) {
		*found = &t->files[i];
		if (t->files[i].fd == fd)
			return 0;
	}
	pidfd = get_pidfd(t);
	if (pidfd < 0 || t->nr_files == MOST_FILES)
		return -EAGAIN;
	f->fd = fd;
	f->what = NULL;
	f->own = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (f->own < 0)
		return errno == EBADF ? -EBADF : -EAGAIN;
	if (look_at(f) < 0) {
		f->mode = S_IFREG;
		f->mount = 0;
		taker_let_go(t, f);
		return -EAGAIN;
	}
	t->nr_files++;
	*found = f;
	return 0;
}

static long host_file_flags(struct lane *l, int fd)
{
	struct fetched *f;
	long ret = fetch(taker_of(l), fd, &f);
	int flags;

	if (ret < 0)
		return ret;
	flags = fcntl(f->own, F_GETFL);
	return flags < 0 ? -EAGAIN : flags;
}

/* Of all else, files of our own mount among them, the type that the core leaves alone. */
static long host_file_mode(struct lane *l, int fd)
{
	struct fetched *f;

	if (fetch(taker_of(l), fd, &f) < 0)
		return LANE_MODE_RING;
	if (S_ISREG(f->mode))
		return mount_is_known(f->mount) ? (long)f->mode : (long)LANE_MODE_RING;
	return S_ISBLK(f->mode) || S_ISFIFO(f->mode) || S_ISSOCK(f->mode) ? (long)f->mode : (long)LANE_MODE_RING;
}

/* ---- the client's memory ---- */

/* Left to Python: an error of preparation, or more than there is room for here. */
static bool sum_up(Taker *t)
{
	t->sum = 0;
	for (unsigned i = 0; i < t->nr_iovecs; i++) {
		if (t->iovecs[i].iov_len > MOST_BYTES - t->sum)
			return false;
		if (!lane_access_ok((uintptr_t)t->iovecs[i].iov_base, t->iovecs[i].iov_len))
			return false;
		t->sum += t->iovecs[i].iov_len;
	}
	return true;
}

static bool fetch_iovecs(Taker *t, uint64_t addr, uint32_t nr)
{
	size_t size = nr * sizeof(struct iovec);
	struct iovec here = {t->iovecs, size}, there = {(void *)(uintptr_t)addr, size};

	t->nr_iovecs = 0;
	if (nr > MOST_IOVECS || process_vm_readv(t->tid, &here, 1, &there, 1, 0) != (ssize_t)size)
		return false;
	t->nr_iovecs = nr;
	return sum_up(t);
}

/* The memory of a transfer */
static bool take_memory(Taker *t, const struct lane_rw *rw)
{
	if (rw->vector)
		return fetch_iovecs(t, rw->addr, rw->nr);
	t->iovecs[0] = (struct iovec){(void *)(uintptr_t)rw->addr, rw->nr};
	t->nr_iovecs = 1;
	return sum_up(t);
}

static long host_iovecs(struct lane *l, uint64_t Py_UNUSED(addr), uint32_t Py_UNUSED(nr))
{
	return (long)taker_of(l)->sum;
}

static long host_check_iovecs(struct lane *l, uint64_t addr, uint32_t nr)
{
	return fetch_iovecs(taker_of(l), addr, nr) ? 0 : -EFAULT;
}

/* ---- transfers ---- */

static long transferred(ssize_t n)
{
	return n < 0 ? -errno : n;
}

/* Of what stays as it is when it is read: what cannot be stored is for Python to read again. */
static long host_read(struct lane *l, const struct lane_rw *rw)
{
	Taker *t = taker_of(l);
	struct iovec here = {bounce, 0};
	struct fetched *f;
	long n;

	if (fetch(t, rw->fd, &f) < 0 || !(S_ISBLK(f->mode) || (S_ISREG(f->mode) && mount_is_known(f->mount))))
		return -EAGAIN;
	if (rw->own) {
		here = (struct iovec){(void *)(uintptr_t)rw->addr, rw->nr};
		return transferred(preadv2(f->own, &here, 1, rw->off, rw->flags));
	}
	if (!take_memory(t, rw))
		return -EAGAIN;
	here.iov_len = t->sum;
	n = transferred(preadv2(f->own, &here, 1, rw->off, rw->flags));
	if (n <= 0)
		return n;
	t->moved = here.iov_len = (size_t)n;
	return process_vm_writev(t->tid, &here, 1, t->iovecs, t->nr_iovecs, 0) == n ? n : -EAGAIN;
}

/* To a pipe. EPIPE comes with a signal. */
static long host_write(struct lane *l, const struct lane_rw *rw)
{
	Taker *t = taker_of(l);
	struct iovec here = {bounce, 0};
	struct fetched *f;
	long n;

	if (fetch(t, rw->fd, &f) < 0 || !S_ISFIFO(f->mode) || !take_memory(t, rw))
		return -EAGAIN;
	here.iov_len = t->sum;
	if (process_vm_readv(t->tid, &here, 1, t->iovecs, t->nr_iovecs, 0) != (ssize_t)t->sum)
		return -EAGAIN;
	t->moved = t->sum;
	n = transferred(pwritev2(f->own, &here, 1, rw->off, rw->flags));
	return n == -EPIPE ? -EAGAIN : n;
}

static long host_poll(struct lane *l, int fd, uint32_t events)
{
	struct fetched *f;
	struct pollfd pfd = {-1, (short)(events | POLLRDHUP), 0};

	if (fetch(taker_of(l), fd, &f) < 0 || !(S_ISFIFO(f->mode) || S_ISSOCK(f->mode)))
		return 0;
	pfd.fd = f->own;
	return poll_now(&pfd) > 0 ? (unsigned short)pfd.revents : 0;
}

/* No other opcode is taken, and no registered file or buffer. */
const struct lane_host taker_host = {
	.file_flags = host_file_flags,
	.file_mode = host_file_mode,
	.read = host_read,
	.write = host_write,
	.iovecs = host_iovecs,
	.check_iovecs = host_check_iovecs,
	.poll = host_poll,
};
