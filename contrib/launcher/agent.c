/* SPDX-License-Identifier: Apache-2.0 */
/* A thread of the program's that takes new descriptors into the table while no io_uring_enter does: what the
 * kernel's pollers and workers do, which are threads of the program, too. Only where one is needed. */
#include "sleepers.h"
#include "wire.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>

#pragma weak dlsym

/* What libc itself sends to its threads, for setuid(3) and pthread_cancel(3): 32, 33, and musl's 34 */
#define LIBC_SIGNALS (7ULL << 31)

#define PAGE 4096UL

static _Atomic long agents, process; /* how many there are; not a fork's */

/* libc ends a program with its last thread, which must not be one of ours: the first has ended, so that its id
 * leads to no memory any more, and there are no others. /proc/self/stat: "PID (comm) state ppid ...", num_threads
 * is the 20th field. */
static bool alone(void)
{
	char text[512], *at;
	struct iovec here = {text, 1}, there = {text, 1};
	long fd, size, threads = 0;

	if (RAW(SYS_process_vm_readv, RAW(SYS_getpid), &here, 1, &there, 1, 0) != -ESRCH)
		return false;
	fd = RAW(SYS_openat, AT_FDCWD, "/proc/self/stat", O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	size = RAW(SYS_read, fd, text, sizeof(text) - 1);
	RAW(SYS_close, fd);
	if (size <= 0)
		return false;
	text[size] = 0;
	for (at = text + size; at > text && *at != ')'; at--)
		;
	for (int field = 2; field < 20 && at; field++)
		at = strchr(at + 1, ' ');
	for (; at && *++at >= '0' && *at <= '9';)
		threads = threads * 10 + *at - '0';
	return threads > 0 && threads <= agents + 1 + trap_sleepers() + trap_pollers();
}

struct agent { /* in a page of its own */
	struct agent *next;
	uint64_t device, inode; /* of its ring */
	int sock;
	uint32_t flags; /* where they are in the queues */
	char *queues;	/* of a ring with a poller: their first page */
};

/* ---- the agents of this process ---- */

static bool identify(int fd, struct agent *a)
{
	struct stat st;

	if (RAW(SYS_fstat, fd, &st) < 0)
		return false;
	a->device = (uint64_t)st.st_dev;
	a->inode = (uint64_t)st.st_ino;
	return true;
}

/* Of a ring, or the one with that socket. */
static struct agent *find_agent(struct agent *first, int fd)
{
	struct agent *a, this = {.sock = -1};

	if (!identify(fd, &this))
		return NULL;
	for (a = first; a && a->sock != fd; a = a->next)
		if (a->device == this.device && a->inode == this.inode)
			break;
	return a;
}

static void leave_list(struct agent *a)
{
	uint64_t mask;
	void **first = trap_agents_lock(&mask);
	struct agent **at = (struct agent **)(void *)first;

	while (at && *at && *at != a)
		at = &(*at)->next;
	if (at && *at) {
		*at = a->next;
		trap_sleepers_end(a);
	}
	trap_agents_unlock(&mask);
}

/* ---- one of them ---- */

static struct agent *new_agent(int ring, const struct io_uring_params *p)
{
	struct agent *a = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (a == MAP_FAILED)
		return NULL;
	a->sock = -1;
	if (p && p->sq_off.flags < PAGE) {
		a->queues = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
		a->flags = p->sq_off.flags;
	}
	return a;
}

/* A program with a poller makes no call as long as nobody asks for one: it must hear that the daemon is gone. */
static void free_agent(struct agent *a)
{
	if (a->queues && a->queues != MAP_FAILED) {
		atomic_fetch_or((_Atomic uint32_t *)(void *)(a->queues + a->flags), IORING_SQ_NEED_WAKEUP);
		munmap(a->queues, PAGE);
	}
	if (a->sock >= 0)
		close(a->sock);
	munmap(a, PAGE);
}

static void end_agent(struct agent *a)
{
	leave_list(a);
	free_agent(a);
}

static void *serve(void *agent)
{
	struct agent *a = agent;
	int ret;

	do
		ret = uringfs_serve(a->sock);
	while (ret > 0 || (ret < 0 && errno == EAGAIN && !alone()));
	end_agent(a);
	agents--;
	return NULL;
}

/* libc's own thread, so that it changes its user with the others'. Without one, enters do it as before. */
static bool start(struct agent *a)
{
	static __typeof__(pthread_create) *create;
	static __typeof__(pthread_detach) *detach;
	uint64_t old;
	pthread_t thread;
	bool started;

	if (!create) {
		detach = (__typeof__(pthread_detach) *)dlsym(RTLD_DEFAULT, "pthread_detach");
		create = (__typeof__(pthread_create) *)dlsym(RTLD_DEFAULT, "pthread_create");
	}
	if (!create || !detach)
		return false;
	if (atomic_exchange(&process, RAW(SYS_getpid)) != RAW(SYS_getpid))
		agents = 0;
	agents++;
	old = trap_swap_mask(~(LIBC_SIGNALS | TRAP_SIGSYS_BIT)); /* setuid(3) in each thread is trapped: rights.c */
	started = create(&thread, NULL, serve, a) == 0;
	trap_set_mask(&old);
	if (started)
		detach(thread);
	else
		agents--;
	return started;
}

static struct agent *make_agent(int ring, const struct io_uring_params *p, struct agent **first)
{
	const struct timeval patience = {1, 0};
	struct agent *a = new_agent(ring, p);
	int sock = a ? uringfs_agent(ring) : -1;

	if (!a)
		return NULL;
	if (sock >= 0) {
		a->sock = (int)trap_duplicate(sock); /* where it is in nobody's way */
		close(sock);
	}
	if (a->sock >= 0)
		RAW(SYS_setsockopt, a->sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	a->next = *first;
	if (a->sock >= 0 && identify(ring, a) && start(a))
		return *first = a;
	free_agent(a);
	return NULL;
}

/* With the lock: there is one a ring. A new one, with a poller, takes its predecessor's place. */
static struct agent *agent_of(struct agent **first, int fd, const struct io_uring_params *p)
{
	struct agent *a = p ? NULL : find_agent(*first, fd);

	return a ? a : make_agent(fd, p, first);
}

void trap_agent(int ring, const struct io_uring_params *p)
{
	uint64_t mask;
	void **first = trap_agents_lock(&mask);

	if (first)
		agent_of((struct agent **)(void *)first, ring, p);
	trap_agents_unlock(&mask);
}

void trap_sleep(int fd, struct uringfs_descriptor *e)
{
	uint64_t mask, id;
	void **first = trap_agents_lock(&mask);
	struct agent *a = first ? agent_of((struct agent **)(void *)first, fd, NULL) : NULL;

	memcpy(&id, (const char *)e + offsetof(struct uringfs_descriptor, which), sizeof(id));
	if (!a)
		e->res = -EOPNOTSUPP;
	else if (e->what & URINGFS_DESCRIPTOR_AWAKE)
		trap_sleeper_end(a, id);
	else
		e->res = (int32_t)trap_sleeper_begin(a, a->sock, e);
	trap_agents_unlock(&mask);
}
