/* SPDX-License-Identifier: Apache-2.0 */
/* READ, WRITE, their V and FIXED forms (io_uring/rw.c): what the page cache has, and what a stream has
 * or takes, inline; a write to a regular file, which is io-wq's in the kernel, without the lane. Part of core.h. */
#ifndef URINGFS_LANE_RW_H
#define URINGFS_LANE_RW_H

#include <poll.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif
#define LANE_UIO_MAXIOV 1024u
#define LANE_MAX_RW_COUNT 0x7ffff000u
#if defined(__aarch64__)
#define LANE_TASK_SIZE_MAX 0x1000000000000ULL
#else
#define LANE_TASK_SIZE_MAX 0x7ffffffff000ULL
#endif
#define LANE_O_DIRECT O_DIRECT

static inline bool lane_access_ok(uint64_t addr, uint64_t size)
{
	return addr <= LANE_TASK_SIZE_MAX && size <= LANE_TASK_SIZE_MAX - addr;
}

/* io_arm_poll_handler(): it has done nothing yet, and would if there were something to be read. */
static inline enum lane_outcome lane_waits_for(struct lane_pass *p, const struct lane_file *file)
{
	if (!p->chained && !(file->flags & O_NONBLOCK))
		p->waits_for = file->fd + 1;
	p->waits_to = POLLIN;
	return LANE_WAITS;
}

static inline enum lane_outcome lane_result(struct lane_done *done, long res, bool failed)
{
	done->res = (int32_t)res;
	done->failed = failed;
	return LANE_DONE;
}

/* What the daemon is asked about, too: it has not begun, or it is not clear what the kernel would make of it. */
static inline bool lane_leaves(long res)
{
	return res == -EAGAIN || res == -EOPNOTSUPP || res == -EINVAL || res == -EINTR || res == -ENOSYS ||
	       res == -EPERM;
}

/* ---- preparation ---- */

/* __io_prep_rw(): no PI attributes, no RWF_* (ioprio: lane_understands()) */
static inline bool lane_prep_rw(const struct io_uring_sqe *sqe)
{
	uint64_t attr_type_mask;

	LANE_COPY(&attr_type_mask, (const char *)sqe + 56, sizeof(attr_type_mask));
	return !attr_type_mask && !sqe->rw_flags && (int64_t)sqe->off >= -1;
}

/* io_prep_rw(), import_ubuf() */
static inline bool lane_sure_rw(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return lane_prep_rw(sqe) && sqe->len && sqe->len < LANE_MAX_RW_COUNT && lane_access_ok(sqe->addr, sqe->len);
}

/* io_prep_rwv(), io_prep_readv_fixed(); what the iovecs say, the call itself finds out: lane_sum(). */
static inline bool lane_sure_rwv(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return lane_prep_rw(sqe) && sqe->len && sqe->len <= LANE_UIO_MAXIOV &&
	       lane_access_ok(sqe->addr, sqe->len * sizeof(struct iovec));
}

/* io_prep_read_fixed(): the buffer is looked up when the request is issued. */
static inline bool lane_sure_rw_fixed(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return lane_prep_rw(sqe) && sqe->len && sqe->len < LANE_MAX_RW_COUNT;
}

static inline bool lane_is_vector(const struct io_uring_sqe *sqe)
{
	return sqe->opcode == IORING_OP_READV || sqe->opcode == IORING_OP_WRITEV ||
	       sqe->opcode == LANE_OP_READV_FIXED || sqe->opcode == LANE_OP_WRITEV_FIXED;
}

static inline struct lane_rw lane_rw_of(const struct io_uring_sqe *sqe, int fd, int flags)
{
	struct lane_rw rw;

	rw.fd = fd;
	rw.flags = flags;
	rw.addr = sqe->addr;
	rw.nr = sqe->len;
	rw.vector = lane_is_vector(sqe);
	rw.own = false;
	rw.off = (int64_t)sqe->off;
	return rw;
}

/* Bytes that are asked for. */
static inline long lane_sum(struct lane *l, const struct lane_rw *rw)
{
	return rw->vector ? l->host->iovecs(l, rw->addr, rw->nr) : (long)rw->nr;
}

/* kiocb_done(): the request fails unless all is done. Iovecs that cannot be read are an error of preparation, so the
 * daemon's; and what asks for nothing reaches a file by io_uring, but not by preadv2(2). */
static inline enum lane_outcome lane_rw_done(struct lane *l, const struct lane_rw *rw, long res, struct lane_done *done)
{
	long sum;

	if (lane_leaves(res) || (res < 0 && rw->vector && l->host->check_iovecs(l, rw->addr, rw->nr)))
		return LANE_WAITS;
	if (res < 0)
		return lane_result(done, res, true);
	sum = lane_sum(l, rw);
	return sum ? lane_result(done, res, res != sum) : LANE_WAITS;
}

/* What the request ends with if there is no file, but for iovecs, which are looked at first. */
static inline enum lane_outcome lane_rw_no_file(const struct io_uring_sqe *sqe, long ret, struct lane_done *done)
{
	if (ret == -EAGAIN || lane_is_vector(sqe))
		return LANE_WAITS;
	return lane_result(done, ret, true);
}

/* io_kiocb_update_pos(): the current position of a file that has one is read without its lock there; by preadv2(2)
 * whoever holds that would hold us up. */
static inline bool lane_position_is_locked(struct lane_pass *p, const struct io_uring_sqe *sqe, struct lane_file *file)
{
	uint32_t type;

	if ((int64_t)sqe->off >= 0)
		return false;
	type = lane_file_type(p, file);
	return type == S_IFREG || type == S_IFBLK || type == S_IFDIR || type == LANE_MODE_RING;
}

/* ---- reading ---- */

/* Of a file with a size, less than asked for is all there is, or what was cached: the kernel would go on then
 * (need_complete_io()). One byte more says which. */
static inline bool lane_is_all(struct lane_pass *p, const struct lane_rw *rw, struct lane_file *file, long res)
{
	uint32_t type = lane_file_type(p, file);
	struct lane_rw next = *rw;
	char byte;

	if (type != S_IFREG && type != S_IFBLK)
		return true;
	next.addr = (uintptr_t)&byte;
	next.nr = 1;
	next.vector = false;
	next.own = true;
	next.off += res;
	return p->lane->host->read(p->lane, &next) == 0;
}

/* io_read(), as a worker calls it */
static inline void lane_blocking_read(struct lane *l, const struct io_uring_sqe *sqe, struct lane_done *done)
{
	struct lane_rw rw = lane_rw_of(sqe, done->fd, 0);
	long res = l->host->read(l, &rw), sum = res < 0 ? 0 : lane_sum(l, &rw);

	lane_result(done, res, res != sum);
}

/* What the disk has to be asked for. What preparation would say of iovecs comes first. */
static inline enum lane_outcome lane_read_cold(struct lane_pass *p, const struct lane_rw *rw, struct lane_file *file,
					       struct lane_done *done)
{
	uint32_t type = lane_file_type(p, file);

	if (type != S_IFREG && type != S_IFBLK)
		return LANE_WAITS;
	if (rw->vector && (p->lane->host->check_iovecs(p->lane, rw->addr, rw->nr) < 0 || !lane_sum(p->lane, rw)))
		return LANE_WAITS;
	done->fd = file->fd;
	return LANE_QUEUES;
}

/* Nothing to read in it yet */
static inline enum lane_outcome lane_read_empty(struct lane_pass *p, const struct lane_rw *rw, struct lane_file *file)
{
	uint32_t type = lane_file_type(p, file);

	return !rw->vector && (type == S_IFIFO || type == S_IFSOCK) ? lane_waits_for(p, file) : LANE_WAITS;
}

/* io_read(). Of a stream io_uring ignores the position 0, what others mean there is each file's own. */
static inline enum lane_outcome lane_read(struct lane_pass *p, const struct lane_rw *rw, struct lane_file *file,
					  struct lane_done *done)
{
	struct lane *l = p->lane;
	struct lane_rw stream = *rw;
	long res, sum;

	if (file->flags & LANE_O_DIRECT)
		return lane_read_cold(p, rw, file, done);
	res = l->host->read(l, rw);
	if (res == -EAGAIN && rw->off == -1)
		return lane_read_empty(p, rw, file);
	if (res == -EAGAIN || res == -EOPNOTSUPP)
		return lane_read_cold(p, rw, file, done);
	if (res == -ESPIPE) {
		if (rw->off)
			return LANE_WAITS;
		stream.off = -1;
		res = l->host->read(l, &stream);
		return res == -EAGAIN ? lane_read_empty(p, rw, file) : lane_rw_done(l, &stream, res, done);
	}
	if (res <= 0)
		return lane_rw_done(l, rw, res, done);
	sum = lane_sum(l, rw);
	if (res != sum && !lane_is_all(p, rw, file, res))
		return lane_read_cold(p, rw, file, done);
	return lane_result(done, res, res != sum);
}

/* As lane_get_file(), for a read: F_GETFL costs a fourth of one. Whether there is such a file the read itself says; one that
 * has O_DIRECT since is waited for, a few times. */
static inline long lane_get_file_to_read(struct lane_pass *p, const struct io_uring_sqe *sqe, struct lane_file *known,
					 struct lane_file **found)
{
	struct lane *l = p->lane;
	long ret;

	if (!(sqe->flags & IOSQE_FIXED_FILE) && l->believed && l->read_fd == sqe->fd) {
		l->believed--;
		LANE_CLEAR(known, sizeof(*known));
		known->fd = sqe->fd;
		*found = known;
		return 0;
	}
	ret = lane_get_file(p, sqe, found);
	if (ret == 0 && !(*found)->fixed && !((*found)->flags & LANE_O_DIRECT)) {
		l->read_fd = sqe->fd;
		l->believed = l->beliefs;
	}
	return ret;
}

static inline enum lane_outcome lane_issue_read(struct lane_pass *p, const struct io_uring_sqe *sqe,
						struct lane_done *done)
{
	struct lane_file known, *file;
	long ret = lane_get_file_to_read(p, sqe, &known, &file);
	struct lane_rw rw;

	if (ret < 0)
		return lane_rw_no_file(sqe, ret, done);
	if (lane_position_is_locked(p, sqe, file))
		return LANE_WAITS;
	rw = lane_rw_of(sqe, file->fd, RWF_NOWAIT);
	return lane_read(p, &rw, file, done);
}

/* ---- writing ---- */

/* io_write(), as io-wq calls it */
static inline void lane_blocking_write(struct lane *l, const struct io_uring_sqe *sqe, struct lane_done *done)
{
	struct lane_rw rw = lane_rw_of(sqe, done->fd, 0);
	long res = l->host->write(l, &rw), sum = res < 0 ? 0 : lane_sum(l, &rw);

	lane_result(done, res, res != sum);
}

/* Once begun without the lane it cannot be left to the daemon any more: what preparation would say comes first. */
static inline enum lane_outcome lane_write_regular(struct lane_pass *p, const struct io_uring_sqe *sqe,
						   struct lane_file *file, struct lane_done *done)
{
	struct lane_rw rw = lane_rw_of(sqe, file->fd, 0);

	if (rw.vector && p->lane->host->check_iovecs(p->lane, rw.addr, rw.nr))
		return LANE_WAITS;
	if (rw.vector && file->flags & LANE_O_DIRECT && !lane_sum(p->lane, &rw))
		return LANE_WAITS;
	done->fd = file->fd;
	return file->flags & LANE_O_DIRECT ? LANE_QUEUES : LANE_BLOCKS;
}

/* io_write() */
static inline enum lane_outcome lane_issue_write(struct lane_pass *p, const struct io_uring_sqe *sqe,
						 struct lane_done *done)
{
	struct lane_file *file;
	long ret = lane_get_file(p, sqe, &file);
	struct lane *l = p->lane;
	struct lane_rw rw;
	uint32_t type;

	if (ret < 0)
		return lane_rw_no_file(sqe, ret, done);
	if (lane_position_is_locked(p, sqe, file))
		return LANE_WAITS;
	type = lane_file_type(p, file);
	if (type == S_IFREG || type == S_IFBLK)
		return lane_write_regular(p, sqe, file, done);
	if (type == LANE_MODE_RING)
		return LANE_WAITS;
	rw = lane_rw_of(sqe, file->fd, RWF_NOWAIT);
	ret = l->host->write(l, &rw);
	if (ret == -ESPIPE && rw.off)
		return LANE_WAITS;
	if (ret == -ESPIPE) {
		rw.off = -1;
		ret = l->host->write(l, &rw);
	}
	return lane_rw_done(l, &rw, ret, done);
}

/* ---- registered buffers ---- */

/* io_init_rw_fixed(), io_import_fixed() */
static inline enum lane_outcome lane_issue_rw_fixed(struct lane_pass *p, const struct io_uring_sqe *sqe,
						    struct lane_done *done)
{
	if (p->lane->host->fixed_buffer(p->lane, sqe->buf_index, sqe->addr, sqe->len) < 0)
		return LANE_WAITS;
	return sqe->opcode == IORING_OP_READ_FIXED ? lane_issue_read(p, sqe, done) : lane_issue_write(p, sqe, done);
}

/* io_rw_import_reg_vec() */
static inline enum lane_outcome lane_issue_rwv_fixed(struct lane_pass *p, const struct io_uring_sqe *sqe,
						     struct lane_done *done)
{
	const struct lane_host *host = p->lane->host;

	if (!host->fixed_vector || host->fixed_vector(p->lane, sqe->buf_index, sqe->addr, sqe->len) < 0)
		return LANE_WAITS;
	return sqe->opcode == LANE_OP_READV_FIXED ? lane_issue_read(p, sqe, done) : lane_issue_write(p, sqe, done);
}

#endif
