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

struct trap_pool *trap_find_pool(void); /* this thread's own; NULL: it can have none */
/* The same for a ring with that limit, as in struct lane_ring */
struct trap_pool *trap_find_pool_within(uint32_t most, uint32_t limit);
struct trap_pool *trap_new_pool(int *place); /* of a thread that has no storage of its own; place: there for nothing */
int trap_new_job(struct trap_pool *p, struct lane_job **job); /* as struct lane_host.new_job */
uint32_t trap_limit_workers(uint32_t most);		      /* of this thread: the number of this limit */
#define TRAP_CPUS 1024u
struct trap_cpus {
	bool asked; /* IORING_REGISTER_IOWQ_AFF */
	uint64_t set[TRAP_CPUS / 64];
};
void trap_place_workers(const struct trap_cpus *cpus); /* of this thread */
/* The top of a thread's stack, which is made the first time, with a guard below; NULL: there is no room */
char *trap_stack(char **stack);
/* As the kernel's: "iou-wrk-" or "iou-sqp-", and the submitter's number */
void trap_name_thread(const char *kind, int owner);
void trap_interrupt_thread(int tid); /* it leaves the system call that it is in */
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
/* pollers.c: the pool of who polls that ring; or NULL */
struct trap_pool *trap_pool_of_poller(const struct lane *l);
/* lane.c, for pollers: the lane of a ring, which stays until the second; NULL: it has none. The third: URINGFS_CMD_LANE_POLL */
struct lane *trap_lane_use(int fd);
void trap_lane_let_go(struct lane *l);
long trap_lane_poll(struct lane *l, uint32_t to_submit);
long trap_wait_direct(struct trap_pool *p, uint32_t count, int64_t left_ns, const uint64_t *mask);

#endif
