/* SPDX-License-Identifier: Apache-2.0 */
/* READV into memory that is not there: EFAULT, also half-way. */
#include "harness.h"

#include <sys/socket.h>

#define KERNEL ((void *)0xffff888000000000UL)

TEST(iovecs_at_bad_addresses)
{
	int file = make_file(100);
	char *hole = map_then_hole(1);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, NULL, 1, 0), -EFAULT);
	EXPECT_EQ(run_readv(&r, file, (void *)8, 1, 0), -EFAULT);
	EXPECT_EQ(run_readv(&r, file, hole + PAGE, 1, 0), -EFAULT);
	EXPECT_EQ(run_readv(&r, file, KERNEL, 1, 0), -EFAULT);
	EXPECT_EQ(run_readv(&r, file, (void *)-16L, 1, 0), -EFAULT);
	EXPECT_EQ(run_readv(&r, file, (void *)0x7fffffffffffUL, 2, 0), -EFAULT);
	EXPECT_EQ(run_readv(&r, file, (void *)(1UL << 63), 1, 0), -EFAULT);
}

TEST(iovecs_that_end_in_a_hole)
{
	char *hole = map_then_hole(1);
	struct iovec *iov = (void *)(hole + PAGE - 2 * sizeof(*iov));
	char buf[32];
	int file = make_file(100);
	struct ring r;

	iov[0].iov_base = buf;
	iov[0].iov_len = 16;
	iov[1].iov_base = buf + 16;
	iov[1].iov_len = 16;
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, iov, 2, 0), 32);
	EXPECT_EQ(run_readv(&r, file, iov, 3, 0), -EFAULT);
}

TEST(buffer_at_bad_addresses)
{
	int file = make_file(100);
	char *hole = map_then_hole(1);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, NULL, 10, 0), -EFAULT);
	EXPECT_EQ(run_read(&r, file, (void *)8, 10, 0), -EFAULT);
	EXPECT_EQ(run_read(&r, file, hole + PAGE, 10, 0), -EFAULT);
	EXPECT_EQ(run_read(&r, file, KERNEL, 10, 0), -EFAULT);
	EXPECT_EQ(run_read(&r, file, (void *)-16L, 10, 0), -EFAULT);
}

/* Nothing to copy: nothing faults. */
TEST(bad_buffer_at_eof)
{
	int file = make_file(100), null = (int)OK(open("/dev/null", O_RDONLY));
	char *hole = map_then_hole(1);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, hole + PAGE, 10, 100), 0);
	EXPECT_EQ(run_read(&r, null, hole + PAGE, 10, 0), 0);
	run_read(&r, file, KERNEL, 10, 100);
}

TEST(read_only_buffer)
{
	int file = make_file(100);
	char *ro = map_pages(1, PROT_READ);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, ro, 10, 0), -EFAULT);
	EXPECT_EQ(ro[0], 0);
}

TEST(inaccessible_buffer)
{
	int file = make_file(100);
	char *none = map_pages(1, PROT_NONE);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, none, 10, 0), -EFAULT);
}

/* The program's own text: a private file mapping, read-only. */
TEST(text_of_the_program_is_not_overwritten)
{
	int file = make_file(100);
	unsigned char before[16];
	struct ring r;

	memcpy(before, (void *)(uintptr_t)&make_file, 16);
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, (void *)(uintptr_t)&make_file, 16, 0), -EFAULT);
	EXPECT_EQ(memcmp(before, (void *)(uintptr_t)&make_file, 16), 0);
}

TEST(first_iovec_good_second_bad)
{
	int file = make_file(100);
	char buf[30];
	struct iovec iov[2] = {{buf, 30}, {map_then_hole(1) + PAGE, 30}};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, iov, 2, 0), 30);
	EXPECT(is_pattern(buf, 0, 30));
}

TEST(first_iovec_bad_second_good)
{
	int file = make_file(100);
	char buf[30];
	struct iovec iov[2] = {{map_then_hole(1) + PAGE, 30}, {buf, 30}};
	struct ring r;

	memset(buf, 0, sizeof(buf));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, iov, 2, 0), -EFAULT);
	EXPECT_EQ(buf[0], 0);
}

/* A kernel address anywhere among the iovecs is refused before anything is read. */
TEST(second_iovec_at_a_kernel_address)
{
	int file = make_file(100);
	char buf[30];
	struct iovec iov[2] = {{buf, 30}, {KERNEL, 30}};
	struct ring r;

	memset(buf, 0, sizeof(buf));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_readv(&r, file, iov, 2, 0), -EFAULT);
	EXPECT_EQ(buf[0], 0);
}

TEST(buffer_that_runs_into_a_hole)
{
	int file = make_file(3 * PAGE);
	char *hole = map_then_hole(1);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, hole + PAGE - 100, 200, 0), 100);
	EXPECT(is_pattern(hole + PAGE - 100, 0, 100));
	EXPECT_EQ(run_read(&r, file, hole, 2 * PAGE, 0), PAGE);
	EXPECT(is_pattern(hole, 0, PAGE));
}

TEST(dev_zero_into_a_hole)
{
	int zero = (int)OK(open("/dev/zero", O_RDONLY));
	char *hole = map_then_hole(1); /* behind each page read_iter_zero() may stop */
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, zero, hole, 2 * PAGE, 0), PAGE);
	EXPECT_EQ(run_read(&r, zero, hole + PAGE, PAGE, 0), -EFAULT);
}

/* What could not be delivered is not lost. */
TEST(pipe_keeps_what_could_not_be_delivered)
{
	char *hole = map_then_hole(1), buf[16] = "";
	struct ring r;
	int p[2];

	OK(pipe(p));
	OK(write(p[1], "precious", 8));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], hole + PAGE, 8, 0), -EFAULT);
	EXPECT_EQ(OK(read(p[0], buf, sizeof(buf))), 8);
	EXPECT_EQ(memcmp(buf, "precious", 8), 0);
}

TEST(socket_keeps_what_could_not_be_delivered)
{
	char *hole = map_then_hole(1), buf[16] = "";
	struct ring r;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	OK(write(s[1], "precious", 8));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, s[0], hole + PAGE, 8, 0), -EFAULT);
	EXPECT_EQ(OK(read(s[0], buf, sizeof(buf))), 8);
}

/* Two writes, two pipe buffers; the second does not fit into what is mapped. */
TEST(pipe_with_a_buffer_that_runs_into_a_hole)
{
	char *hole = map_then_hole(1), buf[16] = "";
	struct ring r;
	int p[2];

	OK(pipe2(p, O_DIRECT));
	OK(write(p[1], "one", 3));
	OK(write(p[1], "three", 5));
	OK(pipe2(p, 0));
	OK(write(p[1], "one", 3));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, p[0], hole + PAGE - 3, 8, 0), 3);
	OK(write(p[1], "12345678", 8));
	run_read(&r, p[0], hole + PAGE - 4, 8, 0);
	OK(fcntl(p[0], F_SETFL, O_NONBLOCK));
	note("left: %zd", read(p[0], buf, sizeof(buf)));
}

TEST(buffer_gone_before_the_data_comes)
{
	char *page = map_pages(1, PROT_READ | PROT_WRITE), c;
	struct iovec iov = {page, 10};
	struct ring r;
	struct cqe cqe;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], &iov, 1, 0, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	OK(munmap(page, PAGE));
	OK(write(p[1], "x", 1));
	cqe = ring_wait(&r);
	note("res=%d", cqe.res);
	EXPECT_EQ(cqe.res, -EFAULT);
	EXPECT_EQ(OK(read(p[0], &c, 1)), 1);
}

TEST(into_a_shared_mapping_of_a_file)
{
	int file = make_file(100), target = make_file(PAGE);
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, target, 0), back[100];
	struct ring r;

	EXPECT(map != MAP_FAILED);
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, map + 50, 100, 0), 100);
	EXPECT_EQ(OK(pread(target, back, 100, 50)), 100);
	EXPECT(is_pattern(back, 0, 100));
}

TEST(beyond_the_end_of_a_mapped_file)
{
	int file = make_file(100), target = make_file(10);
	char *map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, target, 0);
	struct ring r;

	EXPECT(map != MAP_FAILED);
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, map + PAGE, 10, 0), -EFAULT);
}

TEST(copy_on_write_after_fork)
{
	int file = make_file(100);
	char *page = map_pages(1, PROT_READ | PROT_WRITE);
	struct ring r;
	pid_t pid;
	int go[2];
	char c;

	memset(page, 'p', PAGE);
	OK(pipe(go));
	ring_init(&r, 4, 0);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		EXPECT_EQ(OK(read(go[0], &c, 1)), 1);
		_exit(page[0] != 'p');
	}
	EXPECT_EQ(run_read(&r, file, page, 100, 0), 100);
	OK(write(go[1], "x", 1));
	expect_child_ok(pid);
	note("the child kept its own");
}

/* Into the ring's own memory: client memory like any other. */
TEST(into_the_sqe_array)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(run_read(&r, file, &r.sqes[2], 64, 0), 64);
	EXPECT(is_pattern(&r.sqes[2], 0, 64));
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
}

/* eventfd_read(): what cannot be stored is gone, unlike a pipe's. */
TEST(a_number_that_cannot_be_stored_is_gone)
{
	char *hole = map_then_hole(1);
	void *const bad[] = {NULL, hole + PAGE, hole + PAGE - 3};
	int event = (int)OK(syscall(SYS_eventfd2, 0, O_NONBLOCK));
	uint64_t number = 5;
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(OK(write(event, &number, 8)), 8);
		EXPECT_EQ(run_read(&r, event, bad[i], 8, 0), -EFAULT);
		EXPECT_EQ(read(event, &number, 8), -1);
		run_read(&r, event, bad[i], 7, 0);
	}
}

TEST(a_message_that_cannot_be_stored_is_gone)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
	char *hole = map_then_hole(1), text[100];
	void *const bad[] = {NULL, hole + PAGE, hole + PAGE - 3};
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 3; i++) {
		int s[2];

		OK(socketpair(AF_UNIX, types[i] | SOCK_NONBLOCK, 0, s));
		for (unsigned j = 0; j < 3; j++) {
			EXPECT_EQ(OK(write(s[1], text, 50)), 50);
			run_read(&r, s[0], bad[j], 100, 0);
			note("left %zd", recv(s[0], text, 100, 0));
		}
	}
}
