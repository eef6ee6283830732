/* SPDX-License-Identifier: Apache-2.0 */
/* STATX, UNLINKAT, RENAMEAT, MKDIRAT, SYMLINKAT, LINKAT (io_uring/statx.c, fs.c), which are io-wq's always, and FALLOCATE,
 * FTRUNCATE (sync.c, truncate.c), which it serialises with writes. Part of core.h. */
#ifndef URINGFS_LANE_PATHS_H
#define URINGFS_LANE_PATHS_H

#define LANE_OP_FTRUNCATE 55u
#define LANE_STATX_FLAGS (AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | 0x6000) /* AT_STATX_SYNC_TYPE */

/* ---- preparation ---- */

/* What none of them has; names of registered files are EBADF. */
static inline bool lane_sure_name(const struct io_uring_sqe *sqe)
{
	return !sqe->buf_index && !sqe->file_index && !(sqe->flags & IOSQE_FIXED_FILE);
}

/* io_statx_prep(), vfs_statx(): of a descriptor it looks at no flags. */
static inline bool lane_sure_statx(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return lane_sure_name(sqe) && !(sqe->statx_flags & ~(uint32_t)LANE_STATX_FLAGS);
}

/* io_linkat_prep(), io_renameat_prep() */
static inline bool lane_sure_names(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return lane_sure_name(sqe);
}

/* io_unlinkat_prep() */
static inline bool lane_sure_unlinkat(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return lane_sure_name(sqe) && !sqe->off && !sqe->len && !(sqe->unlink_flags & ~(uint32_t)AT_REMOVEDIR);
}

/* io_mkdirat_prep() */
static inline bool lane_sure_mkdirat(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return lane_sure_name(sqe) && !sqe->off && !sqe->rw_flags;
}

/* io_symlinkat_prep() */
static inline bool lane_sure_symlinkat(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return lane_sure_name(sqe) && !sqe->len && !sqe->rw_flags;
}

/* ---- names ---- */

/* None of them calls req_set_fail(), but io_openat2(). */
static inline void lane_blocking_path(struct lane *l, const struct io_uring_sqe *sqe, struct lane_done *done)
{
	long ret = l->host->path_call(l, sqe);

	lane_result(done, ret, ret < 0 && sqe->opcode == IORING_OP_OPENAT);
}

static inline enum lane_outcome lane_issue_path(struct lane_pass *p, const struct io_uring_sqe *sqe,
						struct lane_done *done)
{
	(void)p;
	(void)sqe;
	done->fd = -1;
	return LANE_QUEUES;
}

/* io_statx(): at once what is cached. All else, and every error, a worker finds out. */
static inline enum lane_outcome lane_issue_statx(struct lane_pass *p, const struct io_uring_sqe *sqe,
						 struct lane_done *done)
{
	if (p->lane->host->stat_cached(p->lane, sqe) == 0)
		return lane_result(done, 0, false);
	return lane_issue_path(p, sqe, done);
}

/* io_openat2(), with io_openat_force_async() or behind LOOKUP_CACHED. What opens when somebody else does, or hangs up,
 * would hold a worker up for good. */
static inline enum lane_outcome lane_open_later(struct lane_pass *p, const struct io_uring_sqe *sqe,
						struct lane_done *done)
{
	long type = p->lane->host->cached_type(p->lane, sqe);

	if ((type == S_IFIFO || type == S_IFCHR) && !(sqe->open_flags & (O_NONBLOCK | O_PATH)))
		return LANE_WAITS;
	return lane_issue_path(p, sqe, done);
}

/* ---- a file's size and space ---- */

/* io_fallocate_prep() */
static inline bool lane_sure_fallocate(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return !sqe->buf_index && !sqe->rw_flags && !sqe->file_index;
}

/* io_ftruncate_prep() */
static inline bool lane_sure_ftruncate(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return !sqe->rw_flags && !sqe->addr && !sqe->len && !sqe->buf_index && !sqe->file_index && !sqe->addr3;
}

/* io_fallocate(), io_ftruncate() */
static inline void lane_blocking_space(struct lane *l, const struct io_uring_sqe *sqe, struct lane_done *done)
{
	lane_result(done, l->host->space(l, done->fd, sqe), false);
}

static inline enum lane_outcome lane_issue_space(struct lane_pass *p, const struct io_uring_sqe *sqe,
						 struct lane_done *done)
{
	struct lane_file *file;
	long ret = lane_get_file(p, sqe, &file);

	if (ret < 0)
		return ret == -EAGAIN ? LANE_WAITS : lane_result(done, ret, true);
	if (lane_file_type(p, file) != S_IFREG)
		return LANE_WAITS;
	done->fd = file->fd;
	return LANE_BLOCKS;
}

#endif
