/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers with O_DIRECT, by Linux AIO (io_submit(2)): in the kernel they are asynchronous to the end, as such requests of
 * io_uring are, so no worker is woken for one, and a batch is one system call. With RWF_NOWAIT, as io_uring tries them:
 * what would block answers EAGAIN, and is a worker's then. For a host that has a pool (pool.h).
 *
 * Whoever submits takes the events himself, when he waits or comes by; a watcher, a thread of the pool's, takes those
 * that he does not come for. It looks from time to time (lazy), or, once it has found some, waits for each (eager).
 */
#ifndef URINGFS_LANE_AIO_H
#define URINGFS_LANE_AIO_H

#include <linux/aio_abi.h>

#include "core.h"

#ifndef MADV_DONTFORK
#define MADV_DONTFORK 10
#endif

#define LANE_AIO_EVENTS 16u
#define LANE_AIO_TICK_NS 1000000L
#define LANE_AIO_IDLE_TICKS 20u
#define LANE_AIO_PATIENCE_NS 100000000L
#define LANE_AIO_RING_MAGIC 0xa10a10a1u

/* Where an aio_context_t points to (fs/aio.c) */
struct aio_ring {
	uint32_t id, nr, head, tail;
	uint32_t magic, compat_features, incompat_features, header_length;
};

struct lane_aio {
	struct lane_pool *pool;
	bool (*start)(struct lane_aio *aio); /* a thread that calls lane_aio_watch() */
	aio_context_t context;
	bool refused;	    /* there is none to be had */
	uint64_t without;   /* the file (struct lane_turn) that could not do it last */
	uint32_t in_flight; /* and batched; above 0 there is a watcher */
	uint32_t batched;   /* of the submitter's */
	uint32_t calls;	    /* the same: that have come by */
	uint32_t eager;
	uint32_t asleep;  /* the watcher, until it is woken */
	uint32_t waiting; /* the submitter is in io_getevents(2) */
	uint32_t inside;  /* the watcher is */
	bool watched;	  /* with the pool's lock: there is a watcher */
	struct iocb *batch[LANE_JOBS];
	struct iocb iocbs[LANE_JOBS]; /* of the jobs */
};

static inline uint32_t lane_look_at(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline void lane_set(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

/* ---- events ---- */

/* Without a system call, as far as that can be said. */
static inline bool lane_aio_is_ready(const struct lane_aio *aio)
{
	const struct aio_ring *ring = (const struct aio_ring *)(uintptr_t)aio->context;

	if (!lane_look_at(&aio->in_flight))
		return false;
	return ring->magic != LANE_AIO_RING_MAGIC || lane_load(&ring->head) != lane_load(&ring->tail);
}

/* io_complete_rw(). False: it has not been done, or not all of it, and is a worker's (io_rw_should_reissue()). */
static inline bool lane_aio_complete(struct lane_job *job, int64_t res)
{
	struct lane_rw rw = lane_rw_of(&job->sqe, job->done.fd, 0);

	if (res == -EAGAIN || res == -EOPNOTSUPP || res == -EINTR)
		return false;
	if (res >= 0 && res != lane_sum(job->lane, &rw))
		return false;
	lane_result(&job->done, (long)res, res < 0);
	return true;
}

/* To the workers; with its turn as it is. Who finds that they are about to end performs it. */
static inline void lane_aio_give(struct lane_aio *aio, struct lane_job *job)
{
	struct lane_pool *pool = aio->pool;
	bool ending;

	lane_pool_lock(pool);
	ending = pool->ending;
	if (!ending)
		lane_pool_enqueue(job);
	lane_pool_unlock(pool);
	if (ending)
		lane_perform(job);
	else
		lane_pool_go(pool, 1);
}

/* Of each ring one is posted by whoever comes first, and all that come behind: lane_finish(). */
static inline void lane_aio_finish(struct lane_aio *aio, const struct io_event *events, uint32_t count)
{
	struct lane *rings[LANE_AIO_EVENTS];
	unsigned to_post = 0;
	struct lane_pass p;

	for (uint32_t i = 0; i < count; i++) {
		struct lane_job *job = (struct lane_job *)(uintptr_t)events[i].data;
		struct lane *l = job->lane;

		if (!lane_aio_complete(job, events[i].res))
			lane_aio_give(aio, job);
		else if (lane_finish(job))
			rings[to_post++] = l;
	}
	while (to_post) {
		lane_worker_pass(&p, rings[--to_post]);
		lane_post_all(&p);
	}
}

/* io_pgetevents(2): how many events it took, or -EINTR. Of them no request is in flight any more. */
static inline long lane_aio_take(struct lane_aio *aio, struct io_event *events, uint32_t least, int64_t patience_ns,
				 const uint64_t *mask)
{
	const struct timespec patience = {0, patience_ns};
	const uint64_t during[2] = {(uintptr_t)mask, sizeof(*mask)}; /* struct __aio_sigset */
	long n = RAW(SYS_io_pgetevents, aio->context, least, LANE_AIO_EVENTS, events, &patience, mask ? during : NULL);

	if (n > 0)
		__atomic_fetch_sub(&aio->in_flight, (uint32_t)n, __ATOMIC_SEQ_CST);
	return n;
}

/* What is there */
static inline void lane_aio_reap(struct lane_aio *aio)
{
	struct io_event events[LANE_AIO_EVENTS];
	long n = LANE_AIO_EVENTS;

	__atomic_fetch_add(&aio->calls, 1, __ATOMIC_RELAXED);
	while (n == LANE_AIO_EVENTS && lane_aio_is_ready(aio)) {
		n = lane_aio_take(aio, events, 0, 0, NULL);
		if (n > 0)
			lane_aio_finish(aio, events, (uint32_t)n);
	}
}

/* ---- submission ---- */

static inline void lane_aio_wake(struct lane_aio *aio)
{
	struct lane_pool *pool = aio->pool;

	__atomic_fetch_add(&pool->watch, 1, __ATOMIC_SEQ_CST);
	lane_futex(&pool->watch, FUTEX_WAKE, 1, NULL);
}

static inline bool lane_aio_begin(struct lane_aio *aio)
{
	const struct aio_ring *ring;

	if (aio->context || aio->refused)
		return !aio->refused;
	aio->refused = RAW(SYS_io_setup, LANE_JOBS, &aio->context) < 0;
	if (aio->refused)
		return false;
	ring = (const struct aio_ring *)(uintptr_t)aio->context;
	if (ring->magic == LANE_AIO_RING_MAGIC) /* of no use to a child by fork */
		RAW(SYS_madvise, ring, sizeof(*ring) + ring->nr * sizeof(struct io_event), MADV_DONTFORK);
	return true;
}

static inline void lane_aio_no_watcher(struct lane_aio *aio)
{
	aio->watched = false;
	aio->pool->watchers = 0;
	if (!__atomic_sub_fetch(&aio->pool->alive, 1, __ATOMIC_RELEASE))
		lane_futex(&aio->pool->alive, FUTEX_WAKE, INT_MAX, NULL);
}

/* It counts as in flight, and there is a watcher. False: something queued before is in its way, or there cannot be one. */
static inline bool lane_aio_count(struct lane_aio *aio, struct lane_job *job)
{
	struct lane_pool *pool = aio->pool;
	bool may, fresh;

	lane_pool_lock(pool);
	lane_turn(job)->serial = pool->serial;
	may = lane_pool_may(pool, (unsigned)(job - pool->jobs));
	fresh = may && !aio->watched;
	pool->serial += may;
	__atomic_fetch_add(&aio->in_flight, may, __ATOMIC_SEQ_CST);
	if (fresh) {
		aio->watched = true;
		pool->watchers = 1;
		__atomic_fetch_add(&pool->alive, 1, __ATOMIC_RELEASE);
	}
	lane_pool_unlock(pool);
	if (!fresh || aio->start(aio))
		return may;
	aio->refused = true;
	lane_pool_lock(pool);
	__atomic_fetch_sub(&aio->in_flight, 1, __ATOMIC_SEQ_CST);
	lane_aio_no_watcher(aio);
	lane_pool_unlock(pool);
	return false;
}

static inline void lane_aio_prepare(struct iocb *iocb, struct lane_job *job)
{
	struct lane_rw rw = lane_rw_of(&job->sqe, job->done.fd, 0);
	bool writes = lane_turn(job)->writes;

	LANE_CLEAR(iocb, sizeof(*iocb));
	iocb->aio_data = (uintptr_t)job;
	iocb->aio_rw_flags = RWF_NOWAIT;
	if (rw.vector)
		iocb->aio_lio_opcode = writes ? IOCB_CMD_PWRITEV : IOCB_CMD_PREADV;
	else
		iocb->aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
	iocb->aio_fildes = (uint32_t)rw.fd;
	iocb->aio_buf = rw.addr;
	iocb->aio_nbytes = rw.nr;
	iocb->aio_offset = rw.off;
}

/* For lane_aio_submit(). False: it is a worker's. */
static inline bool lane_aio_add(struct lane_aio *aio, struct lane_job *job)
{
	struct iocb *iocb = &aio->iocbs[job - job->pool->jobs];

	if (!job->direct || aio->without == lane_turn(job)->file || !lane_aio_begin(aio) || !lane_aio_count(aio, job))
		return false;
	lane_aio_prepare(iocb, job);
	aio->batch[aio->batched++] = iocb;
	if (lane_load(&job->lane->page->attention))
		lane_set(&aio->eager, 1); /* who looks at the ring is no enter */
	return true;
}

/* Where the file cannot do it, or the context is full. */
static inline void lane_aio_refuse(struct lane_aio *aio, const struct iocb *iocb, long error)
{
	struct lane_job *job = (struct lane_job *)(uintptr_t)iocb->aio_data;

	if (error != -EAGAIN)
		aio->without = lane_turn(job)->file;
	lane_aio_give(aio, job);
	__atomic_fetch_sub(&aio->in_flight, 1, __ATOMIC_SEQ_CST);
}

static inline void lane_aio_submit(struct lane_aio *aio)
{
	uint32_t at = 0, count = aio->batched;

	aio->batched = 0;
	while (at < count) {
		long ret = RAW(SYS_io_submit, aio->context, count - at, aio->batch + at);

		if (ret > 0)
			at += (uint32_t)ret;
		else
			lane_aio_refuse(aio, aio->batch[at++], ret);
	}
}

/* The submitter does not wait for them, or not here. */
static inline void lane_aio_leave(struct lane_aio *aio, bool eager)
{
	if (!lane_look_at(&aio->in_flight))
		return;
	if (eager)
		lane_set(&aio->eager, 1);
	if (__atomic_exchange_n(&aio->asleep, 0, __ATOMIC_SEQ_CST))
		lane_aio_wake(aio);
}

/* Until so many have ended, at most as long as there is left, or for a moment: 0, or -EINTR. -EAGAIN: others take the
 * events, and wake who sleeps for their CQEs. */
static inline long lane_aio_wait(struct lane_aio *aio, uint32_t count, int64_t left_ns, const uint64_t *mask)
{
	struct io_event events[LANE_AIO_EVENTS];
	uint32_t in_flight = lane_look_at(&aio->in_flight);
	long n;

	if (!count || count > in_flight || lane_load(&aio->pool->taken) != in_flight) {
		lane_aio_leave(aio, true);
		return -EAGAIN;
	}
	lane_set(&aio->waiting, 1);
	lane_set(&aio->eager, 0);
	if (lane_look_at(&aio->inside)) {
		lane_set(&aio->waiting, 0);
		return -EAGAIN;
	}
	count = count < LANE_AIO_EVENTS ? count : LANE_AIO_EVENTS;
	left_ns = left_ns < 0 ? 0 : left_ns < LANE_AIO_TICK_NS ? left_ns : LANE_AIO_TICK_NS;
	n = lane_aio_take(aio, events, count, left_ns, mask);
	lane_set(&aio->waiting, 0);
	if (n > 0)
		lane_aio_finish(aio, events, (uint32_t)n);
	return n < 0 ? n : 0;
}

/* ---- the watcher ---- */

/* False: it counts no more. */
static inline bool lane_aio_stays(struct lane_aio *aio, bool idle)
{
	struct lane_pool *pool = aio->pool;
	bool stays;

	lane_pool_lock(pool);
	stays = lane_look_at(&aio->in_flight) || !(idle || pool->ending);
	if (!stays)
		lane_aio_no_watcher(aio);
	lane_pool_unlock(pool);
	return stays;
}

/* True: nobody woke it. */
static inline bool lane_aio_nap(struct lane_aio *aio, uint32_t word, int64_t ns)
{
	const struct timespec patience = {ns / 1000000000, ns % 1000000000};

	return lane_futex(&aio->pool->watch, FUTEX_WAIT, word, &patience) == -ETIMEDOUT;
}

/* One event, at least, if the submitter does not take them. */
static inline void lane_aio_serve(struct lane_aio *aio, uint32_t word)
{
	struct io_event events[LANE_AIO_EVENTS];
	long n;

	lane_set(&aio->inside, 1);
	if (lane_look_at(&aio->waiting)) {
		lane_set(&aio->inside, 0);
		lane_aio_nap(aio, word, LANE_AIO_TICK_NS);
		return;
	}
	n = lane_aio_take(aio, events, 1, LANE_AIO_PATIENCE_NS, NULL);
	lane_set(&aio->inside, 0);
	if (n > 0)
		lane_aio_finish(aio, events, (uint32_t)n);
}

/* True: the submitter is at work. Who does not come for what is there may only look at the ring. */
static inline bool lane_aio_tick(struct lane_aio *aio, uint32_t word)
{
	uint32_t calls = __atomic_load_n(&aio->calls, __ATOMIC_RELAXED);

	if (!lane_aio_nap(aio, word, LANE_AIO_TICK_NS))
		return true;
	if (calls != __atomic_load_n(&aio->calls, __ATOMIC_RELAXED) || lane_look_at(&aio->waiting))
		return true;
	if (lane_aio_is_ready(aio))
		lane_set(&aio->eager, 1);
	return lane_look_at(&aio->in_flight);
}

/* False: it is to end. */
static inline bool lane_aio_sleep(struct lane_aio *aio, uint32_t word)
{
	bool idle;

	lane_set(&aio->asleep, 1);
	idle = !lane_look_at(&aio->in_flight) && lane_aio_nap(aio, word, aio->pool->idle_ns);
	lane_set(&aio->asleep, 0);
	return lane_aio_stays(aio, idle);
}

/* A watcher's life */
static inline void lane_aio_watch(struct lane_aio *aio)
{
	uint32_t idle = 0;

	for (;;) {
		uint32_t word = lane_look_at(&aio->pool->watch);

		if (lane_load(&aio->pool->ending) && !lane_aio_stays(aio, false))
			return;
		if (lane_look_at(&aio->in_flight) && (lane_look_at(&aio->eager) || lane_load(&aio->pool->ending)))
			lane_aio_serve(aio, word);
		else if (idle < LANE_AIO_IDLE_TICKS)
			idle = lane_aio_tick(aio, word) ? 0 : idle + 1;
		else if (!lane_aio_sleep(aio, word))
			return;
		else
			idle = 0;
	}
}

#endif
