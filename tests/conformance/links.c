/* SPDX-License-Identifier: Apache-2.0 */
/* Flags of an SQE: links, hard links, drains, skipped CQEs. */
#include "harness.h"

#include <sys/socket.h>

static char buf[64];
static struct iovec whole = {buf, 64}, wrong = {buf, 64};

static struct io_uring_sqe *flag_last(struct ring *r, unsigned flags)
{
	uint32_t slot = (r->tail - 1) & (r->p.sq_entries - 1);
	struct io_uring_sqe *sqe = &r->sqes[r->array[slot]];

	sqe->flags = (uint8_t)flags;
	return sqe;
}

static void nop(struct ring *r, uint64_t user_data, unsigned flags)
{
	ring_nop(r, user_data);
	flag_last(r, flags);
}

/* A request that fails while it runs. */
static void bad(struct ring *r, uint64_t user_data, unsigned flags)
{
	ring_readv(r, -1, &wrong, 1, 0, user_data);
	flag_last(r, flags);
}

static int by_user_data(const void *a, const void *b)
{
	uint64_t x = ((const struct cqe *)a)->user_data, y = ((const struct cqe *)b)->user_data;

	return (x > y) - (x < y);
}

/* All there are; sorted, for the order of requests that are not linked is nobody's promise. */
static void reap_all(struct ring *r)
{
	struct cqe cqes[64];
	unsigned n = 0;

	while (n < 64 && ring_reap(r, &cqes[n]))
		n++;
	qsort(cqes, n, sizeof(*cqes), by_user_data);
	for (unsigned i = 0; i < n; i++)
		note("user_data=%llu res=%d flags=%u", (unsigned long long)cqes[i].user_data, cqes[i].res,
		     cqes[i].flags);
}

static void reap_in_order(struct ring *r, unsigned n, const uint64_t *user_data)
{
	struct cqe cqe;

	for (unsigned i = 0; i < n; i++) {
		EXPECT(ring_reap(r, &cqe));
		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
		EXPECT_EQ(cqe.user_data, user_data[i]);
	}
	EXPECT_EQ(ring_ready(r), 0);
}

static void submit_all(struct ring *r, unsigned submitted, unsigned completed)
{
	EXPECT_EQ(ring_submit_wait(r, completed), submitted);
	EXPECT_EQ(ring_ready(r), completed);
	reap_all(r);
}

TEST(linked_nops_complete_in_order)
{
	struct ring r;

	ring_init(&r, 16, 0);
	for (uint64_t i = 0; i < 8; i++)
		nop(&r, i, i < 7 ? IOSQE_IO_LINK : 0);
	EXPECT_EQ(ring_submit_wait(&r, 8), 8);
	reap_in_order(&r, 8, (const uint64_t[]){0, 1, 2, 3, 4, 5, 6, 7});
}

TEST(a_failure_cancels_what_is_linked_behind)
{
	struct ring r;

	ring_init(&r, 16, 0);
	nop(&r, 0, IOSQE_IO_LINK);
	bad(&r, 1, IOSQE_IO_LINK);
	nop(&r, 2, IOSQE_IO_LINK);
	nop(&r, 3, 0);
	nop(&r, 4, 0);
	submit_all(&r, 5, 5);
}

TEST(a_hard_link_survives_a_failure)
{
	struct ring r;

	ring_init(&r, 16, 0);
	bad(&r, 1, IOSQE_IO_HARDLINK);
	nop(&r, 2, IOSQE_IO_HARDLINK);
	bad(&r, 3, IOSQE_IO_LINK);
	nop(&r, 4, 0);
	submit_all(&r, 4, 4);
}

/* io_read(): less than asked for is a failure to a link. */
TEST(a_short_read_breaks_the_link)
{
	int file = make_file(10);
	struct ring r;

	ring_init(&r, 16, 0);
	ring_readv(&r, file, &whole, 1, 0, 1);
	flag_last(&r, IOSQE_IO_LINK);
	nop(&r, 2, 0);
	submit_all(&r, 2, 2);
}

TEST(a_whole_read_keeps_the_link)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 16, 0);
	ring_readv(&r, file, &whole, 1, 0, 1);
	flag_last(&r, IOSQE_IO_LINK);
	nop(&r, 2, 0);
	submit_all(&r, 2, 2);
}

/* Nothing behind a slow request starts before it ends. */
TEST(a_link_waits_for_a_slow_request)
{
	struct iovec one = {buf, 1};
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 16, 0);
	ring_readv(&r, p[0], &one, 1, 0, 1);
	flag_last(&r, IOSQE_IO_LINK);
	nop(&r, 2, 0);
	nop(&r, 3, 0);
	EXPECT_EQ(ring_submit_wait(&r, 1), 3);
	reap_all(&r);
	OK(write(p[1], "x", 1));
	EXPECT_EQ(enter(r.fd, 0, 2, GETEVENTS), 0);
	reap_in_order(&r, 2, (const uint64_t[]){1, 2});
}

/* A chain ends with the submission, whatever its last SQE says. */
TEST(a_chain_does_not_reach_into_the_next_enter)
{
	struct ring r;

	ring_init(&r, 16, 0);
	bad(&r, 1, IOSQE_IO_LINK);
	submit_all(&r, 1, 1);
	nop(&r, 2, 0);
	submit_all(&r, 1, 1);
}

TEST(a_bad_sqe_fails_the_whole_chain)
{
	struct ring r;

	ring_init(&r, 16, IORING_SETUP_SUBMIT_ALL);
	nop(&r, 1, IOSQE_IO_LINK);
	nop(&r, 2, IOSQE_IO_LINK);
	flag_last(&r, IOSQE_IO_LINK)->opcode = 255;
	nop(&r, 3, IOSQE_IO_LINK);
	nop(&r, 4, 0);
	nop(&r, 5, 0);
	submit_all(&r, 5, 5);
}

/* What preparation reads of memory fails before the first of the chain is performed: so nothing is written. */
TEST(bad_memory_fails_the_whole_chain)
{
	struct {
		int opcode;
		uint64_t addr2;
	} all[] = {
		{IORING_OP_READV, 0},	{IORING_OP_WRITEV, 0}, {IORING_OP_SENDMSG, 0},
		{IORING_OP_RECVMSG, 0}, {IORING_OP_OPENAT, 0}, {IORING_OP_SEND, 0xdead0000},
	};
	int ends[2], fds[2];
	struct ring r;

	ring_init(&r, 8, 0);
	OK(pipe2(ends, O_NONBLOCK));
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct io_uring_sqe *s = ring_sqe(&r);
		char byte = 'x';

		*s = (struct io_uring_sqe){.opcode = IORING_OP_WRITE,
					   .fd = ends[1],
					   .addr = (uintptr_t)&byte,
					   .len = 1,
					   .off = (uint64_t)-1,
					   .flags = IOSQE_IO_LINK,
					   .user_data = 1};
		s = ring_sqe(&r);
		*s = (struct io_uring_sqe){.opcode = (uint8_t)all[i].opcode,
					   .fd = fds[0],
					   .addr = 0xdead0000,
					   .len = 1,
					   .addr2 = all[i].addr2,
					   .user_data = 2};
		if (all[i].addr2) {
			s->addr = (uintptr_t)&byte;
			s->addr_len = 16;
		}
		EXPECT_EQ(ring_submit_wait(&r, 2), 2);
		for (int j = 0; j < 2; j++) {
			struct cqe cqe = ring_wait(&r);

			note("%d: %llu %d", all[i].opcode, (unsigned long long)cqe.user_data, cqe.res);
		}
		note("written %d", (int)read(ends[0], &byte, 1));
	}
	ring_close(&r);
}

TEST(a_drain_waits_for_everything_before)
{
	struct iovec one = {buf, 1};
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 16, 0);
	ring_readv(&r, p[0], &one, 1, 0, 1);
	nop(&r, 2, 0);
	nop(&r, 3, IOSQE_IO_DRAIN);
	nop(&r, 4, 0);
	EXPECT_EQ(ring_submit_wait(&r, 1), 4);
	reap_all(&r);
	OK(write(p[1], "x", 1));
	EXPECT_EQ(enter(r.fd, 0, 3, GETEVENTS), 0);
	reap_in_order(&r, 3, (const uint64_t[]){1, 3, 4});
}

TEST(cqe_skip_success)
{
	struct ring r;

	ring_init(&r, 16, 0);
	nop(&r, 1, IOSQE_CQE_SKIP_SUCCESS);
	bad(&r, 2, IOSQE_CQE_SKIP_SUCCESS);
	nop(&r, 3, 0);
	submit_all(&r, 3, 2);
	ring_note_words(&r);
}

TEST(cqe_skip_success_in_a_chain)
{
	struct ring r;

	ring_init(&r, 16, 0);
	nop(&r, 1, IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
	bad(&r, 2, IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
	nop(&r, 3, 0);
	nop(&r, 4, 0);
	submit_all(&r, 4, 2);
}

TEST(skip_and_drain_exclude_each_other)
{
	struct ring r;

	ring_init(&r, 16, IORING_SETUP_SUBMIT_ALL);
	nop(&r, 1, IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_DRAIN);
	submit_all(&r, 1, 1);
}

TEST(async_changes_nothing_one_sees)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 16, 0);
	ring_readv(&r, file, &whole, 1, 0, 1);
	flag_last(&r, IOSQE_ASYNC);
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	reap_all(&r);
	EXPECT(is_pattern(buf, 0, 64));
	nop(&r, 2, IOSQE_ASYNC);
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	reap_all(&r);
}

TEST(buffer_select_without_buffers)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 16, IORING_SETUP_SUBMIT_ALL);
	nop(&r, 1, IOSQE_BUFFER_SELECT);
	ring_readv(&r, file, &whole, 1, 0, 2);
	flag_last(&r, IOSQE_BUFFER_SELECT);
	submit_all(&r, 2, 2);
}

TEST(many_chains_in_one_submission)
{
	struct ring r;

	ring_init(&r, 64, 0);
	for (uint64_t i = 0; i < 60; i++) {
		if (i % 5 == 2)
			bad(&r, i, IOSQE_IO_LINK);
		else
			nop(&r, i, i % 5 < 4 ? IOSQE_IO_LINK : 0);
	}
	submit_all(&r, 60, 60);
}

/* io_socket() does not look at what io_fixed_fd_install() says. */
TEST(a_socket_without_a_slot_breaks_no_link)
{
	static const unsigned slots[] = {1, 3, 4096, 0xFFFFFFFE};
	int fds[2] = {-1, -1};
	struct ring r;
	struct cqe cqe;

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, fds, 2), 0);
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
		for (int type = SOCK_STREAM; type <= 99; type += 98) { /* the second is none */
			struct io_uring_sqe *sqe = ring_sqe(&r);

			*sqe = (struct io_uring_sqe){.opcode = IORING_OP_SOCKET, .fd = AF_UNIX, .off = (unsigned)type};
			sqe->flags = IOSQE_IO_LINK;
			sqe->file_index = slots[i];
			sqe->user_data = 1;
			ring_nop(&r, 2);
			EXPECT_EQ(ring_submit_wait(&r, 2), 2);
			while (ring_reap(&r, &cqe))
				note("slot %u type %d: cqe %llu %d", slots[i], type, (unsigned long long)cqe.user_data,
				     cqe.res);
		}
}
