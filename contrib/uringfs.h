/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uringfs.h: io_uring(7) on a uringfs mount, from C11 and C++. One header, no dependency.
 *
 *   int fd = uringfs_open("/mnt/uring/new");               a ring of your own (any other name: shared by name)
 *   struct io_uring_params p = {0};
 *   uringfs_setup(fd, 64, &p);                             io_uring_setup(2)
 *   void *rings = mmap(0, ..., MAP_SHARED, fd, IORING_OFF_SQ_RING);
 *   ...                                                    queues and SQEs exactly as with the kernel
 *   uringfs_enter(fd, 1, 1, IORING_ENTER_GETEVENTS, 0);    io_uring_enter(2)
 *
 * Every function returns what the system call of that name returns: -1 and errno on failure.
 * A control write is one system call's arguments: a header {cmd, size}, then the arguments, user
 * addresses as they are. docs/control-abi.md describes the same from the daemon's side.
 * x86-64 and aarch64 (and any other little-endian 64-bit Linux).
 *
 * With URINGFS_LANE defined before, uringfs_enter() performs what cannot wait itself (docs/lane.md; lane/ and
 * uringfs_lane.h beside this header; x86-64 and aarch64). Each file that includes it so has a table of its own.
 */
#ifndef URINGFS_H
#define URINGFS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* ppoll, mremap; in time only if this header comes first */
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/io_uring.h>

#if !defined(POLLMSG) || !defined(MREMAP_FIXED)
#error "uringfs.h needs _GNU_SOURCE: include it before any system header, or build with -D_GNU_SOURCE"
#endif

/* Newer than some headers */
#ifndef IORING_SETUP_NO_MMAP
#define IORING_SETUP_NO_MMAP (1U << 14)
#endif
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

#ifdef __cplusplus
extern "C" {
#define URINGFS_ASSERT(cond, msg) static_assert(cond, msg)
#else
#define URINGFS_ASSERT(cond, msg) _Static_assert(cond, msg)
#endif

/* Where a control write goes. Any offset is taken on a passthrough mount; this one on every backend. */
#define URINGFS_OFF_CTL 0x20000000LL

/* {cmd, size}: cmd is built as _IOW('u', nr, struct), so its first byte in memory is 1 to 6 (no text
 * starts with that) and the size stands in it once more. size: bytes of the whole message. */
struct uringfs_hdr {
	uint32_t cmd;
	uint32_t size;
};

/* Where `result` points, an int64_t: the daemon stores the call's return value there. */
struct uringfs_setup {
	struct uringfs_hdr hdr;
	uint64_t result;  /* int64_t *: 0 */
	uint32_t entries; /* SQ entries asked for */
	uint32_t can;	  /* URINGFS_ENTER_FETCHES ..., for what an SQPOLL ring submits; or 0 */
	uint64_t params;  /* struct io_uring_params *: read, then written */
};

struct uringfs_enter {
	struct uringfs_hdr hdr;
	uint64_t result;       /* int64_t *: SQEs submitted, or -errno of the wait */
	uint32_t to_submit;    /* SQEs */
	uint32_t min_complete; /* CQEs to wait for, with IORING_ENTER_GETEVENTS */
	uint32_t flags;	       /* IORING_ENTER_* */
	uint32_t can;	       /* URINGFS_ENTER_*; or 0 */
	uint64_t arg;	       /* sigset_t *, or struct io_uring_getevents_arg * with EXT_ARG */
	uint64_t argsz;	       /* bytes at arg; with URINGFS_ENTER_TAIL, << 32: the CQ tail that is waited for */
};

struct uringfs_register {
	struct uringfs_hdr hdr;
	uint64_t result; /* int64_t *: what io_uring_register(2) returns */
	uint32_t opcode; /* IORING_REGISTER_* */
	uint32_t nr_args;
	uint64_t arg;
};

/* New descriptors, CLOSE, WAITID, MADVISE, FUTEX_WAKE, READ of a signalfd, CONNECT and LISTEN of AF_UNIX. Nobody but a process itself can put a descriptor into
 * its table, close one, reap a child, call madvise(2) for its memory or take its signals: a request that needs that completes once the
 * process has done it. `entries` is read
 * (`done` of them, with res filled in), then written: at most `room`; the result is how many, and
 * URINGFS_RESULT_FETCH if there are more. The descriptors that are NEW arrive in this order in one message
 * (SCM_RIGHTS) on `sock`, an end of a SOCK_SEQPACKET socketpair(2) of this process; -1: it has no room for
 * one, then those complete with EMFILE. uringfs_fetch() is all that. */
struct uringfs_descriptor {
	uint64_t id;
	/* CLOSE, READ, CONNECT, LISTEN: the descriptor, WAIT: the id, ADVISE: the advice,
	 * WAKE: how many, SLEEP: how many words, 0 for one that is told here; then, what came of it: a number or -errno.
	 * Of SLEEP -EINPROGRESS: a thread sleeps, and the agent sends what came of it */
	int32_t res;
	uint32_t what; /* URINGFS_DESCRIPTOR_* */
	/* ADVISE, READ, CONNECT: instead of these, uint64_t address, length, 0. WAKE: address, and the mask, with bit 32 for
	 * FUTEX_PRIVATE_FLAG. LISTEN: the backlog, 0, 0. SLEEP: of the struct futex_waitv, 0; or of one word, and its
	 * value, with FUTEX2_* above. AWAKE: the id of a SLEEP that is to end, 0.
	 * WAIT, waitid(2); without URINGFS_ENTER_WAITS an entry ends here */
	uint32_t which, options; /* idtype, and options with WNOHANG */
	int32_t code, pid;	 /* what its siginfo_t says; all 0: there was nothing */
	uint32_t uid;
	int32_t status;
};

struct uringfs_fetch {
	struct uringfs_hdr hdr;
	uint64_t result;  /* int64_t *: how many there are to do */
	uint64_t entries; /* struct uringfs_descriptor * */
	uint32_t done;
	uint32_t room;
	int32_t sock;
	uint32_t can; /* as in uringfs_enter: entries are whole with URINGFS_ENTER_WAITS, else 16 bytes */
};

/* Hand a seccomp listener over (SECCOMP_FILTER_FLAG_NEW_LISTENER; the caller may close its descriptor then):
 * the daemon answers io_uring_setup, io_uring_enter and io_uring_register of all threads under its filter, as
 * `uringfs run --mode notify` has it. Any ring file of the mount takes the message; ENOSYS is what it answers
 * to every other system call. trace: a descriptor to write a line a call to, or -1. */
struct uringfs_supervise {
	struct uringfs_hdr hdr;
	uint64_t result; /* int64_t *: 0 */
	int32_t listener;
	int32_t trace;
};

/* From now on an agent, a thread of this process, does that as it comes up, if no enter looks after it: it reads a
 * struct uringfs_descriptor with its descriptor, if it is NEW, from the other end of `sock`, an end of a
 * SOCK_SEQPACKET socketpair(2) of this process, and writes it back with res filled in. uringfs_agent(). */
struct uringfs_agent {
	struct uringfs_hdr hdr;
	uint64_t result; /* int64_t *: 0 */
	int32_t sock;
	uint32_t pad; /* 0 */
};

#define URINGFS_DESCRIPTOR_NEW 1u
#define URINGFS_DESCRIPTOR_CLOSE 2u
#define URINGFS_DESCRIPTOR_CLOEXEC 4u
#define URINGFS_DESCRIPTOR_WAIT 8u
#define URINGFS_DESCRIPTOR_ADVISE 16u
#define URINGFS_DESCRIPTOR_READ 32u
#define URINGFS_DESCRIPTOR_WAKE 64u
#define URINGFS_DESCRIPTOR_CONNECT 128u
#define URINGFS_DESCRIPTOR_LISTEN 256u
#define URINGFS_DESCRIPTOR_SLEEP 512u
#define URINGFS_DESCRIPTOR_AWAKE 1024u

/* uringfs_enter.can: this client fetches descriptors, and calls waitid(2) for WAITID, madvise(2) for MADVISE,
 * read(2) for READs of a signalfd, futex(2) for FUTEX_WAKE, connect(2) and listen(2) for sockets of AF_UNIX, whose other end
 * sees who did. Without it such a request gets -EOPNOTSUPP, MADVISE, FUTEX_WAKE, CONNECT and LISTEN what the daemon can do. */
#define URINGFS_ENTER_FETCHES 1u
#define URINGFS_ENTER_WAITS 2u
#define URINGFS_ENTER_ADVISES 16u
#define URINGFS_ENTER_READS 32u
#define URINGFS_ENTER_WAKES 256u
#define URINGFS_ENTER_CONNECTS 512u
/* uringfs_enter.can: this client has threads of its own that sleep in the kernel's futex queues for FUTEX_WAIT and
 * FUTEX_WAITV, and an agent that says what became of it. Without it the daemon looks at the words. */
#define URINGFS_ENTER_SLEEPS 1024u
/* A program that has such threads defines URINGFS_SLEEP, for SLEEP and AWAKE of a ring, or of its agent's socket, and
 * URINGFS_WOKEN, behind a WAKE that has woken some. */
#ifdef URINGFS_SLEEP
#define URINGFS_CAN_SLEEP URINGFS_ENTER_SLEEPS
#else
#define URINGFS_CAN_SLEEP 0
#define URINGFS_SLEEP(fd, e) ((void)(fd), (e)->res = -EOPNOTSUPP)
#define URINGFS_WOKEN(address) ((void)(address))
#endif
#define URINGFS_CAN                                                                                  \
	(URINGFS_ENTER_FETCHES | URINGFS_ENTER_WAITS | URINGFS_ENTER_ADVISES | URINGFS_ENTER_READS | \
	 URINGFS_ENTER_WAKES | URINGFS_ENTER_CONNECTS | URINGFS_CAN_SLEEP)
/* uringfs_enter.can: behind the int64_t at `result` is room for a signal mask. If the call waits (EINPROGRESS)
 * and has a mask, the daemon stores it there, for the poll(2). */
#define URINGFS_ENTER_MASK 4u
/* uringfs_enter.can: argsz has in its upper half which CQ tail is enough, for who has looked before, as what another thread
 * reaps meanwhile counts (io_cqring_wait()). Only for a daemon that says URINGFS_LANE_TAILS. */
#define URINGFS_ENTER_TAIL 2048u
/* uringfs_setup.can: read(2) of a descriptor that is open for writing, too, is EINVAL, as of an io_uring descriptor.
 * Who opens the file for reading alone gets the text. */
#define URINGFS_SETUP_OPAQUE 8u
#ifndef URINGFS_SETUP_CAN
#define URINGFS_SETUP_CAN URINGFS_CAN
#endif
/* In an enter's result, above the number: there are, or will be in a moment, descriptors to fetch. */
#define URINGFS_RESULT_FETCH (1LL << 32)
/* The same, and in a fetch's: there will be some that no enter looks after. An agent can; or poll(2). */
#define URINGFS_RESULT_LATER (1LL << 33)
/* poll(2): there are descriptors to fetch; the wait of an enter, if it was one, goes on in another poll. */
#define URINGFS_POLL_FETCH POLLPRI

#define URINGFS_CMD(nr, type) ((1u << 30) | ((uint32_t)sizeof(type) << 16) | ((uint32_t)'u' << 8) | (nr))
#define URINGFS_CMD_SETUP URINGFS_CMD(1u, struct uringfs_setup)
#define URINGFS_CMD_ENTER URINGFS_CMD(2u, struct uringfs_enter)
#define URINGFS_CMD_REGISTER URINGFS_CMD(3u, struct uringfs_register)
#define URINGFS_CMD_FETCH URINGFS_CMD(4u, struct uringfs_fetch)
#define URINGFS_CMD_SUPERVISE URINGFS_CMD(5u, struct uringfs_supervise)
#define URINGFS_CMD_AGENT URINGFS_CMD(6u, struct uringfs_agent)

/* An enter that has to wait answers EINPROGRESS: the submission is done, and the wait goes on in a
 * poll(2) of the ring file for this event, whose end stores the final value at `result`. So a waiter
 * holds no lock of the file, and its signal mask is swapped atomically by ppoll(2). */
#define URINGFS_POLL_WAIT POLLMSG

URINGFS_ASSERT(sizeof(struct uringfs_hdr) == 8, "uringfs_hdr");
URINGFS_ASSERT(sizeof(struct uringfs_setup) == 32, "uringfs_setup");
URINGFS_ASSERT(offsetof(struct uringfs_setup, params) == 24, "uringfs_setup.params");
URINGFS_ASSERT(sizeof(struct uringfs_enter) == 48, "uringfs_enter");
URINGFS_ASSERT(offsetof(struct uringfs_enter, arg) == 32, "uringfs_enter.arg");
URINGFS_ASSERT(sizeof(struct uringfs_register) == 32, "uringfs_register");
URINGFS_ASSERT(offsetof(struct uringfs_register, arg) == 24, "uringfs_register.arg");
URINGFS_ASSERT(offsetof(struct uringfs_enter, can) == 28, "uringfs_enter.can");
URINGFS_ASSERT(sizeof(struct uringfs_descriptor) == 40, "uringfs_descriptor");
URINGFS_ASSERT(offsetof(struct uringfs_descriptor, which) == 16, "uringfs_descriptor.which");
URINGFS_ASSERT(sizeof(struct uringfs_fetch) == 40, "uringfs_fetch");
URINGFS_ASSERT(sizeof(struct uringfs_supervise) == 24, "uringfs_supervise");
URINGFS_ASSERT(offsetof(struct uringfs_fetch, sock) == 32, "uringfs_fetch.sock");
URINGFS_ASSERT(sizeof(struct uringfs_agent) == 24, "uringfs_agent");
URINGFS_ASSERT(sizeof(struct io_uring_params) == 120, "io_uring_params");
URINGFS_ASSERT(sizeof(struct io_uring_cqe) == 16, "io_uring_cqe");
URINGFS_ASSERT(sizeof(struct io_uring_sqe) == 64, "io_uring_sqe");

/* Every file of a mount has it, its directory too: the daemon's version. */
#define URINGFS_XATTR "system.uringfs"

/* 0 for a descriptor of a mount; -1: EOPNOTSUPP for any other file, ENOTCONN, ECONNABORTED without a daemon. */
static inline int uringfs_check(int fd)
{
	if (syscall(SYS_fgetxattr, fd, URINGFS_XATTR, NULL, 0) >= 0)
		return 0;
	if (errno != EBADF && errno != ENOTCONN && errno != ECONNABORTED)
		errno = EOPNOTSUPP;
	return -1;
}

/* A name that does not exist: made if its directory is a mount, and only then. */
static inline int uringfs_create(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t length = slash ? (size_t)(name - path) : 1;
	char directory[4096];
	int at, fd = -1, saved;

	if (length >= sizeof(directory)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(directory, slash ? path : ".", length);
	directory[length] = 0;
	at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return -1;
	if (uringfs_check(at) == 0)
		fd = openat(at, name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	saved = errno;
	close(at);
	errno = saved;
	return fd;
}

/* Open a ring file: MOUNT/new for a ring of your own, any other name for one shared by name (made if
 * absent, 0666 & ~umask). Returns a descriptor (close-on-exec) or -1: EOPNOTSUPP where nothing is mounted. */
static inline int uringfs_open(const char *path)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC), saved;

	if (fd < 0)
		return errno == ENOENT ? uringfs_create(path) : -1;
	if (uringfs_check(fd) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* One control write; result is filled by the daemon while the write lasts. */
static inline int uringfs_control(int fd, const void *msg, size_t size, volatile int64_t *result)
{
	ssize_t n = pwrite(fd, msg, size, URINGFS_OFF_CTL);

	if (n < 0)
		return -1;
	if (*result < 0) {
		errno = (int)-*result;
		return -1;
	}
	return (int)*result;
}

/* The whole pages from address on become those of the ring file at off; what has been there behind the first
 * `keep` bytes is kept. At no moment is there nothing. */
static inline int uringfs_map_over(int fd, uint64_t address, size_t size, off_t off, size_t keep)
{
	const size_t page = 4096;
	char *at, *there = (char *)(uintptr_t)address;

	size = (size + page - 1) & ~(page - 1);
	at = (char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, off);
	if (at == (char *)MAP_FAILED)
		return -1;
	if (keep < size)
		memcpy(at + keep, there + keep, size - keep);
	if (mremap(at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, there) == MAP_FAILED) {
		int saved = errno;

		munmap(at, size);
		errno = saved;
		return -1;
	}
	return 0;
}

/* IORING_SETUP_NO_MMAP: the daemon has looked at the memory that sq_off.user_addr and cq_off.user_addr name; now
 * it becomes the ring's. fresh: there are no entries yet, so what the memory holds stays, as in the kernel. */
static inline int uringfs_map_rings(int fd, const struct io_uring_params *p, int fresh)
{
	size_t sq_size = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	size_t sqes_size = p->sq_entries * sizeof(struct io_uring_sqe);
	size_t size = p->cq_entries * sizeof(struct io_uring_cqe);
	uint64_t rings, sqes;

	if (p->flags & IORING_SETUP_CQE32)
		size *= 2;
	if (p->flags & IORING_SETUP_SQE128)
		sqes_size *= 2;
	size += p->cq_off.cqes;
	if (!(p->flags & IORING_SETUP_NO_SQARRAY) && size < sq_size)
		size = sq_size;
	/* The last field of the offsets: user_addr, in newer headers. */
	memcpy(&rings, (const char *)&p->cq_off + 32, sizeof(rings));
	memcpy(&sqes, (const char *)&p->sq_off + 32, sizeof(sqes));
	if (uringfs_map_over(fd, rings, size, IORING_OFF_SQ_RING, fresh ? p->cq_off.cqes : SIZE_MAX) < 0)
		return -1;
	return uringfs_map_over(fd, sqes, sqes_size, IORING_OFF_SQES, fresh ? 0 : SIZE_MAX);
}

/* io_uring_setup(2) on an open ring file; 0, or -1: EINVAL, EFAULT, ENOMEM, EBUSY (has been set up), EOPNOTSUPP
 * (no ring file: nothing is written to it). With
 * IORING_SETUP_REGISTERED_FD_ONLY the index in this thread's table; it is fd that names the ring nevertheless. */
static inline int uringfs_setup(int fd, unsigned entries, struct io_uring_params *p)
{
	volatile int64_t result = -EIO;
	struct uringfs_setup m;
	int ret;

	if (uringfs_check(fd) < 0)
		return -1;
	memset(&m, 0, sizeof(m));
	m.hdr.cmd = URINGFS_CMD_SETUP;
	m.hdr.size = sizeof(m);
	m.result = (uint64_t)(uintptr_t)&result;
	m.entries = entries;
	m.can = URINGFS_SETUP_CAN;
	m.params = (uint64_t)(uintptr_t)p;
	ret = uringfs_control(fd, &m, sizeof(m), &result);
	if (ret >= 0 && p->flags & IORING_SETUP_NO_MMAP && uringfs_map_rings(fd, p, 1) < 0)
		return -1;
	return ret;
}

/* struct io_uring_params of a ring that has been set up, as an extended attribute. */
#define URINGFS_XATTR_PARAMS "user.uring.params"

/* A ring that another process has set up, by its name: *p becomes what that setup returned, and the caller maps the
 * ring, queues and reaps as if the setup had been its own. (sq_thread_cpu, sq_thread_idle and wq_fd are 0.) 0, or
 * -1: EBADFD (has not been set up), EOPNOTSUPP (no ring file). Who shares a ring shares its heads and tails: agree
 * on who queues and who reaps. */
static inline int uringfs_attach(int fd, struct io_uring_params *p)
{
	if (uringfs_check(fd) < 0)
		return -1;
	if (syscall(SYS_fgetxattr, fd, URINGFS_XATTR_PARAMS, p, sizeof(*p)) == (long)sizeof(*p))
		return 0;
	if (errno == ENODATA)
		errno = EBADFD;
	return -1;
}

/* What uringfs.h does when it hears of URINGFS_RESULT_LATER; a program that has agents may start one here. */
#ifndef URINGFS_LATER
#define URINGFS_LATER(fd) ((void)(fd))
#endif

#define URINGFS_FETCH_ROOM 16

/* RLIMIT_NOFILE before, and while descriptors of ours have numbers beyond it: the program's last is for the one that it asked
 * for. raised[0] 0: it is as it was. */
struct uringfs_numbers {
	uint64_t before[2], raised[2];
};

/* One thread at a time has more numbers. */
static inline int *uringfs_numbers_taken(void)
{
	static int taken;

	return &taken;
}

/* 0, or -1: there are none (a hard limit takes CAP_SYS_RESOURCE). */
static inline int uringfs_more_numbers(struct uringfs_numbers *n)
{
	if (n->raised[0] || __atomic_exchange_n(uringfs_numbers_taken(), 1, __ATOMIC_ACQUIRE))
		return -1;
	if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, n->before) == 0) {
		n->raised[0] = n->before[0] + URINGFS_FETCH_ROOM + 2;
		n->raised[1] = n->before[1] < n->raised[0] ? n->raised[0] : n->before[1];
		if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, n->raised, NULL) == 0)
			return 0;
	}
	n->raised[0] = 0;
	__atomic_store_n(uringfs_numbers_taken(), 0, __ATOMIC_RELEASE);
	return -1;
}

/* Unless the program has set others meanwhile. */
static inline void uringfs_fewer_numbers(struct uringfs_numbers *n)
{
	uint64_t now[2];

	if (!n->raised[0])
		return;
	if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, now) == 0 && now[0] == n->raised[0] &&
	    now[1] == n->raised[1])
		syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, n->before, NULL);
	n->raised[0] = 0;
	__atomic_store_n(uringfs_numbers_taken(), 0, __ATOMIC_RELEASE);
}

/* The descriptors of one message, which is looked at or taken: how many; *cut: there was no room for all. */
static inline int uringfs_received(int sock, int flags, int *fds, int *cut)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(URINGFS_FETCH_ROOM * sizeof(int))];
	} control;
	struct cmsghdr *c;
	struct msghdr msg;
	struct iovec iov;
	char byte;
	int got = 0;

	memset(&msg, 0, sizeof(msg));
	iov.iov_base = &byte;
	iov.iov_len = 1;
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = &control;
	msg.msg_controllen = sizeof(control);
	*cut = 0;
	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | flags) < 0)
		return 0;
	*cut = (msg.msg_flags & MSG_CTRUNC) != 0;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		got = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), (size_t)got * sizeof(int));
	}
	return got;
}

/* The lowest free number for it, or its own, if it is one of the program's. */
static inline int uringfs_lowest(int fd, int cloexec, uint64_t limit)
{
	int lower = fcntl(fd, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, 0), saved = errno;

	if (lower < 0 && (uint64_t)fd < limit && (cloexec || fcntl(fd, F_SETFD, 0) == 0))
		return fd;
	close(fd);
	return lower < 0 ? -saved : lower;
}

/* Take the descriptors of one message: their numbers, the lowest free ones, into e[].res. */
static inline void uringfs_receive(int sock, struct uringfs_descriptor *e, int n, struct uringfs_numbers *numbers)
{
	uint64_t limit = UINT64_MAX;
	int fds[URINGFS_FETCH_ROOM], cut, got, i;

	got = uringfs_received(sock, MSG_PEEK, fds, &cut);
	if (cut && uringfs_more_numbers(numbers) == 0) {
		for (i = 0; i < got; i++)
			close(fds[i]);
		got = uringfs_received(sock, 0, fds, &cut);
	}
	close(sock); /* first: its number may be the lowest */
	if (numbers->raised[0])
		limit = numbers->before[0];
	uringfs_fewer_numbers(numbers);
	for (i = 0; n > 0; n--, e++) {
		if (!(e->what & URINGFS_DESCRIPTOR_NEW))
			continue;
		e->res = i < got ? uringfs_lowest(fds[i], (e->what & URINGFS_DESCRIPTOR_CLOEXEC) != 0, limit)
				 : -EMFILE; /* the table was full */
		i++;
	}
}

/* waitid(2), which does not wait: the daemon says when to try again. */
static inline void uringfs_waitid(struct uringfs_descriptor *e)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	e->res = syscall(SYS_waitid, e->which, e->res, &info, e->options, NULL) < 0 ? -errno : 0;
	e->code = info.si_code;
	e->pid = info.si_pid;
	e->uid = info.si_uid;
	e->status = info.si_status;
}

static inline void uringfs_madvise(struct uringfs_descriptor *e)
{
	uint64_t range[2];

	memcpy(range, (const char *)e + offsetof(struct uringfs_descriptor, which), sizeof(range));
	e->res = syscall(SYS_madvise, range[0], range[1], e->res) < 0 ? -errno : 0;
}

/* read(2), which does not wait. A signalfd knows RWF_NOWAIT since Linux 6.11; before that it is asked first. */
static inline void uringfs_read(struct uringfs_descriptor *e)
{
	struct pollfd readable = {e->res, POLLIN, 0};
	struct timespec now = {0, 0};
	uint64_t range[2];
	long ret;

	memcpy(range, (const char *)e + offsetof(struct uringfs_descriptor, which), sizeof(range));
	ret = syscall(SYS_preadv2, e->res, range, 1, -1L, -1L, RWF_NOWAIT);
	if (ret < 0 && errno == EOPNOTSUPP) {
		ret = syscall(SYS_ppoll, &readable, 1, &now, NULL, 0);
		if (ret > 0)
			ret = syscall(SYS_read, e->res, range[0], range[1]);
		else if (ret == 0) {
			ret = -1;
			errno = EAGAIN;
		}
	}
	e->res = (int32_t)(ret < 0 ? -errno : ret);
}

/* futex(2) */
static inline void uringfs_wake(struct uringfs_descriptor *e)
{
	uint64_t futex[2];
	long ret;

	memcpy(futex, (const char *)e + offsetof(struct uringfs_descriptor, which), sizeof(futex));
	ret = syscall(SYS_futex, futex[0], FUTEX_WAKE_BITSET | (futex[1] >> 32 ? FUTEX_PRIVATE_FLAG : 0), e->res, NULL,
		      NULL, (uint32_t)futex[1]);
	e->res = (int32_t)(ret < 0 ? -errno : ret);
	if (ret > 0)
		URINGFS_WOKEN(futex[0]);
}

/* connect(2), which does not wait though the socket may: -EAGAIN, and another does. */
static inline void uringfs_connect(struct uringfs_descriptor *e)
{
	static const struct timeval soon = {0, 1};
	struct timeval before;
	socklen_t size = sizeof(before);
	uint64_t name[2];
	long ret;

	memcpy(name, (const char *)e + offsetof(struct uringfs_descriptor, which), sizeof(name));
	ret = syscall(SYS_getsockopt, e->res, SOL_SOCKET, SO_SNDTIMEO, &before, &size);
	if (ret == 0) {
		syscall(SYS_setsockopt, e->res, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon));
		ret = syscall(SYS_connect, e->res, name[0], name[1]) < 0 ? -errno : 0;
		syscall(SYS_setsockopt, e->res, SOL_SOCKET, SO_SNDTIMEO, &before, sizeof(before));
	} else {
		ret = -errno;
	}
	e->res = (int32_t)ret;
}

static inline void uringfs_listen(struct uringfs_descriptor *e)
{
	uint64_t backlog;

	memcpy(&backlog, (const char *)e + offsetof(struct uringfs_descriptor, which), sizeof(backlog));
	e->res = syscall(SYS_listen, e->res, (int)backlog) < 0 ? -errno : 0;
}

/* fd: the ring, or its agent's socket */
static inline void uringfs_perform(int fd, struct uringfs_descriptor *e)
{
	if (e->what & URINGFS_DESCRIPTOR_CLOSE)
		e->res = close(e->res) < 0 ? -errno : 0;
	if (e->what & URINGFS_DESCRIPTOR_WAIT)
		uringfs_waitid(e);
	if (e->what & URINGFS_DESCRIPTOR_ADVISE)
		uringfs_madvise(e);
	if (e->what & URINGFS_DESCRIPTOR_READ)
		uringfs_read(e);
	if (e->what & URINGFS_DESCRIPTOR_WAKE)
		uringfs_wake(e);
	if (e->what & URINGFS_DESCRIPTOR_CONNECT)
		uringfs_connect(e);
	if (e->what & URINGFS_DESCRIPTOR_LISTEN)
		uringfs_listen(e);
	if (e->what & (URINGFS_DESCRIPTOR_SLEEP | URINGFS_DESCRIPTOR_AWAKE))
		URINGFS_SLEEP(fd, e);
}

static inline int64_t uringfs_fetch_control(int fd, struct uringfs_descriptor *e, int done, int room, int sock)
{
	volatile int64_t result = -EIO;
	struct uringfs_fetch m;

	memset(&m, 0, sizeof(m));
	m.hdr.cmd = URINGFS_CMD_FETCH;
	m.hdr.size = sizeof(m);
	m.result = (uint64_t)(uintptr_t)&result;
	m.entries = (uint64_t)(uintptr_t)e;
	m.done = (uint32_t)done;
	m.room = (uint32_t)room;
	m.sock = sock;
	m.can = URINGFS_CAN;
	return uringfs_control(fd, &m, sizeof(m), &result) < 0 ? -1 : result;
}

/* For the descriptors that come; -1: there is none. */
static inline void uringfs_fetch_pair(int sv[2], struct uringfs_numbers *numbers)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == 0)
		return;
	if (uringfs_more_numbers(numbers) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		sv[0] = sv[1] = -1;
}

/* Do what requests of this ring need done in this process: uringfs_enter() does it when it is
 * due. Call it yourself when you wait for the ring with poll(2) and it says URINGFS_POLL_FETCH; a program
 * that only looks at the CQ may have a thread that does no more than that. 0, or -1. */
static inline int uringfs_fetch(int fd)
{
	struct uringfs_descriptor e[URINGFS_FETCH_ROOM];
	struct uringfs_numbers numbers;
	int saved = errno, news, i, n, sv[2];
	int64_t ret;

	memset(&numbers, 0, sizeof(numbers));
	do {
		uringfs_fetch_pair(sv, &numbers);
		ret = uringfs_fetch_control(fd, e, 0, URINGFS_FETCH_ROOM, sv[1]);
		n = ret < 0 ? 0 : (int)ret;
		if (sv[1] >= 0)
			close(sv[1]);
		for (i = 0, news = 0; i < n; i++)
			news += (e[i].what & URINGFS_DESCRIPTOR_NEW) != 0;
		if (news)
			uringfs_receive(sv[0], e, n, &numbers);
		else if (sv[0] >= 0)
			close(sv[0]);
		uringfs_fewer_numbers(&numbers);
		for (i = 0; i < n; i++)
			uringfs_perform(fd, &e[i]);
		/* No descriptor of ours is open now: a request that goes on must not find it under its number. */
		if (n > 0)
			ret = uringfs_fetch_control(fd, e, n, 0, -1);
	} while (n > 0 && ret > 0 && ret & URINGFS_RESULT_FETCH);
	if (ret > 0 && ret & URINGFS_RESULT_LATER)
		URINGFS_LATER(fd);
	if (ret >= 0)
		errno = saved;
	return ret < 0 ? -1 : 0;
}

/* Make an agent for this ring. The descriptor that comes back is for uringfs_serve() in a thread that does nothing
 * else; what that thread does takes the lowest free numbers, so the descriptor should have a high one. -1: EBADFD. */
static inline int uringfs_agent(int fd)
{
	volatile int64_t result = -EIO;
	struct uringfs_agent m;
	int ret, sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return -1;
	memset(&m, 0, sizeof(m));
	m.hdr.cmd = URINGFS_CMD_AGENT;
	m.hdr.size = sizeof(m);
	m.result = (uint64_t)(uintptr_t)&result;
	m.sock = sv[1];
	ret = uringfs_control(fd, &m, sizeof(m), &result);
	close(sv[1]);
	if (ret >= 0)
		return sv[0];
	ret = errno;
	close(sv[0]);
	errno = ret;
	return -1;
}

/* Wait for one thing to do, and do it: 1. 0: the ring is gone. -1 and errno. */
static inline int uringfs_serve(int sock)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct uringfs_descriptor e;
	struct cmsghdr *c;
	struct msghdr msg;
	struct iovec iov;
	ssize_t n;

	memset(&msg, 0, sizeof(msg));
	iov.iov_base = &e;
	iov.iov_len = sizeof(e);
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = &control;
	msg.msg_controllen = sizeof(control);
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return (int)n;
	c = CMSG_FIRSTHDR(&msg);
	if (!(e.what & URINGFS_DESCRIPTOR_NEW)) {
		uringfs_perform(sock, &e);
	} else if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		memcpy(&e.res, CMSG_DATA(c), sizeof(e.res));
		if (!(e.what & URINGFS_DESCRIPTOR_CLOEXEC))
			(void)fcntl(e.res, F_SETFD, 0);
	} else {
		e.res = -EMFILE; /* the table was full: MSG_CTRUNC */
	}
	return send(sock, &e, sizeof(e), MSG_NOSIGNAL) < 0 ? -1 : 1;
}

/* What the launcher takes out of the mask of a wait. */
#ifndef URINGFS_WAIT_MASK
#define URINGFS_WAIT_MASK(mask) (mask)
#endif

/* The kernel's own sigset size; a sigset_t of libc is larger. */
#define URINGFS_SIGSET_SIZE 8

/* Signals that the process ignores, of those that are ignored by default. Blocked, they would not be dropped
 * as they come, but kept, and end the wait. */
static inline uint64_t uringfs_ignored(void)
{
	static const int signals[] = {SIGCHLD, SIGCONT, SIGURG, SIGWINCH};
	uint64_t found = 0, action[8]; /* the kernel's struct sigaction: the handler comes first */
	unsigned i;

	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (syscall(SYS_rt_sigaction, signals[i], NULL, action, URINGFS_SIGSET_SIZE) == 0 &&
		    (action[0] == (uintptr_t)SIG_DFL || action[0] == (uintptr_t)SIG_IGN))
			found |= (uint64_t)1 << (signals[i] - 1);
	return found;
}

/* io_uring_enter2(2) as the daemon does it, lane or not. tail: of the CQ, that is waited for; NULL: min_complete from its head
 * on, as the daemon finds it. */
static inline int uringfs_enter_daemon(int fd, unsigned to_submit, unsigned min_complete, unsigned flags,
				       const void *arg, size_t argsz, const uint32_t *tail)
{
	const int64_t unset = INT64_MIN;
	struct {
		volatile int64_t result;
		uint64_t mask;
	} answer = {unset, 0};
	uint64_t all = ~(uint64_t)0, old = 0;
	struct uringfs_enter m;
	int waits = (flags & IORING_ENTER_GETEVENTS) && min_complete;
	int ret;

	memset(&m, 0, sizeof(m));
	m.hdr.cmd = URINGFS_CMD_ENTER;
	m.hdr.size = sizeof(m);
	m.result = (uint64_t)(uintptr_t)&answer;
	m.to_submit = to_submit;
	m.min_complete = min_complete;
	m.flags = flags;
	m.arg = (uint64_t)(uintptr_t)arg;
	m.argsz = argsz;
	m.can = URINGFS_CAN | URINGFS_ENTER_MASK;
	if (tail && m.argsz <= UINT32_MAX) {
		m.can |= URINGFS_ENTER_TAIL;
		m.argsz |= (uint64_t)*tail << 32;
	}
	/* Signals stay pending from the write to the ppoll, else one in between would be missed. */
	if (waits) {
		all &= ~uringfs_ignored();
		syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, URINGFS_SIGSET_SIZE);
		answer.mask = old;
	}
	ret = uringfs_control(fd, &m, sizeof(m), &answer.result);
	if (ret >= 0 && answer.result & URINGFS_RESULT_FETCH)
		uringfs_fetch(fd);
	else if (ret >= 0 && answer.result & URINGFS_RESULT_LATER)
		URINGFS_LATER(fd);
	if (!waits)
		return ret;
	if (ret < 0 && errno == EINPROGRESS) {
		struct pollfd pfd;

		pfd.fd = fd;
		pfd.events = URINGFS_POLL_WAIT | URINGFS_POLL_FETCH;
		answer.mask = URINGFS_WAIT_MASK(answer.mask);
		/* EINTR may come before the daemon has ended the wait: then the wait was not interrupted. */
		do {
			pfd.revents = 0;
			ret = (int)syscall(SYS_ppoll, &pfd, 1, NULL, &answer.mask, URINGFS_SIGSET_SIZE);
			if (answer.result == unset && ret > 0 && pfd.revents == URINGFS_POLL_FETCH &&
			    uringfs_fetch(fd) == 0)
				continue;
			if (ret >= 0 || errno != EINTR)
				break;
		} while (answer.result == unset);
		if (answer.result == unset) {
			if (ret >= 0)
				errno = EIO; /* the daemon is gone */
			ret = -1;
		} else if (answer.result < 0) {
			errno = (int)-answer.result;
			ret = -1;
		} else {
			ret = (int)answer.result;
			if (answer.result & URINGFS_RESULT_LATER)
				URINGFS_LATER(fd);
		}
	}
	{
		int saved = errno;

		syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, URINGFS_SIGSET_SIZE);
		errno = saved;
	}
	return ret;
}

#ifdef URINGFS_LANE
#include "lane/client.h"
#endif

/* io_uring_enter2(2): arg is a kernel sigset, or a struct io_uring_getevents_arg with EXT_ARG. Returns
 * the number of SQEs submitted, or -1: EBADFD (not set up), EINVAL, EFAULT, EINTR ... */
static inline int uringfs_enter2(int fd, unsigned to_submit, unsigned min_complete, unsigned flags, const void *arg,
				 size_t argsz)
{
#ifdef URINGFS_LANE
	struct lane_call c = {fd, to_submit, min_complete, flags, arg,	 argsz, 0, NULL, 0, false, false, 0,
			      0,  0,	     NULL,	   0,	  false, false};
	int ret;

	if (lane_enter_asleep(&c)) {
		if (c.error && !c.taken)
			errno = -c.error;
		return c.error && !c.taken ? -1 : (int)c.taken;
	}
	ret = uringfs_enter_daemon(fd, c.to_submit, min_complete, flags, arg, argsz, c.tells ? &c.tail : NULL);
	if (ret < 0) {
		lane_failed(fd, errno);
		return lane_sum_of(c.taken, -errno) < 0 ? -1 : (int)c.taken;
	}
	return (int)lane_sum_of(c.taken, ret);
#else
	return uringfs_enter_daemon(fd, to_submit, min_complete, flags, arg, argsz, NULL);
#endif
}

/* io_uring_enter(2). sigset: NULL, or the mask during the wait, as in ppoll(2). */
static inline int uringfs_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags,
				const sigset_t *sigset)
{
	return uringfs_enter2(fd, to_submit, min_complete, flags, sigset, URINGFS_SIGSET_SIZE);
}

#ifdef URINGFS_LANE
static inline uint64_t lane_before_register(int fd, unsigned opcode)
{
	uint64_t old, before;

	LANE_BLOCK(&old);
	before = lane_registers(fd, opcode);
	LANE_UNBLOCK(&old);
	return before;
}

static inline void lane_behind_register(int fd, const struct uringfs_register *m, long ret, uint64_t before)
{
	uint64_t old;

	LANE_BLOCK(&old);
	lane_registered(fd, m->opcode, m->arg, m->nr_args, ret, before);
	LANE_UNBLOCK(&old);
}
#endif

/* io_uring_register(2); -1 and EINVAL for an opcode that is not there. */
static inline int uringfs_register(int fd, unsigned opcode, void *arg, unsigned nr_args)
{
	volatile int64_t result = -EIO;
	struct uringfs_register m;
	int ret;
#ifdef URINGFS_LANE
	uint64_t before = lane_before_register(fd, opcode);
#endif

	memset(&m, 0, sizeof(m));
	m.hdr.cmd = URINGFS_CMD_REGISTER;
	m.hdr.size = sizeof(m);
	m.result = (uint64_t)(uintptr_t)&result;
	m.opcode = opcode;
	m.nr_args = nr_args;
	m.arg = (uint64_t)(uintptr_t)arg;
	ret = uringfs_control(fd, &m, sizeof(m), &result);
#ifdef URINGFS_LANE
	if (ret >= 0)
		lane_behind_register(fd, &m, ret, before);
#endif
	if (ret >= 0 && opcode == 33) { /* IORING_REGISTER_RESIZE_RINGS: other memory for what is queued */
		const struct io_uring_params *p = (const struct io_uring_params *)arg;

		if (p->flags & IORING_SETUP_NO_MMAP && uringfs_map_rings(fd, p, 0) < 0)
			return -1;
	}
	return ret;
}

#ifdef __cplusplus
}
#endif

#endif /* URINGFS_H */
