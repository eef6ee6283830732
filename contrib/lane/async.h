/* SPDX-License-Identifier: Apache-2.0 */
/* IOSQE_ASYNC: nothing is tried at once. Part of core.h. */
#ifndef URINGFS_LANE_ASYNC_H
#define URINGFS_LANE_ASYNC_H

/* io_read(), io_write() of a file that never says EAGAIN in a worker. Of others a worker of the kernel's waits for
 * readiness (io_arm_poll_handler()), which is the daemon's. */
static inline enum lane_outcome lane_async_rw(struct lane_pass *p, const struct lane_op *op,
					      const struct io_uring_sqe *sqe, struct lane_done *done)
{
	struct lane_file *file;
	enum lane_outcome outcome;
	struct lane_rw rw;
	uint32_t type;

	if (lane_get_file(p, sqe, &file) < 0 || lane_position_is_locked(p, sqe, file))
		return LANE_WAITS;
	type = lane_file_type(p, file);
	if (type != S_IFREG && type != S_IFBLK)
		return LANE_WAITS;
	rw = lane_rw_of(sqe, file->fd, 0);
	if (op->blocking == lane_blocking_write)
		outcome = lane_write_regular(p, sqe, file, done);
	else
		outcome = lane_read_cold(p, &rw, file, done);
	return outcome == LANE_BLOCKS ? LANE_QUEUES : outcome;
}

/* io_queue_sqe_fallback() */
static inline enum lane_outcome lane_issue_async(struct lane_pass *p, const struct lane_op *op,
						 const struct io_uring_sqe *sqe, struct lane_done *done)
{
	switch (sqe->opcode) {
	case IORING_OP_READ:
	case IORING_OP_READV:
	case IORING_OP_WRITE:
	case IORING_OP_WRITEV: return lane_async_rw(p, op, sqe, done);
	case IORING_OP_OPENAT: return lane_open_later(p, sqe, done);
	case IORING_OP_STATX: return lane_issue_path(p, sqe, done);
	}
	return op->issue == lane_issue_path || op->issue == lane_issue_sync ? op->issue(p, sqe, done) : LANE_WAITS;
}

#endif
