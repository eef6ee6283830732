/* SPDX-License-Identifier: Apache-2.0 */
/* The lock, what is performed without it, and what the dead leave: threads and processes on one ring, and the
 * daemon's part of docs/lane.md, as far as a test needs one. */
#include "daemon.h"
#include <sys/wait.h>
#include <time.h>

static struct ring r;
static int file;

static void shared_ring(void)
{
	ring_make(&r, 64, 128, 0);
}

/* ---- the daemon's part ---- */

static void bury_request(struct uringfs_lane_request *q, uint32_t holder, uint32_t done)
{
	bool complete = q->state == URINGFS_LANE_POSTING && (int32_t)((uint32_t)r.lane.page->posted - q->cq) > 0;

	if (q->holder != holder)
		return;
	if (q->state == URINGFS_LANE_UNDER_WAY && (int32_t)(q->sq - done) >= 0)
		complete = true; /* it was `doing` */
	if (q->state == URINGFS_LANE_FINISHED)
		post(&r.lane, q->user_data, q->res);
	else if (!complete)
		post(&r.lane, q->user_data, -ECANCELED);
	q->holder = 0;
}

/* docs/lane.md, "The dead" */
static void bury(uint32_t holder)
{
	struct uringfs_lane *page = r.lane.page;
	struct lane_pass p;
	uint32_t done = (uint32_t)(page->posted >> 32);

	memset(&p, 0, sizeof(p));
	p.lane = &r.lane;
	p.published = lane_word(r.lane.rings, LANE_CQ_TAIL);
	if ((page->lock & URINGFS_LANE_HOLDERS) == holder && done != page->sq_head) {
		post(&r.lane, page->doing_user_data, -ECANCELED);
		page->posted = (uint32_t)page->posted | (uint64_t)page->sq_head << 32;
	}
	for (unsigned i = 0; i < URINGFS_LANE_REQUESTS; i++)
		bury_request(&page->requests[i], holder, done);
	p.head = page->sq_head;
	p.tail = (uint32_t)page->posted;
	p.posted = true;
	p.taken = 1;
	lane_publish(&p);
	if ((page->lock & URINGFS_LANE_HOLDERS) == holder)
		page->lock = 0;
}

/* ---- the lock ---- */

static void test_the_daemon_comes_first(void)
{
	uint32_t taken;

	shared_ring();
	r.lane.page->daemon = 1;
	ring_sqe(&r, IORING_OP_NOP, -1);
	CHECK(!ring_enter(&r, 1, &taken));
	CHECK_EQ(taken, 0);
	CHECK_EQ(r.lane.page->lock, 0);
	r.lane.page->daemon = 0;
	CHECK(ring_enter(&r, 1, &taken));
	ring_free(&r);
}

/* A client never waits long for another, and leaves no trace but that it has slept. */
static void test_another_client_keeps_it(void)
{
	uint32_t taken;

	shared_ring();
	r.lane.page->lock = 2;
	ring_sqe(&r, IORING_OP_NOP, -1);
	CHECK(!ring_enter(&r, 1, &taken));
	CHECK_EQ(taken, 0);
	CHECK_EQ(r.lane.page->lock, 2 | URINGFS_LANE_SLEEPERS);
	CHECK_EQ(r.lane.page->submitted, 0);
	ring_free(&r);
}

#define THREADS 4
#define ROUNDS 2000

static pthread_mutex_t program = PTHREAD_MUTEX_INITIALIZER;

/* Each queues under a mutex of the program's, enters without it, and is content when its number has been submitted. */
static void *enter_often(void *arg)
{
	uint8_t opcode = arg ? IORING_OP_WRITE : IORING_OP_NOP;
	struct lane_call c;

	for (unsigned i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&program);
		while (lane_word(r.lane.rings, LANE_SQ_TAIL) - lane_word(r.lane.rings, LANE_SQ_HEAD) >= 32) {
			pthread_mutex_unlock(&program);
			sched_yield();
			pthread_mutex_lock(&program);
		}
		struct io_uring_sqe *sqe = ring_sqe(&r, opcode, file);

		sqe->addr = (uint64_t)(uintptr_t) "x";
		sqe->len = opcode != IORING_OP_NOP;
		pthread_mutex_unlock(&program);
		do {
			memset(&c, 0, sizeof(c));
			c.to_submit = 1;
		} while (!lane_enter_ring(&r.lane, &c) && !c.taken);
	}
	return NULL;
}

static void test_threads(void *opcode)
{
	static uint8_t seen[THREADS * ROUNDS + 1];
	pthread_t threads[THREADS];
	unsigned reaped = 0;

	shared_ring();
	r.host.kick = serve_kick;
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, enter_often, opcode), 0);
	while (reaped < THREADS * ROUNDS) {
		uint32_t tail = lane_word(r.lane.rings, LANE_CQ_TAIL);

		for (; r.reaped != tail; reaped++) {
			struct cqe cqe;

			memcpy(&cqe, r.lane.rings + LANE_CQES + (r.reaped & 127) * 16, sizeof(cqe));
			CHECK(cqe.user_data && cqe.user_data <= THREADS * ROUNDS && !seen[cqe.user_data]++);
			lane_set_word(r.lane.rings, LANE_CQ_HEAD, ++r.reaped);
		}
		sched_yield();
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(r.lane.page->lock & URINGFS_LANE_HOLDERS, 0);
	CHECK_EQ(r.lane.page->completed, THREADS * ROUNDS);
	for (unsigned i = 0; i < URINGFS_LANE_REQUESTS; i++)
		CHECK_EQ(r.lane.page->requests[i].holder, 0);
	ring_free(&r);
}

/* ---- without the lane ---- */

static uint32_t attention, generation, wanted;

/* While a write is under way nobody has the lane, and the request stands in the page. */
static long look_on(struct lane *l, const struct lane_rw *rw)
{
	const struct uringfs_lane_request *q = &l->page->requests[0];

	CHECK_EQ(l->page->lock, 0);
	CHECK_EQ(q->holder, 1);
	CHECK_EQ(q->state, URINGFS_LANE_UNDER_WAY);
	CHECK_EQ(q->opcode, IORING_OP_WRITE);
	CHECK_EQ(q->sq, l->page->sq_head - 1);
	CHECK_EQ(l->page->posted >> 32, l->page->sq_head);
	CHECK_EQ(ring_ready(&r), 1);
	l->page->daemon = wanted;
	l->page->attention = attention;
	l->page->generation = generation;
	return lane_host_write(l, rw);
}

static void under_way(bool is_posted)
{
	struct io_uring_sqe *sqe;
	uint32_t taken;

	shared_ring();
	r.host.write = look_on;
	ring_sqe(&r, IORING_OP_NOP, -1);
	sqe = ring_sqe(&r, IORING_OP_WRITE, file);
	sqe->addr = (uint64_t)(uintptr_t) "xy";
	sqe->len = 2;
	ring_sqe(&r, IORING_OP_NOP, -1);
	CHECK_EQ(ring_enter(&r, 3, &taken), is_posted);
	CHECK_EQ(taken, is_posted ? 3 : 2);
	CHECK_EQ(ring_ready(&r), taken - !is_posted);
	CHECK_EQ(r.kicks, !is_posted);
	CHECK_EQ(r.lane.page->lock, 0);
	CHECK_EQ(r.lane.page->requests[0].holder, !is_posted);
	if (!is_posted) {
		CHECK_EQ(r.lane.page->requests[0].state, URINGFS_LANE_FINISHED);
		CHECK_EQ(r.lane.page->requests[0].res, 2);
		CHECK_EQ(r.lane.page->requests[0].user_data, 2);
	}
	ring_free(&r);
	attention = generation = wanted = 0;
}

static void test_without_the_lane(void)
{
	under_way(true);
	attention = URINGFS_LANE_DRAIN;
	under_way(false);
	generation = 1;
	under_way(false);
	wanted = 1;
	under_way(false);
}

static void test_no_place(void)
{
	struct io_uring_sqe *sqe;

	shared_ring();
	for (unsigned i = 0; i < URINGFS_LANE_REQUESTS; i++)
		r.lane.page->requests[i].holder = 7;
	sqe = ring_sqe(&r, IORING_OP_WRITE, file);
	sqe->addr = (uint64_t)(uintptr_t) "xy";
	sqe->len = 2;
	ring_leave(&r);
	ring_free(&r);
}

/* ---- the dead ---- */

static void *submit_for_ever(void *count)
{
	uint32_t in_flight = 0;

	for (uint64_t i = 1;; i++) {
		uint8_t opcode = i % 3 ? IORING_OP_NOP : IORING_OP_WRITE;
		struct io_uring_sqe *sqe = ring_sqe(&r, opcode, file);
		struct lane_call c = {-1, 0, 0, 0, NULL, 0, 0, NULL, 0, false, false, 0, 0, 0, NULL, 0, false, false};

		sqe->addr = (uint64_t)(uintptr_t) "x";
		sqe->len = opcode != IORING_OP_NOP;
		*(volatile uint64_t *)count = i;
		if (++in_flight % 5)
			continue;
		c.to_submit = 5;
		CHECK(lane_enter_ring(&r.lane, &c));
		r.reaped += 5; /* the parent counts them in the ring itself */
		lane_set_word(r.lane.rings, LANE_CQ_HEAD, r.reaped);
		if (i % 60 == 0)
			return NULL;
	}
}

/* Killed at any moment: each request that was taken has one CQE, each other is still queued. */
static void one_death(unsigned ns)
{
	const struct timespec then = {0, ns};
	uint64_t *count = (uint64_t *)(void *)ring_memory(4096);
	uint8_t seen[128] = {0};
	uint32_t tail, head;
	pid_t child;

	shared_ring();
	child = fork();
	if (!child) {
		submit_for_ever(count);
		_exit(0);
	}
	while (!*(volatile uint64_t *)count)
		;
	nanosleep(&then, NULL);
	kill(child, SIGKILL);
	CHECK_EQ(waitpid(child, NULL, 0), child);
	bury(1);
	tail = lane_word(r.lane.rings, LANE_CQ_TAIL);
	head = lane_word(r.lane.rings, LANE_SQ_HEAD);
	CHECK_EQ(tail, head);
	for (uint32_t i = 0; i < tail; i++) {
		struct cqe cqe;

		memcpy(&cqe, r.lane.mirror + LANE_CQES + (i & 127) * 16, sizeof(cqe));
		CHECK(cqe.user_data && cqe.user_data <= head && !seen[cqe.user_data]++);
	}
	CHECK_EQ(r.lane.page->lock, 0);
	ring_free(&r);
	munmap(count, 4096);
}

static void test_death(unsigned times)
{
	while (times--)
		one_death((unsigned)rand() % 60000);
}

int main(int argc, char **argv)
{
	char path[] = "lane-XXXXXX";

	file = mkstemp(path);
	CHECK(file >= 0);
	srand(argc > 2 ? (unsigned)atoi(argv[2]) : 1);
	test_the_daemon_comes_first();
	test_another_client_keeps_it();
	test_threads(NULL);
	test_threads(&file);
	test_without_the_lane();
	test_no_place();
	test_death(argc > 1 ? (unsigned)atoi(argv[1]) : 300);
	unlink(path);
	return 0;
}
