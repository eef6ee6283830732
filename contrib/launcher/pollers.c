/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that poll rings with IORING_SETUP_SQPOLL (io_uring/sqpoll.c): cloned by who sets the ring up, whose rights at that
 * time they have, and ended for good before it changes them (rights.c). What a poller does not perform, and all of it where
 * there is none, the daemon does, in the name of who has set the ring up. docs/lane.md, "Polled rings".
 *
 * As workers they are the kernel's threads alone, with their creator's thread-local storage, which they do not touch.
 */
#include "workers.h"

#include "../lane/madvise.h"

#include "../lane/polled.h"

#include <sched.h>
#include <sys/mman.h>

#define POLLERS 16
#define SPINS 128u /* looks between two at the time */
#define MSEC 1000000LL
#define GONE_LOOKS 10000 /* its id may be another thread's by then */

enum { STARTING, POLLING, REFUSED };

struct poller {
	int tid;   /* the kernel clears it when the thread has ended ... */
	int last;  /* ... and this is whose id it was */
	int owner; /* the thread that has set the ring up */
	uint32_t state;
	uint32_t stop;
	uint32_t lookers; /* others that look at its ring: it stays */
	char *stack;	  /* its lowest byte is that of the guard */
	struct lane *lane;
	struct trap_pool *pool; /* of its workers; NULL: it has had none */
	int64_t idle_ns;
	int cpu;	   /* -1: any */
	bool stuck;	   /* the daemon has submitted nothing: not before there is more, or it is woken again */
	uint32_t stuck_at; /* SQ tail */
	uint32_t woken;	   /* the word `wakeups`, when it looked last */
};

/* Of one process: wiped in a child by fork. A child by vfork sees it, but has another id. */
static struct table {
	int pid;
	int barred; /* none may begin */
	struct poller pollers[POLLERS];
} *table;

/* ---- its life ---- */

static bool goes_on(struct poller *p)
{
	const struct uringfs_lane *page = p->lane->page;

	return !lane_load(&p->stop) && lane_load(&page->poller) && lane_load(&page->version);
}

static bool has_work(struct poller *p)
{
	uint32_t tail = lane_word(p->lane->rings, LANE_SQ_TAIL);

	if (tail == lane_load(&p->lane->page->sq_head))
		return false;
	return !p->stuck || tail != p->stuck_at || lane_load(&p->lane->page->wakeups) != p->woken;
}

/* What the core has left. Without the daemon, or a way to it, this thread is of no use. */
static void hand_over(struct poller *p, uint32_t taken, uint32_t left)
{
	long ret = left ? trap_lane_poll(p->lane, left) : 0;

	if (ret < 0 || p->lane->cut)
		lane_store(&p->stop, 1);
	p->stuck = left && !ret && !taken;
}

/* True: there was something to do. */
static bool poll_once(struct poller *p)
{
	uint32_t taken, left;

	trap_reap_direct(p->pool);
	if (!has_work(p))
		return false;
	p->woken = lane_load(&p->lane->page->wakeups);
	p->stuck_at = lane_word(p->lane->rings, LANE_SQ_TAIL);
	taken = lane_poll_round(p->lane, &left);
	trap_work(p->pool, false);
	hand_over(p, taken, left);
	return true;
}

/* io_sq_thread(): nothing has come for as long as sq_thread_idle says. */
static void sleep_until_woken(struct poller *p)
{
	uint32_t *word = &p->lane->page->wakeups, value = lane_load(word);

	trap_leave_direct(p->pool, true);
	lane_poller_sleeps(p->lane, true);
	if (!has_work(p) && goes_on(p))
		RAW(SYS_futex, word, FUTEX_WAIT, value, NULL);
	lane_poller_sleeps(p->lane, false);
}

static int64_t now(void)
{
	struct timespec ts = {0, 0};

	RAW(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 * MSEC + ts.tv_nsec;
}

static void poll_until_end(struct poller *p)
{
	int64_t until = now() + p->idle_ns;
	unsigned spins = 0;

	while (goes_on(p)) {
		if (poll_once(p)) {
			spins = 0;
			until = 0;
			continue;
		}
		lane_pause();
		if (++spins % SPINS)
			continue;
		RAW(SYS_sched_yield);
		until = until ? until : now() + p->idle_ns;
		if (now() < until)
			continue;
		sleep_until_woken(p);
		until = 0;
	}
}

/* Where it may run: everywhere, whoever has made it, but with IORING_SETUP_SQ_AFF. */
static void take_cpu(int cpu)
{
	uint64_t cpus[128];

	memset(cpus, cpu < 0 ? 0xff : 0, sizeof(cpus));
	if (cpu >= 0)
		cpus[cpu / 64] = 1ULL << cpu % 64;
	RAW(SYS_sched_setaffinity, 0, sizeof(cpus), cpus);
}

static void settle(struct poller *p, uint32_t state)
{
	__atomic_store_n(&p->state, state, __ATOMIC_SEQ_CST);
	RAW(SYS_futex, &p->state, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX);
}

/* Whoever queues something behind that tells the daemon. */
static void live(void *arg)
{
	struct poller *p = arg;
	struct lane *l = p->lane;

	trap_block();
	trap_name_thread("iou-sqp-", p->owner);
	take_cpu(p->cpu);
	if (trap_lane_poll(l, 0) >= 0) {
		settle(p, POLLING);
		poll_until_end(p);
		trap_leave_direct(p->pool, true);
		lane_store(&l->page->poller, 0);
		lane_poller_sleeps(l, true);
	}
	settle(p, REFUSED);
	while (__atomic_load_n(&p->lookers, __ATOMIC_SEQ_CST))
		RAW(SYS_sched_yield);
	trap_lane_let_go(l);
}

/* ---- its beginning ---- */

static struct table *find_table(bool anew)
{
	struct table *t = __atomic_load_n(&table, __ATOMIC_ACQUIRE), *none = NULL;
	int pid = (int)RAW(SYS_getpid), was = 0;
	long at;

	if (!t && anew) {
		at = RAW(SYS_mmap, 0, sizeof(*t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		if (RAW_IS_ERROR(at))
			return NULL;
		t = (struct table *)at;
		if (RAW(SYS_madvise, at, sizeof(*t), MADV_WIPEONFORK) != 0 ||
		    !__atomic_compare_exchange_n(&table, &none, t, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			RAW(SYS_munmap, at, sizeof(*t));
			t = none;
		}
	}
	if (!t || __atomic_compare_exchange_n(&t->pid, &was, pid, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return t;
	return was == pid ? t : NULL;
}

static struct poller *take_place(struct table *t)
{
	for (unsigned i = 0; t && i < POLLERS; i++)
		if (lane_pool_take_place(&t->pollers[i].tid))
			return &t->pollers[i];
	return NULL;
}

static void start(struct poller *p)
{
	uint64_t old = trap_swap_mask(~(uint64_t)0);
	long ret = trap_start_thread(trap_stack(&p->stack), &p->tid, live, p);

	trap_set_mask(&old);
	p->last = ret > 0 ? (int)ret : 0;
	if (ret <= 0) {
		trap_lane_let_go(p->lane);
		p->lane = NULL;
		__atomic_store_n(&p->tid, 0, __ATOMIC_RELEASE);
		return;
	}
	while (lane_load(&p->state) == STARTING)
		RAW(SYS_futex, &p->state, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, STARTING, NULL);
}

/* io_sq_offload_create(). Of a ring that is attached to another (IORING_SETUP_ATTACH_WQ) the daemon is the poller. */
void trap_poll(int fd, const struct io_uring_params *params)
{
	struct table *t;
	struct poller *p;
	uint64_t old;

	if (params->flags & IORING_SETUP_ATTACH_WQ || trap_state.no_lane || !trap_may_have_threads())
		return;
	old = trap_block();
	t = find_table(true);
	p = take_place(t);
	if (p && !__atomic_load_n(&t->barred, __ATOMIC_SEQ_CST) && trap_stack(&p->stack) &&
	    (p->lane = trap_lane_use(fd))) {
		p->owner = (int)RAW(SYS_gettid);
		p->idle_ns = (params->sq_thread_idle ? params->sq_thread_idle : 1000) * MSEC;
		p->cpu = params->flags & IORING_SETUP_SQ_AFF ? (int)params->sq_thread_cpu : -1;
		p->pool = NULL;
		p->stop = 0;
		p->stuck = false;
		__atomic_store_n(&p->state, STARTING, __ATOMIC_SEQ_CST);
		start(p);
	} else if (p) {
		__atomic_store_n(&p->tid, 0, __ATOMIC_RELEASE);
	}
	trap_set_mask(&old);
}

/* For requests that block: by the poller itself */
struct trap_pool *trap_pool_of_poller(const struct lane *l)
{
	struct table *t = find_table(false);
	int place;

	for (unsigned i = 0; t && i < POLLERS; i++) {
		struct poller *p = &t->pollers[i];

		if (p->lane != l || lane_load(&p->state) != POLLING)
			continue;
		p->pool = p->pool ? p->pool : trap_new_pool(&place);
		return p->pool;
	}
	return NULL;
}

unsigned trap_pollers(void)
{
	struct table *t = find_table(false);
	unsigned count = 0;

	for (unsigned i = 0; t && i < POLLERS; i++)
		count += __atomic_load_n(&t->pollers[i].tid, __ATOMIC_RELAXED) > 0;
	return count;
}

/* ---- its end ---- */

/* True: it polls, and its ring stays until look_away(). */
static bool look_at(struct poller *p)
{
	__atomic_fetch_add(&p->lookers, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&p->state, __ATOMIC_SEQ_CST) == POLLING;
}

static void look_away(struct poller *p)
{
	__atomic_fetch_sub(&p->lookers, 1, __ATOMIC_SEQ_CST);
}

static void tell_to_end(struct poller *p)
{
	lane_store(&p->stop, 1);
	if (look_at(p))
		lane_wake_poller(p->lane);
	look_away(p);
}

/* One that is about to be started has its place already. What takes too long is interrupted. */
static void end(struct poller *p)
{
	const struct timespec patience = {1, 0};
	int tid, looks = GONE_LOOKS;

	while ((tid = __atomic_load_n(&p->tid, __ATOMIC_ACQUIRE))) {
		tell_to_end(p);
		if (tid == LANE_PLACE_TAKEN)
			RAW(SYS_sched_yield);
		else if (RAW(SYS_futex, &p->tid, FUTEX_WAIT, tid, &patience) == -ETIMEDOUT)
			trap_interrupt_thread(tid);
	}
	while (p->last && looks-- && RAW(SYS_tgkill, RAW(SYS_getpid), p->last, 0) == 0)
		RAW(SYS_sched_yield);
	p->last = 0;
}

/* This number is a new ring's: whoever polls the one that had it has no way to the daemon any more. */
void trap_poll_end(int fd)
{
	struct table *t = find_table(false);

	for (unsigned i = 0; t && i < POLLERS; i++) {
		struct poller *p = &t->pollers[i];
		bool its = look_at(p) && p->lane->fd == fd;

		look_away(p);
		if (its)
			end(p);
	}
}

void trap_no_pollers(void)
{
	struct table *t = find_table(false);

	if (!t)
		return;
	__atomic_fetch_add(&t->barred, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < POLLERS; i++)
		end(&t->pollers[i]);
}

void trap_pollers_may(void)
{
	struct table *t = find_table(false);

	if (t)
		__atomic_fetch_sub(&t->barred, 1, __ATOMIC_SEQ_CST);
}
