/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of what the taker performs, for who watches: as watch/recorder.c and watch/tracer.py make them of what the engine
 * performs, with which tests compare them. They are made at once: the ring's memory is the client's, and may be another
 * at any time.
 */
#include "taker.h"

/* ---- the file ---- */

static struct fetched *fetched(Taker *t, int fd)
{
	for (unsigned i = 0; i < t->nr_files; i++)
		if (t->files[i].fd == fd)
			return &t->files[i];
	return NULL;
}

/* What a request's descriptor is, borrowed. NULL: it has none, or with an exception. */
static PyObject *file_of(Taker *t, const struct event *e)
{
	struct fetched *f = e->opcode == IORING_OP_NOP ? NULL : fetched(t, e->fd);

	if (f && !f->what)
		f->what = PyObject_CallMethod((PyObject *)t->batch, "described", "i", f->own);
	return f ? f->what : NULL;
}

/* ---- the data ---- */

/* Bytes of the first buffer that is not empty: no more than these are shown (watch/peek.py). */
static size_t first_buffer(const Taker *t)
{
	for (unsigned i = 0; i < t->nr_iovecs; i++)
		if (t->iovecs[i].iov_len)
			return t->iovecs[i].iov_len;
	return 0;
}

static size_t lesser(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Of a write that has come to nothing before its data was looked at. */
static size_t peek(Taker *t, const struct event *e, size_t most)
{
	struct iovec here = {bounce, lesser(e->len, most)}, there = {(void *)(uintptr_t)e->addr, here.iov_len};
	ssize_t n = process_vm_readv(t->tid, &here, 1, &there, 1, 0);

	return n == (ssize_t)here.iov_len ? (size_t)n : 0;
}

static void add_data(Taker *t, struct event *e, struct texts *texts)
{
	size_t most = t->batch->data, size, all;
	unsigned look = t->recorder->look[e->opcode];

	if (look & LOOK_OUTGOING) {
		all = t->moved ? first_buffer(t) : e->len;
		size = t->moved ? lesser(all, most) : peek(t, e, most);
	} else if (look & LOOK_INCOMING && e->res > 0) {
		all = (size_t)e->res;
		size = lesser(lesser(first_buffer(t), t->moved), most);
	} else {
		return;
	}
	texts->at[3] = bounce;
	e->lengths[3] = (uint16_t)size;
	e->flags |= size && all > size ? FLAG_TRUNCATED : 0;
}

/* ---- the event ---- */

static int record(Taker *t, struct event *e)
{
	uint64_t id = ++t->recorder->last_id, chain = chain_of(t->batch, e->sqe_flags, id);
	struct texts texts = {{NULL}};
	PyObject *file;

	if (!opcode_in(t->batch->opcodes, e->opcode) || !choose(t->batch, e->opcode, e->res))
		return 0;
	file = file_of(t, e);
	if (!file && PyErr_Occurred())
		return -1;
	event_batch(e, t->batch);
	e->id = id;
	e->chain = chain;
	e->taken = t->taken;
	if (e->how && t->batch->data)
		add_data(t, e, &texts);
	return event_text(e, &texts, 0, file) < 0 ? -1 : deliver(t->batch, e, &texts);
}

void taker_record(Taker *t, struct event *e)
{
	if (record(t, e) < 0)
		PyErr_WriteUnraisable((PyObject *)t->recorder); /* the request is performed whatever becomes of it */
	t->taken = e->completed;				/* the next one is taken at once */
}
