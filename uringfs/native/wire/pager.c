/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager: pages of ring files that clients and the daemon share through the page cache (memory/pagecache.py).
 *
 * A page that leaves the page cache comes as a WRITE and is asked for again by a READ: while a client maps the
 * file anew, under memory pressure, at every writeback. The daemon has the pages mapped, too, so it is the
 * daemon itself that may be waiting for the answer, in a page fault, with the interpreter lock and its memory
 * map's lock held. A process of its own answers then: it has no lock and no memory in common with the daemon
 * but one page of flags, and never touches a ring file's mapping.
 *
 * As long as the daemon reads the wire it does so itself: handing every message on would cost a wake-up each.
 * The pager looks every TICK_NS as long as messages come, and takes what lies there although the daemon has
 * not read since: pages it answers, everything else it puts aside for the daemon (struct aside), in order.
 *
 * What the pages hold while they are not in the page cache is the shadow: a sparse memfd, in which each inode has
 * 8 GiB. Only pages that were given to a ring exist there; what a client stores elsewhere is not kept.
 */
#include "fusewire.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_NS 200000
#define QUIET_TICKS 50 /* without a message; then the pager sleeps until one comes */
#define LONG_WAIT 4096 /* turns for the lock, between two looks whether its holder lives */
#define SLOT_SHIFT 33  /* of an inode's place in the shadow */
#define SLOT_MASK UINT64_C(0x3fffffff)

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

int shadow_wanted = -1;

/* In memory of both processes. */
struct aside {
	_Atomic uint32_t lock;	/* who reads the wire, or the messages put aside */
	_Atomic uint32_t reads; /* the daemon's, counted */
	_Atomic uint64_t head, tail;
};

static struct {
	pid_t pid; /* 0: there is none */
	struct aside *aside;
	int messages; /* memfd: those put aside, head to tail */
	int bell;     /* eventfd: there are some */
	int shadow;
	int ready; /* epoll: the wire or the bell */
	char *out; /* PAGER_MOST bytes, each process's own */
} pager = {.messages = -1, .bell = -1, .shadow = -1, .ready = -1};

/* ---- pages ---- */

static off_t shadow_of(uint64_t nodeid, uint64_t offset)
{
	return (off_t)(((nodeid & SLOT_MASK) << SLOT_SHIFT) + offset);
}

static void answer(int fd, uint64_t unique, int error, void *data, size_t size)
{
	struct fuse_out_header head = {.len = (uint32_t)(sizeof(head) + size), .unique = unique, .error = error};
	struct iovec iov[2] = {{&head, sizeof(head)}, {data, size}};

	if (writev(fd, iov, size ? 2 : 1) < 0)
		return; /* ENOENT: nobody waits any more */
}

static void page_read(int fd, const struct fuse_in_header *in, const struct fuse_read_in *arg)
{
	size_t size = arg->size < PAGER_MOST ? arg->size : PAGER_MOST;
	ssize_t n = pread(pager.shadow, pager.out, size, shadow_of(in->nodeid, arg->offset));

	if (n < 0) {
		answer(fd, in->unique, -EIO, NULL, 0);
		return;
	}
	memset(pager.out + n, 0, size - (size_t)n); /* behind the shadow's end */
	answer(fd, in->unique, 0, pager.out, size);
}

/* Keep what belongs to the ring; the rest is forgotten, so nobody can fill the daemon's memory. */
static bool shadow_store(const char *data, size_t size, off_t start)
{
	off_t at = start, end = start + (off_t)size, hole;

	while (at < end && (at = lseek(pager.shadow, at, SEEK_DATA)) >= 0 && at < end) {
		hole = lseek(pager.shadow, at, SEEK_HOLE);
		if (hole < 0 || hole > end)
			hole = end;
		if (pwrite(pager.shadow, data + (at - start), (size_t)(hole - at), at) != hole - at)
			return false;
		at = hole;
	}
	return true;
}

static void page_write(int fd, const struct fuse_in_header *in, const struct fuse_write_in *arg)
{
	struct fuse_write_out written = {.size = arg->size};

	if (shadow_store((const char *)(arg + 1), arg->size, shadow_of(in->nodeid, arg->offset)))
		answer(fd, in->unique, 0, &written, sizeof(written));
	else
		answer(fd, in->unique, -EIO, NULL, 0);
}

/*
 * A RELEASE is answered at once. Nobody waits for it, but it counts as one of max_background messages until then, as
 * the WRITEs of pages do (fs/fuse/dev.c, flush_bg_queue()): with so many of them unanswered the pages that the daemon
 * waits for would stay in the kernel. What libfuse answers later is for nobody (wire_writev()).
 */
static void release_answered(int fd, const struct fuse_in_header *in)
{
	if (in->opcode == FUSE_RELEASE || in->opcode == FUSE_RELEASEDIR)
		answer(fd, in->unique, 0, NULL, 0);
}

/*
 * Whether the message was about a page and is answered. It is the kernel that tells: a WRITE of the page cache
 * has FUSE_WRITE_CACHE, which no write(2) to a file opened FOPEN_DIRECT_IO has, and a read(2) names the owner
 * of locks (fs/fuse/file.c, fuse_send_read()), which no page fault does.
 */
static bool page_answered(int fd, const char *buf, size_t size)
{
	const struct fuse_in_header *in = (const void *)buf;
	const void *arg = buf + sizeof(*in);

	if (size < sizeof(*in))
		return false;
	size -= sizeof(*in);
	if (in->opcode == FUSE_READ && size >= sizeof(struct fuse_read_in)) {
		if (((const struct fuse_read_in *)arg)->read_flags & FUSE_READ_LOCKOWNER)
			return false;
		page_read(fd, in, arg);
		return true;
	}
	if (in->opcode == FUSE_WRITE && size >= sizeof(struct fuse_write_in)) {
		const struct fuse_write_in *write_in = arg;

		if (!(write_in->write_flags & FUSE_WRITE_CACHE) || write_in->size != size - sizeof(*write_in))
			return false;
		page_write(fd, in, write_in);
		return true;
	}
	release_answered(fd, in);
	return false;
}

/* ---- one reads at a time ---- */

static bool try_lock(void)
{
	uint32_t free = 0;

	return atomic_compare_exchange_strong_explicit(&pager.aside->lock, &free, 1, memory_order_acquire,
						       memory_order_relaxed);
}

static void unlock(void)
{
	atomic_store_explicit(&pager.aside->lock, 0, memory_order_release);
}

static bool pager_ended(void)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)pager.pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

/* The daemon's: the pager has it for one read(2) of what is there. */
static void lock(void)
{
	for (unsigned turns = 1; !try_lock(); turns++) {
		if (turns % LONG_WAIT == 0 && pager_ended())
			return; /* killed with the lock held: it is ours now */
		sched_yield();
	}
}

/* ---- the daemon's side ---- */

/* The next message that was put aside; 0 if there is none. */
static ssize_t take_aside(void *buf, size_t size)
{
	struct aside *aside = pager.aside;
	struct fuse_in_header in;
	uint64_t counter;
	ssize_t n;

	if (aside->head == aside->tail)
		return 0;
	if (pread(pager.messages, &in, sizeof(in), (off_t)aside->head) != sizeof(in) || in.len > size)
		n = 0;
	else
		n = pread(pager.messages, buf, in.len, (off_t)aside->head);
	aside->head = n > 0 ? aside->head + (uint64_t)n : aside->tail;
	if (aside->head == aside->tail) {
		if (ftruncate(pager.messages, 0) == 0)
			aside->head = aside->tail = 0;
		if (read(pager.bell, &counter, sizeof(counter)) < 0)
			return n; /* EAGAIN: it was not rung yet, and the next look finds nothing */
	}
	return n;
}

/* Whether the pager has a message that is the daemon's, or may just be reading one. */
bool pager_holds(void)
{
	return atomic_load(&pager.aside->lock) || pager.aside->head != pager.aside->tail;
}

/* read(2) of the wire, for the daemon: never a message about a page. */
ssize_t pager_take(int fd, void *buf, size_t size)
{
	ssize_t n;

	do {
		atomic_fetch_add_explicit(&pager.aside->reads, 1, memory_order_relaxed);
		lock();
		n = take_aside(buf, size);
		if (n == 0)
			n = read(fd, buf, size);
		unlock();
	} while (n > 0 && page_answered(fd, buf, (size_t)n));
	return n;
}

/* ---- the pager's side ---- */

static void put_aside(const char *buf, size_t size)
{
	const uint64_t one = 1;

	if (pwrite(pager.messages, buf, size, (off_t)pager.aside->tail) != (ssize_t)size)
		_exit(1); /* a message would be lost: the daemon ends, too */
	pager.aside->tail += size;
	if (write(pager.bell, &one, sizeof(one)) < 0)
		return; /* EAGAIN: it rings already */
}

/* Take one message that the daemon does not. */
static void pager_steal(int fd, char *buf, uint32_t reads)
{
	ssize_t n = -1;

	if (!try_lock())
		return; /* the daemon is reading */
	if (atomic_load_explicit(&pager.aside->reads, memory_order_relaxed) == reads)
		n = read(fd, buf, PAGER_MESSAGE);
	if (n > 0 && !page_answered(fd, buf, (size_t)n))
		put_aside(buf, (size_t)n);
	unlock();
	if (n < 0 && errno == ENODEV)
		_exit(0); /* unmounted */
}

/* As long as messages come: what stays unread for a tick is taken. */
static void pager_watch(int fd, char *buf)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	struct pollfd wire_in = {.fd = fd, .events = POLLIN};

	for (int quiet = 0; quiet < QUIET_TICKS; quiet++) {
		uint32_t reads = atomic_load_explicit(&pager.aside->reads, memory_order_relaxed);

		clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
		while (poll(&wire_in, 1, 0) > 0) {
			if (wire_in.revents & POLLERR)
				_exit(0);
			quiet = 0;
			if (atomic_load_explicit(&pager.aside->reads, memory_order_relaxed) != reads)
				break;
			pager_steal(fd, buf, reads);
		}
	}
}

/*
 * It goes on for as long as the daemon exists: one that is killed may have a thread in a page fault. A pidfd is
 * readable when all of it is gone.
 */
static void pager_main(int fd, int daemon)
{
	const int kept[] = {fd, pager.messages, pager.bell, pager.shadow, daemon};
	struct pollfd polled[2] = {{.fd = fd, .events = POLLIN}, {.fd = daemon, .events = POLLIN}};
	char *buf = malloc(PAGER_MESSAGE);

	if (!buf)
		_exit(1);
	prctl(PR_SET_NAME, "uringfs-pager", 0, 0, 0);
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	/* its own allocations must not wait for pages that it is to write; needs CAP_SYS_RESOURCE */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	helper_keep_only(kept, sizeof(kept) / sizeof(kept[0]));
	memset(buf, 0, PAGER_MESSAGE); /* no page of its own is missing when it is needed */
	memset(pager.out, 0, PAGER_MOST);
	for (;;) {
		if (poll(polled, 2, -1) < 0 || polled[0].revents & POLLERR || polled[1].revents)
			_exit(0);
		pager_watch(fd, buf);
	}
}

/* ---- its life ---- */

static bool pager_prepare(int fd)
{
	struct epoll_event event = {.events = EPOLLIN};
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	pager.aside = page == MAP_FAILED ? NULL : page;
	pager.shadow = shadow_wanted;
	pager.messages = memfd_create("uringfs-messages", MFD_CLOEXEC);
	pager.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pager.ready = epoll_create1(EPOLL_CLOEXEC);
	pager.out = malloc(PAGER_MOST);
	return pager.aside && pager.messages >= 0 && pager.bell >= 0 && pager.ready >= 0 && pager.out &&
	       epoll_ctl(pager.ready, EPOLL_CTL_ADD, fd, &event) == 0 &&
	       epoll_ctl(pager.ready, EPOLL_CTL_ADD, pager.bell, &event) == 0;
}

/* The descriptor that is readable when pager_take() has something, or -1. */
int pager_start(int fd)
{
	int daemon = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (daemon < 0 || !pager_prepare(fd) || !keeper_start())
		goto failed;
	pager.pid = fork();
	if (pager.pid == 0) {
		helper_signals();
		pager_main(fd, daemon);
	}
	close(daemon);
	if (pager.pid > 0)
		return pager.ready;
	pager.pid = 0;
	daemon = -1;
failed:
	if (daemon >= 0)
		close(daemon);
	pager_stop();
	return -1;
}

void pager_stop(void)
{
	int *fds[] = {&pager.messages, &pager.bell, &pager.ready};

	keeper_stop(pager.pid && !pager_ended()); /* unmapping takes answers */
	if (pager.pid) {
		kill(pager.pid, SIGKILL);
		waitpid(pager.pid, NULL, 0);
		pager.pid = 0;
	}
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	if (pager.aside)
		munmap(pager.aside, 4096);
	pager.aside = NULL;
	free(pager.out);
	pager.out = NULL;
}

PyObject *pager_pid(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(arg))
{
	return PyLong_FromLong(pager.pid);
}
