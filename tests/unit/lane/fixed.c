/* SPDX-License-Identifier: Apache-2.0 */
/* Registered files and buffers, as far as this process knows them: what it does not know for sure is the daemon's. */
#include "ring.h"

#include <pthread.h>
#include <sys/socket.h>

static struct ring r;
static struct lane_fixed fixed;
static char memory[4096], path[] = "lane-XXXXXX";
static int file, pair[2];

/* A register call that the daemon has performed, and counted */
static void registered(unsigned opcode, const void *arg, uint32_t nr_args, long ret)
{
	bool files = lane_changes_files(opcode);
	uint32_t *count = files ? &r.lane.page->files : &r.lane.page->buffers;
	uint64_t before = lane_stamp(count);
	struct lane_change change;

	CHECK(files || lane_changes_buffers(opcode));
	lane_store(count, *count + 1);
	CHECK(lane_change_of(opcode, (uintptr_t)arg, nr_args, ret, &change));
	lane_relist(files ? &fixed.files : &fixed.buffers, count, before, &change);
}

static void register_files(int first, int second)
{
	int fds[2] = {first, second};

	registered(IORING_REGISTER_FILES, fds, 2, 0);
}

static void register_buffer(void *base, size_t size)
{
	struct iovec iov[2] = {{NULL, 0}, {base, size}};

	registered(IORING_REGISTER_BUFFERS, iov, 2, 0);
}

static struct io_uring_sqe *sqe(uint8_t opcode, int index, const void *addr, uint32_t len)
{
	struct io_uring_sqe *s = ring_sqe(&r, opcode, index);

	s->flags = IOSQE_FIXED_FILE;
	s->addr = (uintptr_t)addr;
	s->len = len;
	return s;
}

static struct io_uring_sqe *fixed_sqe(const void *addr, uint32_t len)
{
	struct io_uring_sqe *s = sqe(IORING_OP_READ_FIXED, 1, addr, len);

	s->buf_index = 1;
	return s;
}

static void test_files(void)
{
	sqe(IORING_OP_READ, 1, memory, 4);
	ring_leave(&r); /* none is registered */
	register_files(-1, file);
	sqe(IORING_OP_READ, 1, memory, 4);
	CHECK_EQ(ring_do(&r), 4);
	CHECK(!memcmp(memory, "0123", 4));
	for (int i = -1; i < 3; i += i ? 1 : 2) { /* -1, 0, 2: no index, empty, behind the end */
		sqe(IORING_OP_READ, i, memory, 4);
		ring_leave(&r);
	}
	sqe(IORING_OP_WRITE, 1, "ab", 2);
	CHECK_EQ(ring_do(&r), 2);
	CHECK_EQ(pread(file, memory, 4, 0), 4);
	CHECK(!memcmp(memory, "ab23", 4));
}

/* The same descriptor by its number and by an index, and two indexes, in one batch */
static void test_both_in_one_batch(void)
{
	uint32_t taken;

	register_files(file, pair[0]);
	CHECK_EQ(send(pair[1], "x", 1, 0), 1);
	sqe(IORING_OP_READ, 0, memory, 1);
	sqe(IORING_OP_READ, pair[0], memory, 1)->flags = 0;
	sqe(IORING_OP_POLL_ADD, 1, NULL, 0)->poll32_events = 4; /* POLLOUT */
	sqe(IORING_OP_READ, 0, memory, 1);
	CHECK(ring_enter(&r, 4, &taken));
	ring_expect(&r, r.made - 3, 1);
	ring_expect(&r, r.made - 2, 1);
	ring_expect(&r, r.made - 1, 4);
	ring_expect(&r, r.made, 1);
}

/* The kernel holds the file: the descriptor may be closed, or another file's. */
static void test_descriptors_that_are_others(void)
{
	int copy = dup(file), other = open("/dev/null", O_RDONLY);

	register_files(copy, other); /* which all of that number share an inode with, so it is not known */
	sqe(IORING_OP_READ, 0, memory, 1);
	CHECK_EQ(ring_do(&r), 1);
	sqe(IORING_OP_READ, 1, memory, 1);
	ring_leave(&r);
	CHECK_EQ(dup2(pair[0], copy), copy);
	sqe(IORING_OP_READ, 0, memory, 1);
	ring_leave(&r);
	close(copy);
	sqe(IORING_OP_READ, 0, memory, 1);
	ring_leave(&r);
	close(other);
}

static void test_updates(void)
{
	int fds[2] = {IORING_REGISTER_FILES_SKIP, file};
	struct io_uring_rsrc_update2 up = {.offset = 0, .data = (uintptr_t)fds, .nr = 2};

	register_files(file, -1);
	registered(IORING_REGISTER_FILES_UPDATE2, &up, sizeof(up), 2);
	sqe(IORING_OP_READ, 0, memory, 1);
	CHECK_EQ(ring_do(&r), 1);
	sqe(IORING_OP_READ, 1, memory, 1);
	CHECK_EQ(ring_do(&r), 1);
	fds[0] = -1;
	registered(IORING_REGISTER_FILES_UPDATE, &up, 2, 1); /* the second failed */
	sqe(IORING_OP_READ, 0, memory, 1);
	ring_leave(&r);
	sqe(IORING_OP_READ, 1, memory, 1);
	CHECK_EQ(ring_do(&r), 1);
}

/* By another process, by a request, or by a thread at the same time */
static void test_changes_by_others(void)
{
	int fds[1] = {file};
	struct io_uring_rsrc_update2 up = {.offset = 1, .data = (uintptr_t)fds, .nr = 1};
	struct lane_change change;
	uint64_t before;

	register_files(file, file);
	lane_store(&r.lane.page->files, r.lane.page->files + 1);
	sqe(IORING_OP_READ, 0, memory, 1);
	ring_leave(&r);
	registered(IORING_REGISTER_FILES_UPDATE2, &up, sizeof(up), 1);
	sqe(IORING_OP_READ, 1, memory, 1);
	ring_leave(&r);
	before = lane_stamp(&r.lane.page->files);
	lane_store(&r.lane.page->files, r.lane.page->files + 2);
	CHECK(lane_change_of(IORING_REGISTER_FILES, (uintptr_t)fds, 1, 0, &change));
	lane_relist(&fixed.files, &r.lane.page->files, before, &change);
	sqe(IORING_OP_READ, 0, memory, 1);
	ring_leave(&r);
}

static void test_buffers(void)
{
	register_files(-1, file);
	fixed_sqe(memory, 1);
	ring_leave(&r);
	register_buffer(memory + 8, 16);
	fixed_sqe(memory + 8, 16);
	CHECK_EQ(ring_do(&r), 10);
	CHECK(!memcmp(memory + 8, "ab23", 4));
	fixed_sqe(memory + 23, 1);
	CHECK_EQ(ring_do(&r), 1);
	fixed_sqe(memory + 7, 1);
	ring_leave(&r);
	fixed_sqe(memory + 23, 2);
	ring_leave(&r);
	fixed_sqe(memory + 24, 1);
	ring_leave(&r);
	fixed_sqe((void *)(uintptr_t)-8, 16);
	ring_leave(&r);
	fixed_sqe(memory + 8, 1)->buf_index = 0; /* empty */
	ring_leave(&r);
	fixed_sqe(memory + 8, 1)->buf_index = 2;
	ring_leave(&r);
	sqe(IORING_OP_WRITE_FIXED, 1, memory + 8, 2)->buf_index = 1;
	CHECK_EQ(ring_do(&r), 2);
}

static struct io_uring_sqe *vector_sqe(uint8_t opcode, const struct iovec *iov, uint32_t nr)
{
	struct io_uring_sqe *s = sqe(opcode, 1, iov, nr);

	s->buf_index = 1;
	return s;
}

/* All of them in the buffer, and none empty: else the daemon says what is wrong. */
static void test_vectors_in_a_buffer(void)
{
	struct iovec iov[2] = {{memory + 20, 2}, {memory + 8, 3}}, many[LANE_FIXED_IOVECS + 1];

	register_files(-1, file);
	register_buffer(memory + 8, 16);
	vector_sqe(LANE_OP_READV_FIXED, iov, 2);
	CHECK_EQ(ring_do(&r), 5);
	CHECK(!memcmp(memory + 20, "01", 2) || !memcmp(memory + 20, "ab", 2));
	vector_sqe(LANE_OP_WRITEV_FIXED, iov, 2);
	CHECK_EQ(ring_do(&r), 5);
	iov[1].iov_len = 0;
	vector_sqe(LANE_OP_READV_FIXED, iov, 2);
	ring_leave(&r);
	iov[1] = (struct iovec){memory + 22, 3};
	vector_sqe(LANE_OP_READV_FIXED, iov, 2);
	ring_leave(&r);
	vector_sqe(LANE_OP_READV_FIXED, (void *)(uintptr_t)4096, 2);
	ring_leave(&r);
	vector_sqe(LANE_OP_READV_FIXED, iov, 1)->buf_index = 0; /* empty */
	ring_leave(&r);
	for (unsigned i = 0; i <= LANE_FIXED_IOVECS; i++)
		many[i] = (struct iovec){memory + 8, 1};
	vector_sqe(LANE_OP_READV_FIXED, many, LANE_FIXED_IOVECS);
	CHECK_EQ(ring_do(&r), 10);
	vector_sqe(LANE_OP_READV_FIXED, many, LANE_FIXED_IOVECS + 1);
	ring_leave(&r);
}

/* More than are listed: those behind are the daemon's. */
static void test_many(void)
{
	static struct iovec iov[LANE_SLOTS + 44];

	for (unsigned i = 0; i < LANE_SLOTS + 44; i++)
		iov[i] = (struct iovec){memory, sizeof(memory)};
	registered(IORING_REGISTER_BUFFERS, iov, LANE_SLOTS + 44, 0);
	fixed_sqe(memory, 1)->buf_index = LANE_SLOTS - 1;
	CHECK_EQ(ring_do(&r), 1);
	fixed_sqe(memory, 1)->buf_index = LANE_SLOTS;
	ring_leave(&r);
}

static bool ends;

static void *register_all(void *arg)
{
	for (int i = 0; i < 3000; i++)
		register_buffer(memory + 8 * (i & 1), 8 + 8 * (size_t)(i & 1));
	__atomic_store_n(&ends, true, __ATOMIC_RELAXED);
	return arg;
}

/* One thread registers, others look: what they find was registered as a whole. */
static void test_at_the_same_time(void)
{
	struct lane_slot slot;
	pthread_t thread;

	register_buffer(memory, 8);
	CHECK_EQ(pthread_create(&thread, NULL, register_all, NULL), 0);
	while (!__atomic_load_n(&ends, __ATOMIC_RELAXED))
		if (lane_find_slot(&fixed.buffers, &r.lane.page->buffers, 1, &slot))
			CHECK_EQ(slot.word[0], 8 + slot.word[1] - (uintptr_t)memory);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

int main(void)
{
	file = mkstemp(path);
	CHECK(file >= 0);
	CHECK_EQ(pwrite(file, "0123456789", 10, 0), 10);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ring_make(&r, 16, 32, 0);
	r.lane.fixed = &fixed;
	test_files();
	test_both_in_one_batch();
	test_descriptors_that_are_others();
	test_updates();
	test_changes_by_others();
	test_buffers();
	test_vectors_in_a_buffer();
	test_many();
	test_at_the_same_time();
	unlink(path);
	return 0;
}
