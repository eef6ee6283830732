/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane's core: requests that cannot wait are taken off a ring, performed and completed, as io_uring/io_uring.c
 * does in the kernel. It knows queues and requests; what a request does to files goes through a table of host
 * functions (struct lane_host), what each opcode is stands in ops.h, who calls it in client.h.
 *
 * It runs in signal handlers, on any thread, between fork and exec: no allocation, no libc, no state but the ring's. Memory
 * of users is touched by the host's system calls alone. What it is not sure to do as the kernel would, errors of preparation
 * before all, it leaves where it is: lane_take() ends there, and the daemon does the rest. docs/lane.md is the protocol.
 */
#ifndef URINGFS_LANE_CORE_H
#define URINGFS_LANE_CORE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include <linux/io_uring.h>

#include "../uringfs_lane.h"

/* struct io_rings, as uringfs lays it out: offsets from IORING_OFF_SQ_RING, and of the copy at IORING_OFF_CQ_RING */
#define LANE_SQ_HEAD 0
#define LANE_SQ_TAIL 4
#define LANE_CQ_HEAD 8
#define LANE_CQ_TAIL 12
#define LANE_CQES 64

#define LANE_OP_READV_FIXED 60u
#define LANE_OP_WRITEV_FIXED 61u
#define LANE_CQE_MIXED (1u << 18) /* IORING_SETUP_CQE_MIXED */
#define LANE_LINKS (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)
/* The flags this core understands; the daemon's word may name fewer. */
#define LANE_SQE_FLAGS (IOSQE_FIXED_FILE | LANE_LINKS | LANE_CQE_SKIP_SUCCESS | IOSQE_ASYNC)
#define LANE_CQE_SKIP_SUCCESS (1u << 6)

/* For who watches, the daemon's taker: a request is taken; it is complete (issued: its operation has begun). */
#ifndef LANE_BEGINS
#define LANE_BEGINS(p) ((void)0)
#define LANE_ENDS(p, sqe, done, cqe, issued) ((void)0)
#endif

struct lane_host;
struct lane_fixed;
struct lane_job;

/* A ring, as a process uses it: where it is mapped, and what the daemon said of it at attach. */
struct lane {
	const struct lane_host *host;
	struct uringfs_lane *page;
	char *rings;  /* at IORING_OFF_SQ_RING */
	char *mirror; /* at IORING_OFF_CQ_RING */
	char *sqes;
	uint32_t holder;
	uint32_t setup_flags;
	uint32_t sq_entries, cq_entries;
	uint32_t sq_array; /* 0: there is none */
	uint32_t generation;
	uint32_t sqe_size, cqe_size;
	bool tails;	/* the daemon says URINGFS_LANE_TAILS */
	uint8_t queued; /* URINGFS_LANE_QUEUED, if it knows that */
	int fd;
	uint64_t device;	   /* st_dev of the mount */
	struct lane_fixed *fixed;  /* what this process has registered; NULL: nothing */
	uint32_t room, room_at;	   /* what was left of struct lane_pass.room, at that tail */
	int read_fd;		   /* was none with O_DIRECT when last asked ... */
	uint32_t believed;	   /* ... and so often that may be believed yet, ... */
	uint32_t beliefs;	   /* ... of this many times; 0: it is asked always */
	uint32_t under_way;	   /* requests that workers of this process have */
	struct lane_job *finished; /* by workers, and not posted yet */
	int wake;	 /* an eventfd + 1, which whoever polls it is woken by; 0: not made yet; -1: there is none */
	uint32_t claims; /* counts */
	int claimer;	 /* the thread of the last */
	bool cut;	 /* whoever was to kick later had no way to the daemon */
};

/* What is asked of a descriptor once a batch: nothing in it changes the table, and what another thread does to
 * it meanwhile may have come before or after. */
struct lane_file {
	int fd;
	uint32_t fixed; /* 0, or the index it is registered at + 1 */
	int flags;	/* O_*; -EBADF: it is none */
	uint32_t mode;	/* st_mode; 0: not asked yet. Of a ring: LANE_MODE_RING */
	long id;	/* lane_host.file_id(); 0: not asked yet */
};

#define LANE_MODE_RING 1u
#define LANE_FILES 4u

/* One call's pass over the ring, from lane_begin() to lane_end(): the lock is held in between, but for what
 * may hold the thread up. */
struct lane_pass {
	struct lane *lane;
	uint32_t head;	    /* sq_head */
	uint32_t tail;	    /* cq_tail */
	uint32_t published; /* CQEs before this are in the mirror */
	uint32_t room;	    /* CQEs that fit before the client's head has to be looked at again */
	uint32_t left;	    /* SQEs that may be taken yet */
	uint32_t taken;
	bool chained; /* a link: it does not leave the lane */
	bool outside; /* the lane was lost while a request was performed without it */
	bool posted;
	uint32_t rouses;   /* clients that sleep are to be woken: struct uringfs_lane.sleepers */
	bool foreign;	   /* one of them by the daemon */
	int waits_for;	   /* the descriptor + 1 that the request which is left waits for ... */
	uint32_t waits_to; /* ... to have these events */
	int alias;	   /* a descriptor + 1 of the same file as that of the request ... */
	uint32_t alias_at; /* ... at this position */
	bool worker;	   /* not in a call on the ring */
	unsigned nr_files;
	struct lane_file files[LANE_FILES];
};

struct lane_done {
	int32_t res;
	uint32_t flags;
	bool failed; /* req_set_fail(): what is linked behind is cancelled */
	int fd;	     /* LANE_BLOCKS: whose file */
};

enum lane_outcome {
	LANE_DONE,
	LANE_WAITS,  /* it has done nothing, and is the daemon's */
	LANE_BLOCKS, /* it has done nothing, and is to be performed without the lane: row.blocking() */
	LANE_QUEUES, /* the same, by a worker; if there is none, it is the daemon's */
};

/* A transfer of io_uring/rw.c: nr iovecs, or nr bytes, at addr. off -1: the current position. flags: RWF_* */
struct lane_rw {
	int fd;
	int flags;
	uint64_t addr;
	uint32_t nr;
	bool vector;
	bool own; /* addr is in memory of whoever calls, not the user's */
	int64_t off;
};

/* The system calls behind the requests; all return what the call returns, or -errno. */
struct lane_host {
	long (*file_flags)(struct lane *lane, int fd); /* F_GETFL; -EAGAIN: not known here */
	long (*file_mode)(struct lane *lane, int fd);  /* st_mode, or LANE_MODE_RING */
	long (*file_id)(struct lane *lane, int fd);    /* above 0: which inode, as good as certainly */
	/* fd, flags and mode of what is registered: 0; -EAGAIN: not known here */
	long (*fixed_file)(struct lane *lane, uint32_t index, struct lane_file *file);
	/* 0; -EFAULT: not in it; -EAGAIN: not known here */
	long (*fixed_buffer)(struct lane *lane, uint32_t index, uint64_t addr, uint32_t len);
	long (*fixed_vector)(struct lane *lane, uint32_t index, uint64_t addr, uint32_t nr); /* of iovecs, the same */
	long (*read)(struct lane *lane, const struct lane_rw *rw);
	long (*write)(struct lane *lane, const struct lane_rw *rw);
	long (*iovecs)(struct lane *lane, uint64_t addr, uint32_t nr);	     /* the sum of those a call has just read */
	long (*check_iovecs)(struct lane *lane, uint64_t addr, uint32_t nr); /* import_iovec(): 0; -EFAULT, -EINVAL */
	long (*poll)(struct lane *lane, int fd, uint32_t events);	     /* revents */
	long (*send_to)(struct lane *lane, int fd, const struct io_uring_sqe *sqe, int flags);
	long (*receive)(struct lane *lane, int fd, const struct io_uring_sqe *sqe, int flags);
	long (*more)(struct lane *lane, int fd); /* msg_inq: bytes left to read; 0 where the socket does not say */
	long (*open_file)(struct lane *lane, const struct io_uring_sqe *sqe);
	long (*make_socket)(struct lane *lane, const struct io_uring_sqe *sqe);
	long (*close_file)(struct lane *lane, int fd);
	long (*sync)(struct lane *lane, int fd, const struct io_uring_sqe *sqe);  /* FSYNC, SYNC_FILE_RANGE */
	long (*space)(struct lane *lane, int fd, const struct io_uring_sqe *sqe); /* FALLOCATE, FTRUNCATE */
	long (*path_call)(struct lane *lane, const struct io_uring_sqe *sqe);
	long (*stat_cached)(struct lane *lane, const struct io_uring_sqe *sqe); /* 0; -errno: it may be otherwise */
	long (*cached_type)(struct lane *lane, const struct io_uring_sqe *sqe); /* S_IFMT of what OPENAT names */
	long (*copy_path)(char *to, uint64_t from);				/* its length; -EFAULT, -ENAMETOOLONG */
	void (*kick)(struct lane *lane);
	/* Of workers; NULL: there are none */
	void (*kick_later)(struct lane *lane); /* not in a call: the descriptor may be another file's by now */
	int (*new_job)(struct lane *lane, struct lane_job **job); /* 0; -EAGAIN: too many; -ENOSYS: there are none */
	long (*keep_file)(struct lane_job *job, int fd);	  /* a descriptor of its own; -errno */
	long (*copy_in)(void *to, uint64_t from, size_t size);	  /* 0; -EFAULT */
	void (*queue)(struct lane_job *job);
	void (*end_job)(struct lane_job *job);
	void (*drop_file)(int fd); /* what keep_file() has given */
};

/* An opcode: everything that its preparation could refuse is `sure` not to be; then it is issued. */
struct lane_op {
	bool (*sure)(struct lane_pass *p, const struct io_uring_sqe *sqe);
	enum lane_outcome (*issue)(struct lane_pass *p, const struct io_uring_sqe *sqe, struct lane_done *done);
	/* LANE_BLOCKS: without the lane, so without the pass */
	void (*blocking)(struct lane *lane, const struct io_uring_sqe *sqe, struct lane_done *done);
};
static inline const struct lane_op *lane_op(unsigned opcode);
static inline enum lane_outcome lane_issue_async(struct lane_pass *p, const struct lane_op *op,
						 const struct io_uring_sqe *sqe, struct lane_done *done);

#include "words.h"

#include "fixed.h"

/* ---- the submission queue ---- */

/* The SQE at a position, where it is shared. NULL: its index is out of range. */
static inline struct io_uring_sqe *lane_sqe_at(const struct lane *l, uint32_t position)
{
	uint32_t index = position & (l->sq_entries - 1);

	if (l->sq_array) {
		index = lane_load((const uint32_t *)(const void *)(l->rings + l->sq_array) + index);
		if (index >= l->sq_entries)
			return NULL;
	}
	return (struct io_uring_sqe *)(void *)(l->sqes + (size_t)index * l->sqe_size);
}

/* io_get_sqe(), without moving on: a copy of it. */
static inline bool lane_sqe(const struct lane_pass *p, uint32_t position, struct io_uring_sqe *sqe)
{
	const struct io_uring_sqe *shared = lane_sqe_at(p->lane, position);

	if (!shared)
		return false;
	LANE_COPY(sqe, shared, sizeof(*sqe));
	__asm__ volatile("" : : : "memory"); /* once: it is looked at only from now on */
	return true;
}

/* io_sqring_entries() */
static inline uint32_t lane_queued(const struct lane_pass *p)
{
	uint32_t queued = lane_word(p->lane->rings, LANE_SQ_TAIL) - p->head;

	return queued < p->lane->sq_entries ? queued : p->lane->sq_entries;
}

/* io_init_req(), as far as it says no by other means than prep. */
static inline const struct lane_op *lane_understands(const struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	const struct uringfs_lane *page = p->lane->page;
	uint32_t flags = LANE_SQE_FLAGS & lane_load(&page->sqe_flags);

	if (sqe->opcode >= 64 || !(lane_load(&page->ops[sqe->opcode / 32]) & 1u << sqe->opcode % 32))
		return NULL;
	if (sqe->flags & ~flags || sqe->ioprio || sqe->personality)
		return NULL;
	return lane_op(sqe->opcode);
}

/* ---- the completion queue ---- */

/* The client's head: of its two copies the one that moved; if both did, the one further ahead among those that can
 * be, which are up to the tail. */
static inline uint32_t lane_cq_head(struct lane_pass *p)
{
	struct uringfs_lane *page = p->lane->page;
	uint32_t head = page->cq_head, steps[2], words[2];
	bool moved[2];

	words[0] = lane_word(p->lane->rings, LANE_CQ_HEAD);
	words[1] = lane_word(p->lane->mirror, LANE_CQ_HEAD);
	for (int i = 0; i < 2; i++) {
		moved[i] = words[i] != page->cq_heads[i];
		steps[i] = words[i] - head;
		page->cq_heads[i] = words[i];
	}
	if (!moved[0] && !moved[1])
		return head;
	if (moved[0] && moved[1]) {
		uint32_t most = p->tail - head;

		moved[0] = !(steps[1] <= most && (steps[0] > most || steps[1] > steps[0]));
	}
	return page->cq_head = moved[0] ? words[0] : words[1];
}

/* io_cqe_cache_refill(), when none is left: a head that lies counts as a full queue; looked at again at each wrap. */
static inline uint32_t lane_room(struct lane_pass *p)
{
	struct lane *l = p->lane;
	uint32_t ready, to_wrap;

	if (p->room)
		return p->room;
	ready = p->tail - lane_cq_head(p);
	to_wrap = l->cq_entries - (p->tail & (l->cq_entries - 1));
	p->room = ready < l->cq_entries ? l->cq_entries - ready : 0;
	if (p->room > to_wrap)
		p->room = to_wrap;
	return p->room;
}

/* There is room for that many CQEs, behind a wrap, too. */
static inline bool lane_room_for(struct lane_pass *p, uint32_t count)
{
	uint32_t ready = p->tail - lane_cq_head(p);

	return ready <= p->lane->cq_entries && count <= p->lane->cq_entries - ready;
}

/* A request of this pass is complete, io_req_complete_post(): its CQE, if it is to have one, and then that it has. */
static inline void lane_complete(struct lane_pass *p, uint64_t user_data, const struct lane_done *done, bool cqe)
{
	struct lane *l = p->lane;
	uint64_t *to = (uint64_t *)(void *)(l->rings + LANE_CQES +
					    (size_t)(p->tail & (l->cq_entries - 1)) * l->cqe_size);

	if (cqe) {
		to[0] = user_data;
		to[1] = (uint32_t)done->res | (uint64_t)done->flags << 32;
		if (l->cqe_size > 16)
			to[2] = to[3] = 0;
		p->tail++;
		p->room--;
		p->posted = true;
		l->page->completed++;
	}
	lane_posted(p);
}

/* io_commit_cqring(), io_commit_sqring(): the client may see what was posted, and use again what was taken. */
static inline void lane_publish(struct lane_pass *p)
{
	struct lane *l = p->lane;
	uint32_t mask = l->cq_entries - 1, count = p->tail - p->published;

	while (count) {
		uint32_t first = p->published & mask, run = l->cq_entries - first;
		size_t at = LANE_CQES + (size_t)first * l->cqe_size;

		run = run < count ? run : count;
		memcpy(l->mirror + at, l->rings + at, (size_t)run * l->cqe_size);
		p->published += run;
		count -= run;
	}
	if (p->posted) {
		lane_set_word(l->rings, LANE_CQ_TAIL, p->tail);
		lane_set_word(l->mirror, LANE_CQ_TAIL, p->tail);
	}
	if (p->taken)
		lane_set_word(l->rings, LANE_SQ_HEAD, p->head);
}

#include "lock.h"

/* ---- requests ---- */

/* From here on it is taken: who finds us dead gives it a CQE. */
static inline void lane_begin_request(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	struct uringfs_lane *page = p->lane->page;

	page->doing = sqe->opcode | (uint32_t)sqe->flags << 8;
	page->doing_user_data = sqe->user_data;
	if (sqe->flags & LANE_CQE_SKIP_SUCCESS && !(page->seen & LANE_CQE_SKIP_SUCCESS))
		page->seen |= LANE_CQE_SKIP_SUCCESS;
	page->submitted++;
	lane_store(&page->sq_head, ++p->head);
	p->taken++;
	p->left--;
	LANE_BEGINS(p);
}

static inline void lane_undo_request(struct lane_pass *p)
{
	p->lane->page->submitted--;
	lane_store(&p->lane->page->sq_head, --p->head);
	p->taken--;
	p->left++;
}

static inline void lane_end_request(struct lane_pass *p, const struct io_uring_sqe *sqe, const struct lane_done *done)
{
	bool cqe = !(sqe->flags & LANE_CQE_SKIP_SUCCESS) || done->failed;

	p->lane->page->taken[sqe->opcode % 64]++;
	LANE_ENDS(p, sqe, done, cqe, true);
	lane_complete(p, sqe->user_data, done, cqe);
}

#include "outside.h"

#include "pool.h"

#include "work.h"

/* io_submit_sqe(): one request. False: it is the daemon's. */
static inline bool lane_submit(struct lane_pass *p, const struct io_uring_sqe *sqe, struct lane_done *done)
{
	const struct lane_op *op = lane_understands(p, sqe);
	enum lane_outcome outcome;

	LANE_CLEAR(done, sizeof(*done));
	if (!op || !lane_room(p) || !op->sure(p, sqe))
		return false;
	lane_begin_request(p, sqe);
	outcome = sqe->flags & IOSQE_ASYNC ? lane_issue_async(p, op, sqe, done) : op->issue(p, sqe, done);
	if (outcome == LANE_BLOCKS && !p->chained)
		return lane_outside(p, op, sqe, done);
	if (outcome == LANE_QUEUES && !p->chained)
		return lane_queue(p, op, sqe, done);
	if (outcome != LANE_DONE) {
		lane_undo_request(p);
		return false;
	}
	lane_end_request(p, sqe, done);
	return true;
}

/* Preparation reads the user's memory, and may fail by it: iovecs, headers of messages, names. In a chain the kernel prepares
 * all before it performs the first. */
static inline bool lane_prep_reads(const struct io_uring_sqe *sqe)
{
	switch (sqe->opcode) {
	case IORING_OP_READV:
	case IORING_OP_WRITEV:
	case LANE_OP_READV_FIXED:
	case LANE_OP_WRITEV_FIXED:
	case IORING_OP_SENDMSG:
	case IORING_OP_RECVMSG:
	case IORING_OP_OPENAT:
	case IORING_OP_STATX:
	case IORING_OP_RENAMEAT:
	case IORING_OP_UNLINKAT:
	case IORING_OP_MKDIRAT:
	case IORING_OP_SYMLINKAT:
	case IORING_OP_LINKAT: return true;
	case IORING_OP_SEND: return sqe->addr2;
	}
	return false;
}

/* Everything that is linked is understood, and the last that is to be submitted: what comes behind a chain would start
 * before its second request does, which is task work; with IORING_SETUP_DEFER_TASKRUN that is for enters to run. */
static inline bool lane_chain_is_sure(struct lane_pass *p, struct io_uring_sqe *sqe)
{
	if (p->lane->setup_flags & IORING_SETUP_DEFER_TASKRUN || !lane_room_for(p, p->left))
		return false;
	for (uint32_t i = 0; i < p->left; i++) {
		const struct lane_op *op;

		if (i && !lane_sqe(p, p->head + i, sqe))
			return false;
		op = lane_understands(p, sqe);
		if (!op || (i && lane_prep_reads(sqe)) || !op->sure(p, sqe))
			return false;
		if (!(sqe->flags & LANE_LINKS))
			return i == p->left - 1;
	}
	return true;
}

/* io_fail_links() */
static inline bool lane_cancel_links(struct lane_pass *p, struct io_uring_sqe *sqe, bool silent)
{
	const struct lane_done cancelled = {-ECANCELED, 0, true, -1};

	while (p->left) {
		if (!lane_room(p) || !lane_sqe(p, p->head, sqe))
			return false;
		lane_begin_request(p, sqe);
		LANE_ENDS(p, sqe, &cancelled, !silent, false);
		lane_complete(p, sqe->user_data, &cancelled, !silent);
	}
	return true;
}

/* A chain is all that is left to take. Whatever of it waits is a chain of the daemon's: those before have succeeded. */
static inline bool lane_chain(struct lane_pass *p, struct io_uring_sqe *sqe)
{
	struct io_uring_sqe first = *sqe;
	struct lane_done done;
	bool going = lane_chain_is_sure(p, sqe);

	p->chained = true;
	for (*sqe = first; going; going = lane_sqe(p, p->head, sqe)) {
		going = lane_submit(p, sqe, &done);
		if (!going || !p->left)
			break;
		if (done.failed && !(sqe->flags & IOSQE_IO_HARDLINK))
			going = lane_cancel_links(p, sqe, sqe->flags & LANE_CQE_SKIP_SUCCESS);
		if (!p->left)
			break;
	}
	p->chained = false;
	return going;
}

/* io_timeout() counts the completions of its own batch, which the kernel has not posted yet. */
static inline bool lane_is_counted(const struct lane_pass *p)
{
	struct io_uring_sqe sqe;

	for (uint32_t i = 1; i < p->left; i++)
		if (lane_sqe(p, p->head + i, &sqe) && sqe.opcode == IORING_OP_TIMEOUT)
			return true;
	return false;
}

/* io_submit_sqes(): as many as can be, of those that are to be taken. */
static inline void lane_take(struct lane_pass *p)
{
	struct io_uring_sqe sqe;
	struct lane_done done;

	if (lane_is_counted(p))
		return;
	while (p->left && !p->outside) {
		if (lane_load(&p->lane->page->attention) & URINGFS_LANE_CLOSED || !lane_sqe(p, p->head, &sqe))
			return;
		if (sqe.flags & LANE_LINKS ? !lane_chain(p, &sqe) : !lane_submit(p, &sqe, &done))
			return;
	}
}

#include "ops.h"

#include "keep.h"

#include "async.h"

#endif
