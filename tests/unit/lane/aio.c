/* SPDX-License-Identifier: Apache-2.0 */
/* Transfers with O_DIRECT by Linux AIO: their results, who takes their events, and what workers get of them. The file
 * system is the real one; where it performs nothing so, all is a worker's, with the same results. */
#include "daemon.h"

#include "jobs.h"

#include "../../../contrib/lane/aio.h"

#define BLOCK 4096
#define BLOCKS 32
#define TAIL 512 /* bytes behind the last block */

static struct ring r;
static struct lane_pool *pool;
static struct lane_aio *aio;
static int file, plain, workers, watchers;
static uint32_t fresh;
static char *data;
static pthread_t threads[8];
static bool may_watch;

/* ---- the host ---- */

static void *work(void *unused)
{
	lane_pool_work(pool);
	return unused;
}

static void *watch(void *unused)
{
	lane_aio_watch(aio);
	return unused;
}

static bool begin(void *(*life)(void *))
{
	CHECK_EQ(pthread_create(&threads[workers + watchers], NULL, life, NULL), 0);
	return true;
}

static bool start(struct lane_pool *p)
{
	(void)p;
	return workers == 2 ? false : begin(work) && ++workers;
}

static bool start_watcher(struct lane_aio *a)
{
	(void)a;
	return may_watch && begin(watch) && ++watchers;
}

static int new_job(struct lane *l, struct lane_job **job)
{
	(void)l;
	return lane_pool_job(pool, job);
}

static unsigned given; /* to AIO */

static void queue(struct lane_job *job)
{
	if (lane_aio_add(aio, job)) {
		given++;
		return;
	}
	lane_pool_push(job);
	fresh++;
}

static void make(void)
{
	ring_make(&r, 64, 128, 0);
	r.host.kick = r.host.kick_later = serve_kick;
	r.host.new_job = new_job;
	r.host.keep_file = keep_file;
	r.host.copy_in = copy_in;
	r.host.queue = queue;
	r.host.end_job = end_job;
	pool = calloc(1, sizeof(*pool));
	aio = calloc(1, sizeof(*aio));
	CHECK(pool && aio);
	pool->max = 2;
	pool->start = start;
	pool->idle_ns = LANE_IDLE_NS;
	aio->pool = pool;
	aio->start = start_watcher;
	may_watch = true;
	workers = watchers = 0;
	fresh = given = 0;
}

static void end(void)
{
	lane_pool_end(pool);
	CHECK_EQ(pool->queued, 0);
	CHECK_EQ(pool->taken, 0);
	CHECK_EQ(aio->in_flight, 0);
	CHECK_EQ(r.lane.under_way, 0);
	while (workers + watchers) {
		pthread_join(threads[workers + watchers - 1], NULL);
		workers ? workers-- : watchers--;
	}
	if (aio->context)
		RAW(SYS_io_destroy, aio->context);
	free(aio);
	free(pool);
	ring_free(&r);
}

/* ---- the program ---- */

/* In their turn, where another thread has the ring */
static void submit(uint32_t count)
{
	uint32_t taken = 0;

	while (!taken)
		ring_enter(&r, count, &taken);
	CHECK_EQ(taken, count);
	lane_aio_submit(aio);
	if (fresh)
		lane_pool_go(pool, fresh);
	fresh = 0;
}

/* As contrib/launcher/lane.c waits */
static void wait_for(uint32_t count)
{
	lane_aio_reap(aio);
	while (ring_ready(&r) < count) {
		struct lane_call c = {
			-1, 0,	   count, IORING_ENTER_GETEVENTS, NULL, 0, 0, NULL, 0, false, false, 0, 0, 0, NULL,
			0,  false, false};

		if (lane_enter_ring(&r.lane, &c))
			return;
		if (!c.sleep_on)
			sched_yield(); /* the daemon's turn */
		else if (lane_aio_wait(aio, c.wanted, LANE_EVER, NULL) == -EAGAIN)
			RAW(SYS_futex, c.sleep_on, FUTEX_WAIT, c.awake, NULL);
	}
	lane_aio_leave(aio, false);
}

static struct io_uring_sqe *transfer(uint8_t opcode, unsigned block, unsigned place)
{
	struct io_uring_sqe *sqe = ring_sqe(&r, opcode, file);

	sqe->addr = (uint64_t)(uintptr_t)(data + (size_t)place * BLOCK);
	sqe->len = BLOCK;
	sqe->off = (uint64_t)block * BLOCK;
	return sqe;
}

static int do_it(void)
{
	submit(1);
	wait_for(1);
	return ring_reap(&r).res;
}

static void reads(unsigned count)
{
	memset(data, 0x7f, (size_t)count * BLOCK);
	for (unsigned i = 0; i < count; i++)
		transfer(IORING_OP_READ, (i * 7) % BLOCKS, i);
}

/* What reads() brings, in any order */
static void expect_reads(unsigned count)
{
	CHECK_EQ(ring_ready(&r), count);
	for (unsigned i = 0; i < count; i++)
		CHECK_EQ(ring_reap(&r).res, BLOCK);
	for (unsigned i = 0; i < count; i++)
		CHECK_EQ(data[i * BLOCK + i], (char)(i * 7 % BLOCKS));
}

/* ---- */

static void test_batch(void)
{
	make();
	for (int i = 0; i < 50; i++) {
		reads(16);
		submit(16);
		wait_for(16);
		expect_reads(16);
	}
	CHECK(given == 50 * 16 || (given >= 16 && aio->without));
	for (unsigned i = 0; i < URINGFS_LANE_REQUESTS; i++)
		CHECK_EQ(r.lane.page->requests[i].holder, 0);
	end();
}

/* What is submitted one by one, and waited for as well */
static void test_depth(void)
{
	make();
	reads(32);
	for (int i = 0; i < 32; i++)
		submit(1);
	for (int i = 1; i <= 32; i++)
		wait_for((uint32_t)i);
	expect_reads(32);
	end();
}

static void test_results(void)
{
	struct iovec iov[2] = {{data, BLOCK}, {data + BLOCK, BLOCK}};
	struct io_uring_sqe *sqe;

	make();
	transfer(IORING_OP_READ, 0, 0)->len = 100;
	CHECK_EQ(do_it(), -EINVAL);
	transfer(IORING_OP_READ, BLOCKS, 0);
	CHECK_EQ(do_it(), TAIL);
	transfer(IORING_OP_READ, BLOCKS + 1, 0);
	CHECK_EQ(do_it(), 0);
	transfer(IORING_OP_READ, 0, 0)->addr = 4096;
	CHECK_EQ(do_it(), -EFAULT);
	sqe = transfer(IORING_OP_READV, 4, 0);
	sqe->addr = (uint64_t)(uintptr_t)iov;
	sqe->len = 2;
	CHECK_EQ(do_it(), 2 * BLOCK);
	CHECK(data[0] == 4 && data[BLOCK] == 5);
	end();
}

/* Written are blocks behind those that others read. */
static void test_writes(void)
{
	char seen[BLOCK];

	make();
	for (unsigned i = 0; i < 8; i++) {
		memset(data + i * BLOCK, (int)i + 50, BLOCK);
		transfer(IORING_OP_WRITE, BLOCKS + 8 + i, i);
	}
	submit(8);
	wait_for(8);
	for (unsigned i = 0; i < 8; i++) {
		CHECK_EQ(ring_reap(&r).res, BLOCK);
		CHECK_EQ(pread(plain, seen, BLOCK, (BLOCKS + 8 + i) * BLOCK), BLOCK);
		CHECK(seen[0] == (char)(i + 50) && seen[BLOCK - 1] == (char)(i + 50));
	}
	CHECK_EQ(ftruncate(plain, BLOCKS * BLOCK + TAIL), 0);
	end();
}

/* Of two that overlap the second finds what the first wrote. */
static void test_order(void)
{
	make();
	for (int i = 0; i < 50; i++) {
		memset(data, i, BLOCK);
		transfer(IORING_OP_WRITE, 3, 0);
		transfer(IORING_OP_READ, 3, 1);
		submit(2);
		wait_for(2);
		CHECK_EQ(ring_reap(&r).res + ring_reap(&r).res, 2 * BLOCK);
		CHECK_EQ(data[BLOCK], (char)i);
	}
	memset(data, 3, BLOCK);
	CHECK_EQ(pwrite(plain, data, BLOCK, 3 * BLOCK), BLOCK);
	end();
}

/* Who submitted looks at the ring, and makes no call. */
static void test_nobody_comes(void)
{
	make();
	for (int i = 0; i < 20; i++) {
		reads(8);
		submit(8);
		lane_aio_leave(aio, i % 2);
		while (ring_ready(&r) < 8)
			sched_yield();
		expect_reads(8);
	}
	end();
}

static void *other(void *unused)
{
	while (ring_ready(&r) < 8) {
		struct lane_call c = {
			-1, 0,	   8,	 IORING_ENTER_GETEVENTS, NULL, 0, 0, NULL, 0, false, false, 0, 0, 0, NULL,
			0,  false, false};

		if (!lane_enter_ring(&r.lane, &c) && c.sleep_on)
			RAW(SYS_futex, c.sleep_on, FUTEX_WAIT, c.awake, NULL);
	}
	return unused;
}

/* Another thread waits, which has no events of its own to take. */
static void test_another_waits(void)
{
	make();
	for (int i = 0; i < 20; i++) {
		pthread_t t;

		CHECK_EQ(pthread_create(&t, NULL, other, NULL), 0);
		reads(8);
		submit(8);
		if (i % 2)
			wait_for(8);
		else
			lane_aio_leave(aio, false);
		pthread_join(t, NULL);
		expect_reads(8);
	}
	end();
}

/* Requests of workers among them */
static void test_mixed(void)
{
	make();
	for (int i = 0; i < 20; i++) {
		reads(8);
		ring_sqe(&r, IORING_OP_FSYNC, plain);
		submit(9);
		wait_for(9);
		for (int n = 0; n < 9; n++)
			CHECK(ring_reap(&r).res >= 0);
	}
	end();
}

/* What is in flight ends before the threads do. */
static void test_end(void)
{
	make();
	for (int i = 0; i < 10; i++) {
		reads(16);
		submit(16);
		lane_pool_end(pool);
		CHECK_EQ(aio->in_flight, 0);
		expect_reads(16);
		lane_pool_begin(pool);
		while (workers + watchers) {
			pthread_join(threads[workers + watchers - 1], NULL);
			workers ? workers-- : watchers--;
		}
	}
	end();
}

static void test_no_watcher(void)
{
	make();
	may_watch = false;
	reads(8);
	submit(8);
	wait_for(8);
	expect_reads(8);
	CHECK(given == 0 && aio->refused);
	end();
}

static long says_direct(struct lane *l, int fd)
{
	(void)l;
	return fcntl(fd, F_GETFL) | O_DIRECT;
}

/* A regular file that knows no RWF_NOWAIT: it is asked once. */
static void test_cannot(void)
{
	int fd = open("/proc/self/maps", O_RDONLY);

	CHECK(fd >= 0);
	make();
	r.host.file_flags = says_direct;
	for (int i = 0; i < 3; i++) {
		struct io_uring_sqe *sqe = transfer(IORING_OP_READ, 0, 0);

		sqe->fd = fd;
		sqe->len = 16;
		CHECK_EQ(do_it(), 16);
	}
	CHECK_EQ(given, 1);
	close(fd);
	end();
}

static void make_file(char *path)
{
	plain = mkstemp(path);
	CHECK(plain >= 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		memset(data, (int)i, BLOCK);
		CHECK_EQ(write(plain, data, BLOCK), BLOCK);
	}
	CHECK_EQ(write(plain, data, TAIL), TAIL);
	file = open(path, O_RDWR | O_DIRECT);
}

int main(void)
{
	char path[] = "aio-XXXXXX";

	data = aligned_alloc(BLOCK, (size_t)BLOCKS * BLOCK);
	CHECK(data);
	make_file(path);
	CHECK_EQ(unlink(path), 0);
	if (file < 0)
		return errno == EINVAL ? 77 : 1; /* no O_DIRECT here */
	test_batch();
	test_depth();
	test_results();
	test_writes();
	test_order();
	test_nobody_comes();
	test_another_waits();
	test_mixed();
	test_end();
	test_no_watcher();
	test_cannot();
	return 0;
}
