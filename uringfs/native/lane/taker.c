/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane's core (contrib/lane/core.h) in the daemon: what of a submission need not wait is taken off the ring,
 * performed and completed here, as far as it goes; Python, which is the reference, does all the rest. For a client in its
 * control write, by pidfd_getfd(2) and process_vm_readv(2); of others, which may be gone by now, NOPs alone.
 *
 * Nothing here may block, or act with rights that the client has not: so only reads of files whose reads ask nobody for
 * credentials (uringfs/host/files/blind.py, which says on which mounts: know()), pipes, and what poll(2) says of pipes
 * and sockets. Each function is called with the interpreter lock.
 */
#include "../native.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../../contrib/lane/core.h"

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif
#define MOST_FILES 16u
#define MOST_IOVECS 64u
#define MOST_BYTES (256u << 10) /* that one request moves here */
#define MOST_MOUNTS 256u

#define OP(number) (UINT64_C(1) << (number))
#define NOPS OP(IORING_OP_NOP)
#define OPS                                                                                                \
	(NOPS | OP(IORING_OP_READV) | OP(IORING_OP_WRITEV) | OP(IORING_OP_POLL_ADD) | OP(IORING_OP_READ) | \
	 OP(IORING_OP_WRITE))

/* A descriptor of the client's, and ours of the same open file. */
struct fetched {
	int fd, own;
	uint32_t mode;
	uint64_t mount;
};

typedef struct {
	PyObject_HEAD
	Py_buffer view;
	struct lane lane; /* rings NULL: released */
	struct uringfs_lane page;
	/* of one call */
	int tid;
	PyObject *pidfd_of; /* called for the client's pidfd once it is needed; borrowed */
	int pidfd;	    /* -1: not asked for yet */
	unsigned nr_files;
	struct fetched files[MOST_FILES];
	unsigned nr_iovecs;
	size_t sum;
	struct iovec iovecs[MOST_IOVECS];
} Taker;

static char bounce[MOST_BYTES];
static uint64_t mounts[MOST_MOUNTS];
static unsigned nr_mounts;

static Taker *taker_of(struct lane *l)
{
	return (Taker *)(void *)((char *)l - offsetof(Taker, lane));
}

/* ---- the client's files ---- */

static bool mount_is_known(uint64_t mount)
{
	for (unsigned i = 0; mount && i < nr_mounts; i++)
		if (mounts[i] == mount)
			return true;
	return false;
}

/* The client's pidfd; -1: it has none for us. */
static int get_pidfd(Taker *t)
{
	PyObject *answer;

	if (t->pidfd >= 0 || t->pidfd_of == Py_None)
		return t->pidfd;
	answer = PyObject_CallNoArgs(t->pidfd_of);
	if (!answer || (answer != Py_None && !get_int(answer, EBADF, &t->pidfd)))
		PyErr_Clear(); /* Python finds out, when it does the request */
	if (!answer || answer == Py_None)
		t->pidfd_of = Py_None;
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
	f->own = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (f->own < 0)
		return errno == EBADF ? -EBADF : -EAGAIN;
	if (look_at(f) < 0) {
		close(f->own);
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
	here.iov_len = (size_t)n;
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
	return poll(&pfd, 1, 0) > 0 ? (unsigned short)pfd.revents : 0;
}

/* No other opcode is taken, and no registered file or buffer. */
static const struct lane_host host = {
	.file_flags = host_file_flags,
	.file_mode = host_file_mode,
	.read = host_read,
	.write = host_write,
	.iovecs = host_iovecs,
	.check_iovecs = host_check_iovecs,
	.poll = host_poll,
};

/* ---- one call ---- */

static void begin_call(Taker *t, int tid, PyObject *pidfd_of)
{
	t->tid = tid;
	t->pidfd_of = pidfd_of;
	t->pidfd = -1;
	t->nr_files = 0;
	t->page.seen = 0;
}

static void end_call(Taker *t)
{
	for (unsigned i = 0; i < t->nr_files; i++)
		close(t->files[i].own);
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
	PyObject *pidfd_of;
	int tid, whole;

	if (!PyArg_ParseTuple(args, "iOIpIIIIII:take", &tid, &pidfd_of, &entries, &whole, &sq_head, &cq_tail, &room,
			      &cq_head, &head_sq, &head_cq))
		return NULL;
	if (!t->lane.rings) {
		PyErr_SetString(PyExc_ValueError, "the ring's memory has been released");
		return NULL;
	}
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
	begin_call(t, tid, pidfd_of);
	say_what_is_taken(t, pidfd_of == Py_None ? NOPS : OPS, whole);
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
	if (!PyArg_ParseTuple(args, "OKKIIIII:Taker", &buffer, &mirror, &sqes, &t->lane.sq_entries, &t->lane.cq_entries,
			      &t->lane.sq_array, &t->lane.sqe_size, &t->lane.cqe_size) ||
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
	t->lane.host = &host;
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
	if (!mount)
		nr_mounts = 0;
	else if (nr_mounts < MOST_MOUNTS && !mount_is_known(mount))
		mounts[nr_mounts++] = mount;
	Py_RETURN_NONE;
}

static PyMethodDef taker_methods[] = {
	{"take", taker_take, METH_VARARGS,
	 "take(tid, pidfd_of, entries, whole, sq_head, cq_tail, room, cq_head, head_sq, head_cq)"},
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
