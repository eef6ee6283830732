/* SPDX-License-Identifier: Apache-2.0 */
/* What a row of the benchmark sees: a ring, a scratch file and buffers. bench.c owns the rest. */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <sys/uio.h>

#include "../uringfs.h"

struct ring;

/* One way to reach a ring. The floor answers writes and has no ring: setup is NULL there. */
struct backend {
	const char *name;
	int (*open)(struct ring *ring, const char *path);
	int (*setup)(struct ring *ring, unsigned entries, struct io_uring_params *p);
	int (*enter)(struct ring *ring, unsigned to_submit, unsigned min_complete, unsigned flags);
	int (*reg)(struct ring *ring, unsigned opcode, void *arg, unsigned nr_args);
	int lossy; /* completions may be missing: count those that come, wait for none */
};

struct ring {
	const struct backend *backend;
	int fd;
	unsigned entries, sq_mask, cq_mask;
	unsigned *sq_tail, *cq_head, *cq_tail;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	void *rings;
	size_t rings_size, sqes_size;
};

extern const struct backend backends[];
int lane_backend_enter(struct ring *ring, unsigned to_submit, unsigned min_complete, unsigned flags); /* lane.c */
int lane_backend_reg(struct ring *ring, unsigned opcode, void *arg, unsigned nr_args);
const struct backend *backend_find(const char *name);
int ring_open(struct ring *ring, const struct backend *backend, const char *path, unsigned entries);
void ring_close(struct ring *ring);

/* One row while it runs. */
struct work {
	struct ring ring;
	const char *path; /* of the file that is read */
	int file;	  /* what is read, page-cache hot */
	int out;	  /* the same file for writing, or -1: the rows that write fail with EBADF */
	int ready, quiet; /* eventfds: one always readable, one never */
	int event;	  /* an eventfd that becomes readable by row->kick */
	int pair[2];	  /* a socketpair(2) */
	unsigned turn;	  /* whose turn it is to send */
	char *data;
	struct iovec *iov;
	uint64_t enters, ops, waits, missing;
};

typedef void (*prep_fn)(struct work *w, struct io_uring_sqe *sqe, unsigned i);

/* A row is data: a new opcode is one more line of rows[] and a prep function. */
struct row {
	const char *name;
	unsigned entries; /* of the ring */
	unsigned batch;	  /* requests per enter; 0: an enter alone */
	int expect;	  /* the result of each request, or BENCH_DESCRIPTOR */
	prep_fn prep;
	int (*begin)(struct work *w); /* once the ring is there: registers what prep uses */
	int (*kick)(struct work *w);  /* between the enter and its completions: makes them come */
	unsigned pending;	      /* requests of pend that wait meanwhile, and for ever */
	prep_fn pend;
};

extern const struct row rows[];
extern const unsigned nr_rows;
#define BENCH_MAX_BATCH 4096u
#define BENCH_READ_SIZE 4096
#define BENCH_DESCRIPTOR (-4096) /* any descriptor; it is closed */

#endif
