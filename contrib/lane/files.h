/* SPDX-License-Identifier: Apache-2.0 */
/* NOP, POLL_ADD, CLOSE, SOCKET, OPENAT (io_uring/nop.c, poll.c, openclose.c, net.c). Part of core.h. */
#ifndef URINGFS_LANE_FILES_H
#define URINGFS_LANE_FILES_H

#define LANE_NOP_INJECT_RESULT 1u
#define LANE_POLL_EVENTS 0x3fffu /* POLLIN to POLLRDHUP: no EPOLLEXCLUSIVE, EPOLLET, EPOLLONESHOT */
#define LANE_OP_SOCKET 45u
#define LANE_SOCK_TYPE_MASK 0xfu
#define LANE_O_TMPFILE (O_TMPFILE & ~O_DIRECTORY)

/* ---- NOP ---- */

static inline bool lane_sure_nop(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return !(sqe->rw_flags & ~(int)LANE_NOP_INJECT_RESULT);
}

static inline enum lane_outcome lane_issue_nop(struct lane_pass *p, const struct io_uring_sqe *sqe,
					       struct lane_done *done)
{
	int32_t res = sqe->rw_flags ? (int32_t)sqe->len : 0;

	(void)p;
	return lane_result(done, res, res < 0);
}

/* ---- POLL_ADD ---- */

/* io_poll_add_prep(); not multishot */
static inline bool lane_sure_poll(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return !sqe->buf_index && !sqe->off && !sqe->addr && !sqe->len && !(sqe->poll32_events & ~LANE_POLL_EVENTS);
}

/* io_poll_add(): what is ready already. POLLERR, POLLHUP and POLLRDHUP are always asked for. */
static inline enum lane_outcome lane_issue_poll(struct lane_pass *p, const struct io_uring_sqe *sqe,
						struct lane_done *done)
{
	struct lane *l = p->lane;
	struct lane_file *file;
	long ret = lane_get_file(p, sqe, &file);

	if (ret < 0)
		return ret == -EAGAIN ? LANE_WAITS : lane_result(done, ret, true);
	if (lane_file_type(p, file) == LANE_MODE_RING)
		return LANE_WAITS;
	ret = l->host->poll(l, file->fd, sqe->poll32_events);
	if (ret > 0)
		return lane_result(done, ret, false);
	p->waits_for = p->chained ? 0 : file->fd + 1;
	p->waits_to = sqe->poll32_events;
	return LANE_WAITS;
}

/* ---- CLOSE ---- */

/* io_close_prep(); no registered file */
static inline bool lane_sure_close(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return !sqe->off && !sqe->addr && !sqe->len && !sqe->rw_flags && !sqe->buf_index && !sqe->file_index &&
	       !(sqe->flags & IOSQE_FIXED_FILE);
}

static inline void lane_blocking_close(struct lane *l, const struct io_uring_sqe *sqe, struct lane_done *done)
{
	long ret;

	(void)sqe;
	ret = l->host->close_file(l, done->fd);
	lane_result(done, ret, ret < 0);
}

/* io_close(): a file whose flush() may take its time is io-wq's. */
static inline enum lane_outcome lane_issue_close(struct lane_pass *p, const struct io_uring_sqe *sqe,
						 struct lane_done *done)
{
	struct lane_file *file;
	long ret = lane_get_file(p, sqe, &file);
	uint32_t type;

	if (ret < 0)
		return LANE_WAITS; /* O_PATH among them */
	type = lane_file_type(p, file);
	if (type == LANE_MODE_RING)
		return LANE_WAITS;
	p->nr_files = 0;
	done->fd = file->fd;
	if (type == S_IFREG || type == S_IFDIR || type == S_IFBLK)
		return LANE_BLOCKS;
	lane_blocking_close(p->lane, sqe, done);
	return LANE_DONE;
}

/* ---- SOCKET ---- */

/* io_socket_prep(); no registered file */
static inline bool lane_sure_socket(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	uint32_t flags = (uint32_t)sqe->off & ~LANE_SOCK_TYPE_MASK;

	(void)p;
	return !sqe->addr && !sqe->rw_flags && !sqe->buf_index && !sqe->file_index &&
	       !(flags & ~(uint32_t)(SOCK_CLOEXEC | SOCK_NONBLOCK)) && !(sqe->flags & IOSQE_FIXED_FILE);
}

/* io_socket() */
static inline enum lane_outcome lane_issue_socket(struct lane_pass *p, const struct io_uring_sqe *sqe,
						  struct lane_done *done)
{
	long ret = p->lane->host->make_socket(p->lane, sqe);

	return lane_leaves(ret) ? LANE_WAITS : lane_result(done, ret, ret < 0);
}

/* ---- OPENAT ---- */

/* io_openat_prep(); no registered file */
static inline bool lane_sure_openat(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return lane_sure_name(sqe);
}

/* io_openat2(): as far as the path is cached (LOOKUP_CACHED). What getname() says is an error of preparation. */
static inline enum lane_outcome lane_issue_openat(struct lane_pass *p, const struct io_uring_sqe *sqe,
						  struct lane_done *done)
{
	long ret;

	if (sqe->open_flags & (O_TRUNC | O_CREAT | LANE_O_TMPFILE))
		return lane_open_later(p, sqe, done);
	ret = p->lane->host->open_file(p->lane, sqe);
	if (ret == -EAGAIN)
		return lane_open_later(p, sqe, done);
	if (lane_leaves(ret) || ret == -EFAULT || ret == -ENAMETOOLONG)
		return LANE_WAITS;
	return lane_result(done, ret, ret < 0);
}

#endif
