/* SPDX-License-Identifier: Apache-2.0 */
/* A thread of the program's that takes new descriptors into the table while no io_uring_enter does: what the
 * kernel's pollers and workers do, which are threads of the program, too. Only where one is needed. */
#include "trap.h"
#include "wire.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/uio.h>

#pragma weak dlsym

/* What libc itself sends to its threads, for setuid(3) and pthread_cancel(3): 32, 33, and musl's 34 */
#define LIBC_SIGNALS (7ULL << 31)

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
	return threads > 0 && threads <= agents + 1;
}

static void *serve(void *sock)
{
	int ret;

	do
		ret = uringfs_serve((int)(intptr_t)sock);
	while (ret > 0 || (ret < 0 && errno == EAGAIN && !alone()));
	close((int)(intptr_t)sock);
	agents--;
	return NULL;
}

/* libc's own thread, so that it changes its user with the others'. Without one, enters do it as before. */
void trap_agent(int ring)
{
	static __typeof__(pthread_create) *create;
	static __typeof__(pthread_detach) *detach;
	const struct timeval patience = {1, 0};
	uint64_t all = ~LIBC_SIGNALS, old;
	pthread_t thread;
	int sock, high;

	if (!create) {
		detach = (__typeof__(pthread_detach) *)dlsym(RTLD_DEFAULT, "pthread_detach");
		create = (__typeof__(pthread_create) *)dlsym(RTLD_DEFAULT, "pthread_create");
	}
	sock = create && detach ? uringfs_agent(ring) : -1;
	if (sock < 0)
		return;
	high = (int)trap_duplicate(sock);
	close(sock);
	if (high >= 0)
		RAW(SYS_setsockopt, high, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	RAW(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(all));
	if (atomic_exchange(&process, RAW(SYS_getpid)) != RAW(SYS_getpid))
		agents = 0;
	agents++;
	if (high >= 0 && create(&thread, NULL, serve, (void *)(intptr_t)high) == 0)
		detach(thread);
	else {
		agents--;
		if (high >= 0)
			close(high);
	}
	RAW(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
}
