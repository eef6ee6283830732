/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that sleep in the kernel's futex queues for requests (sleepers.c), and the agents that they tell. */
#ifndef URINGFS_TRAP_SLEEPERS_H
#define URINGFS_TRAP_SLEEPERS_H

#include "trap.h"

struct uringfs_descriptor;

/* The first agent of this process, under a lock: NULL where there can be none of either. */
void **trap_agents_lock(uint64_t *mask);
void trap_agents_unlock(const uint64_t *mask);
/* With the lock. -EINPROGRESS: a thread sleeps, and tells `sock` when it was woken; -EOPNOTSUPP: none can; or what
 * futex_waitv(2) says at once. */
long trap_sleeper_begin(void *agent, int sock, const struct uringfs_descriptor *e);
void trap_sleeper_end(void *agent, uint64_t id);
void trap_sleepers_end(void *agent);
unsigned trap_sleepers(void); /* how many threads there are */

#endif
