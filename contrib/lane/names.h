/* SPDX-License-Identifier: Apache-2.0 */
/* The lane's host functions for names, in the client. Part of client.h. */
#ifndef URINGFS_LANE_NAMES_H
#define URINGFS_LANE_NAMES_H

#include <limits.h>

/* strncpy_from_user(): page by page, as far as there is memory. */
static inline long lane_host_copy_path(char *to, uint64_t from)
{
	size_t length = 0;

	while (length < PATH_MAX) {
		struct iovec here, there;
		size_t room = 4096 - (from + length) % 4096;
		long got;

		here.iov_base = to + length;
		there.iov_base = (void *)(uintptr_t)(from + length);
		here.iov_len = there.iov_len = room < PATH_MAX - length ? room : PATH_MAX - length;
		got = RAW(SYS_process_vm_readv, RAW(SYS_gettid), &here, 1, &there, 1, 0);
		if (got <= 0)
			return -EFAULT;
		for (size_t end = length + (size_t)got; length < end; length++)
			if (!to[length])
				return (long)length;
	}
	return -ENAMETOOLONG;
}

/* The system call of an opcode that names paths */
static inline long lane_host_path(struct lane *l, const struct io_uring_sqe *sqe)
{
	(void)l;
	switch (sqe->opcode) {
	case IORING_OP_OPENAT: return RAW(SYS_openat, sqe->fd, sqe->addr, sqe->open_flags, sqe->len);
	case IORING_OP_STATX: return RAW(SYS_statx, sqe->fd, sqe->addr, sqe->statx_flags, sqe->len, sqe->addr2);
	case IORING_OP_UNLINKAT: return RAW(SYS_unlinkat, sqe->fd, sqe->addr, sqe->unlink_flags);
	case IORING_OP_RENAMEAT:
		return RAW(SYS_renameat2, sqe->fd, sqe->addr, (int)sqe->len, sqe->addr2, sqe->rename_flags);
	case IORING_OP_MKDIRAT: return RAW(SYS_mkdirat, sqe->fd, sqe->addr, sqe->len);
	case IORING_OP_SYMLINKAT: return RAW(SYS_symlinkat, sqe->addr, sqe->fd, sqe->addr2);
	case IORING_OP_LINKAT:
		return RAW(SYS_linkat, sqe->fd, sqe->addr, (int)sqe->len, sqe->addr2, sqe->hardlink_flags);
	}
	return -EINVAL;
}

static inline long lane_open_cached(const struct io_uring_sqe *sqe, bool follow)
{
	struct open_how how;

	how.flags = O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW);
	how.mode = 0;
	how.resolve = LANE_RESOLVE_CACHED;
	return RAW(SYS_openat2, sqe->fd, sqe->addr, &how, sizeof(how));
}

static inline long lane_host_stat_cached(struct lane *l, const struct io_uring_sqe *sqe)
{
	long ret, fd = lane_open_cached(sqe, !(sqe->statx_flags & AT_SYMLINK_NOFOLLOW));

	(void)l;
	if (fd < 0)
		return fd;
	ret = RAW(SYS_statx, fd, "", sqe->statx_flags | AT_EMPTY_PATH, sqe->len, sqe->addr2);
	RAW(SYS_close, fd);
	return ret;
}

static inline long lane_host_cached_type(struct lane *l, const struct io_uring_sqe *sqe)
{
	long ret, fd = lane_open_cached(sqe, !(sqe->open_flags & (O_NOFOLLOW | O_EXCL)));
	struct stat st;

	(void)l;
	if (fd < 0)
		return fd;
	ret = RAW(SYS_fstat, fd, &st);
	RAW(SYS_close, fd);
	return ret < 0 ? ret : (long)(st.st_mode & S_IFMT);
}

static inline long lane_host_space(struct lane *l, int fd, const struct io_uring_sqe *sqe)
{
	long ret;

	(void)l;
	if (sqe->opcode == IORING_OP_FALLOCATE)
		ret = RAW(SYS_fallocate, fd, (int)sqe->len, sqe->off, sqe->addr);
	else
		ret = RAW(SYS_ftruncate, fd, sqe->off);
	if (ret == -EFBIG)
		lane_drop_sigxfsz();
	return ret;
}

#endif
