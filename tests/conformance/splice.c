/* SPDX-License-Identifier: Apache-2.0 */
/* SPLICE and TEE. */
#include "harness.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define FD_IN_FIXED (1U << 31)
#define NONE UINT64_MAX

static char buf[1 << 17];

static struct io_uring_sqe sqe_of(int op, int in, uint64_t off_in, int out, uint64_t off_out, uint32_t len,
				  uint32_t flags)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.fd = out;
	sqe.off = off_out;
	sqe.splice_off_in = off_in;
	sqe.splice_fd_in = in;
	sqe.len = len;
	sqe.splice_flags = flags;
	sqe.user_data = 0x5b;
	return sqe;
}

static int move(struct ring *r, int in, uint64_t off_in, int out, uint64_t off_out, uint32_t len, uint32_t flags)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_SPLICE, in, off_in, out, off_out, len, flags);

	return run_sqe(r, &sqe);
}

static int tee_(struct ring *r, int in, int out, uint32_t len, uint32_t flags)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_TEE, in, 0, out, 0, len, flags);

	return run_sqe(r, &sqe);
}

static void pipe_with(int p[2], const char *text)
{
	OK(pipe(p));
	if (text)
		EXPECT_EQ(OK(write(p[1], text, strlen(text))), strlen(text));
}

static void note_content(const char *name, int fd)
{
	ssize_t n;

	OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	n = read(fd, buf, 100);
	note("%s: %.*s", name, n > 0 ? (int)n : 0, buf);
	OK(fcntl(fd, F_SETFL, 0));
}

TEST(file_to_pipe_to_file)
{
	int in = make_file(20000), out = make_file(0), p[2];
	struct ring r;

	pipe_with(p, NULL);
	ring_init(&r, 4, 0);
	EXPECT_EQ(move(&r, in, 5000, p[1], NONE, 10000, 0), 10000);
	EXPECT_EQ(move(&r, p[0], NONE, out, 100, 10000, 0), 10000);
	EXPECT_EQ(OK(pread(out, buf, 20000, 0)), 10100);
	EXPECT(is_pattern(buf + 100, 5000, 10000));
	EXPECT_EQ(lseek(in, 0, SEEK_CUR), 0);
	EXPECT_EQ(lseek(out, 0, SEEK_CUR), 0);
}

TEST(current_positions)
{
	int in = make_file(2000), out = make_file(0), p[2];
	struct ring r;

	pipe_with(p, NULL);
	OK(lseek(in, 300, SEEK_SET));
	ring_init(&r, 4, 0);
	EXPECT_EQ(move(&r, in, NONE, p[1], NONE, 500, 0), 500);
	EXPECT_EQ(lseek(in, 0, SEEK_CUR), 800);
	EXPECT_EQ(move(&r, p[0], NONE, out, NONE, 500, 0), 500);
	EXPECT_EQ(lseek(out, 0, SEEK_CUR), 500);
	EXPECT_EQ(OK(pread(out, buf, 1000, 0)), 500);
	EXPECT(is_pattern(buf, 300, 500));
}

TEST(pipe_to_pipe)
{
	int a[2], b[2];
	struct ring r;

	pipe_with(a, "hello world");
	pipe_with(b, NULL);
	ring_init(&r, 4, 0);
	EXPECT_EQ(move(&r, a[0], NONE, b[1], NONE, 5, 0), 5);
	note_content("moved", b[0]);
	EXPECT_EQ(move(&r, a[0], NONE, b[1], NONE, 100, SPLICE_F_MOVE | SPLICE_F_MORE), 6);
	note_content("moved", b[0]);
}

TEST(tee_leaves_what_it_copies)
{
	int a[2], b[2];
	struct ring r;

	pipe_with(a, "hello world");
	pipe_with(b, NULL);
	ring_init(&r, 4, 0);
	EXPECT_EQ(tee_(&r, a[0], b[1], 5, 0), 5);
	EXPECT_EQ(tee_(&r, a[0], b[1], 100, 0), 11);
	note_content("copied", b[0]);
	note_content("left", a[0]);
}

TEST(offsets_of_pipes)
{
	int file = make_file(1000), p[2], q[2];
	struct ring r;

	pipe_with(p, "abc");
	pipe_with(q, NULL);
	ring_init(&r, 4, 0);
	move(&r, p[0], 0, file, 0, 3, 0);
	move(&r, file, 0, p[1], 0, 3, 0);
	move(&r, p[0], 0, q[1], NONE, 3, 0);
	move(&r, p[0], NONE, q[1], 5, 3, 0);
	move(&r, file, (uint64_t)-2, p[1], NONE, 3, 0);
	move(&r, p[0], NONE, file, (uint64_t)-2, 3, 0);
	move(&r, file, 5000, p[1], NONE, 3, 0);
	move(&r, file, INT64_MAX, p[1], NONE, 3, 0);
}

TEST(descriptors)
{
	int file = make_file(1000), other = make_file(0), p[2], q[2], null = (int)OK(open("/dev/null", O_RDWR));
	struct ring r;

	pipe_with(p, "abc");
	pipe_with(q, NULL);
	ring_init(&r, 4, 0);
	move(&r, file, 0, other, 0, 10, 0);
	move(&r, p[1], NONE, q[1], NONE, 3, 0);
	move(&r, p[0], NONE, q[0], NONE, 3, 0);
	move(&r, -1, NONE, q[1], NONE, 3, 0);
	move(&r, p[0], NONE, -1, NONE, 3, 0);
	move(&r, -1, NONE, q[1], NONE, 0, 0);
	move(&r, p[0], NONE, q[1], NONE, 0, 0);
	move(&r, file, 0, file, 0, 0, 0);
	move(&r, p[0], NONE, p[1], NONE, 3, 0);
	move(&r, r.fd, NONE, q[1], NONE, 3, SPLICE_F_NONBLOCK);
	move(&r, p[0], NONE, r.fd, NONE, 3, SPLICE_F_NONBLOCK);
	move(&r, p[0], NONE, null, NONE, 3, 0);
	tee_(&r, file, q[1], 3, 0);
	tee_(&r, q[0], file, 3, 0);
	tee_(&r, p[0], p[1], 3, 0);
	tee_(&r, -1, q[1], 3, 0);
	tee_(&r, q[0], -1, 3, 0);
}

TEST(flags)
{
	int p[2], q[2];
	struct ring r;

	pipe_with(p, "abcdefghijklmnopqrstuvwxyz0123456789");
	pipe_with(q, NULL);
	ring_init(&r, 4, 0);
	for (int bit = 0; bit < 32; bit++) {
		note("flag 0x%x", 1u << bit);
		move(&r, p[0], NONE, q[1], NONE, 1, 1u << bit);
		tee_(&r, p[0], q[1], 1, 1u << bit);
	}
}

/* Which fields the two insist on being 0. */
TEST(fields)
{
	static const struct {
		const char *name;
		int at;
	} all[] = {{"ioprio", 2}, {"off", 8}, {"addr", 16}, {"buf_index", 40}, {"addr3", 48}, {"pad2", 56}};
	int p[2], q[2];
	struct ring r;

	pipe_with(p, "abcdefghijklmnopqrstuvwxyz0123456789");
	pipe_with(q, NULL);
	ring_init(&r, 4, 0);
	for (size_t i = 0; i < 2 * sizeof(all) / sizeof(*all); i++) {
		struct io_uring_sqe sqe = sqe_of(i & 1 ? IORING_OP_TEE : IORING_OP_SPLICE, p[0], i & 1 ? 0 : NONE, q[1],
						 i & 1 ? 0 : NONE, 1, 0);

		((char *)&sqe)[all[i / 2].at] ^= 1;
		note("%s", all[i / 2].name);
		run_sqe(&r, &sqe);
	}
}

TEST(nonblocking)
{
	int p[2], q[2];
	struct ring r;

	pipe_with(p, NULL);
	pipe_with(q, NULL);
	ring_init(&r, 4, 0);
	EXPECT_EQ(move(&r, p[0], NONE, q[1], NONE, 3, SPLICE_F_NONBLOCK), -EAGAIN);
	EXPECT_EQ(tee_(&r, p[0], q[1], 3, SPLICE_F_NONBLOCK), -EAGAIN);
	OK(fcntl(p[0], F_SETFL, O_NONBLOCK));
	EXPECT_EQ(move(&r, p[0], NONE, q[1], NONE, 3, 0), -EAGAIN);
	EXPECT_EQ(move(&r, p[0], NONE, make_file(0), NONE, 3, 0), -EAGAIN);
	EXPECT_EQ(tee_(&r, p[0], q[1], 3, 0), -EAGAIN);
	OK(close(p[1]));
	EXPECT_EQ(move(&r, p[0], NONE, q[1], NONE, 3, 0), 0);
	EXPECT_EQ(tee_(&r, p[0], q[1], 3, 0), 0);
}

static void later(int op)
{
	struct io_uring_sqe sqe;
	struct cqe cqe;
	struct ring r;
	int p[2], q[2];

	pipe_with(p, NULL);
	pipe_with(q, NULL);
	ring_init(&r, 4, 0);
	sqe = sqe_of(op, p[0], op == IORING_OP_TEE ? 0 : NONE, q[1], op == IORING_OP_TEE ? 0 : NONE, 100, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit(&r), 2);
	EXPECT_EQ(ring_ready(&r), 1);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(OK(write(p[1], "later", 5)), 5);
	cqe = ring_wait(&r);
	note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	note_content("moved", q[0]);
}

TEST(an_empty_pipe_is_waited_for)
{
	later(IORING_OP_SPLICE);
}

TEST(tee_waits_too)
{
	later(IORING_OP_TEE);
}

TEST(a_full_pipe_is_waited_for)
{
	struct io_uring_sqe sqe;
	struct cqe cqe;
	struct ring r;
	int file = make_file(8192), p[2];

	pipe_with(p, NULL);
	EXPECT_EQ(OK(fcntl(p[1], F_SETPIPE_SZ, (int)PAGE)), PAGE);
	EXPECT_EQ(OK(write(p[1], map_pages(1, PROT_READ), PAGE)), PAGE);
	ring_init(&r, 4, 0);
	sqe = sqe_of(IORING_OP_SPLICE, file, 0, p[1], NONE, PAGE, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), PAGE);
	cqe = ring_wait(&r);
	note("res=%d", cqe.res);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), PAGE);
	EXPECT(is_pattern(buf, 0, PAGE));
}

TEST(sockets)
{
	int p[2], s[2];
	struct ring r;

	pipe_with(p, "through a socket");
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 4, 0);
	EXPECT_EQ(move(&r, p[0], NONE, s[0], NONE, 100, 0), 16);
	EXPECT_EQ(move(&r, s[1], NONE, p[1], NONE, 100, 0), 16);
	note_content("moved", p[0]);
	EXPECT_EQ(move(&r, p[0], NONE, s[0], 5, 100, 0), -EINVAL);
}

TEST(a_short_splice_breaks_its_link)
{
	struct io_uring_sqe sqe;
	int p[2], q[2];
	struct ring r;

	pipe_with(p, "abc");
	pipe_with(q, NULL);
	ring_init(&r, 4, 0);
	for (unsigned len = 2; len <= 20; len += 18) {
		sqe = sqe_of(IORING_OP_SPLICE, p[0], NONE, q[1], NONE, len, 0);
		sqe.flags = IOSQE_IO_LINK;
		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
		ring_nop(&r, 2);
		EXPECT_EQ(ring_submit_wait(&r, 2), 2);
		for (int i = 0; i < 2; i++) {
			struct cqe cqe = ring_wait(&r);

			note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
		}
	}
}

TEST(fixed_source)
{
	int p[2], q[2];
	struct ring r;

	pipe_with(p, "registered");
	pipe_with(q, NULL);
	ring_init(&r, 4, 0);
	EXPECT_EQ(move(&r, 0, NONE, q[1], NONE, 4, FD_IN_FIXED), -EBADF);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, p, 1), 0);
	EXPECT_EQ(move(&r, 0, NONE, q[1], NONE, 4, FD_IN_FIXED), 4);
	EXPECT_EQ(tee_(&r, 0, q[1], 100, FD_IN_FIXED), 6);
	EXPECT_EQ(move(&r, 1, NONE, q[1], NONE, 4, FD_IN_FIXED), -EBADF);
	EXPECT_EQ(move(&r, -1, NONE, q[1], NONE, 4, FD_IN_FIXED), -EBADF);
	note_content("moved", q[0]);
}

TEST(append_refuses)
{
	int file = make_file(10), p[2];
	struct ring r;

	pipe_with(p, "abc");
	OK(fcntl(file, F_SETFL, O_APPEND));
	ring_init(&r, 4, 0);
	EXPECT_EQ(move(&r, p[0], NONE, file, NONE, 3, 0), -EINVAL);
}

TEST(broken_pipe)
{
	int p[2], q[2];
	struct ring r;

	pipe_with(p, "abc");
	pipe_with(q, NULL);
	OK(close(q[0]));
	ring_init(&r, 4, 0);
	EXPECT_EQ(move(&r, p[0], NONE, q[1], NONE, 3, 0), -EPIPE); /* and no SIGPIPE: we live */
}

TEST(end_of_file)
{
	int p[2], file = make_file(0);
	struct ring r;

	pipe_with(p, NULL);
	ring_init(&r, 4, 0);
	EXPECT_EQ(move(&r, file, 0, p[1], NONE, 10, 0), 0);
}

TEST(rlimit_fsize)
{
	struct rlimit rl = {1 << 30, RLIM_INFINITY};
	int p[2], file = make_file(0);
	struct ring r;

	pipe_with(p, "0123456789");
	ring_init(&r, 4, 0);
	OK(setrlimit(RLIMIT_FSIZE, &rl));
	on_signal(SIGXFSZ, SIG_IGN, 0);
	EXPECT_EQ(move(&r, p[0], NONE, file, (1 << 30) - 4, 10, 0), 4);
	EXPECT_EQ(move(&r, p[0], NONE, file, 1 << 30, 10, 0), -EFBIG);
	note_content("left", p[0]);
}
