/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trap launcher: a preloaded library under which a program's io_uring system calls become control
 * writes on ring files. docs/run.md says what for; trap.c has the filter and the SIGSYS handler, calls.c
 * the three calls, signals.c and exec.c what libc functions must not do to us.
 *
 * Everything here may run in a signal handler, on any thread, between fork and exec: no malloc, no lock,
 * errno kept. Nothing is linked: what libc functions there are come from the program's own libc, glibc or musl.
 */
#ifndef URINGFS_TRAP_H
#define URINGFS_TRAP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lane/raw.h"

#define TRAP_SIGNAL 31 /* SIGSYS */
#define TRAP_SIGSYS_BIT (1ULL << (TRAP_SIGNAL - 1))
#define TRAP_ENV_MOUNT "URINGFS_TRAP_MOUNT="
/* What `uringfs run` was asked for: set or not */
#define TRAP_ENV_TRACE "URINGFS_TRAP_TRACE="
#define TRAP_ENV_NO_LANE "URINGFS_TRAP_NO_LANE="
#define TRAP_ENV_NO_PATCH "URINGFS_TRAP_NO_PATCH="
#define TRAP_ENV_NO_WORKERS "URINGFS_TRAP_NO_WORKERS="
enum { TRAP_OPTION_TRACE, TRAP_OPTION_NO_LANE, TRAP_OPTION_NO_PATCH, TRAP_OPTION_NO_WORKERS, TRAP_OPTIONS };
extern const char *const trap_options[TRAP_OPTIONS]; /* their names */
#define TRAP_ENV_PRELOAD "LD_PRELOAD="

/* What interposes on libc; all else is hidden. */
#define TRAP_EXPORT __attribute__((visibility("default")))

/* RAW() with libc's convention. */
static inline long raw_errno(long ret)
{
	if (ret >= 0 || ret < -4095)
		return ret;
	errno = (int)-ret;
	return -1;
}

static inline void trap_set_mask(const uint64_t *mask)
{
	RAW(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, mask, 0, sizeof(*mask));
}

/* Returns the mask before. */
static inline uint64_t trap_swap_mask(uint64_t mask)
{
	uint64_t old = 0;

	RAW(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &mask, &old, sizeof(old));
	return old;
}

/* As in the handler: no other comes in between, nor leaves with siglongjmp. Returns the mask before. */
static inline uint64_t trap_block(void)
{
	return trap_swap_mask(~TRAP_SIGSYS_BIT);
}

struct trap_state {
	bool active; /* the filter is there: URINGFS_TRAP_MOUNT was set when the program began */
	bool trace;
	bool no_lane;			   /* each request is the daemon's */
	bool no_patch;			   /* code of the program's stays as it is: patch.c */
	bool no_workers;		   /* what may block is the daemon's */
	uint32_t dev_major, dev_minor;	   /* of the mount */
	char new_path[4096];		   /* MOUNT/new */
	size_t mount_length;		   /* of MOUNT in it */
	int directory;			   /* behind a chroot: a descriptor of a mount like MOUNT, + 1 */
	const char *mount_entry;	   /* "URINGFS_TRAP_MOUNT=...", as exec'd programs must find it */
	const char *options[TRAP_OPTIONS]; /* their entries, or NULL */
	const char *library;		   /* our own path, the first of LD_PRELOAD */
	size_t library_length;
};
extern struct trap_state trap_state;

/* calls.c: what the system call returns, or -errno */
long trap_setup(uint32_t entries, uintptr_t params);
struct trap_enter { /* io_uring_enter(2) */
	uint32_t fd, to_submit, min_complete, flags;
	uintptr_t arg;
	size_t argsz;
	uint32_t taken;	    /* SQEs, by the lane */
	uint32_t *sleep_on; /* what is left is to wait: this, and the rest, as in struct lane_call */
	uint32_t awake;
	bool help, looks;
	int64_t until;
	int error;
	uint32_t wanted;
	uint32_t tail;
	bool aimed, tells;
};
/* mask: the caller's, which is set before anything may wait */
long trap_enter(struct trap_enter *e, const uint64_t *mask);
/* As far as the lane goes; as trap_lane(). Signals are blocked. */
bool trap_enter_lane(struct trap_enter *e, const uint64_t *mask);
long trap_taken(const struct trap_enter *e);
long trap_register(uint32_t fd, uint32_t opcode, uintptr_t arg, uint32_t nr_args);
void trap_mount_device(const char *mount);

/* lane.c: true: that was all of it, and e->taken is the result. False: what *e says now goes to the daemon. */
bool trap_lane(struct trap_enter *e, const uint64_t *mask);
void trap_lane_failed(int fd, long error); /* -errno of a call by way of the daemon, which may be gone */
long trap_lane_sum(long taken, long ret);  /* io_uring_enter(2)'s result: of the lane's half and the daemon's */
void trap_lane_settle(int fd);		   /* what waiting calls have claimed is submitted */
void trap_lane_begin(int fd);		   /* a ring that has been set up */
/* In front of io_uring_register(2), and behind it: files and buffers that requests name by an index */
uint64_t trap_lane_registers(int fd, uint32_t opcode);
void trap_lane_registered(int fd, uint32_t opcode, uintptr_t arg, uint32_t nr_args, long ret, uint64_t before);
/* Workers: IORING_REGISTER_IOWQ_MAX_WORKERS; IORING_REGISTER_IOWQ_AFF, 0 and 0: IORING_UNREGISTER_IOWQ_AFF */
void trap_lane_limit(int fd, uint32_t most);
void trap_lane_affinity(int fd, uintptr_t cpus, size_t size);

/* workers.c: no worker is left when the first returns, nor is one started before the second */
void trap_no_workers(void);
void trap_workers_may(void);

/* pollers.c: a thread for a ring with IORING_SETUP_SQPOLL; of a new ring's number. None is left when the third returns, nor
 * is one started before the fourth */
struct io_uring_params;
void trap_poll(int fd, const struct io_uring_params *p);
void trap_poll_end(int fd);
void trap_no_pollers(void);
void trap_pollers_may(void);
unsigned trap_pollers(void); /* how many threads there are */

/* sleepers.c: threads in futex_waitv(2): none is left when the first returns, nor is one started before the second.
 * The third: behind a wake-up */
void trap_no_sleepers(void);
void trap_sleepers_may(void);
void trap_sleepers_woken(uint64_t address);

/* rights.c: calls that change what a thread may do, or where it is, are trapped from now on; false: they cannot be */
bool trap_guard_rights(void);
bool trap_is_rights(long nr, const long *a);
long trap_rights(long nr, const long *a);

/* agent.c: new descriptors of this ring are taken as they come. p: of a ring with a poller, which is set up */
void trap_agent(int ring, const struct io_uring_params *p);
/* URINGFS_DESCRIPTOR_SLEEP, _AWAKE of a ring, or of an agent's socket */
struct uringfs_descriptor;
void trap_sleep(int fd, struct uringfs_descriptor *e);

/* rings.c: registered ring descriptors, each thread's own */
long trap_ring_of(uint32_t index);
void trap_rings_begin(void); /* this thread sets up a ring */
long trap_ring_add(int fd, uint32_t first, uint32_t last);
long trap_duplicate(int fd);
unsigned trap_rings_kept(int *fds, unsigned room); /* descriptors that close_range(2) leaves, of this process ... */
unsigned trap_files_kept(int *fds, unsigned room); /* ... and, workers.c, those of jobs */
long trap_rings_register(uintptr_t arg, uint32_t nr_args);
long trap_rings_unregister(uintptr_t arg, uint32_t nr_args);

/* calls.c: 0, -EBADF, or -EOPNOTSUPP for what is not a ring file of the mount */
long trap_check_ring(int fd);

/* Memory that may not be there: 0 or -EFAULT */
long trap_copy_in(void *to, uintptr_t from, size_t size);
long trap_copy_out(uintptr_t to, const void *from, size_t size);

/* say.c: once, on the standard error output that the process began with */
void trap_remember_stderr(void);
void trap_say_no_variable(const char *preload);
void trap_say_no_mount(void);
void trap_say_valgrind(void);
void trap_say_deadly(const char *path);

/* target.c: what an exec of this comes to, if io_uring would be the end of it */
void trap_look_at(int directory, const char *path);
void trap_look_for(const char *file, char *const *envp);

/* patch.c: from now on without a trap, if that can be. next: the instruction behind the system call */
void trap_patch(uintptr_t next);

/* signals.c: a SIGSYS that is not ours goes where the program wants it */
void trap_forward(int sig, void *info, void *context);
bool trap_wants_sigsys(void); /* the program has a handler */

#endif
