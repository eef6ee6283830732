/* SPDX-License-Identifier: Apache-2.0 */
/* uringfs.h as it is used in here. */
#ifndef URINGFS_TRAP_WIRE_H
#define URINGFS_TRAP_WIRE_H

#include "trap.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* Under a low RLIMIT_FSIZE the usual offset would cost the program a SIGXFSZ; where mmap and write do not
 * share pages (a passthrough mount), any offset does. */
static inline ssize_t control_write(int fd, const void *buf, size_t size, long long off)
{
	struct rlimit limit;

	if (RAW(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, &limit) == 0 && limit.rlim_cur < (rlim_t)off + size)
		off = 0;
	return raw_errno(RAW(SYS_pwrite64, fd, buf, size, off));
}

/* What uringfs.h calls, without libc's cancellation points: a cancelled thread must not leave in here. */
#define pwrite(fd, buf, size, off) control_write(fd, buf, size, off)
#define close(fd) raw_errno(RAW(SYS_close, fd))
#define recvmsg(fd, msg, flags) raw_errno(RAW(SYS_recvmsg, fd, msg, flags))
#define send(fd, buf, size, flags) raw_errno(RAW(SYS_sendto, fd, buf, size, flags))
#define socketpair(family, type, protocol, sv) raw_errno(RAW(SYS_socketpair, family, type, protocol, sv))
#define fcntl(fd, cmd, arg) ((int)raw_errno(RAW(SYS_fcntl, fd, cmd, arg)))
#define mmap(addr, size, prot, flags, fd, off) ((void *)raw_errno(RAW(SYS_mmap, addr, size, prot, flags, fd, off)))
#define mremap(old, old_size, size, flags, to) ((void *)raw_errno(RAW(SYS_mremap, old, old_size, size, flags, to)))
#define munmap(addr, size) raw_errno(RAW(SYS_munmap, addr, size))
#define syscall(...) raw_errno(RAW(__VA_ARGS__))
/* A mask that blocks SIGSYS would make the next io_uring call of a handler deadly. */
#define URINGFS_WAIT_MASK(mask) ((mask) & ~TRAP_SIGSYS_BIT)
#define URINGFS_LATER(fd) trap_agent(fd, NULL)
#define URINGFS_SLEEP(fd, e) trap_sleep(fd, e)
#define URINGFS_WOKEN(address) trap_sleepers_woken(address)
#define URINGFS_SETUP_CAN (URINGFS_CAN | URINGFS_SETUP_OPAQUE)
#include "../uringfs.h"

#endif
