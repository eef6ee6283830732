/* SPDX-License-Identifier: Apache-2.0 */
/* What of a request may not change any more once it has been submitted (IORING_FEAT_SUBMIT_STABLE), though a worker performs
 * it later, and what it must not overtake. Part of core.h. */
#ifndef URINGFS_LANE_KEEP_H
#define URINGFS_LANE_KEEP_H

static inline bool lane_keep_file(struct lane_job *job)
{
	long fd = job->lane->host->keep_file(job, job->done.fd);

	job->done.fd = (int)fd;
	return fd >= 0;
}

static inline bool lane_keep_iovecs(struct lane_job *job)
{
	struct io_uring_sqe *sqe = &job->sqe;
	uint64_t from = sqe->addr;

	if (sqe->len > LANE_KEPT_IOVECS)
		return false;
	sqe->addr = (uintptr_t)job->iovecs;
	return job->lane->host->copy_in(job->iovecs, from, sqe->len * sizeof(struct iovec)) == 0;
}

/* Transfers past the page cache, which the kernel gives to the device in their order; and writes to the cache (IOSQE_ASYNC),
 * of which it performs one after the other (io_wq_hash_work()). */
static inline bool lane_keep_order(struct lane_pass *p, struct lane_job *job)
{
	struct lane_turn turn = {0, 0, UINT64_MAX, 0, job->op->blocking == lane_blocking_write};
	struct lane_rw rw = lane_rw_of(&job->sqe, job->done.fd, 0);
	struct lane_file *file;
	bool direct;

	if (lane_get_file(p, &job->sqe, &file) < 0)
		return false;
	direct = file->flags & LANE_O_DIRECT;

	if (!direct && !turn.writes)
		return true;
	if (!file->id)
		file->id = p->lane->host->file_id(p->lane, rw.fd);
	if (file->id <= 0)
		return false;
	turn.file = (uint64_t)file->id;
	if (direct) {
		turn.first = (uint64_t)rw.off;
		turn.behind = turn.first + (uint64_t)lane_sum(job->lane, &rw);
	}
	job->direct = direct && !(job->sqe.flags & IOSQE_ASYNC) && !(turn.writes && file->flags & O_APPEND);
	lane_pool_take_turn(job, &turn);
	return true;
}

/* getname(). A name that is none is an error of preparation; empty it may be for who asks for that. */
static inline bool lane_keep_path(struct lane_job *job, unsigned which, bool may_be_empty)
{
	uint64_t from = which ? job->sqe.addr2 : job->sqe.addr;
	long length = job->lane->host->copy_path(job->paths[which], from);

	if (which)
		job->sqe.addr2 = (uintptr_t)job->paths[which];
	else
		job->sqe.addr = (uintptr_t)job->paths[which];
	return length > 0 || (length == 0 && may_be_empty);
}

static inline bool lane_keep(struct lane_pass *p, struct lane_job *job)
{
	switch (job->sqe.opcode) {
	case IORING_OP_READV:
	case IORING_OP_WRITEV:
	case LANE_OP_READV_FIXED:
	case LANE_OP_WRITEV_FIXED: return lane_keep_iovecs(job) && lane_keep_order(p, job) && lane_keep_file(job);
	case IORING_OP_READ:
	case IORING_OP_WRITE:
	case IORING_OP_READ_FIXED:
	case IORING_OP_WRITE_FIXED: return lane_keep_order(p, job) && lane_keep_file(job);
	case IORING_OP_FSYNC:
	case IORING_OP_SYNC_FILE_RANGE: return lane_keep_file(job);
	case IORING_OP_STATX: return lane_keep_path(job, 0, job->sqe.statx_flags & AT_EMPTY_PATH);
	case IORING_OP_LINKAT:
		return lane_keep_path(job, 0, job->sqe.hardlink_flags & AT_EMPTY_PATH) && lane_keep_path(job, 1, false);
	case IORING_OP_RENAMEAT:
	case IORING_OP_SYMLINKAT: return lane_keep_path(job, 0, false) && lane_keep_path(job, 1, false);
	case IORING_OP_OPENAT:
	case IORING_OP_UNLINKAT:
	case IORING_OP_MKDIRAT: return lane_keep_path(job, 0, false);
	}
	return false;
}

#endif
