/* SPDX-License-Identifier: Apache-2.0 */
/* The rings of a probe: the kernel's calls, which `uringfs run` answers, or, compiled with URINGFS_LANE and given a
 * path, those of uringfs.h. */
#ifndef PROBE_RING_H
#define PROBE_RING_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/io_uring.h>

#ifdef URINGFS_LANE
#include "../../contrib/uringfs.h"
#endif

#define CHECK(cond)                                                                     \
	do {                                                                            \
		if (!(cond)) {                                                          \
			fprintf(stderr, "%d: %s (errno %d)\n", __LINE__, #cond, errno); \
			exit(1);                                                        \
		}                                                                       \
	} while (0)

struct ring {
	struct io_uring_params p;
	int fd;
	char *rings;
	struct io_uring_sqe *sqes;
	int by_header; /* of uringfs.h, and its calls */
};

static inline unsigned *word(const struct ring *r, unsigned offset)
{
	return (unsigned *)(void *)(r->rings + offset);
}

static inline struct io_uring_cqe *cqe_at(const struct ring *r, unsigned position)
{
	struct io_uring_cqe *cqes = (void *)(r->rings + r->p.cq_off.cqes);

	return &cqes[(position % r->p.cq_entries) << !!(r->p.flags & IORING_SETUP_CQE32)];
}

static inline size_t rings_size(const struct ring *r)
{
	size_t size = r->p.cq_off.cqes +
		      ((size_t)r->p.cq_entries << !!(r->p.flags & IORING_SETUP_CQE32)) * sizeof(struct io_uring_cqe);
	size_t array = r->p.sq_off.array + r->p.sq_entries * sizeof(unsigned);

	return size > array ? size : array;
}

static inline size_t sqes_size(const struct ring *r)
{
	return r->p.sq_entries * sizeof(*r->sqes);
}

static inline void map_ring(struct ring *r)
{
	CHECK(r->fd >= 0);
	r->rings = mmap(NULL, rings_size(r), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, sqes_size(r), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
	CHECK(r->rings != MAP_FAILED && r->sqes != (void *)MAP_FAILED);
}

static inline void unmap_ring(const struct ring *r)
{
	munmap(r->rings, rings_size(r));
	munmap(r->sqes, sqes_size(r));
}

static inline void set_up(struct ring *r, unsigned entries, unsigned flags)
{
	memset(r, 0, sizeof(*r));
	r->p.flags = flags;
	r->fd = (int)syscall(SYS_io_uring_setup, entries, &r->p);
	map_ring(r);
}

/* path: MOUNT/new, for the calls of uringfs.h; NULL: by the kernel's */
static inline void set_up_at(struct ring *r, unsigned entries, const char *path)
{
#ifdef URINGFS_LANE
	if (path) {
		memset(r, 0, sizeof(*r));
		r->by_header = 1;
		r->fd = uringfs_open(path);
		CHECK(r->fd >= 0 && uringfs_setup(r->fd, entries, &r->p) >= 0);
		map_ring(r);
		return;
	}
#endif
	CHECK(!path);
	set_up(r, entries, 0);
}

/* What it has returned, or -errno */
static inline long enter(const struct ring *r, unsigned submit, unsigned wait)
{
	unsigned flags = wait ? IORING_ENTER_GETEVENTS : 0;
	long ret;

#ifdef URINGFS_LANE
	if (r->by_header)
		ret = uringfs_enter(r->fd, submit, wait, flags, NULL);
	else
#endif
		ret = syscall(SYS_io_uring_enter, r->fd, submit, wait, flags, NULL, 0);
	return ret < 0 ? -errno : ret;
}

static inline long registers(const struct ring *r, unsigned opcode, void *arg, unsigned nr)
{
#ifdef URINGFS_LANE
	if (r->by_header)
		return uringfs_register(r->fd, opcode, arg, nr);
#endif
	return syscall(SYS_io_uring_register, r->fd, opcode, arg, nr);
}

static inline struct io_uring_sqe *queue(struct ring *r, unsigned char opcode, int fd, unsigned long user_data)
{
	unsigned tail = *word(r, r->p.sq_off.tail), index = tail % r->p.sq_entries;
	struct io_uring_sqe *sqe = &r->sqes[index];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->fd = fd;
	sqe->user_data = user_data;
	word(r, r->p.sq_off.array)[index] = index;
	__atomic_store_n(word(r, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	return sqe;
}

/* How many requests the program's own process has taken, as the ring's attribute says */
static inline void say_taken(const struct ring *r, FILE *to)
{
	char taken[32] = "";

	CHECK(syscall(SYS_fgetxattr, r->fd, "user.uring.lane_submitted", taken, sizeof(taken) - 1) >= 0);
	fputs(taken, to);
}

#endif
