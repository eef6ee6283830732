/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shortcut: writes are offered to one Python function while they are being read from the wire. What it
 * answers is replied to at once, and the next message read: no libfuse, no pyfuse3, no pass through epoll.
 * Whatever it does not take goes on to libfuse as if it had never been here. Polls by which an enter waits are
 * given to another, which answers them now or later, by poll_answer().
 *
 * Across CPUs most of a round trip is the wake-up of a sleeping CPU. So, as long as the next write comes
 * soon after the last answer, the shortcut waits for it awake, lending the CPU to whoever wants it.
 */
#include "fusewire.h"

#include <linux/fuse.h>
#include <sched.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SOON_NS 200000	/* a client that comes back within this is worth waiting for */
#define AWAKE_NS 50000	/* for this long */
#define TURN_NS 1000000 /* and then the loop's other tasks have their turn */

#define WIRE_POLL_WAIT 0x400 /* URINGFS_POLL_WAIT */

static PyObject *handler; /* NULL: no shortcut */
static PyObject *poll_handler;

static struct {
	int64_t entered, answered; /* CLOCK_MONOTONIC, ns */
	bool soon;		   /* the last client came back soon */
} shortcut;

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

void shortcut_enter(void)
{
	if (!handler)
		return;
	shortcut.entered = now();
	shortcut.soon = shortcut.entered - shortcut.answered < SOON_NS;
}

/* size bytes written, or -errno */
static void reply(int fd, uint64_t unique, int res)
{
	struct fuse_write_out written = {.size = res < 0 ? 0 : (uint32_t)res};
	struct fuse_out_header head = {.unique = unique, .error = res < 0 ? res : 0};
	struct iovec iov[2] = {{&head, sizeof(head)}, {&written, sizeof(written)}};
	int count = res < 0 ? 1 : 2;

	head.len = (uint32_t)(sizeof(head) + (res < 0 ? 0 : sizeof(written)));
	if (writev(fd, iov, count) < 0)
		return; /* ENOENT: the client has been killed meanwhile */
}

/* To a poll: events, or -errno */
static void reply_poll(int fd, uint64_t unique, int res)
{
	struct fuse_poll_out out = {.revents = res < 0 ? 0 : (uint32_t)res};
	struct fuse_out_header head = {.unique = unique, .error = res < 0 ? res : 0};
	struct iovec iov[2] = {{&head, sizeof(head)}, {&out, sizeof(out)}};

	head.len = (uint32_t)(sizeof(head) + (res < 0 ? 0 : sizeof(out)));
	if (writev(fd, iov, res < 0 ? 1 : 2) < 0)
		return; /* ENOENT: as above */
}

/* Whether the message is dealt with, or will be: a poll by which an enter waits. */
static bool poll_answers(int fd, const struct fuse_in_header *in, const struct fuse_poll_in *arg)
{
	PyObject *answer;
	int res = -EIO;

	if (!poll_handler || !(arg->events & WIRE_POLL_WAIT))
		return false;
	answer = PyObject_CallFunction(poll_handler, "KKIII", (unsigned long long)in->unique,
				       (unsigned long long)arg->fh, in->pid, in->uid, in->gid);
	if (answer == Py_None) {
		Py_DECREF(answer);
		shortcut.soon = false; /* it waits for us, so what it waits for is in the loop */
		return true;
	}
	if (!answer || !get_int(answer, EIO, &res))
		PyErr_WriteUnraisable(poll_handler);
	Py_XDECREF(answer);
	reply_poll(fd, in->unique, res);
	return true;
}

PyObject *poll_answer(PyObject *Py_UNUSED(m), PyObject *args)
{
	unsigned long long unique;
	int res;

	if (!PyArg_ParseTuple(args, "Ki:poll_answer", &unique, &res))
		return NULL;
	if (wire.session)
		reply_poll(wire.fd, unique, res);
	Py_RETURN_NONE;
}

/* Whether the message is dealt with. */
bool shortcut_answers(int fd, const char *buf, size_t size)
{
	const struct fuse_in_header *in = (const void *)buf;
	const struct fuse_write_in *arg = (const void *)(buf + sizeof(*in));
	const char *data = buf + sizeof(*in) + sizeof(*arg);
	PyObject *answer;
	int res = -EIO;

	if (size >= sizeof(*in) + sizeof(struct fuse_poll_in) && in->opcode == FUSE_POLL)
		return poll_answers(fd, in, (const void *)(buf + sizeof(*in)));
	if (!handler || size < sizeof(*in) + sizeof(*arg) || in->opcode != FUSE_WRITE ||
	    arg->size != size - sizeof(*in) - sizeof(*arg))
		return false;
	answer = PyObject_CallFunction(handler, "Ky#III", (unsigned long long)arg->fh, data, (Py_ssize_t)arg->size,
				       in->pid, in->uid, in->gid);
	if (answer == Py_None) {
		Py_DECREF(answer);
		return false;
	}
	if (!answer || !get_int(answer, EIO, &res))
		PyErr_WriteUnraisable(handler); /* it has begun, so it cannot be begun again: EIO */
	Py_XDECREF(answer);
	reply(fd, in->unique, res);
	shortcut.answered = now();
	return true;
}

/* read(2) of the next message, which is worth waiting for. EAGAIN: there is none. */
ssize_t shortcut_read(void *buf, size_t size)
{
	int64_t until = shortcut.answered + (shortcut.soon ? AWAKE_NS : 0);
	ssize_t n;

	if (shortcut.answered - shortcut.entered > TURN_NS) {
		errno = EAGAIN;
		return -1;
	}
	Py_BEGIN_ALLOW_THREADS
	while ((n = wire_next(buf, size)) < 0 && errno == EAGAIN && now() < until)
		sched_yield();
	Py_END_ALLOW_THREADS
	return n;
}

PyObject *shortcut_set(PyObject *Py_UNUSED(m), PyObject *args)
{
	PyObject *writes, *polls;

	if (!PyArg_ParseTuple(args, "OO:shortcut_set", &writes, &polls))
		return NULL;
	Py_XSETREF(handler, writes == Py_None ? NULL : Py_NewRef(writes));
	Py_XSETREF(poll_handler, polls == Py_None ? NULL : Py_NewRef(polls));
	Py_RETURN_NONE;
}
