/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_FUTEX_WAIT, FUTEX_WAKE and FUTEX_WAITV. Words change before they are woken, as in every lock:
 * how else a wake-up is seen differs (docs/opcodes.md). */
#include "events.h"

#include <linux/futex.h>

#define OP_WAIT 51
#define OP_WAKE 52
#define OP_WAITV 53
#define U32 2
#define PRIVATE 128

struct waitv {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};

static uint32_t word, second;

static struct io_uring_sqe *futex(struct ring *r, unsigned op, const uint32_t *at, uint64_t val, uint64_t mask,
				  unsigned flags, uint64_t user_data)
{
	struct io_uring_sqe *sqe = queue(r, op, user_data, 0);

	sqe->fd = (int)flags;
	sqe->addr = (uint64_t)(uintptr_t)at;
	sqe->off = val;
	sqe->addr3 = mask;
	return sqe;
}

static struct io_uring_sqe *waitv(struct ring *r, struct waitv *v, unsigned n, uint64_t user_data)
{
	struct io_uring_sqe *sqe = queue(r, OP_WAITV, user_data, 0);

	sqe->fd = 0;
	sqe->addr = (uint64_t)(uintptr_t)v;
	sqe->len = n;
	return sqe;
}

static void one(struct ring *r)
{
	EXPECT_EQ(ring_submit(r), 1);
	wait_for(r, 1);
}

TEST(wake_through_the_ring)
{
	struct ring r;

	ring_init(&r, 8, 0);
	futex(&r, OP_WAIT, &word, 0, ~0U, U32 | PRIVATE, 1);
	submit(&r);
	futex(&r, OP_WAKE, &word, 1, ~0U, U32 | PRIVATE, 2);
	submit(&r);
	futex(&r, OP_WAKE, &word, 1, ~0U, U32 | PRIVATE, 3);
	submit(&r);
}

TEST(wake_through_another_ring)
{
	struct ring r, s;

	ring_init(&r, 8, 0);
	ring_init(&s, 8, 0);
	futex(&r, OP_WAIT, &word, 0, ~0U, U32 | PRIVATE, 1);
	submit(&r);
	futex(&s, OP_WAKE, &word, 9, ~0U, U32 | PRIVATE, 2);
	submit(&s);
	wait_for(&r, 1);
}

TEST(wake_by_a_thread)
{
	struct ring r;

	ring_init(&r, 8, 0);
	futex(&r, OP_WAIT, &word, 0, ~0U, U32 | PRIVATE, 1);
	submit(&r);
	__atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	wait_for(&r, 1);
}

TEST(the_value_is_another)
{
	struct ring r;

	ring_init(&r, 8, 0);
	futex(&r, OP_WAIT, &word, 1, ~0U, U32 | PRIVATE, 1);
	submit(&r);
}

TEST(only_as_many_as_asked)
{
	struct ring r;

	ring_init(&r, 8, 0);
	for (unsigned i = 0; i < 4; i++)
		futex(&r, OP_WAIT, &word, 0, ~0U, U32 | PRIVATE, 1);
	submit(&r);
	futex(&r, OP_WAKE, &word, 0, ~0U, U32 | PRIVATE, 2);
	submit(&r);
	futex(&r, OP_WAKE, &word, 2, ~0U, U32 | PRIVATE, 3);
	submit(&r);
	futex(&r, OP_WAKE, &word, 9, ~0U, U32 | PRIVATE, 4);
	submit(&r);
}

TEST(masks)
{
	struct ring r;

	ring_init(&r, 8, 0);
	futex(&r, OP_WAIT, &word, 0, 1, U32 | PRIVATE, 1);
	futex(&r, OP_WAIT, &word, 0, 2, U32 | PRIVATE, 2);
	submit(&r);
	futex(&r, OP_WAKE, &word, 9, 2, U32 | PRIVATE, 3);
	submit(&r);
	futex(&r, OP_WAKE, &word, 9, 4, U32 | PRIVATE, 4);
	submit(&r);
	futex(&r, OP_WAKE, &word, 9, 5, U32 | PRIVATE, 5);
	submit(&r);
	futex(&r, OP_WAIT, &word, 0, 0, U32 | PRIVATE, 6);
	submit(&r);
	futex(&r, OP_WAKE, &word, 1, 0, U32 | PRIVATE, 7);
	submit(&r);
}

TEST(another_word)
{
	struct ring r;

	ring_init(&r, 8, 0);
	futex(&r, OP_WAIT, &word, 0, ~0U, U32 | PRIVATE, 1);
	submit(&r);
	futex(&r, OP_WAKE, &second, 9, ~0U, U32 | PRIVATE, 2);
	submit(&r);
	finish(&r, 1);
}

TEST(cancelled)
{
	struct ring r;

	ring_init(&r, 8, 0);
	futex(&r, OP_WAIT, &word, 0, ~0U, U32 | PRIVATE, 1);
	submit(&r);
	cancel(&r, 1, 0, 2);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_sorted(&r, 2);
	futex(&r, OP_WAKE, &word, 9, ~0U, U32 | PRIVATE, 3);
	submit(&r);
}

TEST(cancelled_by_a_register_call)
{
	struct {
		uint64_t addr;
		int32_t fd;
		uint32_t flags;
		int64_t sec, nsec;
		uint64_t pad[4];
	} c = {.addr = 1, .sec = -1, .nsec = -1};
	struct ring r;

	ring_init(&r, 8, 0);
	futex(&r, OP_WAIT, &word, 0, ~0U, U32 | PRIVATE, 1);
	submit(&r);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_SYNC_CANCEL, &c, 1), 1);
	wait_for(&r, 1);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_SYNC_CANCEL, &c, 1), -ENOENT);
}

TEST(a_race_with_a_timeout)
{
	struct ring r;

	ring_init(&r, 8, 0);
	futex(&r, OP_WAIT, &word, 0, ~0U, U32 | PRIVATE, 1)->flags = LINK;
	link_timeout(&r, &soon, 0, 2, 0);
	EXPECT_EQ(ring_submit(&r), 2);
	wait_sorted(&r, 2);
}

TEST(bad_addresses)
{
	struct ring r;
	char *hole = map_then_hole(1);

	ring_init(&r, 8, 0);
	futex(&r, OP_WAIT, (void *)(hole + PAGE), 0, ~0U, U32 | PRIVATE, 1);
	submit(&r);
	futex(&r, OP_WAIT, (void *)((char *)&word + 1), 0, ~0U, U32 | PRIVATE, 2);
	submit(&r);
	futex(&r, OP_WAIT, NULL, 0, ~0U, U32, 3);
	submit(&r);
	futex(&r, OP_WAKE, (void *)(hole + PAGE), 1, ~0U, U32 | PRIVATE, 4);
	submit(&r);
	futex(&r, OP_WAKE, NULL, 1, ~0U, U32, 5);
	submit(&r);
	futex(&r, OP_WAKE, (void *)((char *)&word + 2), 1, ~0U, U32 | PRIVATE, 6);
	submit(&r);
	futex(&r, OP_WAIT, (void *)0xffff800000000000UL, 0, ~0U, U32 | PRIVATE, 7);
	submit(&r);
}

TEST(fields)
{
	struct ring r;

	ring_init(&r, 8, 0);
	futex(&r, OP_WAKE, &word, 1, ~0U, U32, 1)->len = 1;
	submit(&r);
	futex(&r, OP_WAKE, &word, 1, ~0U, U32, 2)->rw_flags = 1;
	submit(&r);
	futex(&r, OP_WAKE, &word, 1, ~0U, U32, 3)->buf_index = 1;
	submit(&r);
	futex(&r, OP_WAKE, &word, 1, ~0U, U32, 4)->file_index = 1;
	submit(&r);
	futex(&r, OP_WAKE, &word, 1, 1ULL << 32, U32, 5);
	submit(&r);
	futex(&r, OP_WAIT, &word, 1ULL << 32, 1, U32, 6);
	submit(&r);
	for (unsigned flags = 0; flags < 4; flags++) {
		futex(&r, OP_WAKE, &word, 1, ~0U, flags, 10 + flags);
		one(&r);
	}
	for (unsigned bit = 4; bit < 32; bit++) {
		futex(&r, OP_WAKE, &word, 1, ~0U, U32 | 1U << bit, 20 + bit);
		one(&r);
	}
}

static uint32_t *shared_page(void)
{
	uint32_t *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	EXPECT(at != MAP_FAILED);
	return at;
}

TEST(shared_between_processes)
{
	uint32_t *at = shared_page();
	struct ring r;
	pid_t pid;

	ring_init(&r, 8, 0);
	futex(&r, OP_WAIT, at + 5, 0, ~0U, U32, 1);
	submit(&r);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		struct ring s;

		ring_init(&s, 8, 0);
		futex(&s, OP_WAKE, at + 5, 3, ~0U, U32, 2);
		one(&s);
		_exit(0);
	}
	expect_child_ok(pid);
	wait_for(&r, 1);
}

TEST(a_sleeper_in_shared_memory_is_woken)
{
	uint32_t *at = shared_page();
	struct ring r;
	pid_t pid;
	char path[64], line[64];

	ring_init(&r, 8, 0);
	pid = (pid_t)OK(fork());
	if (pid == 0)
		_exit(syscall(SYS_futex, at + 3, FUTEX_WAIT, 0, NULL, NULL, 0) == 0 ? 0 : 1);
	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	do {
		int fd = (int)OK(open(path, O_RDONLY));

		memset(line, 0, sizeof(line));
		OK(read(fd, line, sizeof(line) - 1));
		close(fd);
	} while (line[0] < '0' || line[0] > '9' || strtol(line, NULL, 10) != SYS_futex);
	futex(&r, OP_WAKE, at + 3, 3, ~0U, U32, 1);
	one(&r);
	expect_child_ok(pid);
}

static uint32_t sleepers;

static void *sleeper(void *arg)
{
	EXPECT_EQ(syscall(SYS_futex, arg, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), 0);
	return NULL;
}

TEST(a_sleeper_of_the_same_process_is_woken)
{
	pthread_t threads[2];
	time_t end = time(NULL) + 5;
	unsigned woken = 0;
	struct ring r;

	ring_init(&r, 8, 0);
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(pthread_create(&threads[i], NULL, sleeper, &sleepers), 0);
	while (woken < 2) { /* until both have got there */
		int res;

		EXPECT(time(NULL) < end);
		futex(&r, OP_WAKE, &sleepers, 1, ~0U, U32 | PRIVATE, 1);
		EXPECT_EQ(ring_submit(&r), 1);
		res = ring_wait(&r).res;
		EXPECT(res == 0 || res == 1);
		woken += (unsigned)res;
	}
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(pthread_join(threads[i], NULL), 0);
}

TEST(one_of_several)
{
	struct waitv v[2] = {{0, (uintptr_t)&word, U32 | PRIVATE, 0}, {0, (uintptr_t)&second, U32 | PRIVATE, 0}};
	struct ring r;

	ring_init(&r, 8, 0);
	waitv(&r, v, 2, 1);
	submit(&r);
	futex(&r, OP_WAKE, &second, 1, ~0U, U32 | PRIVATE, 2);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
	waitv(&r, v, 2, 3);
	submit(&r);
	finish(&r, 1);
	second = 5;
	waitv(&r, v, 2, 4);
	submit(&r);
}

TEST(waitv_errors)
{
	struct waitv v[2] = {{0, (uintptr_t)&word, U32 | PRIVATE, 0}, {0, (uintptr_t)&second, U32 | PRIVATE, 0}};
	struct ring r;

	ring_init(&r, 8, 0);
	waitv(&r, v, 0, 1);
	submit(&r);
	waitv(&r, v, 129, 2);
	submit(&r);
	waitv(&r, NULL, 1, 3);
	submit(&r);
	waitv(&r, v, 1, 4)->fd = 1;
	submit(&r);
	waitv(&r, v, 1, 5)->off = 1;
	submit(&r);
	waitv(&r, v, 1, 6)->addr3 = 1;
	submit(&r);
	waitv(&r, v, 1, 7)->rw_flags = 1;
	submit(&r);
	v[1].reserved = 1;
	waitv(&r, v, 2, 8);
	submit(&r);
	v[1].reserved = 0;
	v[1].flags = 0;
	waitv(&r, v, 2, 9);
	submit(&r);
	v[1].flags = U32;
	v[1].val = 1ULL << 32;
	waitv(&r, v, 2, 10);
	submit(&r);
	v[1].val = 0;
	v[1].uaddr = 1;
	waitv(&r, v, 2, 11);
	submit(&r);
}
