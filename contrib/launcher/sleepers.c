/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUTEX_WAIT and FUTEX_WAITV sleep in the kernel's own queues: each in a thread by futex_waitv(2), which tells the
 * ring's agent's socket when it was woken. So futex(2) of whatever thread or process wakes them, and counts them.
 *
 * The last word that a thread sleeps on is one of ours, by which it is ended. They are queued in their order, so whoever
 * is queued there is queued at all others, too; FUTEX_REQUEUE from our word to itself counts him and does nothing else.
 */
#include "sleepers.h"

#include "line.h"
#include "wire.h"
#include "workers.h"

#include <sched.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#define SLEEPERS 64
#define WORDS 128 /* FUTEX_WAITV_MAX */
#define FUTEX2_SIZE_U32_ 2u
#define FUTEX2_PRIVATE_ 128u
#define STACK (16 * 1024UL)

struct word { /* struct futex_waitv */
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};

enum state {
	STARTING,
	EARLY, /* it was over before it was asleep: `result` is for who has started it */
	ASLEEP,
	TOLD,	/* woken, and the daemon hears of it */
	STOPPED /* nobody waits for it any more */
};

struct sleeper {
	int tid; /* the kernel clears it when the thread has ended */
	uint32_t state;
	uint32_t stop;	/* the last word */
	uint32_t count; /* of the words before it */
	int sock;
	long result;
	void *agent;
	uint64_t id;
	struct word words[WORDS];
	char stack[STACK] __attribute__((aligned(16)));
};

/* Of one process: wiped in a child by fork. */
static struct table {
	int pid;
	int lock;
	int barred; /* none may begin */
	unsigned next;
	void *agents;
	struct sleeper sleepers[SLEEPERS];
} *table;

static struct table *new_table(void)
{
	struct table *none = NULL;
	long at = RAW(SYS_mmap, 0, sizeof(*table), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		      -1);

	if (RAW_IS_ERROR(at))
		return NULL;
	if (RAW(SYS_madvise, at, sizeof(*table), MADV_WIPEONFORK) == 0 &&
	    __atomic_compare_exchange_n(&table, &none, (struct table *)at, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return (struct table *)at;
	RAW(SYS_munmap, at, sizeof(*table));
	return none;
}

/* NULL in a child by vfork, too, which sees its parent's. */
static struct table *find_table(bool anew)
{
	struct table *t = __atomic_load_n(&table, __ATOMIC_ACQUIRE);
	int pid = (int)RAW(SYS_getpid), none = 0;

	if (!t && anew)
		t = new_table();
	if (!t || __atomic_compare_exchange_n(&t->pid, &none, pid, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return t;
	return none == pid ? t : NULL;
}

void **trap_agents_lock(uint64_t *mask)
{
	struct table *t = find_table(true);

	*mask = trap_block();
	while (t && __atomic_exchange_n(&t->lock, 1, __ATOMIC_ACQUIRE))
		RAW(SYS_sched_yield);
	return t ? &t->agents : NULL;
}

void trap_agents_unlock(const uint64_t *mask)
{
	struct table *t = find_table(false);

	if (t)
		__atomic_store_n(&t->lock, 0, __ATOMIC_RELEASE);
	trap_set_mask(mask);
}

/* ---- one of them ---- */

static bool becomes(struct sleeper *s, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&s->state, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static uint32_t state_of(const struct sleeper *s)
{
	return __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);
}

static bool is_queued(struct sleeper *s)
{
	return RAW(SYS_futex, &s->stop, FUTEX_REQUEUE | FUTEX_PRIVATE_FLAG, 0, 1L, &s->stop) == 1;
}

/* It was woken for a request that is cancelled: another sleeper's turn. */
static void hand_on(const struct sleeper *s)
{
	const struct word *w;

	if (s->result < 0 || s->result >= (long)s->count)
		return;
	w = &s->words[s->result];
	RAW(SYS_futex, w->uaddr, FUTEX_WAKE | (w->flags & FUTEX2_PRIVATE_ ? FUTEX_PRIVATE_FLAG : 0), 1);
}

/* By our own word: as futex(2) may be woken at any time. */
static long result_of(const struct sleeper *s)
{
	return s->result == (long)s->count ? 0 : s->result;
}

static void tell(const struct sleeper *s)
{
	struct uringfs_descriptor e;

	memset(&e, 0, sizeof(e));
	e.id = s->id;
	e.res = (int32_t)result_of(s);
	e.what = URINGFS_DESCRIPTOR_SLEEP;
	RAW(SYS_sendto, s->sock, &e, sizeof(e), MSG_NOSIGNAL, 0, 0);
}

/* In a thread of its own, which has no errno. */
static void sleep_there(void *arg)
{
	struct sleeper *s = arg;

	trap_block();
	do
		s->result = RAW(SYS_futex_waitv, s->words, s->count + 1, 0, 0, 0);
	while (s->result == -EINTR);
	if (becomes(s, STARTING, EARLY))
		return;
	if (becomes(s, ASLEEP, TOLD))
		tell(s);
	else
		hand_on(s);
}

/* Its place may be another's then. */
static void wait_for(struct sleeper *s)
{
	int tid = __atomic_load_n(&s->tid, __ATOMIC_ACQUIRE);

	while (tid > 0 && __atomic_load_n(&s->tid, __ATOMIC_ACQUIRE) == tid)
		RAW(SYS_futex, &s->tid, FUTEX_WAIT, tid, NULL);
}

static void wake(struct sleeper *s)
{
	__atomic_store_n(&s->stop, 1, __ATOMIC_SEQ_CST);
	RAW(SYS_futex, &s->stop, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

static void end(struct sleeper *s)
{
	if (becomes(s, ASLEEP, STOPPED))
		wake(s);
	wait_for(s);
}

/* ---- to begin ---- */

/* One that was woken may still be asked to end: the place that is longest free. */
static struct sleeper *take_place(struct table *t)
{
	for (unsigned i = 0; i < SLEEPERS; i++) {
		struct sleeper *s = &t->sleepers[t->next++ % SLEEPERS];

		if (lane_pool_take_place(&s->tid))
			return s;
	}
	return NULL;
}

static long get_words(struct sleeper *s, const struct uringfs_descriptor *e)
{
	const struct word own = {0, (uintptr_t)&s->stop, FUTEX2_SIZE_U32_ | FUTEX2_PRIVATE_, 0};
	uint64_t arg[2];

	memcpy(arg, (const char *)e + offsetof(struct uringfs_descriptor, which), sizeof(arg));
	if (e->res < 0 || e->res >= WORDS)
		return -EOPNOTSUPP;
	s->count = e->res ? (uint32_t)e->res : 1;
	s->words[s->count] = own;
	if (e->res)
		return trap_copy_in(s->words, arg[0], s->count * sizeof(*s->words));
	s->words[0].uaddr = arg[0];
	s->words[0].val = (uint32_t)arg[1];
	s->words[0].flags = (uint32_t)(arg[1] >> 32);
	s->words[0].reserved = 0;
	return 0;
}

static bool start(struct sleeper *s)
{
	uint64_t old = trap_swap_mask(~(uint64_t)0);
	long ret = trap_start_thread(s->stack + STACK, &s->tid, sleep_there, s);

	trap_set_mask(&old);
	return ret > 0;
}

/* -ENOSYS of an old kernel, -EPERM of a filter: there are no such sleepers. */
static long fall_asleep(struct sleeper *s)
{
	while (state_of(s) == STARTING) {
		if (is_queued(s) && becomes(s, STARTING, ASLEEP))
			return -EINPROGRESS;
		RAW(SYS_sched_yield);
	}
	return s->result == -ENOSYS || s->result == -EPERM ? -EOPNOTSUPP : result_of(s);
}

long trap_sleeper_begin(void *agent, int sock, const struct uringfs_descriptor *e)
{
	struct table *t = find_table(false);
	struct sleeper *s = t && !t->barred && trap_may_have_threads() ? take_place(t) : NULL;
	long ret;

	if (!s)
		return -EOPNOTSUPP;
	s->agent = agent;
	s->sock = sock;
	s->id = e->id;
	s->stop = 0;
	s->state = STARTING;
	ret = get_words(s, e);
	if (ret == 0 && start(s))
		return fall_asleep(s);
	s->state = EARLY;
	__atomic_store_n(&s->tid, 0, __ATOMIC_RELEASE);
	return ret ? ret : -EOPNOTSUPP;
}

/* ---- to end ---- */

void trap_sleeper_end(void *agent, uint64_t id)
{
	struct table *t = find_table(false);

	for (unsigned i = 0; t && i < SLEEPERS; i++)
		if (t->sleepers[i].agent == agent && t->sleepers[i].id == id) {
			end(&t->sleepers[i]);
			if (becomes(&t->sleepers[i], TOLD, STOPPED)) /* which came too late */
				hand_on(&t->sleepers[i]);
		}
}

void trap_sleepers_end(void *agent)
{
	struct table *t = find_table(false);

	for (unsigned i = 0; t && i < SLEEPERS; i++) {
		struct sleeper *s = &t->sleepers[i];

		if (s->agent != agent)
			continue;
		end(s);
		s->agent = NULL;
	}
}

unsigned trap_sleepers(void)
{
	struct table *t = find_table(false);
	unsigned count = 0;

	for (unsigned i = 0; t && i < SLEEPERS; i++)
		count += __atomic_load_n(&t->sleepers[i].tid, __ATOMIC_RELAXED) > 0;
	return count;
}

/* ---- behind a wake-up ---- */

/* /proc/TID/stat: "TID (comm) S ...". False where that cannot be read. Woken by one word it is queued at the others, until
 * it runs. */
static bool is_awake(const struct sleeper *s, int tid)
{
	struct line name = {.length = 0};
	char text[64], *at;
	long fd, size;

	put_text(&name, "/proc/self/task/");
	put_signed(&name, tid);
	put_text(&name, "/stat");
	name.text[name.length] = 0;
	fd = RAW(SYS_openat, AT_FDCWD, name.text, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	size = RAW(SYS_read, fd, text, sizeof(text) - 1);
	RAW(SYS_close, fd);
	for (at = text + (size > 0 ? size : 0); at > text && *at != ')'; at--)
		;
	return at > text && at + 2 < text + size && at[2] != 'S' && state_of(s) == ASLEEP;
}

static bool sleeps_on(const struct sleeper *s, uint64_t address)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->words[i].uaddr == address || !(s->words[i].flags & FUTEX2_PRIVATE_))
			return true;
	return false;
}

/* Woken for something else it goes back to sleep, so who waits for it looks again and again. */
static void settle(const struct sleeper *s)
{
	const struct timespec moment = {0, 200000};
	int tid = __atomic_load_n(&s->tid, __ATOMIC_ACQUIRE);

	while (tid > 0 && __atomic_load_n(&s->tid, __ATOMIC_ACQUIRE) == tid &&
	       (state_of(s) == TOLD || (state_of(s) == ASLEEP && is_awake(s, tid))))
		RAW(SYS_futex, &s->tid, FUTEX_WAIT, tid, &moment);
}

/* Those whom it has woken have told. */
void trap_sleepers_woken(uint64_t address)
{
	struct table *t = find_table(false);

	for (unsigned i = 0; t && i < SLEEPERS; i++)
		if (sleeps_on(&t->sleepers[i], address))
			settle(&t->sleepers[i]);
}

/* ---- rights ---- */

/* No thread of ours is left, whose rights would be those of before: who sleeps is woken, as futex(2) may be at any
 * time. */
void trap_no_sleepers(void)
{
	uint64_t mask;
	struct table *t = find_table(false);

	if (!t)
		return;
	trap_agents_lock(&mask);
	t->barred++;
	trap_agents_unlock(&mask);
	for (unsigned i = 0; i < SLEEPERS; i++) {
		struct sleeper *s = &t->sleepers[i];

		if (__atomic_load_n(&s->tid, __ATOMIC_ACQUIRE))
			wake(s);
		wait_for(s);
	}
}

void trap_sleepers_may(void)
{
	uint64_t mask;
	struct table *t = find_table(false);

	if (!t)
		return;
	trap_agents_lock(&mask);
	t->barred -= t->barred > 0;
	trap_agents_unlock(&mask);
}
