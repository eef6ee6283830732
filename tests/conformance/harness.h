/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harness.h: io_uring without liburing, on one of two backends chosen at run time.
 *
 * URINGFS_DIR=MOUNT: uringfs, through contrib/uringfs.h. Unset: the kernel's own system calls.
 *
 * A behaviour is a TEST(name) {...} and runs alone in a process of its own: 0 pass, 1 fail, 77 skip.
 * What it observes goes to stdout with note(); both backends must print the same bytes. So whatever
 * differs by nature (descriptor numbers, addresses, times) is never noted.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include "uringfs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef IORING_SQ_CQ_OVERFLOW
#define IORING_SQ_CQ_OVERFLOW (1U << 1)
#endif

#define PAGE 4096UL
#define GETEVENTS IORING_ENTER_GETEVENTS

/* ---- behaviours ---- */

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};
void test_register(struct test *t);

#define TEST(fn)                                                     \
	static void fn(void);                                        \
	static struct test test_of_##fn = {#fn, fn, NULL};           \
	__attribute__((constructor)) static void register_##fn(void) \
	{                                                            \
		test_register(&test_of_##fn);                        \
	}                                                            \
	static void fn(void)

__attribute__((format(printf, 1, 2))) void note(const char *fmt, ...);
__attribute__((format(printf, 3, 4), noreturn)) void fail(const char *file, int line, const char *fmt, ...);
__attribute__((noreturn)) void skip(const char *why);

#define FAIL(...) fail(__FILE__, __LINE__, __VA_ARGS__)
#define EXPECT_OP(a, op, b, a_text, b_text)                                                                        \
	do {                                                                                                       \
		long long a_ = (long long)(a), b_ = (long long)(b);                                                \
		if (!(a_ op b_))                                                                                   \
			FAIL("%s is %lld (0x%llx), not %s %lld (%s)", a_text, a_, (unsigned long long)a_, #op, b_, \
			     b_text);                                                                              \
	} while (0)
#define EXPECT_EQ(a, b) EXPECT_OP(a, ==, b, #a, #b)
#define EXPECT_GE(a, b) EXPECT_OP(a, >=, b, #a, #b)
#define EXPECT_LE(a, b) EXPECT_OP(a, <=, b, #a, #b)
#define EXPECT(cond)                                     \
	do {                                             \
		if (!(cond))                             \
			FAIL("%s does not hold", #cond); \
	} while (0)
/* For the calls a test stands on: -1 is a failure with its errno. */
#define OK(call) ok_(call, #call, __FILE__, __LINE__)
long ok_(long ret, const char *what, const char *file, int line);

/* ---- the three system calls; -errno on failure ---- */

bool on_uringfs(void);
int sys_setup(unsigned entries, struct io_uring_params *p); /* a descriptor */
int sys_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags, const void *sig, size_t size);
int sys_register(int fd, unsigned opcode, const void *arg, unsigned nr_args);
int enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags);

/* ---- a ring ---- */

typedef _Atomic uint32_t shared_u32;

/* io_uring_cqe, which ends in a flexible array and so cannot be passed about. */
struct cqe {
	uint64_t user_data;
	int32_t res;
	uint32_t flags;
};

struct ring {
	int fd;
	struct io_uring_params p;
	char *rings;  /* SQ header, array; the CQ too (SINGLE_MMAP) */
	char *cq_map; /* == rings, or the mapping at IORING_OFF_CQ_RING */
	size_t rings_size, cq_size;
	struct io_uring_sqe *sqes;
	size_t sqes_size;
	shared_u32 *sq_head, *sq_tail, *sq_flags, *sq_dropped, *sq_mask, *sq_entries;
	shared_u32 *cq_head, *cq_tail, *cq_overflow, *cq_mask, *cq_entries;
	uint32_t *array;
	struct io_uring_cqe *cqes;
	uint32_t tail; /* of the SQ: queued, perhaps not stored yet */
};

void ring_init(struct ring *r, unsigned entries, unsigned flags); /* fails the behaviour when it fails */
void ring_init_params(struct ring *r, unsigned entries, const struct io_uring_params *p);
void ring_map(struct ring *r, int mmap_flags);
void ring_unmap(struct ring *r);
void ring_close(struct ring *r);

/* The next SQE, zeroed, or NULL: the SQ is full. Slots are taken from the end of the array backwards,
 * so an implementation that does not read the index array fails every behaviour. */
struct io_uring_sqe *ring_sqe(struct ring *r);
void ring_nop(struct ring *r, uint64_t user_data);
void ring_readv(struct ring *r, int fd, const void *iov, unsigned n, uint64_t off, uint64_t user_data);
void ring_store_tail(struct ring *r); /* what ring_sqe queued becomes visible */
unsigned ring_queued(struct ring *r);
int ring_submit(struct ring *r);
int ring_submit_wait(struct ring *r, unsigned min_complete);

unsigned ring_ready(struct ring *r);
bool ring_peek(struct ring *r, struct cqe *cqe);
bool ring_reap(struct ring *r, struct cqe *cqe); /* peek, then head + 1 */
struct cqe ring_wait(struct ring *r);
void ring_note_words(struct ring *r); /* every header word that is deterministic */

/* One READV alone: submit, wait, note res and flags, return res. */
int run_readv(struct ring *r, int fd, const void *iov, unsigned n, uint64_t off);
int run_sqe(struct ring *r, const struct io_uring_sqe *sqe);
int run_read(struct ring *r, int fd, void *buf, size_t len, uint64_t off);
/* Submitted while there is nothing: pending until text is written to fill_fd or, NULL, it is closed. */
int run_later(struct ring *r, int fd, void *buf, size_t len, int fill_fd, const char *text);

/* ---- the surroundings ---- */

#define TEMPORARY 128

/* A name for mkdtemp(3) or mkstemp(3), where whoever started this cleans up: in TMPDIR, or in /tmp. */
void temporary(char path[TEMPORARY], const char *name);

int make_file(size_t size); /* an unlinked file whose byte i is pattern(i) */
unsigned char pattern(size_t i);
bool is_pattern(const void *buf, size_t off, size_t len);
char *map_pages(unsigned n, int prot); /* anonymous memory */
char *map_then_hole(unsigned pages);   /* pages of memory, then one that faults */
int wait_child(pid_t pid);	       /* the status; a child that does not end fails the behaviour */
void expect_child_ok(pid_t pid);
pid_t gettid_(void);
/* Until the thread sleeps in the wait of an enter: the state is polled, nothing is guessed from time. */
void until_waiting(pid_t pid, pid_t tid);
void on_signal(int sig, void (*handler)(int), int flags);

#endif
