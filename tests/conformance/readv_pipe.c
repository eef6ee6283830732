/* SPDX-License-Identifier: Apache-2.0 */
/* READV on pipes. */
#include "harness.h"

static char buf[64];

TEST(pipe_with_data)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	OK(write(p[1], "hello", 5));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), 0), 5);
	EXPECT_EQ(memcmp(buf, "hello", 5), 0);
}

TEST(pipe_gives_no_more_than_asked)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	OK(write(p[1], "0123456789", 10));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], buf, 4, 0), 4);
	EXPECT_EQ(run_read(&r, p[0], buf + 4, 3, (uint64_t)-1), 3);
	EXPECT_EQ(run_read(&r, p[0], buf + 7, 50, 0), 3);
	EXPECT_EQ(memcmp(buf, "0123456789", 10), 0);
}

/* The kernel does not say ESPIPE here: what has no position ignores the offset. */
TEST(pipe_ignores_the_offset)
{
	static const uint64_t offsets[] = {0, 5, 1ULL << 40, (uint64_t)-1, INT64_MAX - 64};
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	for (size_t i = 0; i < 5; i++) {
		OK(write(p[1], "abc", 3));
		EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), offsets[i]), 3);
	}
}

TEST(pipe_with_a_negative_offset)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	OK(write(p[1], "abc", 3));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), (uint64_t)-2), -EINVAL);
	EXPECT_EQ(run_read(&r, p[0], buf, 0, (uint64_t)-2), -EINVAL);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), INT64_MAX), -EINVAL);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), 0), 3);
}

TEST(pipe_filled_later)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_later(&r, p[0], buf, sizeof(buf), p[1], "later"), 5);
	EXPECT_EQ(memcmp(buf, "later", 5), 0);
}

static void *write_hello(void *arg)
{
	OK(write(*(int *)arg, "hello", 5));
	return NULL;
}

TEST(pipe_filled_by_another_thread_while_waiting)
{
	struct iovec iov = {buf, sizeof(buf)};
	struct ring r;
	struct cqe cqe;
	pthread_t t;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], &iov, 1, 0, 3);
	EXPECT_EQ(pthread_create(&t, NULL, write_hello, &p[1]), 0);
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	EXPECT(ring_reap(&r, &cqe));
	note("res=%d", cqe.res);
	EXPECT_EQ(cqe.res, 5);
	EXPECT_EQ(pthread_join(t, NULL), 0);
}

TEST(pipe_with_no_writer_is_eof)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	OK(write(p[1], "end", 3));
	OK(close(p[1]));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), 0), 3);
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), 0), 0);
}

TEST(pipe_whose_writer_leaves_is_eof)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_later(&r, p[0], buf, sizeof(buf), p[1], NULL), 0);
}

/* io_rw_init_file(): O_NONBLOCK does not keep a request from waiting where the file can be polled;
 * only RWF_NOWAIT does (readv_args.c). */
TEST(pipe_nonblocking_waits_all_the_same)
{
	struct ring r;
	int p[2];

	OK(pipe2(p, O_NONBLOCK));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_later(&r, p[0], buf, sizeof(buf), p[1], "abc"), 3);
	OK(write(p[1], "abc", 3));
	EXPECT_EQ(run_read(&r, p[0], buf, sizeof(buf), 0), 3);
}

/* What a request does to a shared open file is seen by everybody: its flags are left alone. */
TEST(flags_of_the_file_are_left_alone)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_later(&r, p[0], buf, sizeof(buf), p[1], "abc"), 3);
	note("F_GETFL & O_NONBLOCK = %ld", OK(fcntl(p[0], F_GETFL)) & O_NONBLOCK);
	EXPECT_EQ(OK(fcntl(p[0], F_GETFL)) & O_NONBLOCK, 0);
}

TEST(two_requests_on_one_pipe_get_a_byte_each)
{
	char c[2] = "";
	struct iovec iov[2] = {{&c[0], 1}, {&c[1], 1}};
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], &iov[0], 1, 0, 0);
	ring_readv(&r, p[0], &iov[1], 1, 0, 1);
	EXPECT_EQ(ring_submit(&r), 2);
	OK(write(p[1], "z", 1));
	EXPECT_EQ(ring_wait(&r).res, 1);
	EXPECT_EQ(ring_ready(&r), 0);
	OK(write(p[1], "z", 1));
	EXPECT_EQ(ring_wait(&r).res, 1);
	EXPECT_EQ(memcmp(c, "zz", 2), 0);
	note("a byte each");
}

TEST(zero_length_on_an_empty_pipe)
{
	struct iovec none[2] = {{buf, 0}, {buf, 0}};
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, p[0], none, 2, 0), 0);
	EXPECT_EQ(run_readv(&r, p[0], none, 0, 0), 0);
	EXPECT_EQ(run_read(&r, p[0], buf, 0, (uint64_t)-1), 0);
}

TEST(a_large_read_takes_what_the_pipe_holds)
{
	char *big = map_pages(64, PROT_READ | PROT_WRITE), *data = map_pages(16, PROT_READ | PROT_WRITE);
	struct ring r;
	int p[2];

	for (size_t i = 0; i < 16 * PAGE; i++)
		data[i] = (char)pattern(i);
	OK(pipe(p));
	OK(fcntl(p[1], F_SETPIPE_SZ, 16 * PAGE));
	EXPECT_EQ(OK(write(p[1], data, 16 * PAGE)), 16 * PAGE);
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], big, 64 * PAGE, 0), 16 * PAGE);
	EXPECT(is_pattern(big, 0, 16 * PAGE));
}

TEST(two_reads_of_one_registered_pipe)
{
	struct iovec iov[2] = {{buf, 1}, {buf + 1, 1}};
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, p, 1), 0);
	for (int i = 0; i < 2; i++) {
		struct io_uring_sqe *sqe = ring_sqe(&r);

		sqe->opcode = IORING_OP_READV;
		sqe->flags = IOSQE_FIXED_FILE | IOSQE_ASYNC;
		sqe->addr = (uintptr_t)&iov[i];
		sqe->len = 1;
	}
	EXPECT_EQ(ring_submit(&r), 2);
	OK(write(p[1], "xy", 2));
	for (int i = 0; i < 2; i++)
		note("res=%d", ring_wait(&r).res);
}

/* Of one pipe the last armed goes first (add_wait_queue()), of several each in the call that wakes it. */
TEST(armed_reads_go_on_in_the_order_of_events)
{
	static const unsigned waits[] = {1, 3, 2, 1}, order[] = {2, 0, 3, 1};
	unsigned n = 0;
	int p[4][2];
	char buf[7];
	struct ring r;

	ring_init(&r, 8, 0);
	for (unsigned round = 0; round < 20; round++) {
		struct iovec iov[7];
		struct cqe cqe;

		n = 0;
		for (unsigned i = 0; i < 4; i++) {
			OK(pipe(p[i]));
			for (unsigned k = 0; k < waits[i]; k++, n++) {
				iov[n] = (struct iovec){buf + n, 1};
				ring_readv(&r, p[i][0], &iov[n], 1, 0, i * 10 + k);
			}
		}
		EXPECT_EQ(ring_submit(&r), n);
		for (unsigned i = 0; i < 4; i++)
			EXPECT_EQ(OK(write(p[order[i]][1], "abc", waits[order[i]])), waits[order[i]]);
		EXPECT_EQ(enter(r.fd, 0, n, GETEVENTS), 0);
		while (ring_reap(&r, &cqe))
			note("%llu: %d", (unsigned long long)cqe.user_data, cqe.res);
		for (unsigned i = 0; i < 4; i++) {
			OK(close(p[i][0]));
			OK(close(p[i][1]));
		}
	}
}
