/* SPDX-License-Identifier: Apache-2.0 */
/* READ, WRITE and WRITEV: files, pipes, sockets; positions, partial transfers, signals, limits. */
#include "harness.h"

#include <signal.h>
#include <sys/resource.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

static char buf[1 << 16];

static struct io_uring_sqe rw_sqe(int op, int fd, const void *addr, unsigned len, uint64_t off)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.fd = fd;
	sqe.addr = (uint64_t)(uintptr_t)addr;
	sqe.len = len;
	sqe.off = off;
	sqe.user_data = 0x5151;
	return sqe;
}

static int rw(struct ring *r, int op, int fd, const void *addr, unsigned len, uint64_t off)
{
	struct io_uring_sqe sqe = rw_sqe(op, fd, addr, len, off);

	return run_sqe(r, &sqe);
}

static int put(struct ring *r, int fd, const void *addr, unsigned len, uint64_t off)
{
	return rw(r, IORING_OP_WRITE, fd, addr, len, off);
}

static void fill(char *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = (char)pattern(i);
}

static void note_size(int fd)
{
	struct stat st;

	OK(fstat(fd, &st));
	note("size %lld", (long long)st.st_size);
}

/* A pipe with room for one page that is full but for `room` bytes. */
static void small_pipe(int p[2], size_t room)
{
	OK(pipe(p));
	EXPECT_EQ(OK(fcntl(p[1], F_SETPIPE_SZ, (int)PAGE)), PAGE);
	if (room < PAGE)
		EXPECT_EQ(OK(write(p[1], map_pages(1, PROT_READ), PAGE - room)), PAGE - room);
}

TEST(write_then_read_back)
{
	int file = make_file(0);
	char back[5000];
	struct ring r;

	fill(buf, 5000);
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, buf, 5000, 0), 5000);
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, back, 5000, 0), 5000);
	EXPECT(is_pattern(back, 0, 5000));
	note_size(file);
}

TEST(read_at_offsets)
{
	int file = make_file(10000);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, buf, 100, 5000), 100);
	EXPECT(is_pattern(buf, 5000, 100));
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, buf, 100, 9950), 50);
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, buf, 100, 10000), 0);
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, buf, 0, 0), 0);
}

TEST(writev_gathers)
{
	char a[3] = "abc", b[1] = "d", c[20] = "efghijklmnopqrstuvw";
	struct iovec iov[5] = {{a, 3}, {NULL, 0}, {b, 1}, {c, 19}, {NULL, 0}};
	int file = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, iov, 5, 2), 23);
	EXPECT_EQ(OK(pread(file, buf, 100, 0)), 25);
	EXPECT_EQ(memcmp(buf, "\0\0abcdefghijklmnopqrstuvw", 25), 0);
}

TEST(writev_arguments)
{
	struct iovec none = {buf, (size_t)1 << 63}, far = {(void *)0xffff888000000000UL, 16};
	int file = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, NULL, 0, 0), 0);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, NULL, 1, 0), -EFAULT);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, buf, 1025, 0), -EINVAL);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, &none, 1, 0), -EINVAL);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, file, &far, 1, 0), -EFAULT);
	note_size(file);
}

TEST(kernel_addresses_end_the_submission)
{
	int file = make_file(10);
	struct ring r;

	ring_init(&r, 8, 0);
	for (int op = IORING_OP_READ; op <= IORING_OP_WRITE; op++) {
		struct io_uring_sqe sqe = rw_sqe(op, file, (void *)0xffff888000000000UL, 16, 0);

		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
		ring_nop(&r, 2);
		note("submitted %d", ring_submit(&r));
		note("submitted %d", ring_submit(&r));
	}
	ring_note_words(&r);
}

TEST(holes_read_as_zeros)
{
	int file = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, "x", 1, 1 << 20), 1);
	note_size(file);
	EXPECT_EQ(OK(pread(file, buf, 10, 100)), 10);
	EXPECT_EQ(buf[0], 0);
}

TEST(current_position)
{
	int file = make_file(0), twin = (int)OK(dup(file));
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, "hello ", 6, (uint64_t)-1), 6);
	EXPECT_EQ(put(&r, twin, "world", 5, (uint64_t)-1), 5);
	EXPECT_EQ(lseek(file, 0, SEEK_CUR), 11);
	EXPECT_EQ(put(&r, file, "J", 1, 0), 1);
	EXPECT_EQ(lseek(file, 0, SEEK_CUR), 11);
	EXPECT_EQ(OK(pread(file, buf, 20, 0)), 11);
	EXPECT_EQ(memcmp(buf, "Jello world", 11), 0);
}

/* In one batch each goes on where the one before has ended. */
TEST(a_batch_at_the_current_position)
{
	int file = make_file(1000);
	struct ring r;

	ring_init(&r, 16, 0);
	OK(lseek(file, 100, SEEK_SET));
	for (unsigned i = 0; i < 10; i++) {
		struct io_uring_sqe sqe = rw_sqe(IORING_OP_READ, file, buf + i * 20, 20, (uint64_t)-1);

		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	}
	EXPECT_EQ(ring_submit_wait(&r, 10), 10);
	for (int i = 0; i < 10; i++)
		EXPECT_EQ(ring_wait(&r).res, 20);
	EXPECT(is_pattern(buf, 100, 200));
	note("position %lld", (long long)lseek(file, 0, SEEK_CUR));
}

static char *stuck_page;
static int stuck_file;

static void *read_into_a_stuck_page(void *arg)
{
	return (void *)read(*(int *)arg, stuck_page, 10);
}

/* A thread that reads holds the file's position, here for as long as it pleases us. */
TEST(a_held_position_holds_up_nobody_else)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range;
	struct uffdio_zeropage zero;
	struct io_uring_sqe sqe;
	struct uffd_msg msg;
	struct ring r, other;
	pthread_t thread;
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (uffd < 0)
		skip("no userfaultfd");
	OK(ioctl(uffd, UFFDIO_API, &api));
	stuck_page = map_pages(1, PROT_READ | PROT_WRITE);
	stuck_file = make_file(100);
	OK(lseek(stuck_file, 0, SEEK_SET));
	memset(&range, 0, sizeof(range));
	range.range.start = (uintptr_t)stuck_page;
	range.range.len = PAGE;
	range.mode = UFFDIO_REGISTER_MODE_MISSING;
	OK(ioctl(uffd, UFFDIO_REGISTER, &range));
	ring_init(&r, 4, 0);
	ring_init(&other, 4, 0);
	EXPECT_EQ(pthread_create(&thread, NULL, read_into_a_stuck_page, &stuck_file), 0);
	EXPECT_EQ(OK(read(uffd, &msg, sizeof(msg))), sizeof(msg)); /* now it holds it */
	sqe = rw_sqe(IORING_OP_READ, stuck_file, buf, 10, (uint64_t)-1);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	ring_nop(&other, 7);
	EXPECT_EQ(ring_submit_wait(&other, 1), 1);
	note("the other ring goes on: %d", ring_wait(&other).res);
	memset(&zero, 0, sizeof(zero));
	zero.range = range.range;
	OK(ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	EXPECT_EQ(pthread_join(thread, NULL), 0);
	note("res=%d", ring_wait(&r).res);
}

TEST(append)
{
	int file = make_file(10);
	struct ring r;

	OK(fcntl(file, F_SETFL, O_APPEND));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, "abc", 3, 0), 3);
	EXPECT_EQ(put(&r, file, "def", 3, (uint64_t)-1), 3);
	EXPECT_EQ(lseek(file, 0, SEEK_CUR), 16);
	EXPECT_EQ(put(&r, file, "ghi", 3, 1 << 20), 3);
	EXPECT_EQ(OK(pread(file, buf, 100, 10)), 9);
	EXPECT_EQ(memcmp(buf, "abcdefghi", 9), 0);
}

TEST(offsets_out_of_range)
{
	int file = make_file(10);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, buf, 10, (uint64_t)-2), -EINVAL);
	EXPECT_EQ(put(&r, file, buf, 10, 1ULL << 63), -EINVAL);
	EXPECT_EQ(put(&r, file, buf, 10, INT64_MAX - 5), -EINVAL);
	put(&r, file, buf, 10, INT64_MAX - 10);
	put(&r, file, buf, 10, 1ULL << 60);
	note_size(file);
}

TEST(several_megabytes_at_once)
{
	const size_t size = 5 << 20;
	int file = make_file(0);
	char *data = map_pages((unsigned)(size / PAGE), PROT_READ | PROT_WRITE);
	char *back = map_pages((unsigned)(size / PAGE), PROT_READ | PROT_WRITE);
	struct ring r;

	fill(data, size);
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, data, size, 0), size);
	EXPECT_EQ(rw(&r, IORING_OP_READ, file, back, size, 0), size);
	EXPECT(is_pattern(back, 0, size));
	EXPECT_EQ(put(&r, file, data, size, (uint64_t)-1), size);
	EXPECT_EQ(lseek(file, 0, SEEK_CUR), size);
}

TEST(memory_that_ends_half_way)
{
	char *at = map_then_hole(2);
	int file = make_file(0);
	struct ring r;

	fill(at, 2 * PAGE);
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, file, at + 100, 3 * PAGE, 0), 2 * PAGE - 100);
	note_size(file);
	EXPECT_EQ(put(&r, file, at + 2 * PAGE, 10, 0), -EFAULT);
	EXPECT_EQ(put(&r, file, NULL, 10, 0), -EFAULT);
	EXPECT_EQ(put(&r, file, NULL, 0, 0), 0);
	EXPECT_EQ(OK(pread(file, buf, PAGE, 0)), PAGE);
	EXPECT(is_pattern(buf, 100, PAGE));
}

TEST(a_partial_write_leaves_the_position)
{
	char *at = map_then_hole(1);
	int file = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	OK(lseek(file, 7, SEEK_SET));
	EXPECT_EQ(put(&r, file, at, 2 * PAGE, (uint64_t)-1), PAGE);
	note("position %lld", (long long)lseek(file, 0, SEEK_CUR));
	note_size(file);
}

TEST(memory_that_ends_half_way_into_a_pipe)
{
	char *at = map_then_hole(2);
	int p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	put(&r, p[1], at, 3 * PAGE, 0);
	put(&r, p[1], at + PAGE + 100, 2 * PAGE, 0);
	put(&r, p[1], at + 100, 3 * PAGE, 0);
	put(&r, p[1], at + 2 * PAGE, 10, 0);
	note("in it %zd", read(p[0], buf, sizeof(buf)));
}

TEST(read_only_descriptor_is_ebadf)
{
	int fd = (int)OK(open("/dev/null", O_RDONLY)), path = (int)OK(open("/tmp", O_PATH)), p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, fd, buf, 10, 0), -EBADF);
	EXPECT_EQ(put(&r, p[0], buf, 10, 0), -EBADF);
	EXPECT_EQ(put(&r, path, buf, 10, 0), -EBADF);
	EXPECT_EQ(put(&r, -1, buf, 10, 0), -EBADF);
	EXPECT_EQ(rw(&r, IORING_OP_READ, p[1], buf, 10, 0), -EBADF);
}

TEST(dev_null_takes_all)
{
	int fd = (int)OK(open("/dev/null", O_WRONLY));
	char *large = map_pages(1024, PROT_READ);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, fd, buf, 100, 0), 100);
	EXPECT_EQ(put(&r, fd, buf, 100, (uint64_t)-1), 100);
	EXPECT_EQ(put(&r, fd, buf, 100, 12345), 100);
	EXPECT_EQ(put(&r, fd, large, 1024 * PAGE, 0), 1024 * PAGE);
}

TEST(dev_full)
{
	int fd = (int)OK(open("/dev/full", O_WRONLY));
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, fd, buf, 100, 0), -ENOSPC);
	EXPECT_EQ(put(&r, fd, buf, 0, 0), 0);
}

TEST(directory_and_ring)
{
	int dir = (int)OK(open("/tmp", O_RDONLY | O_DIRECTORY));
	struct ring r, other;

	ring_init(&r, 4, 0);
	ring_init(&other, 4, 0);
	EXPECT_EQ(put(&r, dir, buf, 10, 0), -EBADF);
	EXPECT_EQ(put(&r, other.fd, buf, 10, 0), -EINVAL);
	EXPECT_EQ(put(&r, r.fd, buf, 10, 0), -EINVAL);
}

TEST(pipe_takes_what_fits)
{
	int p[2];
	struct ring r;

	fill(buf, sizeof(buf));
	small_pipe(p, PAGE);
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, p[1], buf, 3 * PAGE, 0), PAGE);
	EXPECT_EQ(OK(read(p[0], buf, sizeof(buf))), PAGE);
	EXPECT_EQ(put(&r, p[1], buf, 10, 99), 10);
	EXPECT_EQ(put(&r, p[1], buf, 10, (uint64_t)-1), 10);
	EXPECT_EQ(put(&r, p[1], buf, 0, 0), 0);
}

TEST(full_pipe_waits_for_a_reader)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;
	struct cqe cqe;

	small_pipe(p, 0);
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], "abcdef", 6, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit(&r), 2);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(cqe.user_data, 2);
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), PAGE);
	cqe = ring_wait(&r);
	note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), 6);
	EXPECT_EQ(memcmp(buf, "abcdef", 6), 0);
}

/* The buffer is read when there is room, not when the write is submitted. */
TEST(a_waiting_write_reads_its_buffer_late)
{
	char text[] = "before";
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	small_pipe(p, 0);
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], text, 6, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	memcpy(text, "behind", 6);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), PAGE);
	EXPECT_EQ(ring_wait(&r).res, 6);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), 6);
	note("%.6s", buf);
}

TEST(a_waiting_write_from_bad_memory)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	small_pipe(p, 0);
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], map_then_hole(1) + PAGE, 6, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), PAGE);
	note("res=%d", ring_wait(&r).res);
}

TEST(nonblocking_full_pipe)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	small_pipe(p, 0);
	OK(fcntl(p[1], F_SETFL, O_NONBLOCK));
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], "abc", 3, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	note("ready %u", ring_ready(&r));
	EXPECT_EQ(OK(read(p[0], buf, PAGE)), PAGE);
	note("res=%d", ring_wait(&r).res);
}

static volatile sig_atomic_t got;

static void count(int sig)
{
	(void)sig;
	got = got + 1;
}

TEST(broken_pipe_is_epipe_and_sigpipe)
{
	int p[2];
	struct ring r;

	on_signal(SIGPIPE, count, 0);
	OK(pipe(p));
	OK(close(p[0]));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, p[1], "abc", 3, 0), -EPIPE);
	note("signals %d", (int)got);
}

TEST(broken_pipe_while_waiting)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	on_signal(SIGPIPE, count, SA_RESTART);
	small_pipe(p, 0);
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], "abc", 3, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	OK(close(p[0]));
	while (!ring_ready(&r))
		enter(r.fd, 0, 1, GETEVENTS);
	note("res=%d signals %d", ring_wait(&r).res, (int)got);
}

TEST(sigpipe_kills_who_does_not_expect_it)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct ring r;
		struct io_uring_sqe sqe;
		int p[2];

		OK(pipe(p));
		OK(close(p[0]));
		ring_init(&r, 4, 0);
		sqe = rw_sqe(IORING_OP_WRITE, p[1], "abc", 3, 0);
		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
		ring_submit(&r);
		_exit(3);
	}
	status = wait_child(pid);
	note("status 0x%x", status);
	EXPECT(WIFSIGNALED(status));
}

TEST(a_punted_write_brings_no_signal)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	on_signal(SIGPIPE, count, 0);
	OK(pipe(p));
	OK(close(p[0]));
	ring_init(&r, 4, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], "abc", 3, 0);
	sqe.flags = IOSQE_ASYNC;
	EXPECT_EQ(run_sqe(&r, &sqe), -EPIPE);
	note("signals %d", (int)got);
}

TEST(a_pair_of_sockets)
{
	int s[2];
	struct ring r;

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, s[0], "ping", 4, 0), 4);
	EXPECT_EQ(rw(&r, IORING_OP_READ, s[1], buf, 100, 0), 4);
	EXPECT_EQ(put(&r, s[0], "ping", 4, (uint64_t)-1), 4);
	EXPECT_EQ(put(&r, s[0], "ping", 4, 5), -ESPIPE);
	EXPECT_EQ(rw(&r, IORING_OP_READ, s[1], buf, 100, 5), -ESPIPE);
}

TEST(broken_socket)
{
	int s[2];
	struct ring r;

	on_signal(SIGPIPE, count, 0);
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	OK(close(s[1]));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, s[0], "ping", 4, 0), -EPIPE);
	note("signals %d", (int)got);
}

TEST(datagrams_keep_their_bounds)
{
	struct iovec iov[2] = {{"ab", 2}, {"cde", 3}};
	int s[2];
	struct ring r;

	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	ring_init(&r, 4, 0);
	EXPECT_EQ(rw(&r, IORING_OP_WRITEV, s[0], iov, 2, 0), 5);
	EXPECT_EQ(put(&r, s[0], "xyz", 3, 0), 3);
	EXPECT_EQ(rw(&r, IORING_OP_READ, s[1], buf, 2, 0), 2);
	EXPECT_EQ(rw(&r, IORING_OP_READ, s[1], buf, 100, 0), 3);
}

TEST(fifo_by_name)
{
	char dir[] = "/tmp/uringfs-conformance-XXXXXX", path[64];
	struct io_uring_sqe sqe;
	int both, out;
	struct ring r;

	EXPECT(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/fifo", dir);
	OK(mkfifo(path, 0600));
	both = (int)OK(open(path, O_RDWR));
	out = (int)OK(open(path, O_WRONLY));
	OK(unlink(path));
	OK(rmdir(dir));
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, out, "abc", 3, 0), 3);
	EXPECT_EQ(rw(&r, IORING_OP_READ, both, buf, 100, 0), 3);
	EXPECT_EQ(OK(fcntl(out, F_SETPIPE_SZ, (int)PAGE)), PAGE);
	EXPECT_EQ(OK(write(out, buf, PAGE)), PAGE);
	sqe = rw_sqe(IORING_OP_WRITE, out, "def", 3, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	note("ready %u", ring_ready(&r));
	EXPECT_EQ(OK(read(both, buf, PAGE)), PAGE);
	note("res=%d", ring_wait(&r).res);
}

TEST(eventfd_counts)
{
	int fd = (int)OK(syscall(SYS_eventfd2, 0, 0));
	uint64_t value = 5;
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, fd, &value, 8, 0), 8);
	EXPECT_EQ(put(&r, fd, &value, 8, (uint64_t)-1), 8);
	EXPECT_EQ(put(&r, fd, &value, 4, 0), -EINVAL);
	value = 0;
	EXPECT_EQ(rw(&r, IORING_OP_READ, fd, &value, 8, 0), 8);
	EXPECT_EQ(value, 10);
}

/* A link goes on only behind a whole transfer. */
TEST(a_short_write_breaks_its_link)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	small_pipe(p, PAGE);
	ring_init(&r, 8, 0);
	sqe = rw_sqe(IORING_OP_WRITE, p[1], buf, 2 * PAGE, 0);
	sqe.flags = IOSQE_IO_LINK;
	sqe.user_data = 1;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	for (int i = 0; i < 2; i++) {
		struct cqe cqe = ring_wait(&r);

		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	}
}

TEST(write_linked_to_read)
{
	struct io_uring_sqe sqe;
	int file = make_file(0);
	char back[100];
	struct ring r;

	ring_init(&r, 8, 0);
	sqe = rw_sqe(IORING_OP_WRITE, file, "linked", 6, 0);
	sqe.flags = IOSQE_IO_LINK;
	sqe.user_data = 1;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	sqe = rw_sqe(IORING_OP_READ, file, back, 6, 0);
	sqe.user_data = 2;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	for (int i = 0; i < 2; i++) {
		struct cqe cqe = ring_wait(&r);

		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	}
	EXPECT_EQ(memcmp(back, "linked", 6), 0);
}

TEST(many_writes_in_one_enter)
{
	int file = make_file(0);
	struct ring r;

	fill(buf, sizeof(buf));
	ring_init(&r, 64, 0);
	for (unsigned i = 0; i < 64; i++) {
		struct io_uring_sqe sqe = rw_sqe(IORING_OP_WRITE, file, buf + (63 - i) * 1000, 1000, (63 - i) * 1000);

		sqe.user_data = i;
		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	}
	EXPECT_EQ(ring_submit_wait(&r, 64), 64);
	for (int i = 0; i < 64; i++)
		EXPECT_EQ(ring_wait(&r).res, 1000);
	EXPECT_EQ(OK(pread(file, buf, 64000, 0)), 64000);
	EXPECT(is_pattern(buf, 0, 64000));
	note_size(file);
}

/* Above the offset of uringfs's control writes, which are writes too. */
#define LIMIT (1L << 30)

static void limit_fsize(rlim_t limit)
{
	struct rlimit rl = {limit, RLIM_INFINITY};

	OK(setrlimit(RLIMIT_FSIZE, &rl));
	on_signal(SIGXFSZ, count, 0);
}

TEST(rlimit_fsize_is_the_callers)
{
	int file = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	limit_fsize(LIMIT);
	EXPECT_EQ(put(&r, file, buf, 600, LIMIT - 1000), 600);
	EXPECT_EQ(put(&r, file, buf, 600, LIMIT - 400), 400);
	EXPECT_EQ(put(&r, file, buf, 600, LIMIT), -EFBIG);
	EXPECT_EQ(put(&r, file, buf, 1, LIMIT + 5000), -EFBIG);
	EXPECT_EQ(put(&r, file, buf, 0, LIMIT + 5000), 0);
	EXPECT_EQ(put(&r, file, buf, 1000, LIMIT - 1000), 1000);
	note_size(file);
}

TEST(rlimit_fsize_of_an_append)
{
	int file = make_file(0);
	struct ring r;

	OK(ftruncate(file, LIMIT - 100));
	OK(fcntl(file, F_SETFL, O_APPEND));
	ring_init(&r, 4, 0);
	limit_fsize(LIMIT);
	EXPECT_EQ(put(&r, file, buf, 60, 0), 60);
	EXPECT_EQ(put(&r, file, buf, 60, 0), 40);
	EXPECT_EQ(put(&r, file, buf, 60, 0), -EFBIG);
	note_size(file);
}

TEST(rlimit_fsize_at_the_current_position)
{
	int file = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	limit_fsize(LIMIT);
	OK(lseek(file, LIMIT - 10, SEEK_SET));
	EXPECT_EQ(put(&r, file, buf, 60, (uint64_t)-1), 10);
	note("position %lld", (long long)lseek(file, 0, SEEK_CUR));
	OK(lseek(file, LIMIT, SEEK_SET));
	EXPECT_EQ(put(&r, file, buf, 60, (uint64_t)-1), -EFBIG);
}

TEST(rlimit_fsize_limits_files_only)
{
	int null = (int)OK(open("/dev/null", O_WRONLY));
	struct ring r;

	ring_init(&r, 4, 0);
	limit_fsize(LIMIT);
	EXPECT_EQ(put(&r, null, buf, 100, LIMIT + 5), 100);
}

/* Whoever may write to a file, a set-user-ID bit does not survive it. */
TEST(a_set_user_id_bit_goes)
{
	char path[] = "/tmp/uringfs-conformance-XXXXXX";
	int file = (int)OK(mkstemp(path));
	struct stat st;
	pid_t pid;

	OK(unlink(path));
	OK(fchown(file, 0, 0));
	OK(fchmod(file, 04777));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct ring r;

		ring_init(&r, 4, 0);
		if (geteuid() == 0)
			OK(setresuid(12345, 12345, 12345));
		EXPECT_EQ(put(&r, file, "abc", 3, 0), 3);
		fflush(stdout);
		_exit(0);
	}
	expect_child_ok(pid);
	OK(fstat(file, &st));
	note("mode %o", st.st_mode & 07777);
}

TEST(o_direct_wants_alignment)
{
	char path[] = "/tmp/uringfs-conformance-XXXXXX";
	char *data = map_pages(3, PROT_READ | PROT_WRITE), *back = map_pages(3, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{data, PAGE}, {data + PAGE + 512, 512}};
	int fd, direct;
	struct ring r;

	fd = (int)OK(mkstemp(path));
	direct = (int)OK(open(path, O_RDWR | O_DIRECT));
	OK(unlink(path));
	OK(close(fd));
	fill(data, 2 * PAGE);
	ring_init(&r, 4, 0);
	EXPECT_EQ(put(&r, direct, data, 2 * PAGE, 0), 2 * PAGE);
	put(&r, direct, data + 1, PAGE, 0);
	put(&r, direct, data, PAGE, 7);
	put(&r, direct, data, 100, 0);
	put(&r, direct, data + 512, 512, 512);
	rw(&r, IORING_OP_WRITEV, direct, iov, 2, 0);
	EXPECT_EQ(rw(&r, IORING_OP_READ, direct, back, 2 * PAGE, 0), 2 * PAGE);
	rw(&r, IORING_OP_READ, direct, back + 3, PAGE, 0);
	rw(&r, IORING_OP_READ, direct, back, PAGE + 100, 0);
	rw(&r, IORING_OP_READ, direct, back, 2 * PAGE, PAGE);
	rw(&r, IORING_OP_READV, direct, iov, 2, 0);
	note_size(direct);
}

TEST(ioprio_and_flags_of_a_write)
{
	int file = make_file(0);
	struct io_uring_sqe sqe = rw_sqe(IORING_OP_WRITE, file, buf, 10, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.ioprio = 2 << 13 | 4;
	EXPECT_EQ(run_sqe(&r, &sqe), 10);
	sqe.ioprio = 7 << 13;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.ioprio = 0;
	sqe.flags = IOSQE_BUFFER_SELECT;
	EXPECT_EQ(run_sqe(&r, &sqe), -EOPNOTSUPP);
	sqe.flags = IOSQE_ASYNC;
	EXPECT_EQ(run_sqe(&r, &sqe), 10);
	sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit_wait(&r, 1), 2);
	note("user_data=%llu", (unsigned long long)ring_wait(&r).user_data);
	EXPECT_EQ(ring_ready(&r), 0);
}

TEST(fixed_files)
{
	int file = make_file(100);
	struct io_uring_sqe sqe = rw_sqe(IORING_OP_WRITE, 0, "fixed", 5, 10);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &file, 1), 0);
	sqe.flags = IOSQE_FIXED_FILE;
	EXPECT_EQ(run_sqe(&r, &sqe), 5);
	OK(close(file));
	sqe.opcode = IORING_OP_READ;
	sqe.addr = (uint64_t)(uintptr_t)buf;
	EXPECT_EQ(run_sqe(&r, &sqe), 5);
	EXPECT_EQ(memcmp(buf, "fixed", 5), 0);
	sqe.fd = 1;
	EXPECT_EQ(run_sqe(&r, &sqe), -EBADF);
}
