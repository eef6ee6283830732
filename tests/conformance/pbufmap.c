/* SPDX-License-Identifier: Apache-2.0 */
/* IOU_PBUF_RING_MMAP: buffer rings that the ring owns and the client maps. */
#include "pbufring.h"

static struct buf *map_ring(struct ring *r, unsigned bgid, unsigned pages)
{
	void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, PBUF_RING(bgid));

	EXPECT(at != MAP_FAILED);
	return at;
}

static void read_twice(unsigned flags, unsigned bgid)
{
	int fd = make_file(300);
	struct ring r;
	struct buf *br;

	ring_init(&r, 8, 0);
	br = buf_ring(&r, bgid, MMAP | flags);
	for (unsigned i = 0; i < ENTRIES; i++)
		note("%llu %u %u %u", (unsigned long long)br[i].addr, br[i].len, br[i].bid, br[i].tail);
	EXPECT_EQ(read_selected(&r, fd, 10, bgid), -ENOBUFS);
	add(br, pool[0], 64, 9);
	add(br, pool[1], 64, 5);
	EXPECT_EQ(read_selected(&r, fd, 10, bgid), 10);
	EXPECT(is_pattern(pool[0], 0, 10));
	note("head %d, left %u", head_of(&r, bgid), br[0].len);
	EXPECT_EQ(read_selected(&r, fd, 0, bgid), flags & INC ? 54 : 64);
	EXPECT(is_pattern(flags & INC ? pool[0] + 10 : pool[1], 0, 54));
	note("head %d, left %u", head_of(&r, bgid), br[0].len);
	EXPECT_EQ(remove_ring(&r, bgid), 0);
	EXPECT_EQ(read_selected(&r, fd, 10, bgid), -ENOBUFS);
}

TEST(in_order)
{
	read_twice(0, 3);
}

TEST(incremental)
{
	read_twice(INC, 3);
}

TEST(the_first_and_the_last_group)
{
	read_twice(0, 0);
	read_twice(0, 0x7ff);
}

TEST(the_address_is_not_looked_at)
{
	struct ring r;

	ring_init(&r, 8, 0);
	note("%d", add_ring(&r, (void *)8, ENTRIES, 1, MMAP));
	note("%d", add_ring(&r, (void *)8, ENTRIES, 1, MMAP));
	note("%d", add_ring(&r, NULL, 3, 2, MMAP));
	note("%d", add_ring(&r, NULL, 0, 2, MMAP));
	note("%d", add_ring(&r, NULL, 65536, 2, MMAP));
	note("%d", add_ring(&r, NULL, ENTRIES, 2, MMAP | 4));
}

/* Groups beyond what an offset can name: they are there, and nobody can fill them. */
TEST(groups_that_cannot_be_mapped)
{
	static const unsigned groups[] = {0, 0x800, 0x7fff, 0x8000, 0xffff};
	struct ring r;

	ring_init(&r, 8, 0);
	for (unsigned i = 0; i < sizeof(groups) / sizeof(*groups); i++)
		EXPECT_EQ(add_ring(&r, NULL, ENTRIES, groups[i], MMAP), 0);
	for (unsigned i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		EXPECT_EQ(head_of(&r, groups[i]), 0);
		EXPECT_EQ(read_selected(&r, make_file(10), 10, groups[i]), -ENOBUFS);
		EXPECT_EQ(remove_ring(&r, groups[i]), 0);
	}
}

TEST(again_it_is_empty)
{
	struct ring r;
	struct buf *br;

	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, MMAP);
	add(br, pool[0], 64, 9);
	OK(munmap(br, PAGE));
	EXPECT_EQ(remove_ring(&r, 3), 0);
	EXPECT_EQ(remove_ring(&r, 3), -ENOENT);
	br = buf_ring(&r, 3, MMAP);
	note("%llu %u", (unsigned long long)br[0].addr, br[0].tail);
	EXPECT_EQ(read_selected(&r, make_file(10), 10, 3), -ENOBUFS);
	add(br, pool[0], 64, 9);
	EXPECT_EQ(read_selected(&r, make_file(10), 10, 3), 10);
}

TEST(groups_beside_each_other)
{
	struct ring r;
	struct buf *one, *two, *ours;

	ring_init(&r, 8, 0);
	one = buf_ring(&r, 1, MMAP);
	two = buf_ring(&r, 2, MMAP);
	ours = buf_ring(&r, 3, 0);
	add(two, pool[2], 64, 22);
	add(ours, pool[3], 64, 33);
	EXPECT_EQ(read_selected(&r, make_file(10), 10, 1), -ENOBUFS);
	EXPECT_EQ(read_selected(&r, make_file(10), 10, 2), 10);
	EXPECT_EQ(read_selected(&r, make_file(10), 10, 3), 10);
	add(one, pool[1], 64, 11);
	EXPECT_EQ(read_selected(&r, make_file(10), 10, 1), 10);
}

/* The largest, and its last entry */
TEST(of_many_pages)
{
	const unsigned entries = 32768;
	struct ring r;
	struct buf *br;

	ring_init(&r, 8, 0);
	EXPECT_EQ(add_ring(&r, NULL, entries, 1, MMAP), 0);
	br = map_ring(&r, 1, entries * sizeof(*br) / PAGE);
	for (unsigned i = 0; i < entries; i++) {
		br[i].addr = (uint64_t)(uintptr_t)pool[i % 8];
		br[i].len = 64;
		br[i].bid = (uint16_t)i;
	}
	__atomic_store_n(&br[0].tail, (uint16_t)2, __ATOMIC_RELEASE);
	EXPECT_EQ(read_selected(&r, make_file(10), 10, 1), 10);
	EXPECT_EQ(read_selected(&r, make_file(10), 10, 1), 10);
	EXPECT_EQ(read_selected(&r, make_file(10), 10, 1), -ENOBUFS);
}

TEST(mapped_twice)
{
	struct ring r;
	struct buf *br;

	ring_init(&r, 8, 0);
	br = buf_ring(&r, 7, MMAP);
	add(map_ring(&r, 7, 1), pool[0], 64, 9);
	note("%u %u", br[0].len, br[0].tail);
	EXPECT_EQ(read_selected(&r, make_file(10), 10, 7), 10);
}

TEST(filled_by_a_child)
{
	struct ring r;
	struct buf *br;
	pid_t pid;

	ring_init(&r, 8, 0);
	br = buf_ring(&r, 7, MMAP);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		add(br, pool[0], 64, 9);
		_exit(0);
	}
	expect_child_ok(pid);
	EXPECT_EQ(read_selected(&r, make_file(10), 10, 7), 10);
}

/* Every op that selects buffers, from a pipe and from a socket */
static void receive(struct ring *r, struct buf *br, unsigned op, int fd, int from, unsigned bid)
{
	struct io_uring_sqe sqe = selecting(op, fd, 0, 3);
	struct msghdr msg;
	struct iovec iov = {NULL, 32};

	memset(&msg, 0, sizeof(msg));
	memset(pool, 0, sizeof(pool));
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	if (op == IORING_OP_READV || op == IORING_OP_RECVMSG) {
		sqe.addr = (uint64_t)(uintptr_t)(op == IORING_OP_READV ? (void *)&iov : (void *)&msg);
		sqe.len = 1;
	}
	if (op == IORING_OP_RECV)
		sqe.len = 32;
	add(br, pool[bid], 64, bid);
	EXPECT_EQ(write(from, "hello", 5), 5);
	EXPECT_EQ(run_sqe(r, &sqe), 5);
	EXPECT(memcmp(pool[bid], "hello", 5) == 0);
}

TEST(every_op)
{
	struct ring r;
	struct buf *br;
	int p[2], s[2];

	OK(pipe(p));
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, MMAP);
	receive(&r, br, IORING_OP_READ, p[0], p[1], 1);
	receive(&r, br, IORING_OP_READV, p[0], p[1], 2);
	receive(&r, br, IORING_OP_RECV, s[0], s[1], 3);
	receive(&r, br, IORING_OP_RECVMSG, s[0], s[1], 4);
	note("head %d", head_of(&r, 3));
}

TEST(send_and_a_bundle)
{
	struct io_uring_sqe sqe = selecting(IORING_OP_SEND, 0, 0, 3);
	struct ring r;
	struct buf *br;
	char got[16];
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, MMAP);
	memcpy(pool, "one", 3);
	memcpy(pool[1], "two", 3);
	add(br, pool[0], 3, 1);
	add(br, pool[1], 3, 2);
	sqe.fd = s[0];
	sqe.ioprio = 1 << 4; /* IORING_RECVSEND_BUNDLE */
	note("%d", run_sqe(&r, &sqe));
	note("%.*s", (int)OK(read(s[1], got, sizeof(got))), got);
	note("head %d", head_of(&r, 3));
}

TEST(multishot)
{
	struct io_uring_sqe sqe = selecting(49, 0, 0, 3); /* READ_MULTISHOT */
	struct ring r;
	struct buf *br;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, MMAP | INC);
	add(br, pool[0], 6, 20);
	sqe.fd = p[0];
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(p[1], "abcd", 4), 4);
	note_cqe(&r);
	note("%u left", br[0].len);
	EXPECT_EQ(write(p[1], "efgh", 4), 4);
	note_cqe(&r);
	note_cqe(&r);
	EXPECT(memcmp(pool[0], "abcdef", 6) == 0);
}

/* It pends, its group goes and comes again: what counts is what is there when there is data. */
TEST(gone_while_a_request_waits)
{
	struct io_uring_sqe sqe = selecting(IORING_OP_READ, 0, 64, 3);
	struct ring r;
	struct buf *br;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, MMAP);
	add(br, pool[0], 64, 20);
	sqe.fd = p[0];
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(remove_ring(&r, 3), 0);
	EXPECT_EQ(write(p[1], "abcd", 4), 4);
	note_cqe(&r);
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(read(p[0], pool[7], 4), 4);
	br = buf_ring(&r, 3, MMAP);
	add(br, pool[1], 64, 21);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(p[1], "abcd", 4), 4);
	note_cqe(&r);
	EXPECT(memcmp(pool[1], "abcd", 4) == 0);
}
