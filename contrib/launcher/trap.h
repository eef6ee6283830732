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

#define TRAP_SIGNAL 31 /* SIGSYS */
#define TRAP_SIGSYS_BIT (1ULL << (TRAP_SIGNAL - 1))
#define TRAP_ENV_MOUNT "URINGFS_TRAP_MOUNT="
#define TRAP_ENV_TRACE "URINGFS_TRAP_TRACE="
#define TRAP_ENV_PRELOAD "LD_PRELOAD="

/* What interposes on libc; all else is hidden. */
#define TRAP_EXPORT __attribute__((visibility("default")))

/* No wrapper of libc: not a cancellation point, no errno. -errno on failure. */
static inline long raw_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
#else
#error "x86-64 and aarch64 only"
#endif
}

#define RAW_SEVENTH(a, b, c, d, e, f, g, ...) a, b, c, d, e, f, g
#define RAW_CAST(a, b, c, d, e, f, g)                                                             \
	raw_syscall((long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f), (long)(g))
#define RAW_CALL(...) RAW_CAST(__VA_ARGS__)
#define RAW(...) RAW_CALL(RAW_SEVENTH(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0))

/* The same with libc's convention. */
static inline long raw_errno(long ret)
{
	if (ret >= 0 || ret < -4095)
		return ret;
	errno = (int)-ret;
	return -1;
}

struct trap_state {
	bool active;   /* the filter is there: URINGFS_TRAP_MOUNT was set when the program began */
	bool trace;
	uint32_t dev_major, dev_minor; /* of the mount */
	char new_path[4096];           /* MOUNT/new */
	size_t mount_length;           /* of MOUNT in it */
	int directory;                 /* behind a chroot: a descriptor of MOUNT, + 1 */
	const char *mount_entry;       /* "URINGFS_TRAP_MOUNT=...", as exec'd programs must find it */
	const char *trace_entry;       /* or NULL */
	const char *library;           /* our own path, the first of LD_PRELOAD */
	size_t library_length;
};
extern struct trap_state trap_state;

/* calls.c: what the system call returns, or -errno */
long trap_setup(uint32_t entries, uintptr_t params);
long trap_enter(uint32_t fd, uint32_t to_submit, uint32_t min_complete, uint32_t flags, uintptr_t arg, size_t argsz);
long trap_register(uint32_t fd, uint32_t opcode, uintptr_t arg, uint32_t nr_args);
void trap_mount_device(const char *mount);

/* agent.c: new descriptors of this ring are taken as they come. p: of a ring with a poller, which is set up */
struct io_uring_params;
void trap_agent(int ring, const struct io_uring_params *p);

/* rings.c: registered ring descriptors, each thread's own */
long trap_ring_of(uint32_t index);
long trap_ring_add(int fd, uint32_t first, uint32_t last);
long trap_duplicate(int fd);
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

/* signals.c: a SIGSYS that is not ours goes where the program wants it */
void trap_forward(int sig, void *info, void *context);

#endif
