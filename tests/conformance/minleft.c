/* SPDX-License-Identifier: Apache-2.0 */
/* min_left of struct io_uring_buf_reg: a buffer of a ring with IOU_PBUF_RING_INC that has less left is used up. */
#include "pbufring.h"

#define BUNDLE (1U << 4)
#define MULTISHOT (1U << 1) /* IORING_RECV_MULTISHOT */
#define SIZE 40

static int s[2];
static struct buf *br;

static int add_left(struct ring *r, unsigned flags, uint64_t min_left)
{
	struct reg reg = {0, ENTRIES, 3, (uint16_t)flags, {min_left}};

	br = (void *)map_pages(1, PROT_READ | PROT_WRITE);
	reg.addr = (uint64_t)(uintptr_t)br;
	return sys_register(r->fd, IORING_REGISTER_PBUF_RING, &reg, 1);
}

static void start(struct ring *r, unsigned min_left)
{
	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	ring_init(r, 8, 0);
	EXPECT_EQ(add_left(r, INC, min_left), 0);
	for (unsigned i = 0; i < ENTRIES; i++)
		add(br, pool[i], SIZE, 20 + i);
}

static void put(int size)
{
	static const char text[] = "0123456789012345678901234567890123456789";

	EXPECT_EQ(write(s[1], text, (size_t)size), size);
}

static void show(struct ring *r)
{
	note("head %d: %u %u %u", head_of(r, 3), br[0].len, br[1].len, br[2].len);
}

static void receive(struct ring *r, unsigned op, unsigned len, unsigned ioprio)
{
	struct io_uring_sqe sqe = selecting(op, s[0], len, 3);

	sqe.ioprio = (uint16_t)ioprio;
	run_sqe(r, &sqe);
	show(r);
}

TEST(registration)
{
	struct reg reg = {0, 0, 3, 0, {1}};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(add_left(&r, 0, 1), -EINVAL);
	EXPECT_EQ(add_left(&r, MMAP, 1), -EINVAL);
	EXPECT_EQ(add_left(&r, INC, 1ULL << 32), -EINVAL);
	EXPECT_EQ(add_left(&r, INC, UINT32_MAX), 0);
	note("unregister %d", sys_register(r.fd, IORING_UNREGISTER_PBUF_RING, &reg, 1));
	note("unregister %d", remove_ring(&r, 3));
}

static void each_left(unsigned op)
{
	static const unsigned left[] = {0, 1, 20, 29, 30, 31, 40, 41, UINT32_MAX};

	for (unsigned i = 0; i < sizeof(left) / sizeof(*left); i++) {
		struct ring r;

		note("min_left %u", left[i]);
		start(&r, left[i]);
		for (unsigned n = 0; n < 3; n++) {
			put(10);
			receive(&r, op, 0, 0);
		}
		ring_close(&r);
	}
}

TEST(receives)
{
	each_left(IORING_OP_RECV);
}

TEST(reads)
{
	each_left(IORING_OP_READ);
}

TEST(reads_of_a_file)
{
	struct ring r;

	start(&r, 30);
	for (unsigned n = 0; n < 3; n++) {
		read_selected(&r, make_file(10), 20, 3);
		show(&r);
	}
}

TEST(nothing_read)
{
	struct ring r;

	start(&r, 41);
	close(s[1]);
	receive(&r, IORING_OP_READ, 0, 0);
	receive(&r, IORING_OP_RECV, 0, 0);
	read_selected(&r, (int)OK(open("/dev/null", O_RDONLY)), 20, 3);
	show(&r);
}

TEST(bundles)
{
	struct ring r;

	start(&r, 15);
	put(30);
	receive(&r, IORING_OP_RECV, 0, BUNDLE);
	put(30);
	receive(&r, IORING_OP_RECV, 0, BUNDLE);
	put(40);
	put(20);
	receive(&r, IORING_OP_RECV, 0, BUNDLE);
}

TEST(a_bundle_across_buffers)
{
	struct ring r;

	start(&r, 25);
	put(40);
	put(20);
	receive(&r, IORING_OP_RECV, 0, BUNDLE);
	put(5);
	receive(&r, IORING_OP_RECV, 0, BUNDLE);
}

TEST(multishot)
{
	struct io_uring_sqe sqe;
	struct cqe cqe;
	struct ring r;

	start(&r, 25);
	sqe = selecting(IORING_OP_RECV, s[0], 0, 3);
	sqe.ioprio = MULTISHOT;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	for (unsigned n = 0; n < 4; n++) {
		put(10);
		cqe = ring_wait(&r);
		note("%d 0x%x", cqe.res, cqe.flags);
		show(&r);
	}
}

TEST(sends)
{
	struct ring r;

	start(&r, 35);
	receive(&r, IORING_OP_SEND, 0, 0);
	receive(&r, IORING_OP_SEND, 0, BUNDLE);
}
