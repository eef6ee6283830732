/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that workers perform: what is kept of them, how they end, and how those who wait hear of it. The workers
 * are threads of libc's here; a file system that has nothing in its cache is played. */
#include "daemon.h"

#include "jobs.h"

static struct ring r;
static struct lane_pool *pool;
static int file, started, may_start = 1;
static char buf[URINGFS_LANE_REQUESTS][4];

/* ---- the host ---- */

static void *work(void *unused)
{
	lane_pool_work(pool);
	return unused;
}

static pthread_t threads[16];

static bool start(struct lane_pool *p)
{
	(void)p;
	if (started == may_start || pthread_create(&threads[started], NULL, work, NULL) != 0)
		return false;
	started++;
	return true;
}

static int new_job(struct lane *l, struct lane_job **job)
{
	int ret = lane_pool_job(pool, job);

	(void)l;
	if (ret == -EAGAIN)
		lane_pool_go(pool, LANE_JOBS);
	return ret;
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

/* Nothing is cached; and no read ends as long as the gate is locked. */
static long cold_read(struct lane *l, const struct lane_rw *rw)
{
	long ret;

	if (rw->flags & RWF_NOWAIT)
		return -EAGAIN;
	pthread_mutex_lock(&gate);
	ret = lane_host_read(l, rw);
	pthread_mutex_unlock(&gate);
	return ret;
}

static void make(unsigned workers)
{
	ring_make(&r, 128, 256, 0);
	r.host.read = cold_read;
	r.host.kick_later = count_kick;
	r.host.new_job = new_job;
	r.host.keep_file = keep_file;
	r.host.copy_in = copy_in;
	r.host.queue = lane_pool_push;
	r.host.end_job = end_job;
	pool = calloc(1, sizeof(*pool));
	CHECK(pool);
	pool->max = workers;
	pool->start = start;
	pool->idle_ns = LANE_IDLE_NS;
	started = 0;
	may_start = (int)workers;
}

static void end(void)
{
	lane_pool_end(pool);
	CHECK_EQ(pool->queued, 0);
	while (started)
		pthread_join(threads[--started], NULL);
	free(pool);
	ring_free(&r);
}

static void read_at(unsigned i)
{
	struct io_uring_sqe *sqe = ring_sqe(&r, IORING_OP_READ, file);

	sqe->addr = (uint64_t)(uintptr_t)buf[i];
	sqe->len = 1;
	sqe->off = i;
}

/* One enter that waits for that many CQEs. False: it is the daemon's to wait. */
static bool sleep_for(uint32_t count)
{
	struct lane_call c = {
		-1, 0,	   count, IORING_ENTER_GETEVENTS, NULL, 0, 0, NULL, 0, false, false, 0, 0, 0, NULL,
		0,  false, false};

	if (lane_enter_ring(&r.lane, &c))
		return true;
	if (c.sleep_on)
		RAW(SYS_futex, c.sleep_on, FUTEX_WAIT, c.awake, NULL);
	return c.sleep_on;
}

/* Until they are there; on a slow machine it may be the daemon who posts. */
static bool wait_for(uint32_t count)
{
	while (ring_ready(&r) < count)
		if (!sleep_for(count))
			sched_yield();
	return true;
}

/* As the daemon does, with the lane, of the request with that user_data: true, no worker begins it any more. */
static bool cancel(uint64_t user_data)
{
	struct uringfs_lane_request *q = r.lane.page->requests;
	uint8_t before;

	while (!lane_load(&q->holder) || q->user_data != user_data)
		q++;
	before = __atomic_fetch_or(&q->state, URINGFS_LANE_CANCELED, __ATOMIC_SEQ_CST);
	if (before & URINGFS_LANE_QUEUED)
		return true;
	__atomic_fetch_and(&q->state, (uint8_t)~URINGFS_LANE_CANCELED, __ATOMIC_SEQ_CST);
	return false;
}

static void submit(unsigned count, unsigned taken)
{
	uint32_t were;

	ring_enter(&r, count, &were);
	CHECK_EQ(were, taken);
	lane_pool_go(pool, taken);
}

/* ---- */

static void test_many(unsigned workers)
{
	uint8_t seen[URINGFS_LANE_REQUESTS + 1] = {0};

	make(workers);
	r.host.kick = r.host.kick_later = serve_kick;
	for (unsigned i = 0; i < URINGFS_LANE_REQUESTS; i++)
		read_at(i);
	while (r.made - lane_word(r.lane.rings, LANE_SQ_HEAD)) {
		uint32_t taken;

		ring_enter(&r, URINGFS_LANE_REQUESTS, &taken);
		lane_pool_go(pool, LANE_JOBS);
	}
	CHECK(wait_for(URINGFS_LANE_REQUESTS));
	for (unsigned i = 0; i < URINGFS_LANE_REQUESTS; i++) {
		struct cqe cqe = ring_reap(&r);

		CHECK(cqe.user_data && cqe.user_data <= URINGFS_LANE_REQUESTS && !seen[cqe.user_data]++);
		CHECK_EQ(cqe.res, 1);
		CHECK_EQ(buf[cqe.user_data - 1][0], (char)(cqe.user_data - 1));
	}
	lane_pool_end(pool);
	for (unsigned i = 0; i < URINGFS_LANE_REQUESTS; i++)
		CHECK_EQ(r.lane.page->requests[i].holder, 0);
	CHECK_EQ(r.lane.under_way, 0);
	CHECK(started >= 1 && started <= (int)workers);
	end();
}

/* It stands in the page meanwhile; the next of the batch does not wait for it. */
static void test_under_way(void)
{
	make(1);
	pthread_mutex_lock(&gate);
	read_at(3);
	ring_sqe(&r, IORING_OP_NOP, -1);
	submit(2, 2);
	CHECK_EQ(r.lane.page->requests[0].holder, 1);
	CHECK_EQ(r.lane.page->requests[0].user_data, 1);
	CHECK_EQ(r.lane.page->requests[0].opcode, IORING_OP_READ);
	CHECK_EQ(r.lane.under_way, 1);
	ring_expect(&r, 2, 0);
	CHECK(!sleep_for(3)); /* only one more can come of workers */
	pthread_mutex_unlock(&gate);
	CHECK(wait_for(1));
	ring_expect(&r, 1, 1);
	end();
}

static bool is_queued(unsigned place)
{
	return __atomic_load_n(&r.lane.page->requests[place].state, __ATOMIC_SEQ_CST) & URINGFS_LANE_QUEUED;
}

/* What is queued behind it is not performed, and posts nothing; what has begun goes on. */
static void test_cancelled(void)
{
	make(1);
	r.lane.queued = URINGFS_LANE_QUEUED;
	memset(buf, 7, sizeof(buf));
	pthread_mutex_lock(&gate);
	for (unsigned i = 0; i < 3; i++)
		read_at(i);
	submit(3, 3);
	while (is_queued(0))
		sched_yield();
	CHECK(is_queued(1) && is_queued(2));
	CHECK(!cancel(1) && cancel(2));
	pthread_mutex_unlock(&gate);
	CHECK(wait_for(2));
	ring_expect(&r, 1, 1);
	ring_expect(&r, 3, 1);
	lane_pool_end(pool);
	CHECK(buf[0][0] == 0 && buf[1][0] == 7 && buf[2][0] == 2);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(r.lane.page->requests[i].holder, 0);
	CHECK_EQ(r.lane.under_way, 0);
	end();
}

/* A daemon that knows nothing of that */
static void test_not_to_be_cancelled(void)
{
	make(1);
	pthread_mutex_lock(&gate);
	read_at(0);
	read_at(1);
	submit(2, 2);
	CHECK(!is_queued(0) && !is_queued(1) && !cancel(2));
	pthread_mutex_unlock(&gate);
	CHECK(wait_for(2));
	end();
}

/* What the program does to its iovecs and descriptors behind the call is of no matter. */
static void test_stable(void)
{
	struct iovec iov[2] = {{buf[0], 1}, {buf[1], 1}};
	struct io_uring_sqe *sqe;
	int fd = dup(file);

	make(1);
	memset(buf, 7, sizeof(buf));
	pthread_mutex_lock(&gate);
	sqe = ring_sqe(&r, IORING_OP_READV, fd);
	sqe->addr = (uint64_t)(uintptr_t)iov;
	sqe->len = 2;
	submit(1, 1);
	close(fd);
	memset(iov, 0, sizeof(iov));
	pthread_mutex_unlock(&gate);
	CHECK(wait_for(1));
	ring_expect(&r, 1, 2);
	CHECK(buf[0][0] == 0 && buf[1][0] == 1);
	end();
}

/* Who comes between posts nothing: the daemon does. */
static void handed_over(uint32_t attention, uint32_t generation, uint32_t wanted)
{
	struct uringfs_lane *page;

	make(1);
	page = r.lane.page;
	pthread_mutex_lock(&gate);
	read_at(1);
	submit(1, 1);
	__atomic_store_n(&page->daemon, wanted, __ATOMIC_SEQ_CST);
	lane_store(&page->attention, attention);
	lane_store(&page->generation, generation);
	pthread_mutex_unlock(&gate);
	lane_pool_end(pool);
	CHECK_EQ(r.kicks, 1);
	CHECK_EQ(ring_ready(&r), 0);
	CHECK_EQ(page->requests[0].holder, 1);
	CHECK_EQ(page->requests[0].state, URINGFS_LANE_FINISHED);
	CHECK_EQ(page->requests[0].res, 1);
	CHECK_EQ(r.lane.under_way, 0);
	CHECK_EQ(page->lock, 0);
	end();
}

static void test_waiter_in_the_daemon(void)
{
	make(1);
	r.lane.page->attention = URINGFS_LANE_WAITER;
	read_at(1);
	submit(1, 1);
	lane_pool_end(pool);
	CHECK_EQ(r.kicks, 1); /* by the worker, which has posted */
	ring_expect(&r, 1, 1);
	end();
}

static void are_ending(uint32_t ending)
{
	lane_pool_lock(pool); /* a worker looks */
	pool->ending = ending;
	lane_pool_unlock(pool);
}

/* No thread, no place, or they are to end: the daemon's */
static void test_not_by_workers(void)
{
	make(0);
	read_at(1);
	ring_leave(&r);
	pool->max = 1;
	may_start = 1;
	for (unsigned i = 0; i < URINGFS_LANE_REQUESTS; i++)
		r.lane.page->requests[i].holder = 7;
	read_at(1);
	ring_leave(&r);
	memset(r.lane.page->requests, 0, sizeof(r.lane.page->requests));
	are_ending(1);
	read_at(1);
	ring_leave(&r);
	are_ending(0);
	CHECK_EQ(r.lane.under_way, 0);
	for (unsigned i = 0; i < LANE_JOBS; i++)
		CHECK(!pool->used[i]);
	end();
}

/* Whoever ends them waits for what is queued; behind that they may come again. */
static void test_end(void)
{
	make(2);
	may_start = 4;
	for (unsigned i = 0; i < 8; i++)
		read_at(i);
	submit(8, 8);
	lane_pool_end(pool);
	CHECK_EQ(ring_ready(&r), 8);
	CHECK_EQ(pool->alive, 0);
	lane_pool_begin(pool);
	read_at(1);
	submit(1, 1);
	CHECK(wait_for(9));
	end();
}

static void test_idle_ones_end(void)
{
	make(2);
	pool->idle_ns = 1000;
	read_at(1);
	submit(1, 1);
	CHECK(wait_for(1));
	while (lane_load(&pool->alive))
		sched_yield();
	may_start = 4;
	read_at(1);
	submit(1, 1);
	CHECK(wait_for(2));
	end();
}

/* ---- places ---- */

#define STARTERS 4
#define PLACES 3

static int tids[PLACES];
static unsigned starters_at[PLACES];

static void *take_places(void *unused)
{
	for (unsigned round = 0; round < 20000; round++) {
		unsigned at = round % PLACES;

		if (!lane_pool_take_place(&tids[at]))
			continue;
		CHECK_EQ(__atomic_fetch_add(&starters_at[at], 1, __ATOMIC_SEQ_CST), 0);
		sched_yield();
		__atomic_fetch_sub(&starters_at[at], 1, __ATOMIC_SEQ_CST);
		__atomic_store_n(&tids[at], 0, __ATOMIC_RELEASE);
	}
	return unused;
}

/* Nor two threads on one stack: the submitter and the watcher start workers at the same time. */
static void test_a_place_is_taken_once(void)
{
	pthread_t starters[STARTERS];

	for (unsigned i = 0; i < STARTERS; i++)
		CHECK(pthread_create(&starters[i], NULL, take_places, NULL) == 0);
	for (unsigned i = 0; i < STARTERS; i++)
		pthread_join(starters[i], NULL);
	tids[0] = 7; /* a thread's */
	CHECK(!lane_pool_take_place(&tids[0]));
	CHECK(lane_pool_take_place(&tids[1]));
	CHECK_EQ(tids[1], LANE_PLACE_TAKEN);
}

/* ---- order ---- */

static char order[64];
static unsigned nr_order;

static long past_the_cache(struct lane *l, int fd)
{
	(void)l;
	return fcntl(fd, F_GETFL) | O_DIRECT;
}

static long note(struct lane *l, const struct lane_rw *rw)
{
	unsigned at = __atomic_fetch_add(&nr_order, 1, __ATOMIC_SEQ_CST);

	(void)l;
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	order[at] = *(const char *)(uintptr_t)rw->addr;
	return (long)rw->nr;
}

static void write_at(unsigned i, uint64_t off, uint32_t size)
{
	static char bytes[64 + 16];
	struct io_uring_sqe *sqe = ring_sqe(&r, IORING_OP_WRITE, file);

	bytes[i] = (char)i;
	sqe->addr = (uint64_t)(uintptr_t)&bytes[i];
	sqe->len = size;
	sqe->off = off;
}

/* Writes that overlap come in their order, though there are workers enough. */
static void test_order(void)
{
	make(8);
	r.host.file_flags = past_the_cache;
	r.host.write = note;
	nr_order = 0;
	for (unsigned i = 0; i < 64; i++)
		write_at(i, i % 3, 4);
	submit(64, 64);
	CHECK(wait_for(64));
	for (unsigned i = 0; i < 64; i++)
		CHECK_EQ(order[i], (char)i);
	end();
}

/* Others do not wait for them. */
static void test_no_order(void)
{
	make(2);
	r.host.file_flags = past_the_cache;
	r.host.write = note;
	nr_order = 0;
	pthread_mutex_lock(&gate);
	write_at(0, 0, 4);
	write_at(1, 0, 4);
	write_at(2, 8, 4);
	submit(3, 3);
	while (__atomic_load_n(&nr_order, __ATOMIC_SEQ_CST) != 2)
		sched_yield();
	CHECK_EQ(pool->queued, 1);
	pthread_mutex_unlock(&gate);
	CHECK(wait_for(3));
	CHECK_EQ(order[2], 1);
	end();
}

/* ---- paths ---- */

static struct io_uring_sqe *name(uint8_t opcode, const char *path)
{
	struct io_uring_sqe *sqe = ring_sqe(&r, opcode, AT_FDCWD);

	sqe->addr = (uint64_t)(uintptr_t)path;
	return sqe;
}

static long behind_the_gate(struct lane *l, const struct io_uring_sqe *sqe)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return lane_host_path(l, sqe);
}

/* The program may use their memory again when the call is over. */
static void test_paths(void)
{
	char from[] = "from", to[] = "to";
	struct io_uring_sqe *sqe;

	make(1);
	r.host.path_call = behind_the_gate;
	pthread_mutex_lock(&gate);
	name(IORING_OP_MKDIRAT, from)->len = 0700;
	sqe = name(IORING_OP_RENAMEAT, from);
	sqe->len = (uint32_t)AT_FDCWD;
	sqe->addr2 = (uint64_t)(uintptr_t)to;
	submit(2, 2);
	memset(from, 'x', sizeof(from) - 1);
	memset(to, 'x', sizeof(to) - 1);
	pthread_mutex_unlock(&gate);
	CHECK(wait_for(2));
	ring_expect(&r, 1, 0);
	ring_expect(&r, 2, 0);
	CHECK_EQ(rmdir("to"), 0);
	end();
}

/* Errors of preparation, and what may wait without an end, are the daemon's. */
static void test_names_that_are_none(void)
{
	make(1);
	name(IORING_OP_UNLINKAT, "");
	ring_leave(&r);
	name(IORING_OP_UNLINKAT, (const char *)4096);
	ring_leave(&r);
	name(IORING_OP_MKDIRAT, "a")->off = 1;
	ring_leave(&r);
	CHECK_EQ(mkfifo("fifo", 0600), 0);
	name(IORING_OP_OPENAT, "fifo")->open_flags = O_CREAT | O_RDONLY;
	ring_leave(&r);
	name(IORING_OP_UNLINKAT, "fifo");
	submit(1, 1);
	CHECK(wait_for(1));
	CHECK_EQ(ring_reap(&r).res, 0);
	end();
}

static void test_open(void)
{
	struct io_uring_sqe *sqe;
	int fd;

	make(1);
	sqe = name(IORING_OP_OPENAT, "made");
	sqe->open_flags = O_CREAT | O_EXCL | O_WRONLY;
	sqe->len = 0600;
	submit(1, 1);
	CHECK(wait_for(1));
	fd = ring_reap(&r).res;
	CHECK_EQ(write(fd, "x", 1), 1);
	close(fd);
	CHECK_EQ(unlink("made"), 0);
	end();
}

/* Not tried at once, though it would succeed; buffered writes one after the other. NOPs are the daemon's. */
static void test_async(void)
{
	make(4);
	r.host.read = lane_host_read;
	r.host.write = note;
	nr_order = 0;
	pthread_mutex_lock(&gate);
	for (unsigned i = 0; i < 8; i++) {
		write_at(i, 100 * i, 1);
		((struct io_uring_sqe *)(void *)r.lane.sqes)[r.lane.sq_entries - 1 - i].flags = IOSQE_ASYNC;
	}
	submit(8, 8);
	CHECK_EQ(r.lane.under_way, 8);
	pthread_mutex_unlock(&gate);
	CHECK(wait_for(8));
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(order[i], (char)i);
	while (ring_ready(&r))
		ring_reap(&r);
	ring_sqe(&r, IORING_OP_NOP, -1)->flags = IOSQE_ASYNC;
	ring_leave(&r);
	end();
}

static void test_fsync(void)
{
	struct io_uring_sqe *sqe;
	int pipes[2];

	make(1);
	CHECK_EQ(pipe(pipes), 0);
	ring_sqe(&r, IORING_OP_FSYNC, file)->fsync_flags = IORING_FSYNC_DATASYNC;
	ring_sqe(&r, IORING_OP_FSYNC, 999);
	submit(2, 2);
	CHECK(wait_for(2));
	CHECK_EQ(ring_reap(&r).res + ring_reap(&r).res, -EBADF);
	sqe = ring_sqe(&r, IORING_OP_FSYNC, file);
	sqe->fsync_flags = 2;
	ring_leave(&r);
	ring_sqe(&r, IORING_OP_FSYNC, pipes[0]);
	ring_leave(&r);
	close(pipes[0]);
	close(pipes[1]);
	end();
}

int main(void)
{
	char path[] = "lane-XXXXXX", bytes[URINGFS_LANE_REQUESTS];

	file = mkstemp(path);
	CHECK(file >= 0);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	CHECK_EQ(write(file, bytes, sizeof(bytes)), sizeof(bytes));
	for (unsigned workers = 1; workers <= 8; workers *= 2)
		for (int i = 0; i < 20; i++)
			test_many(workers);
	test_under_way();
	test_cancelled();
	test_not_to_be_cancelled();
	test_stable();
	handed_over(URINGFS_LANE_DRAIN, 0, 0);
	handed_over(0, 1, 0);
	handed_over(0, 0, 1);
	test_waiter_in_the_daemon();
	test_not_by_workers();
	test_end();
	test_idle_ones_end();
	test_a_place_is_taken_once();
	test_order();
	test_no_order();
	test_paths();
	test_names_that_are_none();
	test_open();
	test_async();
	test_fsync();
	unlink(path);
	return 0;
}
