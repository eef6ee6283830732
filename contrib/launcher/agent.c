/* SPDX-License-Identifier: Apache-2.0 */
/* A thread of the program's that takes new descriptors into the table while no io_uring_enter does: what the
 * kernel's pollers and workers do, which are threads of the program, too. Only where one is needed. */
#include "trap.h"
#include "wire.h"

#include <dlfcn.h>
#include <pthread.h>

#pragma weak dlsym

/* What libc itself sends to its threads, for setuid(3) and pthread_cancel(3): 32, 33, and musl's 34 */
#define LIBC_SIGNALS (7ULL << 31)

static void *serve(void *sock)
{
	while (uringfs_serve((int)(intptr_t)sock) > 0)
		;
	close((int)(intptr_t)sock);
	return NULL;
}

/* libc's own thread, so that it changes its user with the others'. Without one, enters do it as before. */
void trap_agent(int ring)
{
	static __typeof__(pthread_create) *create;
	static __typeof__(pthread_detach) *detach;
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
	RAW(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(all));
	if (high >= 0 && create(&thread, NULL, serve, (void *)(intptr_t)high) == 0)
		detach(thread);
	else if (high >= 0)
		close(high);
	RAW(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
}
