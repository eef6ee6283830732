/* SPDX-License-Identifier: Apache-2.0 */
/* FSYNC, SYNC_FILE_RANGE (io_uring/sync.c), which are io-wq's always (REQ_F_FORCE_ASYNC). Part of core.h. */
#ifndef URINGFS_LANE_SYNC_H
#define URINGFS_LANE_SYNC_H

/* io_fsync_prep(). Of a range the whole file is synced, which is more. */
static inline bool lane_sure_fsync(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return !sqe->addr && !sqe->buf_index && !sqe->file_index && !(sqe->fsync_flags & ~IORING_FSYNC_DATASYNC) &&
	       (int64_t)sqe->off >= 0;
}

/* io_sfr_prep() */
static inline bool lane_sure_sync_range(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return !sqe->addr && !sqe->buf_index && !sqe->file_index;
}

/* io_fsync(), io_sync_file_range(): neither calls req_set_fail() */
static inline void lane_blocking_sync(struct lane *l, const struct io_uring_sqe *sqe, struct lane_done *done)
{
	long ret = l->host->sync(l, done->fd, sqe);

	lane_result(done, ret, false);
}

static inline enum lane_outcome lane_issue_sync(struct lane_pass *p, const struct io_uring_sqe *sqe,
						struct lane_done *done)
{
	struct lane_file *file;
	long ret = lane_get_file(p, sqe, &file);
	uint32_t type;

	if (ret < 0)
		return ret == -EAGAIN ? LANE_WAITS : lane_result(done, ret, true);
	type = lane_file_type(p, file);
	if (type != S_IFREG && type != S_IFBLK && type != S_IFDIR)
		return LANE_WAITS;
	done->fd = file->fd;
	return LANE_QUEUES;
}

#endif
