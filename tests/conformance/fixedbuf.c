/* SPDX-License-Identifier: Apache-2.0 */
/* Registered buffers: the table, its updates and tags, and the requests that use them. */
#include "harness.h"

#include <sys/socket.h>

#define REGISTER_BUFFERS2 15
#define REGISTER_BUFFERS_UPDATE 16
#define REGISTER_SPARSE 1U
#ifndef IORING_OP_READV_FIXED
#define IORING_OP_READV_FIXED 60
#define IORING_OP_WRITEV_FIXED 61
#endif
#define NOP_INJECT_RESULT 1U
#define NOP_FILE 2U
#define NOP_FIXED_FILE 4U
#define NOP_FIXED_BUFFER 8U

struct rsrc_register {
	uint32_t nr, flags;
	uint64_t resv2, data, tags;
};

struct rsrc_update2 {
	uint32_t offset, resv;
	uint64_t data, tags;
	uint32_t nr, resv2;
};

#define U64(p) ((uint64_t)(uintptr_t)(p))

static struct io_uring_sqe fixed_sqe(int op, int fd, const void *addr, unsigned len, uint64_t off, unsigned index)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.fd = fd;
	sqe.addr = U64(addr);
	sqe.len = len;
	sqe.off = off;
	sqe.buf_index = (uint16_t)index;
	sqe.user_data = 0xf1;
	return sqe;
}

static int fixed(struct ring *r, int op, int fd, const void *addr, unsigned len, uint64_t off, unsigned index)
{
	struct io_uring_sqe sqe = fixed_sqe(op, fd, addr, len, off, index);

	return run_sqe(r, &sqe);
}

static int reg(struct ring *r, const struct iovec *iov, unsigned n)
{
	int ret = sys_register(r->fd, IORING_REGISTER_BUFFERS, iov, n);

	note("register %u: %d", n, ret);
	return ret;
}

static int unreg(struct ring *r)
{
	int ret = sys_register(r->fd, IORING_UNREGISTER_BUFFERS, NULL, 0);

	note("unregister: %d", ret);
	return ret;
}

static int reg2(struct ring *r, const struct iovec *iov, const uint64_t *tags, unsigned n, unsigned flags)
{
	struct rsrc_register rr = {n, flags, 0, U64(iov), U64(tags)};
	int ret = sys_register(r->fd, REGISTER_BUFFERS2, &rr, sizeof(rr));

	note("register2 %u flags 0x%x: %d", n, flags, ret);
	return ret;
}

static int update(struct ring *r, unsigned offset, const struct iovec *iov, const uint64_t *tags, unsigned n)
{
	struct rsrc_update2 up = {offset, 0, U64(iov), U64(tags), n, 0};
	int ret = sys_register(r->fd, REGISTER_BUFFERS_UPDATE, &up, sizeof(up));

	note("update %u at %u: %d", n, offset, ret);
	return ret;
}

static void note_tags(struct ring *r)
{
	struct cqe cqe;

	while (ring_reap(r, &cqe))
		note("tag %llu res=%d flags=%u", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
}

#define RF IORING_OP_READ_FIXED
#define WF IORING_OP_WRITE_FIXED

TEST(read_and_write)
{
	char *a = map_pages(2, PROT_READ | PROT_WRITE), *b = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, 2 * PAGE}, {b, PAGE}};
	int file = make_file(3 * PAGE), out = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, iov, 2), 0);
	EXPECT_EQ(fixed(&r, RF, file, a, 2 * PAGE, 0, 0), 2 * PAGE);
	EXPECT(is_pattern(a, 0, 2 * PAGE));
	EXPECT_EQ(fixed(&r, RF, file, b + 10, 100, PAGE, 1), 100);
	EXPECT(is_pattern(b + 10, PAGE, 100));
	EXPECT_EQ(fixed(&r, WF, out, a + 5, 300, 0, 0), 300);
	EXPECT_EQ(OK(pread(out, b, PAGE, 0)), 300);
	EXPECT(is_pattern(b, 5, 300));
	EXPECT_EQ(unreg(&r), 0);
}

TEST(bounds)
{
	char *a = map_pages(2, PROT_READ | PROT_WRITE);
	struct iovec iov = {a + 100, 1000};
	int file = make_file(3 * PAGE);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, &iov, 1), 0);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 1000, 0, 0), 1000);
	EXPECT_EQ(fixed(&r, RF, file, a + 99, 10, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a + 1099, 2, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 1001, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a + 1100, 0, 0, 0), 0);
	EXPECT_EQ(fixed(&r, RF, file, a + 1101, 0, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, NULL, 0, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, (void *)~0UL, 10, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 0xffffffff, 0, 0), -EFAULT);
	EXPECT_EQ(fixed(&r, WF, file, a + 99, 10, 0, 0), -EFAULT);
}

TEST(no_such_buffer)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, PAGE}, {NULL, 0}};
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 0), -EFAULT);
	EXPECT_EQ(reg(&r, iov, 2), 0);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 1), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 2), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 0xffff), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, -1, a, 10, 0, 1), -EBADF);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 0), 10);
}

TEST(a_missing_buffer_does_not_end_the_submission)
{
	struct io_uring_sqe sqe = fixed_sqe(RF, make_file(10), NULL, 10, 0, 7);
	struct ring r;

	ring_init(&r, 4, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	ring_note_words(&r);
}

TEST(register_arguments)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE), *ro = map_pages(1, PROT_READ), *hole = map_then_hole(1);
	struct iovec good = {a, PAGE}, bad[] = {
		{NULL, 5}, {a, 0}, {a, (1UL << 30) + 1}, {ro, PAGE}, {hole, 2 * PAGE}, {(void *)8, 8},
		{(void *)0xffff888000000000UL, 16}, {a, 1UL << 63}, {(void *)(~0UL - 100), 4096},
	};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(unreg(&r), -ENXIO);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		reg(&r, &bad[i], 1);
	reg(&r, &good, 0);
	reg(&r, NULL, 1);
	reg(&r, NULL, 0);
	reg(&r, (void *)8, 1);
	reg(&r, &good, (1 << 14) + 1);
	EXPECT_EQ(reg(&r, &good, 1), 0);
	EXPECT_EQ(reg(&r, &good, 1), -EBUSY);
	note("unregister with arguments: %d", sys_register(r.fd, IORING_UNREGISTER_BUFFERS, &good, 0));
	note("unregister with arguments: %d", sys_register(r.fd, IORING_UNREGISTER_BUFFERS, NULL, 1));
	EXPECT_EQ(unreg(&r), 0);
	EXPECT_EQ(unreg(&r), -ENXIO);
}

TEST(a_failed_registration_leaves_nothing)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, PAGE}, {(void *)8, 8}};
	uint64_t tags[2] = {11, 12};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg2(&r, iov, tags, 2, 0), -EFAULT);
	note_tags(&r);
	EXPECT_EQ(unreg(&r), -ENXIO);
	EXPECT_EQ(fixed(&r, RF, make_file(10), a, 10, 0, 0), -EFAULT);
}

TEST(a_hundred_buffers)
{
	char *a = map_pages(100, PROT_READ | PROT_WRITE);
	struct iovec iov[100];
	int file = make_file(100 * 50);
	struct ring r;

	for (int i = 0; i < 100; i++) {
		iov[i].iov_base = a + (size_t)(99 - i) * PAGE + 7;
		iov[i].iov_len = 50;
	}
	ring_init(&r, 128, 0);
	EXPECT_EQ(reg(&r, iov, 100), 0);
	for (unsigned i = 0; i < 100; i++) {
		struct io_uring_sqe sqe = fixed_sqe(RF, file, iov[i].iov_base, 50, i * 50, i);

		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	}
	EXPECT_EQ(ring_submit_wait(&r, 100), 100);
	for (unsigned i = 0; i < 100; i++)
		EXPECT_EQ(ring_wait(&r).res, 50);
	for (unsigned i = 0; i < 100; i++)
		EXPECT(is_pattern(iov[i].iov_base, i * 50, 50));
	note("all of them");
}

TEST(register2_arguments)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov = {a, PAGE};
	struct rsrc_register rr = {1, 0, 0, U64(&iov), 0};
	struct ring r;

	ring_init(&r, 4, 0);
	note("size: %d", sys_register(r.fd, REGISTER_BUFFERS2, &rr, sizeof(rr) - 1));
	note("size: %d", sys_register(r.fd, REGISTER_BUFFERS2, &rr, sizeof(rr) + 1));
	note("null: %d", sys_register(r.fd, REGISTER_BUFFERS2, NULL, sizeof(rr)));
	rr.resv2 = 1;
	note("resv2: %d", sys_register(r.fd, REGISTER_BUFFERS2, &rr, sizeof(rr)));
	reg2(&r, &iov, NULL, 0, 0);
	reg2(&r, &iov, NULL, 1, 2);
	reg2(&r, &iov, NULL, 1, REGISTER_SPARSE);
	reg2(&r, NULL, NULL, (1 << 14) + 1, REGISTER_SPARSE);
	reg2(&r, &iov, (uint64_t *)8, 1, 0);
	EXPECT_EQ(reg2(&r, NULL, NULL, 1 << 14, REGISTER_SPARSE), 0);
	EXPECT_EQ(reg2(&r, &iov, NULL, 1, 0), -EBUSY);
	EXPECT_EQ(unreg(&r), 0);
	EXPECT_EQ(reg2(&r, NULL, NULL, 3, 0), 0); /* sparse in all but name */
}

TEST(sparse_then_updated)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, 100}, {a + 200, 100}}, none = {NULL, 0};
	int file = make_file(1000);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg2(&r, NULL, NULL, 4, REGISTER_SPARSE), 0);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 2), -EFAULT);
	EXPECT_EQ(update(&r, 2, iov, NULL, 2), 2);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 2), 10);
	EXPECT_EQ(fixed(&r, RF, file, a + 200, 10, 0, 3), 10);
	EXPECT_EQ(update(&r, 2, &none, NULL, 1), 1);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 2), -EFAULT);
	EXPECT_EQ(update(&r, 3, &iov[0], NULL, 1), 1);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 3), 10);
	EXPECT_EQ(fixed(&r, RF, file, a + 200, 10, 0, 3), -EFAULT);
}

TEST(update_arguments)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[3] = {{a, 100}, {(void *)8, 8}, {a, 100}};
	struct rsrc_update2 up = {0, 0, U64(iov), 0, 1, 0};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(update(&r, 0, iov, NULL, 1), -ENXIO);
	EXPECT_EQ(reg2(&r, NULL, NULL, 4, REGISTER_SPARSE), 0);
	update(&r, 0, iov, NULL, 0);
	update(&r, 4, iov, NULL, 1);
	update(&r, 3, iov, NULL, 2);
	update(&r, 0xffffffff, iov, NULL, 1);
	update(&r, 0xffffffff, iov, NULL, 0xffffffff);
	update(&r, 0, NULL, NULL, 1);
	update(&r, 0, iov, NULL, 3); /* one of three */
	update(&r, 0, iov + 1, NULL, 1);
	note("size: %d", sys_register(r.fd, REGISTER_BUFFERS_UPDATE, &up, sizeof(up) - 1));
	up.resv = 1;
	note("resv: %d", sys_register(r.fd, REGISTER_BUFFERS_UPDATE, &up, sizeof(up)));
	up.resv = 0;
	up.resv2 = 1;
	note("resv2: %d", sys_register(r.fd, REGISTER_BUFFERS_UPDATE, &up, sizeof(up)));
}

TEST(tags_of_an_unregistration)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[3] = {{a, 100}, {a + 100, 100}, {a + 200, 100}};
	uint64_t tags[3] = {101, 0, 103};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(reg2(&r, iov, tags, 3, 0), 0);
	note_tags(&r);
	EXPECT_EQ(unreg(&r), 0);
	EXPECT_EQ(ring_ready(&r), 2);
	note_tags(&r);
}

TEST(tags_of_updates)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, 100}, {a + 100, 100}}, none = {NULL, 0};
	uint64_t tags[2] = {201, 202}, tag = 203;
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(reg2(&r, iov, tags, 2, 0), 0);
	EXPECT_EQ(update(&r, 0, iov, &tag, 1), 1);
	note_tags(&r);
	EXPECT_EQ(update(&r, 0, &none, NULL, 1), 1);
	note_tags(&r);
	EXPECT_EQ(update(&r, 1, &none, &tag, 1), -EINVAL);
	note_tags(&r);
	EXPECT_EQ(update(&r, 1, &none, NULL, 1), 1);
	note_tags(&r);
}

TEST(an_empty_slot_takes_no_tag)
{
	uint64_t tag = 5;
	struct iovec none = {NULL, 0};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg2(&r, &none, &tag, 1, 0), -EINVAL);
	EXPECT_EQ(reg2(&r, NULL, &tag, 1, REGISTER_SPARSE), -EINVAL);
	EXPECT_EQ(unreg(&r), -ENXIO);
}

/* A buffer lives as long as a request that uses it. */
TEST(a_tag_waits_for_the_last_request)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov = {a, PAGE};
	uint64_t tag = 301;
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(reg2(&r, &iov, &tag, 1, 0), 0);
	sqe = fixed_sqe(RF, p[0], a, 10, 0, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(unreg(&r), 0);
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT_EQ(fixed(&r, RF, p[0], a, 10, 0, 0), -EFAULT);
	EXPECT_EQ(OK(write(p[1], "hello", 5)), 5);
	while (ring_ready(&r) < 2)
		EXPECT_GE(enter(r.fd, 0, 2, GETEVENTS), 0);
	note_tags(&r);
	EXPECT_EQ(memcmp(a, "hello", 5), 0);
}

TEST(pipes_and_sockets)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov = {a, PAGE};
	int p[2], s[2];
	struct ring r;

	OK(pipe(p));
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	memcpy(a, "0123456789", 10);
	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, &iov, 1), 0);
	EXPECT_EQ(fixed(&r, WF, p[1], a, 10, 0, 0), 10);
	EXPECT_EQ(fixed(&r, RF, p[0], a + 100, 100, 0, 0), 10);
	EXPECT_EQ(fixed(&r, WF, s[0], a + 100, 10, 0, 0), 10);
	EXPECT_EQ(fixed(&r, RF, s[1], a + 200, 5, 0, 0), 5);
	EXPECT_EQ(memcmp(a + 200, "01234", 5), 0);
}

/* The buffer is the registering process's: another process that enters reads into the same memory. */
TEST(the_memory_is_the_registering_process_s)
{
	char *a = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov = {a, PAGE};
	int file = make_file(100);
	struct ring r;
	pid_t pid;

	EXPECT(a != MAP_FAILED);
	OK(madvise(a, PAGE, MADV_DONTFORK)); /* what is pinned is not copied on write */
	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, &iov, 1), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		EXPECT_EQ(fixed(&r, RF, file, a, 100, 0, 0), 100);
		fflush(stdout);
		_exit(0);
	}
	expect_child_ok(pid);
	EXPECT(is_pattern(a, 0, 100));
}

static int vec(struct ring *r, int op, int fd, const struct iovec *iov, unsigned n, unsigned index)
{
	return fixed(r, op, fd, iov, n, 0, index);
}

TEST(vectors)
{
	char *a = map_pages(2, PROT_READ | PROT_WRITE);
	struct iovec buf = {a, 2 * PAGE}, iov[3] = {{a + 10, 5}, {a + PAGE - 3, 6}, {a, 4}};
	int file = make_file(1000), out = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, &buf, 1), 0);
	EXPECT_EQ(vec(&r, IORING_OP_READV_FIXED, file, iov, 3, 0), 15);
	EXPECT(is_pattern(a + 10, 0, 5) && is_pattern(a + PAGE - 3, 5, 6) && is_pattern(a, 11, 4));
	EXPECT_EQ(vec(&r, IORING_OP_WRITEV_FIXED, out, iov, 3, 0), 15);
	EXPECT_EQ(OK(pread(out, a, 100, 0)), 15);
	EXPECT(is_pattern(a, 0, 15));
}

TEST(vector_arguments)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec buf = {a, 1000};
	struct iovec none[2] = {{a, 5}, {a, 0}}, out[2] = {{a, 5}, {a + 999, 2}}, neg = {a, 1UL << 63};
	struct iovec far = {(void *)0xffff888000000000UL, 16};
	int file = make_file(1000);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(vec(&r, IORING_OP_READV_FIXED, file, none, 1, 0), -EFAULT);
	EXPECT_EQ(reg(&r, &buf, 1), 0);
	vec(&r, IORING_OP_READV_FIXED, file, none, 2, 0);
	vec(&r, IORING_OP_READV_FIXED, file, out, 2, 0);
	vec(&r, IORING_OP_READV_FIXED, file, &neg, 1, 0);
	vec(&r, IORING_OP_READV_FIXED, file, &far, 1, 0);
	vec(&r, IORING_OP_READV_FIXED, file, NULL, 0, 0);
	vec(&r, IORING_OP_READV_FIXED, file, NULL, 1, 0);
	vec(&r, IORING_OP_READV_FIXED, file, none, 1025, 0);
	vec(&r, IORING_OP_READV_FIXED, file, none, 1, 1);
	vec(&r, IORING_OP_READV_FIXED, -1, none, 1, 1);
	vec(&r, IORING_OP_WRITEV_FIXED, file, out, 2, 0);
	vec(&r, IORING_OP_WRITEV_FIXED, file, none, 1, 0);
}

static int nop_with(struct ring *r, unsigned flags, int fd, unsigned index)
{
	struct io_uring_sqe sqe = fixed_sqe(IORING_OP_NOP, fd, NULL, 7, 0, index);

	sqe.rw_flags = (int)flags;
	note("nop_flags=0x%x fd %s", flags, fd < 0 ? "none" : "some");
	return run_sqe(r, &sqe);
}

TEST(nop_with_files_and_buffers)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec buf = {a, 1000};
	int file = make_file(10);
	struct ring r;

	ring_init(&r, 4, 0);
	for (int round = 0; round < 2; round++) {
		nop_with(&r, NOP_FILE, file, 0);
		nop_with(&r, NOP_FILE, -1, 0);
		nop_with(&r, NOP_FIXED_FILE, -1, 0);
		nop_with(&r, NOP_FILE | NOP_FIXED_FILE, 0, 0);
		nop_with(&r, NOP_FILE | NOP_FIXED_FILE, 1, 0);
		nop_with(&r, NOP_FIXED_BUFFER, -1, 0);
		nop_with(&r, NOP_FIXED_BUFFER, -1, 1);
		nop_with(&r, NOP_FIXED_BUFFER | NOP_INJECT_RESULT, -1, 0);
		nop_with(&r, 0x20, 0, 0);
		nop_with(&r, 0x40, 0, 0);
		if (round == 0) {
			EXPECT_EQ(reg(&r, &buf, 1), 0);
			EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &file, 1), 0);
		}
	}
}

/* What cannot be found is not in the result, but it breaks a link. */
TEST(a_nop_without_its_file_breaks_a_link)
{
	struct io_uring_sqe sqe = fixed_sqe(IORING_OP_NOP, -1, NULL, 0, 0, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 2; i++) {
		sqe.rw_flags = (int)(i ? NOP_FIXED_BUFFER : NOP_FILE);
		sqe.flags = IOSQE_IO_LINK;
		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
		ring_nop(&r, 2);
		EXPECT_EQ(ring_submit_wait(&r, 2), 2);
		note_tags(&r);
	}
}

TEST(fixed_files_and_buffers_together)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec buf = {a, 1000};
	int file = make_file(1000);
	struct io_uring_sqe sqe = fixed_sqe(RF, 0, a, 500, 100, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg(&r, &buf, 1), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &file, 1), 0);
	sqe.flags = IOSQE_FIXED_FILE;
	EXPECT_EQ(run_sqe(&r, &sqe), 500);
	EXPECT(is_pattern(a, 100, 500));
	sqe.flags |= IOSQE_BUFFER_SELECT;
	EXPECT_EQ(run_sqe(&r, &sqe), -EOPNOTSUPP);
}

#define REGISTER_CLONE_BUFFERS 30
#define SRC_REGISTERED 1U
#define DST_REPLACE 2U

struct clone_buffers {
	uint32_t src_fd, flags, src_off, dst_off, nr, pad[3];
};

static int clone_from(struct ring *r, const struct ring *from, uint32_t flags, uint32_t src, uint32_t dst, uint32_t nr)
{
	struct clone_buffers cb = {(uint32_t)from->fd, flags, src, dst, nr, {0, 0, 0}};
	int ret = sys_register(r->fd, REGISTER_CLONE_BUFFERS, &cb, 1);

	note("clone flags %u %u from %u to %u: %d", flags, nr, src, dst, ret);
	return ret;
}

TEST(a_clone)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, 100}, {a + 100, 100}};
	uint64_t tags[2] = {401, 402};
	int file = make_file(100);
	struct ring r, other;

	ring_init(&r, 4, 0);
	ring_init(&other, 8, 0);
	EXPECT_EQ(clone_from(&r, &other, 0, 0, 0, 0), -ENXIO);
	EXPECT_EQ(reg2(&other, iov, tags, 2, 0), 0);
	EXPECT_EQ(clone_from(&r, &other, 0, 0, 0, 0), 0);
	EXPECT_EQ(clone_from(&r, &other, 0, 0, 0, 0), -EBUSY);
	EXPECT_EQ(unreg(&other), 0);
	note_tags(&other);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 50, 0, 1), 50);
	EXPECT_EQ(unreg(&r), 0);
	note_tags(&r);
}

TEST(a_part_of_a_table_cloned)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[4] = {{a, 100}, {a + 100, 100}, {NULL, 0}, {a + 300, 100}}, mine[2] = {{a, 10}, {a + 10, 10}};
	uint64_t tags[2] = {501, 502};
	int file = make_file(1000);
	struct ring r, other;

	ring_init(&r, 4, 0);
	ring_init(&other, 4, 0);
	EXPECT_EQ(reg(&other, iov, 4), 0);
	EXPECT_EQ(reg2(&r, mine, tags, 2, 0), 0);
	EXPECT_EQ(clone_from(&r, &other, DST_REPLACE, 1, 1, 3), 0);
	note_tags(&r);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 0), 10);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 100, 0, 1), 100);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 100, 0, 2), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a + 300, 100, 0, 3), 100);
	EXPECT_EQ(fixed(&r, RF, file, a + 300, 100, 0, 4), -EFAULT);
	EXPECT_EQ(unreg(&r), 0);
	note_tags(&r);
}

TEST(clone_arguments)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, 100}, {a + 100, 100}};
	struct clone_buffers cb = {0, 0, 0, 0, 0, {0, 0, 0}};
	struct ring r, other;

	ring_init(&r, 4, 0);
	ring_init(&other, 4, 0);
	EXPECT_EQ(reg(&other, iov, 2), 0);
	clone_from(&r, &other, 4, 0, 0, 0);
	clone_from(&r, &other, SRC_REGISTERED, 0, 0, 0);
	clone_from(&r, &other, 0, 1, 0, 0);
	clone_from(&r, &other, 0, 0, 1, 0);
	clone_from(&r, &other, 0, 0, 0, 3);
	clone_from(&r, &other, 0, 1, 0, 2);
	clone_from(&r, &other, 0, UINT32_MAX, 0, 2);
	clone_from(&r, &other, 0, 0, UINT32_MAX, 2);
	clone_from(&r, &other, 0, 0, (1 << 14) - 1, 2);
	cb.src_fd = (uint32_t)make_file(1);
	note("no ring: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 1));
	cb.src_fd = UINT32_MAX;
	note("no file: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 1));
	note("none: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 0));
	note("two: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 2));
	note("null: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, NULL, 1));
	note("unmapped: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, (void *)8, 1));
	cb.src_fd = (uint32_t)other.fd;
	cb.pad[1] = 1;
	note("pad: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 1));
	clone_from(&other, &other, 0, 0, 0, 0);
	clone_from(&other, &other, DST_REPLACE, 0, 2, 2);
	EXPECT_EQ(fixed(&other, RF, make_file(100), a + 100, 100, 0, 3), 100);
}
