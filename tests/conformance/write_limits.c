/* SPDX-License-Identifier: Apache-2.0 */
/* WRITE at the current position, within limits, past set-user-ID bits, with O_DIRECT. */
#include "rw.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

static char buf[1 << 16];

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

	ring_init(&r, 4, 0);
	ring_init(&other, 4, 0);
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

/* What comes before the fault is written, though the result is EFAULT; the file does not grow. */
TEST(o_direct_until_a_fault)
{
	char path[] = "/tmp/uringfs-conformance-XXXXXX";
	char *data = map_pages(4, PROT_READ | PROT_WRITE), *old = map_pages(4, PROT_READ | PROT_WRITE), got[4 * PAGE];
	struct iovec iov[3] = {{data, PAGE}, {data + PAGE, PAGE}, {data + 2 * PAGE, PAGE}};
	int fd = (int)OK(mkstemp(path)), direct = (int)OK(open(path, O_RDWR | O_DIRECT));
	static const off_t at[] = {0, PAGE, 2 * PAGE, 4 * PAGE};
	struct ring r;

	OK(unlink(path));
	fill(data, 2 * PAGE);
	memset(old, 'o', 4 * PAGE);
	OK(mprotect(data + 2 * PAGE, 2 * PAGE, PROT_NONE));
	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < sizeof(at) / sizeof(*at); i++) {
		OK(ftruncate(fd, 0));
		EXPECT_EQ(pwrite(fd, old, 2 * PAGE + 100, 0), 2 * PAGE + 100);
		OK(fsync(fd));
		for (unsigned vector = 0; vector < 2; vector++) {
			ssize_t size;

			if (vector)
				rw(&r, IORING_OP_WRITEV, direct, iov, 3, (uint64_t)at[i]);
			else
				put(&r, direct, data, 3 * PAGE, (uint64_t)at[i]);
			note_size(fd);
			size = OK(pread(fd, got, sizeof(got), 0));
			for (ssize_t page = 0; page * (ssize_t)PAGE < size; page++)
				note("page %zd: %s", page, got[page * PAGE] == 'o' ? "old" : "new");
		}
	}
	put(&r, direct, data + 512, 3 * PAGE, 0);
	EXPECT(pread(fd, got, 4 * PAGE, 0) >= (ssize_t)PAGE);
	note("%s", memcmp(got, data + 512, PAGE) ? "differs" : "written");
	OK(close(fd));
}
