/* SPDX-License-Identifier: Apache-2.0 */
/* The lane's host functions in the client: the submitting thread's own system calls. Signals are blocked. */
#ifndef URINGFS_LANE_HOST_H
#define URINGFS_LANE_HOST_H

#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core.h"

#ifndef SO_PROTOCOL
#define SO_PROTOCOL 38
#define SO_DOMAIN 39
#endif
#define LANE_IPPROTO_TCP 6
#define LANE_IPPROTO_MPTCP 262
/* include/linux/fcntl.h */
#define LANE_O_PATH_FLAGS (O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC)
#define LANE_VALID_OPEN_FLAGS                                                                                      \
	(O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC | O_ASYNC | O_DIRECT | \
	 O_NOATIME | O_TMPFILE | LANE_O_PATH_FLAGS)
#define LANE_RESOLVE_CACHED 0x20
#define LANE_FIXED_IOVECS 32u

static inline long lane_host_file_flags(struct lane *l, int fd)
{
	(void)l;
	return RAW(SYS_fcntl, fd, F_GETFL);
}

static inline long lane_host_file_mode(struct lane *l, int fd)
{
	struct stat st;
	long ret = RAW(SYS_fstat, fd, &st);

	if (ret < 0)
		return ret;
	return (uint64_t)st.st_dev == l->device ? (long)LANE_MODE_RING : (long)st.st_mode;
}

static inline long lane_host_file_id(struct lane *l, int fd)
{
	struct stat st;
	long ret = RAW(SYS_fstat, fd, &st);

	(void)l;
	if (ret < 0)
		return ret;
	ret = (long)(((uint64_t)st.st_ino + ((uint64_t)st.st_dev << 40)) & LONG_MAX);
	return ret ? ret : 1;
}

/* io_file_get_fixed(). What has another file now, or none, is the daemon's. */
static inline long lane_host_fixed_file(struct lane *l, uint32_t index, struct lane_file *file)
{
	struct lane_slot slot, now;
	struct stat st;

	if (!l->fixed || !lane_find_slot(&l->fixed->files, &l->page->files, index, &slot))
		return -EAGAIN;
	file->fd = (int)(uint32_t)slot.word[0] - 1;
	file->flags = (int)(slot.word[0] >> 32);
	file->mode = lane_identify(file->fd, &now, &st);
	if (!file->mode || memcmp(&slot, &now, sizeof(now)) != 0)
		return -EAGAIN;
	if ((uint64_t)st.st_dev == l->device)
		file->mode = LANE_MODE_RING;
	return 0;
}

static inline bool lane_in_buffer(const struct lane_slot *slot, uint64_t addr, uint64_t len)
{
	return addr >= slot->word[1] && len <= slot->word[0] && addr - slot->word[1] <= slot->word[0] - len;
}

/* io_find_buf_node(), validate_fixed_range() */
static inline long lane_host_fixed_buffer(struct lane *l, uint32_t index, uint64_t addr, uint32_t len)
{
	struct lane_slot slot;

	if (!l->fixed || !lane_find_slot(&l->fixed->buffers, &l->page->buffers, index, &slot))
		return -EAGAIN;
	return lane_in_buffer(&slot, addr, len) ? 0 : -EFAULT;
}

/* io_import_reg_vec(): an empty iovec is an error there. More of them than fit here are the daemon's. */
static inline long lane_host_fixed_vector(struct lane *l, uint32_t index, uint64_t addr, uint32_t nr)
{
	struct iovec iov[LANE_FIXED_IOVECS];
	struct lane_slot slot;

	if (!l->fixed || !lane_find_slot(&l->fixed->buffers, &l->page->buffers, index, &slot) ||
	    nr > LANE_FIXED_IOVECS || lane_fetch(iov, addr, nr * sizeof(*iov)) < 0)
		return -EAGAIN;
	for (uint32_t i = 0; i < nr; i++)
		if (!iov[i].iov_len || !lane_in_buffer(&slot, (uintptr_t)iov[i].iov_base, iov[i].iov_len))
			return -EFAULT;
	return 0;
}

/* ---- transfers ---- */

static inline long lane_transfer(long nr, const struct lane_rw *rw)
{
	struct iovec one;

	if (rw->vector)
		return RAW(nr, rw->fd, rw->addr, rw->nr, rw->off, 0, rw->flags);
	one.iov_base = (void *)(uintptr_t)rw->addr;
	one.iov_len = rw->nr;
	return RAW(nr, rw->fd, &one, 1, rw->off, 0, rw->flags);
}

static inline long lane_host_read(struct lane *l, const struct lane_rw *rw)
{
	(void)l;
	return lane_transfer(SYS_preadv2, rw);
}

/* Above RLIMIT_FSIZE comes a SIGXFSZ, which the kernel sends to a worker, that has it blocked. */
static inline void lane_drop_sigxfsz(void)
{
	const struct timespec none = {0, 0};
	uint64_t set = 1ULL << (SIGXFSZ - 1);

	RAW(SYS_rt_sigtimedwait, &set, 0, &none, sizeof(set));
}

static inline long lane_host_write(struct lane *l, const struct lane_rw *rw)
{
	long ret = lane_transfer(SYS_pwritev2, rw);

	(void)l;
	if (ret == -EFBIG)
		lane_drop_sigxfsz();
	return ret;
}

/* The one place where user memory is loaded: the call behind us has read these very bytes. */
static inline long lane_host_iovecs(struct lane *l, uint64_t addr, uint32_t nr)
{
	const struct iovec *iov = (const struct iovec *)(uintptr_t)addr;
	uint64_t sum = 0;

	(void)l;
	for (uint32_t i = 0; i < nr; i++)
		sum += ((const volatile struct iovec *)iov)[i].iov_len;
	return sum < LANE_MAX_RW_COUNT ? (long)sum : (long)LANE_MAX_RW_COUNT;
}

/* import_iovec(), and nothing else: there is nothing to transfer them to. */
static inline long lane_host_check_iovecs(struct lane *l, uint64_t addr, uint32_t nr)
{
	long ret = RAW(SYS_process_vm_readv, 0, addr, nr, 0, 0, 0);

	(void)l;
	return ret < 0 ? ret : 0;
}

/* ---- sockets ---- */

static inline long lane_host_poll(struct lane *l, int fd, uint32_t events)
{
	const struct timespec none = {0, 0};
	struct pollfd pfd;
	long ret;

	(void)l;
	pfd.fd = fd;
	pfd.events = (short)(events | POLLRDHUP);
	pfd.revents = 0;
	ret = RAW(SYS_ppoll, &pfd, 1, &none, 0, 8);
	return ret > 0 ? (unsigned short)pfd.revents : ret;
}

/* 0: it can be read, and the iovecs that it names. */
static inline long lane_check_msghdr(struct lane *l, uint64_t addr, struct msghdr *msg)
{
	struct iovec here, there;

	here.iov_base = msg;
	there.iov_base = (void *)(uintptr_t)addr;
	here.iov_len = there.iov_len = sizeof(*msg);
	if (RAW(SYS_process_vm_readv, RAW(SYS_gettid), &here, 1, &there, 1, 0) != (long)sizeof(*msg))
		return -EFAULT;
	return lane_host_check_iovecs(l, (uintptr_t)msg->msg_iov, (uint32_t)msg->msg_iovlen);
}

/* What is sent beside the data is the daemon's: a ring must not be (unix_attach_fds()); so is what cannot be read. */
static inline long lane_host_send(struct lane *l, int fd, const struct io_uring_sqe *sqe, int flags)
{
	struct msghdr msg;
	long ret;

	if (sqe->opcode == IORING_OP_SENDMSG) {
		if (lane_check_msghdr(l, sqe->addr, &msg) < 0 || msg.msg_controllen)
			return -EAGAIN;
		return RAW(SYS_sendmsg, fd, sqe->addr, flags);
	}
	ret = RAW(SYS_sendto, fd, sqe->addr, sqe->len, flags, sqe->addr2, sqe->addr2 ? (uint16_t)sqe->file_index : 0);
	return ret == -ENOTSOCK && sqe->addr2 ? -EAGAIN : ret; /* the name is looked at first */
}

static inline long lane_host_recv(struct lane *l, int fd, const struct io_uring_sqe *sqe, int flags)
{
	struct msghdr msg;
	long ret;

	if (sqe->opcode != IORING_OP_RECVMSG)
		return RAW(SYS_recvfrom, fd, sqe->addr, sqe->len, flags, 0, 0);
	ret = RAW(SYS_recvmsg, fd, sqe->addr, flags);
	return ret < 0 && ret != -EAGAIN && lane_check_msghdr(l, sqe->addr, &msg) < 0 ? -EINVAL : ret;
}

static inline int lane_socket_option(int fd, int name)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return RAW(SYS_getsockopt, fd, SOL_SOCKET, name, &value, &size) < 0 ? -1 : value;
}

static inline bool lane_is_stream(int fd, bool unix_too)
{
	int domain;

	if (lane_socket_option(fd, SO_TYPE) != SOCK_STREAM)
		return false;
	domain = lane_socket_option(fd, SO_DOMAIN);
	return domain == AF_INET || domain == AF_INET6 || (unix_too && domain == AF_UNIX);
}

/* tcp_inq_hint(): 1 where a FIN was received, not behind a reset. */
static inline long lane_host_end(int fd)
{
	int protocol = lane_socket_option(fd, SO_PROTOCOL);
	struct pollfd end = {fd, POLLRDHUP, 0};
	struct timespec now = {0, 0};

	if (protocol != LANE_IPPROTO_TCP && protocol != LANE_IPPROTO_MPTCP)
		return 0;
	RAW(SYS_ppoll, &end, 1, &now, 0, 0);
	return (end.revents & (POLLRDHUP | POLLERR)) == POLLRDHUP && lane_is_stream(fd, false);
}

/* TCP and AF_UNIX streams say how much is left; TCP also that there is the end. Asked without a receive, MSG_PEEK or not,
 * which would take the socket's error; and first what says no in most cases. */
static inline long lane_host_more(struct lane *l, int fd)
{
	int count = 0;

	(void)l;
	if (RAW(SYS_ioctl, fd, FIONREAD, &count) < 0)
		return 0;
	return count > 0 ? lane_is_stream(fd, true) : lane_host_end(fd);
}

static inline long lane_host_socket(struct lane *l, const struct io_uring_sqe *sqe)
{
	(void)l;
	return RAW(SYS_socket, sqe->fd, (int)sqe->off, (int)sqe->len);
}

/* ---- names and descriptors ---- */

/* getname() of an empty path, an error of preparation, answers as a file that is not there. */
static inline bool lane_path_is_empty(uint64_t addr)
{
	char first = 0;
	struct iovec here, there;

	here.iov_base = &first;
	there.iov_base = (void *)(uintptr_t)addr;
	here.iov_len = there.iov_len = 1;
	return RAW(SYS_process_vm_readv, RAW(SYS_gettid), &here, 1, &there, 1, 0) != 1 || !first;
}

/* The kernel's first try, which shows: O_NONBLOCK opens a FIFO without its other end, or does not (ENXIO). */
static inline long lane_host_open(struct lane *l, const struct io_uring_sqe *sqe)
{
	uint64_t flags = sqe->open_flags & (uint64_t)LANE_VALID_OPEN_FLAGS;
	struct open_how how;
	bool nonblock;
	long fd;

	(void)l;
	if (flags & O_PATH)
		flags &= LANE_O_PATH_FLAGS;
	nonblock = !(flags & (O_PATH | O_NONBLOCK));
	how.flags = flags | (nonblock ? O_NONBLOCK : 0);
	how.mode = 0;
	how.resolve = LANE_RESOLVE_CACHED;
	fd = RAW(SYS_openat2, sqe->fd, sqe->addr, &how, sizeof(how));
	if (fd == -ENOENT && lane_path_is_empty(sqe->addr))
		return -EFAULT;
	if (fd >= 0 && nonblock)
		RAW(SYS_fcntl, fd, F_SETFL, flags & ~(uint64_t)O_NONBLOCK);
	return fd;
}

static inline long lane_host_sync(struct lane *l, int fd, const struct io_uring_sqe *sqe)
{
	(void)l;
	if (sqe->opcode == IORING_OP_SYNC_FILE_RANGE)
		return RAW(SYS_sync_file_range, fd, sqe->off, sqe->len, sqe->sync_range_flags);
	return RAW(sqe->fsync_flags & IORING_FSYNC_DATASYNC ? SYS_fdatasync : SYS_fsync, fd);
}

static inline long lane_host_close(struct lane *l, int fd)
{
	(void)l;
	return RAW(SYS_close, fd);
}

#endif
