/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz.h: what the parts of the fuzzer share. fuzz.c says what a program is, and what it may not be. */
#ifndef FUZZ_H
#define FUZZ_H

#include "harness.h"
#include "uapi_extra.h"

/* ---- objects: what a request may touch. One chain of a batch has one for itself. ---- */

enum { FILES = 4, PIPES = 3, SOCKS = 2, EVENTS = 2, GROUPS = 4 };
enum {
	OBJ_FILE = 0,
	OBJ_APPENDS = OBJ_FILE + FILES - 1, /* with O_APPEND */
	OBJ_DIRECT = OBJ_APPENDS - 1,	    /* with O_DIRECT, where the file system has it */
	OBJ_PIPE = OBJ_FILE + FILES,
	OBJ_SOCK = OBJ_PIPE + PIPES,
	OBJ_EVENT = OBJ_SOCK + SOCKS,
	OBJ_SEMAPHORE = OBJ_EVENT + 1,
	OBJ_GROUP = OBJ_EVENT + EVENTS, /* of provided buffers */
	OBJ_BUF_RING = OBJ_GROUP + 2,	/* the groups from here on are buffer rings, the last one incremental */
	OBJ_DIR = OBJ_GROUP + GROUPS,
	OBJ_SLOTS, /* of the file table, behind the objects' own */
	OBJ_EPOLL,
	OBJ_LISTENER, /* what waits for it has the slots, too */
	OBJ_NONE,
};
#define SLOT_LISTENER 22
#define SLOTS_FIRST 24 /* of six that requests fill; the last two stay empty */
#define SLOTS 32

struct object {
	int rfd, wfd;	  /* one for both but for pipes */
	int rslot, wslot; /* in the file table */
	unsigned writes;  /* since it was empty: a pipe has room for 16 */
};

extern struct object objects[OBJ_NONE];
extern char *source; /* SOURCE bytes that are written from, then a page that faults */
extern char *arena;  /* ARENA bytes that are read into, then a page that faults */
extern char *hole;   /* faults; before it a page that can only be read */
#define SOURCE (16 * PAGE)
#define ARENA (64 * PAGE)
#define ARENA_REGIONS 48U /* pages for requests, one each; behind them the provided buffers */
#define GROUP_PAGES (ARENA / PAGE - ARENA_REGIONS) / GROUPS
#define FIXED (16 * PAGE) /* registered buffer 0: source; 1: the start of arena */

void world_make(uint64_t seed, struct ring *r);
void world_connect(void);  /* to the listener */
bool world_ready(int obj); /* something to read; only while nothing runs on it */
void world_trace(void);
void world_trace_rings(void);
int world_buffers(unsigned group); /* left in a ring; 0 of those of PROVIDE_BUFFERS */
void world_remove(void);
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- random numbers: every step has its own stream, so that dropping one leaves the others as they are ---- */

void rnd_seed(uint64_t seed, uint64_t step);
uint32_t rnd(uint32_t n); /* 0 to n - 1 */
#define ONE_IN(n) (rnd(n) == 0)
#define PICK(...)                                     \
	({                                            \
		const uint64_t of_[] = {__VA_ARGS__}; \
		of_[rnd(sizeof(of_) / sizeof(*of_))]; \
	})

/* ---- requests ---- */

enum { MAX_CHAIN = 6 };

/* What a chain being made may use. */
struct making {
	uint64_t taken;	     /* objects of other chains of the batch and of held requests */
	uint64_t own;	     /* of this chain */
	bool cuttable;	     /* no two of its requests share an object: they may be submitted apart */
	bool skip;	     /* all to be well-formed */
	bool drains;	     /* some request of the batch may */
	bool worker;	     /* io-wq may be at it: behind a link or a drain */
	int last;	     /* object that was taken */
	bool read[OBJ_NONE]; /* this chain may have emptied it */
	char *region;	     /* of the arena, this request's own */
	unsigned region_size;
};

/* One request that ends by itself, well-formed or not. */
void sqe_random(struct io_uring_sqe *s, struct making *m);
/* One that pends until something happens to the object it returns, OBJ_NONE: time; -1: none is free. */
int sqe_held(struct io_uring_sqe *s, uint64_t taken);
bool sqe_multishot(const struct io_uring_sqe *s);
uint64_t sqe_also(const struct io_uring_sqe *s); /* objects that are its own beside that one */
/* Times it is triggered at most, for its buffers must not run out: a second wake-up for one write, which comes or
 * does not, would end it. */
#define MULTISHOTS 2
#define REGISTER_CODES 36
uint64_t bad_address(void);
uint64_t any(void); /* with a taste for bounds */
void sqe_link_timeout(struct io_uring_sqe *s, bool soon);
uint64_t an_hour(void); /* addresses of times */
uint64_t a_moment(void);
uint64_t small_number(void); /* of the 8 bytes of a number */

/* ---- the run ---- */

void run_start(struct ring *r, bool verbose);
struct request *run_add(const struct io_uring_sqe *s, unsigned n, bool cuttable); /* a chain; its first */
void run_enter(void); /* some of what is queued, waiting for some of what is certain */
void run_reap(unsigned n);
void run_quiesce(void); /* all is submitted, and complete but for what is held */
void run_trace(void);
void run_step(unsigned step);

struct request {
	uint64_t user_data;
	struct io_uring_sqe sqe;
	unsigned chain;
	unsigned more, more_due; /* CQEs with F_MORE: seen, and to be seen */
	int32_t res;
	bool posted; /* the last CQE is there */
	bool held;   /* pends until another request or step ends it */
	int obj;     /* what it waits for then, or OBJ_NONE */
};
extern struct request requests[];
extern unsigned nr_requests;
void run_released(struct request *h); /* what was queued last ends it */

/* ---- a ring of a step's own: side.c ---- */

void side_ring(void);
void side_end(void);

/* ---- steps ---- */

void steps_start(struct ring *r);
void step(void);
void steps_end(void);

#endif
