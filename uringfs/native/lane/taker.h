/* SPDX-License-Identifier: Apache-2.0 */
/* What the lane's core is given in the daemon: taker.c, host.c. */
#ifndef URINGFS_TAKER_H
#define URINGFS_TAKER_H

#include "../native.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LANE_BEGINS(p) taker_begins(p)
#define LANE_ENDS(p, sqe, done, cqe, issued) taker_ends(p, sqe, done, cqe, issued)

struct lane_pass;
struct lane_done;
struct io_uring_sqe;

static inline void taker_begins(struct lane_pass *p);
static inline void taker_ends(struct lane_pass *p, const struct io_uring_sqe *sqe, const struct lane_done *done,
			      bool cqe, bool issued);

#include "../../../contrib/lane/core.h"
#include "../watch/events.h"

#define MOST_FILES 16u
#define MOST_IOVECS 64u
#define MOST_BYTES (256u << 10) /* that one request moves here */

/* A descriptor of the client's, and ours of the same open file. */
struct fetched {
	int fd, own;
	uint32_t mode;
	uint64_t mount;
	PyObject *what; /* for who watches: what it is; NULL: nobody has asked */
};

typedef struct {
	PyObject_HEAD
	Py_buffer view;
	struct lane lane; /* rings NULL: released */
	struct uringfs_lane page;
	/* of one call */
	int tid;
	PyObject *caller; /* host.protocols.InCall; borrowed. None: there is none, or it has no pidfd for us */
	int pidfd;	  /* -1: not asked for yet */
	unsigned nr_files;
	struct fetched files[MOST_FILES];
	unsigned nr_iovecs;
	size_t sum;
	struct iovec iovecs[MOST_IOVECS];
	/* who watches it */
	Recorder *recorder; /* borrowed; NULL: nobody */
	Batch *batch;	    /* borrowed */
	uint64_t taken;	    /* when the request was that is performed; 0: no clock was asked yet */
	size_t moved;	    /* bytes of it in `bounce` */
} Taker;

extern char bounce[MOST_BYTES];

static inline Taker *taker_of(struct lane *l)
{
	return (Taker *)(void *)((char *)l - offsetof(Taker, lane));
}

/* An event of a request that is complete: watched.c. */
void taker_record(Taker *t, struct event *e);

static inline void taker_begins(struct lane_pass *p)
{
	Taker *t = taker_of(p->lane);

	if (t->recorder) {
		t->moved = t->nr_iovecs = 0;
		t->taken = t->taken ? t->taken : now();
	}
}

static inline void taker_ends(struct lane_pass *p, const struct io_uring_sqe *sqe, const struct lane_done *done,
			      bool cqe, bool issued)
{
	Taker *t = taker_of(p->lane);
	struct event e;

	if (!t->recorder)
		return;
	memset(&e, 0, sizeof(e));
	e.version = EVENT_VERSION;
	e.kind = KIND_REQUEST;
	e.how = issued ? HOW_INLINE : 0;
	e.flags = cqe ? 0 : FLAG_NO_CQE;
	e.res = done->res;
	e.cflags = done->flags;
	e.position = cqe ? p->tail : 0;
	e.issued = issued ? t->taken : 0;
	memcpy(&e.opcode, sqe, sizeof(*sqe)); /* the same fields, of the same widths */
	taker_record(t, &e);
}

extern const struct lane_host taker_host;

/* Close what was fetched, whoever answers for its file system. */
void taker_let_go(Taker *t, const struct fetched *f);

/* Reads of files on this mount ask nobody for credentials; 0: forget all. */
void taker_know_mount(uint64_t mount);

#endif
