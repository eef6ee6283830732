/* SPDX-License-Identifier: Apache-2.0 */
/* What there is not: opcodes and register codes answer as a kernel without them. */
#include "harness.h"
#include "uapi_extra.h"

#define OP_RECV_ZC 58

static void *page;

/* IORING_REGISTER_LAST of whoever answers */
static unsigned register_last(struct ring *r)
{
	uint64_t data[8];
	struct {
		uint64_t next, data;
		uint32_t op, size;
		int32_t result;
		uint32_t resv[3];
	} q = {0, (uint64_t)(uintptr_t)data, 0, sizeof(data), 0, {0}};

	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_QUERY, &q, 0), 0);
	return (unsigned)(data[0] >> 32);
}

/* Every code behind the last, and some far away, with every kind of argument */
TEST(register_codes_that_are_not_there)
{
	struct ring r;

	page = map_pages(1, PROT_READ | PROT_WRITE);
	ring_init(&r, 4, 0);
	for (unsigned code = register_last(&r); code < 70; code++) {
		EXPECT_EQ(sys_register(r.fd, code, NULL, 0), -EINVAL);
		EXPECT_EQ(sys_register(r.fd, code, NULL, 1), -EINVAL);
		EXPECT_EQ(sys_register(r.fd, code, page, 0), -EINVAL);
		EXPECT_EQ(sys_register(r.fd, code, page, 1), -EINVAL);
		EXPECT_EQ(sys_register(r.fd, code, (void *)8, 1), -EINVAL);
	}
	EXPECT_EQ(sys_register(r.fd, 0x7fffffff, page, 1), -EINVAL);
}

static void *elsewhere(void *arg)
{
	struct ring *r = arg;

	note("200: %d", sys_register(r->fd, 200, page, 1));
	note("ZCRX_IFQ: %d", sys_register(r->fd, 32, NULL, 0));
	return NULL;
}

/* A code that is not there is noticed before who calls and what is allowed. */
TEST(before_anything_else_is_looked_at)
{
	struct {
		uint16_t opcode;
		uint8_t what, resv[13];
	} only_enabling = {0, IORING_REGISTER_ENABLE_RINGS, {0}};
	struct ring r;
	pthread_t t;

	page = map_pages(1, PROT_READ | PROT_WRITE);
	ring_init(&r, 4, IORING_SETUP_SINGLE_ISSUER);
	EXPECT_EQ(pthread_create(&t, NULL, elsewhere, &r), 0);
	EXPECT_EQ(pthread_join(t, NULL), 0);
	ring_init(&r, 4, IORING_SETUP_R_DISABLED);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_RESTRICTIONS, &only_enabling, 1), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0);
	EXPECT_EQ(sys_register(r.fd, 200, page, 1), -EINVAL);
	note("PROBE: %d", sys_register(r.fd, IORING_REGISTER_PROBE, page, 1));
}

TEST(no_busy_polling_and_no_zcrx)
{
	struct ring r;

	page = map_pages(1, PROT_READ | PROT_WRITE);
	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, 32, page, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, 32, NULL, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, 32, page, 2), -EINVAL);
}

/* Without a queue it has nothing to receive from, however it is asked. */
TEST(recv_zc)
{
	int s[2];
	struct io_uring_sqe sqe;
	struct ring r;

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 4, 0);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = OP_RECV_ZC;
	sqe.fd = s[0];
	sqe.ioprio = 2; /* IORING_RECV_MULTISHOT */
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.fd = -1;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.flags = IOSQE_BUFFER_SELECT;
	note("buffer select: %d", run_sqe(&r, &sqe));
	sqe.flags = 0x80;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.flags = 0;
	sqe.personality = 7;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.personality = 0;
	sqe.addr = 1;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
}

TEST(opcodes_that_are_not_there)
{
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 4, 0);
	memset(&sqe, 0, sizeof(sqe));
	for (unsigned op = 100; op < 256; op += 19) {
		sqe.opcode = (uint8_t)op;
		sqe.flags = op % 2 ? IOSQE_BUFFER_SELECT : 0;
		EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	}
}

/* All its CQEs: a zero-copy send has two, even one that fails. */
static void note_all(struct ring *r, const struct io_uring_sqe *sqe)
{
	struct cqe cqe;

	*ring_sqe(r) = *sqe;
	EXPECT_EQ(ring_submit_wait(r, 1), 1);
	while (ring_reap(r, &cqe))
		note("op %u: %d 0x%x", sqe->opcode, cqe.res, cqe.flags);
}

/* The columns of the opcode table: which opcodes take provided buffers, and an ioprio. Nothing is there to be done. */
TEST(what_every_opcode_takes)
{
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned op = 0; op < 63; op++) {
		memset(&sqe, 0, sizeof(sqe));
		sqe.opcode = (uint8_t)op;
		sqe.fd = -1;
		sqe.flags = IOSQE_BUFFER_SELECT;
		note_all(&r, &sqe);
		sqe.flags = 0;
		sqe.ioprio = 0x4000;
		note_all(&r, &sqe);
	}
	EXPECT_EQ(ring_ready(&r), 0);
}
