/* SPDX-License-Identifier: Apache-2.0 */
/* Several threads, one ring. */
#include "harness.h"

#define THREADS 4

struct shared {
	struct ring ring;
	pthread_mutex_t sq; /* filling the SQ is the client's to serialise; entering is not */
	pthread_barrier_t start;
	_Atomic unsigned submitted;
};

struct job {
	pthread_t thread;
	struct shared *s;
	unsigned id, count, min_complete;
	_Atomic pid_t tid;
	int ret;
};

static void prepare(struct shared *s, unsigned entries, unsigned flags)
{
	memset(s, 0, sizeof(*s));
	ring_init(&s->ring, entries, flags);
	EXPECT_EQ(pthread_mutex_init(&s->sq, NULL), 0);
	EXPECT_EQ(pthread_barrier_init(&s->start, NULL, THREADS), 0);
}

static void run(struct shared *s, void *(*body)(void *), struct job *jobs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		jobs[i].s = s;
		jobs[i].id = i;
		EXPECT_EQ(pthread_create(&jobs[i].thread, NULL, body, &jobs[i]), 0);
	}
}

static void join(struct job *jobs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(pthread_join(jobs[i].thread, NULL), 0);
}

/* Every user_data of 0 .. n-1 exactly once. */
static void reap_each_once(struct ring *r, unsigned n)
{
	unsigned char *seen = calloc(n, 1);
	struct cqe cqe;

	for (unsigned i = 0; i < n; i++) {
		cqe = ring_wait(r);
		EXPECT_EQ(cqe.res, 0);
		EXPECT(cqe.user_data < n);
		EXPECT_EQ(seen[cqe.user_data], 0);
		seen[cqe.user_data] = 1;
	}
	EXPECT_EQ(ring_ready(r), 0);
	free(seen);
	note("%u completions, each once", n);
}

static void *submit_nops(void *arg)
{
	struct job *j = arg;
	struct shared *s = j->s;

	pthread_barrier_wait(&s->start);
	for (unsigned i = 0; i < j->count; i++) {
		int ret;

		pthread_mutex_lock(&s->sq);
		while (ring_queued(&s->ring) == s->ring.p.sq_entries)
			atomic_fetch_add(&s->submitted, (unsigned)enter(s->ring.fd, 1, 0, 0));
		ring_nop(&s->ring, (uint64_t)j->id * j->count + i);
		ring_store_tail(&s->ring);
		pthread_mutex_unlock(&s->sq);
		ret = enter(s->ring.fd, 1, 0, 0);
		if (ret < 0)
			FAIL("enter of thread %u: %s", j->id, strerror(-ret));
		atomic_fetch_add(&s->submitted, (unsigned)ret);
	}
	return NULL;
}

/* A thread may submit another's request: only the sum is certain. */
static void four_submitters(unsigned entries, unsigned each)
{
	struct job jobs[THREADS] = {{.count = each}, {.count = each}, {.count = each}, {.count = each}};
	struct shared s;

	prepare(&s, entries, 0);
	run(&s, submit_nops, jobs, THREADS);
	join(jobs, THREADS);
	while (ring_queued(&s.ring))
		atomic_fetch_add(&s.submitted, (unsigned)enter(s.ring.fd, entries, 0, 0));
	EXPECT_EQ(s.submitted, THREADS * each);
	note("submitted %u", s.submitted);
	reap_each_once(&s.ring, THREADS * each);
	ring_note_words(&s.ring);
}

TEST(four_enter_at_once)
{
	four_submitters(1024, 250);
}

TEST(four_enter_at_once_on_a_small_ring)
{
	four_submitters(4, 250);
}

static void *submit_batch(void *arg)
{
	struct job *j = arg;

	pthread_barrier_wait(&j->s->start);
	j->ret = enter(j->s->ring.fd, j->count, j->min_complete, j->min_complete ? GETEVENTS : 0);
	return NULL;
}

/* 64 are queued; four threads ask for 32 each: no entry is taken twice. */
TEST(four_ask_for_more_than_there_is)
{
	struct job jobs[THREADS] = {{.count = 32}, {.count = 32}, {.count = 32}, {.count = 32}};
	struct shared s;
	int sum = 0;

	prepare(&s, 64, 0);
	for (uint64_t i = 0; i < 64; i++)
		ring_nop(&s.ring, i);
	ring_store_tail(&s.ring);
	run(&s, submit_batch, jobs, THREADS);
	join(jobs, THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		sum += jobs[i].ret;
	EXPECT_EQ(sum, 64);
	reap_each_once(&s.ring, 64);
	ring_note_words(&s.ring);
}

/* Each submits its own and waits for all: the last one wakes everybody. */
TEST(four_submit_and_wait_for_all)
{
	struct job jobs[THREADS];
	struct shared s;
	int sum = 0;

	memset(jobs, 0, sizeof(jobs));
	prepare(&s, 64, 0);
	for (uint64_t i = 0; i < 40; i++)
		ring_nop(&s.ring, i);
	ring_store_tail(&s.ring);
	for (unsigned i = 0; i < THREADS; i++) {
		jobs[i].count = 10;
		jobs[i].min_complete = 40;
	}
	run(&s, submit_batch, jobs, THREADS);
	join(jobs, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		EXPECT_EQ(jobs[i].ret, 10);
		sum += jobs[i].ret;
	}
	EXPECT_EQ(sum, 40);
	reap_each_once(&s.ring, 40);
}

static void *wait_only(void *arg)
{
	struct job *j = arg;

	atomic_store(&j->tid, gettid_());
	j->ret = enter(j->s->ring.fd, 0, j->min_complete, GETEVENTS);
	return NULL;
}

static void until_all_wait(struct job *jobs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		while (!atomic_load(&jobs[i].tid))
			sched_yield();
		until_waiting(getpid(), jobs[i].tid);
	}
}

static void nop_now(struct ring *r, uint64_t user_data)
{
	ring_nop(r, user_data);
	EXPECT_EQ(ring_submit(r), 1);
}

TEST(a_waiter_is_woken_by_another_threads_submission)
{
	struct job job = {.min_complete = 1};
	struct shared s;

	prepare(&s, 8, 0);
	run(&s, wait_only, &job, 1);
	until_all_wait(&job, 1);
	nop_now(&s.ring, 1);
	join(&job, 1);
	EXPECT_EQ(job.ret, 0);
	ring_note_words(&s.ring);
}

/* Nobody takes a completion away by waiting for it. */
TEST(one_completion_wakes_every_waiter)
{
	struct job jobs[THREADS];
	struct shared s;

	memset(jobs, 0, sizeof(jobs));
	for (unsigned i = 0; i < THREADS; i++)
		jobs[i].min_complete = 1;
	prepare(&s, 8, 0);
	run(&s, wait_only, jobs, THREADS);
	until_all_wait(jobs, THREADS);
	nop_now(&s.ring, 1);
	join(jobs, THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		note("waiter %u: %d", i, jobs[i].ret);
	EXPECT_EQ(ring_ready(&s.ring), 1);
}

TEST(each_waiter_wakes_at_its_own_count)
{
	struct job jobs[3];
	struct shared s;

	memset(jobs, 0, sizeof(jobs));
	prepare(&s, 8, 0);
	for (unsigned i = 0; i < 3; i++) {
		/* in this order: io_wake_function() stops at the first waiter that wants more */
		jobs[i].min_complete = i + 1;
		run(&s, wait_only, &jobs[i], 1);
		until_all_wait(&jobs[i], 1);
	}
	for (unsigned i = 0; i < 3; i++) {
		nop_now(&s.ring, i);
		EXPECT_EQ(pthread_join(jobs[i].thread, NULL), 0);
		EXPECT_EQ(jobs[i].ret, 0);
		for (unsigned k = i + 1; k < 3; k++)
			until_waiting(getpid(), jobs[k].tid);
		note("%u completions: waiter %u is back", i + 1, i);
	}
}

TEST(waiting_for_three_takes_three)
{
	struct job job = {.min_complete = 3};
	struct shared s;

	prepare(&s, 8, 0);
	run(&s, wait_only, &job, 1);
	until_all_wait(&job, 1);
	nop_now(&s.ring, 1);
	until_all_wait(&job, 1);
	nop_now(&s.ring, 2);
	until_all_wait(&job, 1);
	nop_now(&s.ring, 3);
	join(&job, 1);
	EXPECT_EQ(job.ret, 0);
	ring_note_words(&s.ring);
}

/* Thousands of hand-overs: a wake-up that is lost or late hangs this. */
static void *answer(void *arg)
{
	struct job *j = arg;
	struct cqe cqe;

	for (unsigned i = 0; i < j->count; i++) {
		cqe = ring_wait(&j->s->ring);
		EXPECT_EQ(cqe.user_data, i);
		atomic_fetch_add(&j->s->submitted, 1);
	}
	return NULL;
}

TEST(no_wake_up_is_lost)
{
	struct job job = {.count = 2000};
	struct shared s;

	prepare(&s, 8, 0);
	run(&s, answer, &job, 1);
	for (unsigned i = 0; i < job.count; i++) {
		nop_now(&s.ring, i);
		while (atomic_load(&s.submitted) <= i)
			sched_yield();
	}
	join(&job, 1);
	ring_note_words(&s.ring);
}

TEST(a_ring_made_by_another_thread)
{
	struct job job = {.count = 100};
	struct shared s;

	prepare(&s, 128, 0);
	EXPECT_EQ(pthread_barrier_destroy(&s.start), 0);
	EXPECT_EQ(pthread_barrier_init(&s.start, NULL, 1), 0);
	run(&s, submit_nops, &job, 1);
	join(&job, 1);
	reap_each_once(&s.ring, 100);
}

/* The thread that submitted is gone before its request completes: cancelled, like a process's. */
static void *submit_and_leave(void *arg)
{
	struct job *j = arg;

	j->ret = ring_submit(&j->s->ring);
	return NULL;
}

TEST(request_of_a_thread_that_has_ended)
{
	struct iovec iov;
	struct job job;
	struct shared s;
	struct cqe cqe;
	char c = 0;
	int p[2];

	memset(&job, 0, sizeof(job));
	OK(pipe(p));
	iov.iov_base = &c;
	iov.iov_len = 1;
	prepare(&s, 8, 0);
	ring_readv(&s.ring, p[0], &iov, 1, 0, 6);
	run(&s, submit_and_leave, &job, 1);
	join(&job, 1);
	EXPECT_EQ(job.ret, 1);
	OK(write(p[1], "x", 1));
	cqe = ring_wait(&s.ring);
	note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
}
