/* SPDX-License-Identifier: Apache-2.0 */
/* Threads for requests that may block (workers.c), as lane.c has them performed. */
#ifndef URINGFS_TRAP_WORKERS_H
#define URINGFS_TRAP_WORKERS_H

#include "trap.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "../lane/core.h"

#include "../lane/aio.h"

/* As struct lane_host.new_job. most, limit: of the ring, as in struct lane_ring */
int trap_new_job(struct lane_job **job, uint32_t most, uint32_t limit);
uint32_t trap_limit_workers(uint32_t most); /* of this thread: the number of this limit */
#define TRAP_CPUS 1024u
struct trap_cpus {
	bool asked; /* IORING_REGISTER_IOWQ_AFF */
	uint64_t set[TRAP_CPUS / 64];
};
void trap_place_workers(const struct trap_cpus *cpus); /* of this thread */
bool trap_may_keep_files(void);
/* Of the kernel's alone, and with the rights of who starts it; the next is clone(2) of one, with all signals blocked */
bool trap_may_have_threads(void);
long trap_start_thread(char *top, int *tid, void (*run)(void *), void *arg);
long trap_keep_file(struct lane_job *job, int fd);
void trap_drop_file(int fd);
void trap_queue(struct lane_job *job);
void trap_end_job(struct lane_job *job);
/* This thread's pool, or NULL; the next four then do nothing. Without a system call where it has no jobs. */
struct trap_pool *trap_busy_pool(void);
bool trap_work(struct trap_pool *p, bool help);
/* Requests that io_submit(2) has (lane/aio.h): those that have ended are posted; as lane_aio_leave(),
 * lane_aio_wait() */
void trap_reap_direct(struct trap_pool *p);
void trap_leave_direct(struct trap_pool *p, bool eager);
long trap_wait_direct(struct trap_pool *p, uint32_t count, int64_t left_ns, const uint64_t *mask);

#endif
