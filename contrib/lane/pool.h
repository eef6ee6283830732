/* SPDX-License-Identifier: Apache-2.0 */
/* A pool of threads that perform requests for one submitting thread, with its rights (io_uring/io-wq.c). Part of
 * core.h. What a thread is, and how one is started, is the host's: struct lane_pool.start. */
#ifndef URINGFS_LANE_POOL_H
#define URINGFS_LANE_POOL_H

#include <limits.h>

#define LANE_JOBS 64u /* so that there are places for others, too */
#define LANE_WORKERS 32u
#define LANE_KEPT_IOVECS 8u
#define LANE_IDLE_NS 5000000000LL /* WORKER_IDLE_TIMEOUT */

struct lane_op;
struct lane_pool;

/* A request under way: nothing in it leads to memory that the program may use again. */
struct lane_job {
	struct lane *lane;
	struct lane_job *next; /* in lane.finished */
	struct lane_pool *pool;
	const struct lane_op *op;
	struct uringfs_lane_request *place;
	struct io_uring_sqe sqe;
	struct lane_done done; /* .fd: a descriptor of its own, or -1 */
	struct iovec iovecs[LANE_KEPT_IOVECS];
	bool direct; /* past the page cache: the device may have it at once (aio.h) */
	char paths[2][PATH_MAX];
};

/* What a job does to which bytes of a file: of two that overlap, and do not only read, the first comes first. */
struct lane_turn {
	uint64_t file; /* 0: in nobody's way */
	uint64_t first, behind;
	uint32_t serial;
	bool writes;
};

/* All words but wakes are for whoever has the lock. */
struct lane_pool {
	uint32_t lock;	   /* a futex: 0, 1, or 2: somebody sleeps on it */
	uint32_t wakes;	   /* a futex: workers sleep on it */
	uint32_t alive;	   /* a futex, too: whoever ends them waits for 0 */
	uint32_t watch;	   /* a futex: who takes events sleeps on it (aio.h) ... */
	uint32_t watchers; /* ... and is 1 of those alive, or not there */
	uint32_t taken;	   /* jobs */
	uint32_t idle, max;
	uint32_t first, queued;
	uint32_t ending; /* how many wait for their end */
	int64_t idle_ns;
	bool (*start)(struct lane_pool *pool);	   /* a thread that calls lane_pool_work() */
	void (*interrupt)(struct lane_pool *pool); /* who waits for something that may never come; or NULL */
	uint8_t queue[LANE_JOBS];
	uint32_t serial;
	bool used[LANE_JOBS];		   /* of the jobs */
	struct lane_turn turns[LANE_JOBS]; /* the same */
	struct lane_job jobs[LANE_JOBS];
};

static inline long lane_futex(uint32_t *word, int op, uint32_t value, const struct timespec *patience)
{
	return RAW(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, patience);
}

/* ---- the lock: nobody holds it while anything waits ---- */

static inline void lane_pool_lock(struct lane_pool *pool)
{
	uint32_t free = 0;

	if (__atomic_compare_exchange_n(&pool->lock, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(&pool->lock, 2, __ATOMIC_ACQUIRE))
		lane_futex(&pool->lock, FUTEX_WAIT, 2, NULL);
}

static inline void lane_pool_unlock(struct lane_pool *pool)
{
	if (__atomic_exchange_n(&pool->lock, 0, __ATOMIC_RELEASE) == 2)
		lane_futex(&pool->lock, FUTEX_WAKE, 1, NULL);
}

/* ---- places of threads, for a host that has a stack for each ---- */

#define LANE_PLACE_TAKEN (-1)

/* Of a thread that is to be started: its tid, 0 where there is none. Several start one at once: whoever submits, and the
 * watcher that hands on what AIO has not done. True: it is the caller's, until clone(2) has set the tid, or he has cleared
 * it. */
static inline bool lane_pool_take_place(int *tid)
{
	int none = 0;

	return __atomic_compare_exchange_n(tid, &none, LANE_PLACE_TAKEN, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* ---- jobs ---- */

/* Starts one more, which is counted already. */
static inline bool lane_pool_start(struct lane_pool *pool)
{
	if (pool->start(pool))
		return true;
	lane_pool_lock(pool);
	__atomic_sub_fetch(&pool->alive, 1, __ATOMIC_RELEASE);
	lane_pool_unlock(pool);
	return false;
}

/* An empty one, and somebody who will perform it: 0. -EAGAIN: all are taken; -ENOSYS: there is nobody. */
static inline int lane_pool_job(struct lane_pool *pool, struct lane_job **job)
{
	unsigned at = 0, ending;
	bool first = false;

	lane_pool_lock(pool);
	ending = pool->ending;
	while (at < LANE_JOBS && (ending || pool->used[at]))
		at++;
	if (at < LANE_JOBS) {
		pool->used[at] = true;
		pool->turns[at].file = 0;
		first = pool->alive == pool->watchers;
		lane_store(&pool->alive, pool->alive + first);
		lane_store(&pool->taken, pool->taken + 1);
	}
	lane_pool_unlock(pool);
	if (at == LANE_JOBS)
		return ending ? -ENOSYS : -EAGAIN;
	*job = &pool->jobs[at];
	(*job)->pool = pool;
	if (!first || lane_pool_start(pool))
		return 0;
	pool->used[at] = false;
	lane_store(&pool->taken, pool->taken - 1);
	return -ENOSYS;
}

static inline struct lane_turn *lane_turn(struct lane_job *job)
{
	return &job->pool->turns[job - job->pool->jobs];
}

/* Behind all that are queued */
static inline void lane_pool_take_turn(struct lane_job *job, const struct lane_turn *turn)
{
	struct lane_pool *pool = job->pool;

	lane_pool_lock(pool);
	*lane_turn(job) = *turn;
	lane_turn(job)->serial = pool->serial;
	lane_pool_unlock(pool);
}

/* Somebody may have waited for its turn. */
static inline void lane_pool_free(struct lane_job *job)
{
	struct lane_pool *pool = job->pool;
	bool rouse;

	lane_pool_lock(pool);
	pool->used[job - pool->jobs] = false;
	lane_store(&pool->taken, pool->taken - 1);
	rouse = lane_turn(job)->file && pool->queued && pool->idle;
	pool->wakes += rouse;
	lane_pool_unlock(pool);
	if (rouse)
		lane_futex(&pool->wakes, FUTEX_WAKE, INT_MAX, NULL);
}

/* With the lock */
static inline void lane_pool_enqueue(struct lane_job *job)
{
	struct lane_pool *pool = job->pool;

	pool->queue[(pool->first + pool->queued++) % LANE_JOBS] = (uint8_t)(job - pool->jobs);
}

static inline void lane_pool_push(struct lane_job *job)
{
	struct lane_pool *pool = job->pool;

	lane_pool_lock(pool);
	lane_turn(job)->serial = pool->serial++;
	lane_pool_enqueue(job);
	lane_pool_unlock(pool);
}

static inline bool lane_turns_meet(const struct lane_turn *a, const struct lane_turn *b)
{
	return a->file == b->file && (a->writes || b->writes) && a->first < b->behind && b->first < a->behind;
}

/* None that was queued before, and is not complete, is in its way. */
static inline bool lane_pool_may(const struct lane_pool *pool, unsigned at)
{
	const struct lane_turn *turn = &pool->turns[at];

	for (unsigned i = 0; turn->file && i < LANE_JOBS; i++)
		if (pool->used[i] && (int32_t)(pool->turns[i].serial - turn->serial) < 0 &&
		    lane_turns_meet(turn, &pool->turns[i]))
			return false;
	return true;
}

/* The first that may begin; with the lock */
static inline struct lane_job *lane_pool_next(struct lane_pool *pool)
{
	uint32_t n = 0;
	uint8_t found;

	while (n < pool->queued && !lane_pool_may(pool, pool->queue[(pool->first + n) % LANE_JOBS]))
		n++;
	if (n == pool->queued)
		return NULL;
	found = pool->queue[(pool->first + n) % LANE_JOBS];
	for (; n; n--)
		pool->queue[(pool->first + n) % LANE_JOBS] = pool->queue[(pool->first + n - 1) % LANE_JOBS];
	pool->first++;
	pool->queued--;
	return &pool->jobs[found];
}

/* For whoever performs one beside the workers. NULL: none is queued. */
static inline struct lane_job *lane_pool_pop(struct lane_pool *pool)
{
	struct lane_job *job;

	lane_pool_lock(pool);
	job = lane_pool_next(pool);
	lane_pool_unlock(pool);
	return job;
}

/* ---- workers ---- */

/* So many jobs have been pushed: io_wq_activate_free_worker(), else create_io_worker(). */
static inline void lane_pool_go(struct lane_pool *pool, uint32_t count)
{
	uint32_t idle, workers, start = 0;

	lane_pool_lock(pool);
	idle = pool->idle;
	workers = pool->alive - pool->watchers;
	if (count > idle && workers < pool->max && !pool->ending)
		start = count - idle < pool->max - workers ? count - idle : pool->max - workers;
	lane_store(&pool->alive, pool->alive + start);
	pool->wakes++;
	lane_pool_unlock(pool);
	if (idle)
		lane_futex(&pool->wakes, FUTEX_WAKE, count, NULL);
	while (start && lane_pool_start(pool))
		start--;
	if (start > 1) { /* one has been subtracted */
		lane_pool_lock(pool);
		__atomic_sub_fetch(&pool->alive, start - 1, __ATOMIC_RELEASE);
		lane_pool_unlock(pool);
	}
}

/* With the lock, which is let go meanwhile. False: for too long nothing came. */
static inline bool lane_pool_sleep(struct lane_pool *pool)
{
	struct timespec patience = {pool->idle_ns / 1000000000, pool->idle_ns % 1000000000};
	uint32_t wakes = pool->wakes;
	long ret;

	pool->idle++;
	lane_pool_unlock(pool);
	ret = lane_futex(&pool->wakes, FUTEX_WAIT, wakes, &patience);
	lane_pool_lock(pool);
	pool->idle--;
	return ret != -ETIMEDOUT || pool->queued;
}

static inline void lane_perform(struct lane_job *job);

/* io_wq_worker(): the next job, or NULL when the worker is to end, and counts no more. */
static inline struct lane_job *lane_pool_wait(struct lane_pool *pool)
{
	struct lane_job *job;

	lane_pool_lock(pool);
	while (!(job = lane_pool_next(pool)) && !(pool->ending && !pool->queued))
		if (!lane_pool_sleep(pool))
			break;
	if (!job && !__atomic_sub_fetch(&pool->alive, 1, __ATOMIC_RELEASE))
		lane_futex(&pool->alive, FUTEX_WAKE, INT_MAX, NULL);
	lane_pool_unlock(pool);
	return job;
}

/* A worker's life */
static inline void lane_pool_work(struct lane_pool *pool)
{
	struct lane_job *job;

	while ((job = lane_pool_wait(pool)))
		lane_perform(job);
}

/* All of them have done what was queued, and count no more; until lane_pool_begin() there is no job. What takes too long is
 * interrupted (io_wq_cancel_all()). */
static inline void lane_pool_end(struct lane_pool *pool)
{
	const struct timespec patience = {1, 0};
	uint32_t alive;

	lane_pool_lock(pool);
	__atomic_fetch_add(&pool->ending, 1, __ATOMIC_RELEASE);
	pool->wakes++;
	__atomic_fetch_add(&pool->watch, 1, __ATOMIC_SEQ_CST);
	lane_pool_unlock(pool);
	lane_futex(&pool->wakes, FUTEX_WAKE, INT_MAX, NULL);
	lane_futex(&pool->watch, FUTEX_WAKE, INT_MAX, NULL);
	while ((alive = lane_load(&pool->alive)))
		if (lane_futex(&pool->alive, FUTEX_WAIT, alive, &patience) == -ETIMEDOUT && pool->interrupt)
			pool->interrupt(pool);
}

static inline void lane_pool_begin(struct lane_pool *pool)
{
	lane_pool_lock(pool);
	__atomic_fetch_sub(&pool->ending, 1, __ATOMIC_RELEASE);
	lane_pool_unlock(pool);
}

#endif
