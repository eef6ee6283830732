/* SPDX-License-Identifier: Apache-2.0 */
/* The lane (contrib/lane/): io_uring_enter(2) without the daemon, as far as it goes. In the handler of SIGSYS, and where
 * patch.c calls, all other signals are blocked, so no handler of the program's comes in between, nor leaves with
 * siglongjmp. */
#include "workers.h"

struct lane;
struct lane_job;
static int new_job(struct lane *l, struct lane_job **job);
static void end_job(struct lane_job *job);
static long copy_in(void *to, uint64_t from, size_t size);

/* Who calls: a thread with another's thread-local storage counts as that one. */
static int thread(bool anew)
{
	static __thread __attribute__((tls_model("initial-exec"))) int id;

	if (anew || !id)
		id = (int)RAW(SYS_gettid);
	return id;
}

#define URINGFS_LANE
#define LANE_POLLS URINGFS_LANE_POLLERS
#define LANE_THREAD(anew) thread(anew)
#define LANE_WORKS new_job, trap_keep_file, copy_in, trap_queue, end_job, trap_drop_file
#define LANE_BLOCK(old) ((void)(old))
#define LANE_UNBLOCK(old) ((void)(old))
#define LANE_INTERRUPTED(old) false
#define LANE_IS_RING(fd) trap_check_ring(fd)
#include "wire.h"

static long copy_in(void *to, uint64_t from, size_t size)
{
	return trap_copy_in(to, (uintptr_t)from, size);
}

static long result_of(int ret)
{
	return ret < 0 ? -errno : ret;
}

static struct lane_ring *ring_of(struct lane *l)
{
	return (struct lane_ring *)(void *)l;
}

/* The ring stays mapped as long as there is one. */
static int new_job(struct lane *l, struct lane_job **job)
{
	struct lane_ring *r = ring_of(l);
	struct trap_pool *p = lane_is_polled(l) ? trap_pool_of_poller(l) : trap_find_pool_within(r->most, r->limit);
	int ret = trap_new_job(p, job);

	if (ret == 0)
		__atomic_fetch_add(&r->users, 1, __ATOMIC_SEQ_CST);
	return ret;
}

static void end_job(struct lane_job *job)
{
	struct lane_ring *r = ring_of(job->lane);

	trap_end_job(job);
	lane_let_go(r);
}

/* ---- for pollers.c ---- */

struct lane *trap_lane_use(int fd)
{
	struct lane_ring *r = lane_get(fd);

	return r ? &r->lane : NULL;
}

void trap_lane_let_go(struct lane *l)
{
	lane_let_go(ring_of(l));
}

long trap_lane_poll(struct lane *l, uint32_t to_submit)
{
	volatile int64_t result = -EIO;
	struct uringfs_lane_poll m;
	long fd = lane_keep_ring(l), ret;

	if (fd < 0)
		return fd;
	LANE_CLEAR(&m, sizeof(m));
	m.cmd = URINGFS_CMD_LANE_POLL;
	m.size = sizeof(m);
	m.result = (uint64_t)(uintptr_t)&result;
	m.to_submit = to_submit;
	ret = lane_write((int)fd, &m, sizeof(m), &result);
	trap_drop_file((int)fd);
	return ret;
}

/* ---- the call ---- */

/* One pass: true, that was all of the call. */
static bool pass(struct trap_enter *e, struct lane_claim *claim)
{
	struct lane_call c = {
		(int)e->fd, e->to_submit, e->min_complete, e->flags, (void *)e->arg, e->argsz, 0,     NULL,
		0,	    false,	  e->looks,	   e->until, e->error,	     0,	       claim, e->tail,
		e->aimed,   e->tells};
	bool whole = lane_enter(&c);

	e->to_submit = c.to_submit;
	e->taken += c.taken;
	e->sleep_on = c.sleep_on;
	e->awake = c.awake;
	e->help = c.help;
	e->until = c.until;
	e->error = c.error;
	e->wanted = c.wanted;
	e->tail = c.tail;
	e->aimed = c.aimed;
	e->tells = c.tells;
	return whole;
}

/* Until somebody has posted, or it is time, with the caller's mask: 0, -EINTR, -ETIMEDOUT ... */
static long sleep_by(struct trap_pool *p, const struct trap_enter *e, struct lane_claim *claim, const uint64_t *mask)
{
	int64_t left = e->until == LANE_EVER ? e->until : e->until - lane_now();
	long ret;

	if (claim && claim->serial)
		return lane_poll_claim(claim, e->until, mask);
	ret = trap_wait_direct(p, e->wanted, left, mask);
	if (ret != -EAGAIN)
		return ret == -EINTR ? ret : 0;
	if (lane_is_interrupted(mask))
		return -EINTR;
	trap_set_mask(mask);
	ret = lane_doze(e->sleep_on, e->awake, e->until);
	trap_block();
	return ret;
}

/* False: a signal came. */
static bool sleep_once(struct trap_pool *p, struct trap_enter *e, struct lane_claim *claim, const uint64_t *mask)
{
	long ret = sleep_by(p, e, claim, mask);

	e->looks = ret == -ETIMEDOUT && e->until - lane_now() > 0;
	return ret != -EINTR;
}

static long submit(const struct trap_enter *e)
{
	return e->to_submit ? result_of(uringfs_enter_daemon((int)e->fd, e->to_submit, 0, 0, NULL, 0, NULL)) : 0;
}

/* What a call has claimed, by the daemon, which is to find its file though the program may have closed that. Behind it the
 * claim has ended. */
static void hand_in(struct trap_enter *e, struct lane_claim *claim)
{
	struct lane_ring *r = lane_get((int)e->fd);
	struct lane_loan loan = {NULL, 0, 0};
	long ret;

	if (r) {
		lane_hand_in(&r->lane, claim);
		loan = lane_lend(&r->lane, claim);
	}
	ret = submit(e);
	if (r) {
		lane_return(&loan);
		lane_end_claim(&r->lane, claim);
		lane_let_go(r);
	}
	claim->serial = 0;
	e->taken += ret > 0 ? (uint32_t)ret : 0;
	e->error = ret < 0 ? (int)ret : e->error;
	e->to_submit = 0;
}

static bool enter(struct trap_pool **p, struct trap_enter *e, struct lane_claim *claim, const uint64_t *mask)
{
	while (!pass(e, claim)) {
		if (claim && claim->serial && !e->sleep_on) {
			hand_in(e, claim);
			if (e->error)
				return true;
			continue;
		}
		if (!e->sleep_on)
			return false;
		*p = *p ? *p : trap_busy_pool();
		if (!trap_work(*p, e->help) && !sleep_once(*p, e, claim, mask)) {
			e->error = -EINTR;
			pass(e, claim); /* not if there are CQEs */
			if (claim && claim->serial)
				hand_in(e, claim);
			return true;
		}
	}
	return true;
}

bool trap_lane(struct trap_enter *e, const uint64_t *mask)
{
	bool waits = e->to_submit && e->flags & IORING_ENTER_GETEVENTS && e->min_complete;
	struct lane_claim claim = {0, 0, -1, -1, 0, false, false, false, 0};
	struct trap_pool *p = trap_busy_pool();
	bool whole;

	trap_reap_direct(p);
	whole = enter(&p, e, waits && trap_may_keep_files() ? &claim : NULL, mask);
	if (claim.fd >= 0)
		trap_drop_file(claim.fd);
	p = p ? p : trap_busy_pool();
	trap_work(p, false);
	trap_leave_direct(p, !whole);
	return whole;
}

/* In front of io_uring_register(2), which may be about what a waiting call of another thread has not submitted yet. */
void trap_lane_settle(int fd)
{
	uint64_t old;
	struct lane_ring *r;
	bool claimed = false;

	if (trap_state.no_lane)
		return;
	old = trap_block();
	r = lane_get(fd);
	if (r) {
		claimed = lane_load(&r->lane.page->claimed) && lane_takes_over(&r->lane);
		lane_let_go(r);
	}
	if (claimed)
		uringfs_enter_daemon(fd, 1, 0, 0, NULL, 0, NULL);
	trap_set_mask(&old);
}

void trap_lane_begin(int fd)
{
	if (!trap_state.no_lane)
		lane_begin(fd);
}

uint64_t trap_lane_registers(int fd, uint32_t opcode)
{
	uint64_t old, before;

	if (trap_state.no_lane)
		return 0;
	old = trap_block();
	before = lane_registers(fd, opcode);
	trap_set_mask(&old);
	return before;
}

void trap_lane_registered(int fd, uint32_t opcode, uintptr_t arg, uint32_t nr_args, long ret, uint64_t before)
{
	uint64_t old = trap_block();

	lane_registered(fd, opcode, arg, nr_args, ret, before);
	trap_set_mask(&old);
}

/* In use behind that, with signals blocked. NULL: its requests are not those of this thread's workers. */
static struct lane_ring *get_with_workers(int fd)
{
	struct lane_ring *r = trap_state.no_lane ? NULL : lane_get(fd);

	if (!r || !(r->lane.setup_flags & IORING_SETUP_SQPOLL))
		return r;
	lane_let_go(r);
	return NULL;
}

void trap_lane_limit(int fd, uint32_t most)
{
	uint64_t old = trap_block();
	struct lane_ring *r = get_with_workers(fd);

	if (r) {
		r->most = most;
		__atomic_store_n(&r->limit, trap_limit_workers(most), __ATOMIC_RELEASE);
		lane_let_go(r);
	}
	trap_set_mask(&old);
}

/* The daemon has found it right: io_register_iowq_aff(). */
void trap_lane_affinity(int fd, uintptr_t cpus, size_t size)
{
	struct trap_cpus asked = {cpus != 0, {0}};
	uint64_t old = trap_block();
	struct lane_ring *r = get_with_workers(fd);

	size = size < sizeof(asked.set) ? size : sizeof(asked.set);
	if (r && (!cpus || trap_copy_in(asked.set, cpus, size) == 0))
		trap_place_workers(&asked);
	if (r)
		lane_let_go(r);
	trap_set_mask(&old);
}

void trap_lane_failed(int fd, long error)
{
	if (!trap_state.no_lane)
		lane_failed(fd, (int)-error);
}

long trap_lane_sum(long taken, long ret)
{
	return lane_sum_of((uint32_t)taken, ret);
}
