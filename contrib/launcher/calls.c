/* SPDX-License-Identifier: Apache-2.0 */
/* The three system calls, by the control ABI; what the kernel does before it looks at the ring is done here. */
#include "trap.h"
#include "wire.h"

#include <linux/stat.h>
#include <sys/uio.h>

/* Newer than some headers */
#define SETUP_REGISTERED_FD_ONLY (1u << 15)
#define FEAT_REG_REG_RING (1u << 13)
#define ENTER_REGISTERED_RING (1u << 4)
#define ENTER_KNOWN 0xffu /* of 6.18 */
#define REGISTER_IOWQ_AFF 17
#define UNREGISTER_IOWQ_AFF 18
#define REGISTER_IOWQ_MAX_WORKERS 19
#define REGISTER_RING_FDS 20
#define UNREGISTER_RING_FDS 21
#define REGISTER_CLONE_BUFFERS 30
#define CLONE_SRC_REGISTERED 1u
#define REGISTER_SEND_MSG_RING 31
#define OP_MSG_RING 40
#define REGISTER_QUERY 35
#define REGISTER_LAST 36 /* of 6.18 */
#define REGISTER_USE_REGISTERED_RING (1u << 31)

#define AT_STATX_DONT_SYNC_ 0x4000
#define AT_EMPTY_PATH_ 0x1000
#define OPEN_TREE_CLONE_ 1
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif

static long result_of(int ret)
{
	return ret < 0 ? -errno : ret;
}

/* By this thread's id: the process's is that of its first, which has no memory once it has ended. */
long trap_copy_in(void *to, uintptr_t from, size_t size)
{
	struct iovec here = {to, size}, there = {(void *)from, size};

	return RAW(SYS_process_vm_readv, RAW(SYS_gettid), &here, 1, &there, 1, 0) == (long)size ? 0 : -EFAULT;
}

long trap_copy_out(uintptr_t to, const void *from, size_t size)
{
	struct iovec here = {(void *)(uintptr_t)from, size}, there = {(void *)to, size};

	return RAW(SYS_process_vm_writev, RAW(SYS_gettid), &here, 1, &there, 1, 0) == (long)size ? 0 : -EFAULT;
}

static void rings_are_like(int fd, const char *path, int flags)
{
	struct statx st;

	if (RAW(SYS_statx, fd, path, AT_STATX_DONT_SYNC_ | flags, STATX_TYPE, &st) == 0) {
		trap_state.dev_major = st.stx_dev_major;
		trap_state.dev_minor = st.stx_dev_minor;
	}
}

/* A directory that is no mount has no rings, but files: 0, 0 is no file system's. */
void trap_mount_device(const char *mount)
{
	if (RAW(SYS_getxattr, mount, URINGFS_XATTR, NULL, 0) >= 0)
		rings_are_like(AT_FDCWD, mount, 0);
}

/* A control write into anything else would be just that: a write. The daemon is not asked. */
long trap_check_ring(int fd)
{
	struct statx st;
	long ret = RAW(SYS_statx, fd, "", AT_EMPTY_PATH_ | AT_STATX_DONT_SYNC_, STATX_TYPE, &st);

	if (ret < 0)
		return ret == -EBADF ? ret : -EOPNOTSUPP;
	if (st.stx_dev_major != trap_state.dev_major || st.stx_dev_minor != trap_state.dev_minor ||
	    (st.stx_mode & S_IFMT) != S_IFREG)
		return -EOPNOTSUPP;
	return 0;
}

/* ---- setup ---- */

static long setup_on(int fd, uint32_t entries, uintptr_t address, struct io_uring_params *p)
{
	long ret = trap_copy_in(p, address, sizeof(*p));
	uint32_t flags;

	if (ret < 0)
		return ret;
	flags = p->flags;
	if (flags & IORING_SETUP_NO_MMAP)
		p->flags &= ~SETUP_REGISTERED_FD_ONLY; /* the table is ours: rings.c */
	ret = result_of(uringfs_setup(fd, entries, p));
	if (ret < 0)
		return ret;
	p->flags = flags;
	p->features |= FEAT_REG_REG_RING;
	return trap_copy_out(address, p, sizeof(*p));
}

/* Of a mount that is nowhere: `..` does not lead out of it. A plain descriptor of MOUNT would be the way out of every
 * chroot(2), for whoever the program becomes in there. */
static long open_mount_alone(void)
{
	long fd;

	trap_state.new_path[trap_state.mount_length] = 0;
	fd = RAW(SYS_open_tree, AT_FDCWD, trap_state.new_path, OPEN_TREE_CLONE_ | O_CLOEXEC);
	trap_state.new_path[trap_state.mount_length] = '/';
	return fd;
}

/* Behind it the path is another: from then on by a descriptor of the directory. Who may not mount has none. */
TRAP_EXPORT int chroot(const char *path)
{
	long fd;

	if (trap_state.active && !trap_state.directory) {
		fd = open_mount_alone();
		if (fd >= 0) {
			trap_state.directory = (int)trap_duplicate((int)fd) + 1;
			RAW(SYS_close, fd);
		}
	}
	return (int)raw_errno(RAW(SYS_chroot, path));
}

static long no_mount(void)
{
	trap_say_no_mount();
	return -ENOSYS;
}

/* A ring file. Where there is no mount (any more) there is no io_uring: ENOSYS. */
static long open_new(void)
{
	long fd;

	if (trap_state.directory > 0)
		fd = RAW(SYS_openat, trap_state.directory - 1, "new", O_RDWR | O_CLOEXEC, 0);
	else
		fd = RAW(SYS_openat, AT_FDCWD, trap_state.new_path, O_RDWR | O_CLOEXEC, 0);

	if (fd == -ENOENT || fd == -ENOTCONN || fd == -ECONNABORTED || fd == -ENOTDIR)
		return no_mount();
	if (fd >= 0 && uringfs_check((int)fd) < 0) { /* a file of that name, in a plain directory */
		RAW(SYS_close, fd);
		return no_mount();
	}
	if (fd >= 0 && trap_check_ring((int)fd) < 0) /* mounted since the program began */
		rings_are_like((int)fd, "", AT_EMPTY_PATH_);
	return fd;
}

/* The descriptor is the file's own. */
long trap_setup(uint32_t entries, uintptr_t params)
{
	struct io_uring_params p;
	long fd = open_new(), ret;

	if (fd < 0)
		return fd;
	ret = setup_on((int)fd, entries, params, &p);
	if (ret == 0)
		trap_rings_begin();
	trap_poll_end((int)fd);
	if (ret == 0 && p.flags & IORING_SETUP_SQPOLL)
		trap_agent((int)fd, &p); /* as the kernel's poller, a thread of the program's from the first */
	if (ret == 0 && p.flags & SETUP_REGISTERED_FD_ONLY)
		ret = trap_ring_add((int)fd, 0, 16);
	else if (ret == 0)
		trap_lane_begin((int)fd);
	if (ret == 0 && p.flags & IORING_SETUP_SQPOLL && !(p.flags & SETUP_REGISTERED_FD_ONLY))
		trap_poll((int)fd, &p);
	if (ret == 0 && !(p.flags & SETUP_REGISTERED_FD_ONLY))
		return fd;
	RAW(SYS_close, fd);
	return ret;
}

/* ---- enter ---- */

static long enter_daemon(const struct trap_enter *e)
{
	long ret = trap_check_ring((int)e->fd);

	if (ret < 0)
		return ret;
	return result_of(uringfs_enter_daemon((int)e->fd, e->to_submit, e->min_complete, e->flags, (void *)e->arg,
					      e->argsz, e->tells ? &e->tail : NULL));
}

/* io_uring_enter(2), until it looks at the ring: 0 or -errno */
static long begin_enter(struct trap_enter *e)
{
	long ret;

	if (e->flags & ~ENTER_KNOWN)
		return -EINVAL;
	if (e->flags & ENTER_REGISTERED_RING) {
		ret = trap_ring_of(e->fd);
		if (ret < 0)
			return ret;
		e->fd = (uint32_t)ret;
		e->flags &= ~ENTER_REGISTERED_RING;
	}
	return 0;
}

bool trap_enter_lane(struct trap_enter *e, const uint64_t *mask)
{
	return !trap_state.no_lane && begin_enter(e) == 0 && trap_lane(e, mask);
}

/* What the call returns, if the lane was all of it */
long trap_taken(const struct trap_enter *e)
{
	return e->error && (int32_t)e->taken <= 0 ? e->error : (long)(int32_t)e->taken;
}

long trap_enter(struct trap_enter *e, const uint64_t *mask)
{
	long ret = begin_enter(e);

	if (ret < 0)
		return ret;
	if (!trap_state.no_lane && trap_lane(e, mask))
		return trap_taken(e);
	trap_set_mask(mask);
	ret = enter_daemon(e);
	if (ret < 0)
		trap_lane_failed((int)e->fd, ret);
	return trap_lane_sum(e->taken, ret);
}

/* ---- register ---- */

/* io_uring_register_blind(): without a ring. Any ring file of the mount carries a message. */
static long register_blind(uint32_t opcode, uintptr_t arg, uint32_t nr_args)
{
	struct io_uring_sqe sqe;
	long ret;

	if (opcode == REGISTER_QUERY) {
		long fd = open_new();

		if (fd < 0)
			return fd;
		ret = result_of(uringfs_register((int)fd, opcode, (void *)arg, nr_args));
		RAW(SYS_close, fd);
		return ret;
	}
	if (opcode != REGISTER_SEND_MSG_RING || !arg || nr_args != 1)
		return -EINVAL;
	ret = trap_copy_in(&sqe, arg, sizeof(sqe));
	if (ret < 0)
		return ret;
	if (sqe.flags || sqe.opcode != OP_MSG_RING)
		return -EINVAL;
	ret = trap_check_ring(sqe.fd);
	if (ret < 0)
		return ret == -EBADF ? ret : -EBADFD;
	return result_of(uringfs_register(sqe.fd, opcode, (void *)arg, nr_args));
}

/* io_register_iowq_max_workers(): the bounded ones are this library's, which the call overwrites with those of before. */
static long register_max_workers(int fd, uintptr_t arg, uint32_t nr_args)
{
	uint32_t most[2] = {0, 0};
	long ret = trap_copy_in(most, arg, sizeof(most)), got;

	got = result_of(uringfs_register(fd, REGISTER_IOWQ_MAX_WORKERS, (void *)arg, nr_args));
	if (ret == 0 && got == 0 && most[0])
		trap_lane_limit(fd, most[0]);
	return got;
}

/* All else, by the daemon; what it means for this library. */
static long register_any(int fd, uint32_t opcode, uintptr_t arg, uint32_t nr_args)
{
	uint64_t before = trap_lane_registers(fd, opcode);
	long ret = result_of(uringfs_register(fd, opcode, (void *)arg, nr_args));

	if (before)
		trap_lane_registered(fd, opcode, arg, nr_args, ret, before);
	if (ret == 0 && (opcode == REGISTER_IOWQ_AFF || opcode == UNREGISTER_IOWQ_AFF))
		trap_lane_affinity(fd, arg, nr_args);
	return ret;
}

long trap_register(uint32_t fd, uint32_t opcode, uintptr_t arg, uint32_t nr_args)
{
	bool registered = opcode & REGISTER_USE_REGISTERED_RING;
	struct { /* struct io_uring_clone_buffers */
		uint32_t src_fd, flags, src_off, dst_off, nr, pad[3];
	} clone;
	long ret;

	opcode &= ~REGISTER_USE_REGISTERED_RING;
	if (opcode >= REGISTER_LAST)
		return -EINVAL;
	if (registered) {
		ret = trap_ring_of(fd);
		if (ret < 0)
			return ret;
		fd = (uint32_t)ret;
	} else if (fd == UINT32_MAX) {
		return register_blind(opcode, arg, nr_args);
	}
	ret = trap_check_ring((int)fd);
	if (ret < 0)
		return ret;
	if (opcode == REGISTER_RING_FDS)
		return trap_rings_register(arg, nr_args);
	if (opcode == UNREGISTER_RING_FDS)
		return trap_rings_unregister(arg, nr_args);
	if (opcode == REGISTER_CLONE_BUFFERS && nr_args == 1 && trap_copy_in(&clone, arg, sizeof(clone)) == 0 &&
	    clone.flags & CLONE_SRC_REGISTERED) {
		ret = trap_ring_of(clone.src_fd);
		if (ret < 0)
			return ret;
		clone.src_fd = (uint32_t)ret;
		clone.flags &= ~CLONE_SRC_REGISTERED;
		arg = (uintptr_t)&clone;
	}
	trap_lane_settle((int)fd);
	if (opcode == REGISTER_IOWQ_MAX_WORKERS)
		return register_max_workers((int)fd, arg, nr_args);
	return register_any((int)fd, opcode, arg, nr_args);
}
