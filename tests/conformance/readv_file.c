/* SPDX-License-Identifier: Apache-2.0 */
/* READV on what has a position: files, /dev/zero, /dev/null, directories. */
#include "harness.h"

TEST(whole_file)
{
	int file = make_file(100000);
	char *buf = map_pages(32, PROT_READ | PROT_WRITE);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, buf, 100000, 0), 100000);
	EXPECT(is_pattern(buf, 0, 100000));
}

TEST(several_megabytes_at_once)
{
	const size_t size = 8 << 20;
	int file = make_file(size);
	char *buf = map_pages((unsigned)(size / PAGE), PROT_READ | PROT_WRITE);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, buf, size, 0), size);
	EXPECT(is_pattern(buf, 0, size));
}

TEST(at_any_offset)
{
	static const uint64_t offsets[] = {0, 1, 511, 4095, 4096, 4097, 65535, 99990};
	int file = make_file(100000);
	char buf[5000];
	struct ring r;

	ring_init(&r, 4, 0);
	for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		int res = run_read(&r, file, buf, sizeof(buf), offsets[i]);

		EXPECT_GE(res, 10);
		EXPECT(is_pattern(buf, offsets[i], (size_t)res));
	}
	EXPECT_EQ(lseek(file, 0, SEEK_CUR), 0);
}

TEST(short_read_at_the_end)
{
	int file = make_file(1000);
	char buf[4096];
	struct ring r;

	memset(buf, 'u', sizeof(buf));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, buf, sizeof(buf), 900), 100);
	EXPECT(is_pattern(buf, 900, 100));
	EXPECT_EQ(buf[100], 'u');
}

TEST(eof_is_zero)
{
	int file = make_file(1000);
	char buf[16] = "untouched";
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, buf, sizeof(buf), 1000), 0);
	EXPECT_EQ(run_read(&r, file, buf, sizeof(buf), 1001), 0);
	EXPECT_EQ(run_read(&r, file, buf, sizeof(buf), 1ULL << 40), 0);
	EXPECT_EQ(strcmp(buf, "untouched"), 0);
}

TEST(empty_file)
{
	int file = make_file(0);
	char buf[16];
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, buf, sizeof(buf), 0), 0);
	EXPECT_EQ(run_read(&r, file, buf, sizeof(buf), (uint64_t)-1), 0);
}

TEST(hole_reads_as_zeros)
{
	int file = make_file(10);
	char buf[4096];
	struct ring r;

	memset(buf, 'u', sizeof(buf));
	OK(ftruncate(file, 1 << 20));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, buf, sizeof(buf), 500000), sizeof(buf));
	for (size_t i = 0; i < sizeof(buf); i++)
		EXPECT_EQ(buf[i], 0);
}

TEST(offset_minus_one_is_the_current_position)
{
	int file = make_file(1000);
	char buf[300];
	struct ring r;

	ring_init(&r, 4, 0);
	OK(lseek(file, 100, SEEK_SET));
	for (int i = 0; i < 4; i++) {
		int res = run_read(&r, file, buf, sizeof(buf), (uint64_t)-1);

		EXPECT(res >= 0 && is_pattern(buf, 100 + 300 * (size_t)i, (size_t)res));
		note("position %lld", (long long)lseek(file, 0, SEEK_CUR));
	}
	EXPECT_EQ(lseek(file, 0, SEEK_CUR), 1000);
	EXPECT_EQ(run_read(&r, file, buf, sizeof(buf), (uint64_t)-1), 0);
}

/* The position belongs to the open file, which dup(2) and fork(2) share. */
TEST(the_position_is_shared_with_a_dup)
{
	int file = make_file(1000), twin = (int)OK(dup(file));
	char buf[10];
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, buf, 10, (uint64_t)-1), 10);
	EXPECT_EQ(run_read(&r, twin, buf, 10, (uint64_t)-1), 10);
	EXPECT(is_pattern(buf, 10, 10));
	EXPECT_EQ(OK(read(file, buf, 10)), 10);
	EXPECT(is_pattern(buf, 20, 10));
}

TEST(a_failed_read_leaves_the_position)
{
	int file = make_file(1000);
	struct ring r;

	ring_init(&r, 4, 0);
	OK(lseek(file, 42, SEEK_SET));
	EXPECT_EQ(run_read(&r, file, map_then_hole(1) + PAGE, 10, (uint64_t)-1), -EFAULT);
	EXPECT_EQ(lseek(file, 0, SEEK_CUR), 42);
}

TEST(negative_offsets_are_einval)
{
	int file = make_file(1000);
	char buf[10];
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, buf, 10, (uint64_t)-2), -EINVAL);
	EXPECT_EQ(run_read(&r, file, buf, 10, 1ULL << 63), -EINVAL);
}

TEST(offsets_near_the_largest)
{
	int file = make_file(1000);
	char buf[10];
	struct ring r;

	ring_init(&r, 4, 0);
	run_read(&r, file, buf, 10, INT64_MAX);
	run_read(&r, file, buf, 10, INT64_MAX - 10);
	run_read(&r, file, buf, 10, INT64_MAX - 9);
	EXPECT_EQ(run_read(&r, file, buf, 10, 0), 10);
}

TEST(many_reads_in_one_enter)
{
	int file = make_file(64 * 1000);
	static char buf[64][1000];
	struct iovec iov[64];
	struct ring r;
	uint64_t seen = 0;

	ring_init(&r, 64, 0);
	for (unsigned i = 0; i < 64; i++) {
		iov[i].iov_base = buf[i];
		iov[i].iov_len = 1000;
		ring_readv(&r, file, &iov[i], 1, (63 - i) * 1000, i);
	}
	EXPECT_EQ(ring_submit_wait(&r, 64), 64);
	for (int i = 0; i < 64; i++) {
		struct cqe cqe = ring_wait(&r);

		EXPECT_EQ(cqe.res, 1000);
		EXPECT_EQ(seen >> cqe.user_data & 1, 0);
		seen |= 1ULL << cqe.user_data;
		EXPECT(is_pattern(buf[cqe.user_data], (63 - cqe.user_data) * 1000, 1000));
	}
	note("64 reads, each once");
}

TEST(o_direct)
{
	char path[] = "/tmp/uringfs-conformance-XXXXXX";
	char *buf = map_pages(2, PROT_READ | PROT_WRITE), *data = map_pages(2, PROT_READ | PROT_WRITE);
	int fd = (int)OK(mkstemp(path)), direct;
	struct ring r;

	for (size_t i = 0; i < 2 * PAGE; i++)
		data[i] = (char)pattern(i);
	EXPECT_EQ(OK(write(fd, data, 2 * PAGE)), 2 * PAGE);
	ring_init(&r, 4, 0);
	OK(fsync(fd));
	direct = open(path, O_RDONLY | O_DIRECT);
	OK(unlink(path));
	if (direct < 0) { /* tmpfs of old; both backends see the same file system */
		note("open: %d", errno);
		return;
	}
	EXPECT_EQ(run_read(&r, direct, buf, PAGE, PAGE), PAGE);
	EXPECT(is_pattern(buf, PAGE, PAGE));
	run_read(&r, direct, buf, PAGE, 2 * PAGE);
}

static void expect_zeros_behind(const char *buf, unsigned size, unsigned most)
{
	unsigned end = size;

	for (unsigned i = 0; i < size; i++)
		EXPECT_EQ(buf[i], 'd');
	while (end < most && buf[end] == 0)
		end++;
	note("%u bytes, %u zeros", size, end - size);
	for (; end < most; end++)
		EXPECT_EQ(buf[end], 'b');
}

/* What lies behind the end is stored, too, as far as the file system goes: blocks, or all of the buffer. */
TEST(o_direct_behind_the_end)
{
	static const unsigned sizes[] = {600, PAGE, 5000};
	char path[] = "/tmp/uringfs-conformance-XXXXXX";
	char *buf = map_pages(3, PROT_READ | PROT_WRITE), *data = map_pages(2, PROT_READ | PROT_WRITE);
	const struct iovec iov[] = {{buf, 512}, {buf + 512, 1024}, {buf + 1536, 2 * PAGE - 1536}};
	int fd = (int)OK(mkstemp(path)), direct = open(path, O_RDONLY | O_DIRECT);
	struct ring r;

	OK(unlink(path));
	if (direct < 0) { /* tmpfs of old; both backends see the same file system */
		note("open: %d", errno);
		return;
	}
	memset(data, 'd', 2 * PAGE);
	ring_init(&r, 4, 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		OK(ftruncate(fd, 0));
		EXPECT_EQ(OK(pwrite(fd, data, sizes[i], 0)), sizes[i]);
		OK(fsync(fd));
		for (unsigned n = 1; n <= 3; n += 2) {
			memset(buf, 'b', 3 * PAGE);
			run_readv(&r, direct, n == 1 ? &(struct iovec){buf, 2 * PAGE} : iov, n, 0);
			expect_zeros_behind(buf, sizes[i], 3 * PAGE);
		}
	}
}

/* Not in the page cache: the read has to go to the disk, and nothing waits for it meanwhile. */
TEST(cold_file)
{
	int file = make_file(1 << 20);
	char *buf = map_pages(256, PROT_READ | PROT_WRITE);
	struct iovec iov = {buf, 1 << 20};
	struct ring r;

	OK(fsync(file));
	EXPECT_EQ(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
	ring_init(&r, 4, 0);
	ring_readv(&r, file, &iov, 1, 0, 1);
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	for (int i = 0; i < 2; i++) {
		struct cqe cqe = ring_wait(&r);

		EXPECT_EQ(cqe.res, cqe.user_data == 1 ? 1 << 20 : 0);
	}
	EXPECT(is_pattern(buf, 0, 1 << 20));
	note("all of it");
}

/* read_iter_zero() may stop behind each page, if others want the CPU */
static void read_zeros(struct ring *r, int zero, char *buf, size_t size)
{
	for (size_t done = 0; done < size;) {
		struct iovec iov = {buf + done, size - done};
		struct cqe cqe;

		ring_readv(r, zero, &iov, 1, 0, 1);
		EXPECT_EQ(ring_submit_wait(r, 1), 1);
		cqe = ring_wait(r);
		EXPECT_GE(cqe.res, PAGE);
		done += (size_t)cqe.res;
	}
}

TEST(dev_zero)
{
	int zero = (int)OK(open("/dev/zero", O_RDONLY));
	char *buf = map_pages(16, PROT_READ | PROT_WRITE);
	struct ring r;

	memset(buf, 'u', 16 * PAGE);
	ring_init(&r, 4, 0);
	read_zeros(&r, zero, buf, 16 * PAGE);
	for (size_t i = 0; i < 16 * PAGE; i++)
		EXPECT_EQ(buf[i], 0);
	EXPECT_EQ(run_read(&r, zero, buf, 100, 1ULL << 50), 100);
	EXPECT_EQ(run_read(&r, zero, buf, 100, (uint64_t)-1), 100);
}

TEST(dev_null)
{
	int null = (int)OK(open("/dev/null", O_RDONLY));
	char buf[16];
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, null, buf, 16, 0), 0);
	EXPECT_EQ(run_read(&r, null, buf, 16, (uint64_t)-1), 0);
	EXPECT_EQ(run_read(&r, null, buf, 16, 99), 0);
}

TEST(a_file_of_proc)
{
	int fd = (int)OK(open("/proc/version", O_RDONLY)), n;
	char buf[1024], again[1024];
	struct ring r;

	ring_init(&r, 4, 0);
	n = run_read(&r, fd, buf, sizeof(buf), 0);
	EXPECT_EQ(n, pread(fd, again, sizeof(again), 0));
	EXPECT_EQ(memcmp(buf, again, (size_t)n), 0);
}

/* What the caller sees as its own: /proc/self and the like are opened by the caller, not by a daemon. */
TEST(a_file_of_ones_own_proc_entry)
{
	int fd = (int)OK(open("/proc/self/stat", O_RDONLY));
	char buf[1024] = "";
	struct iovec iov = {buf, sizeof(buf) - 1};
	struct ring r;
	struct cqe cqe;

	ring_init(&r, 4, 0);
	ring_readv(&r, fd, &iov, 1, 0, 1);
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_GE(cqe.res, 10);
	EXPECT_EQ(strtol(buf, NULL, 10), getpid());
	note("my own");
}

TEST(memfd)
{
	int fd = (int)OK(memfd_create("conformance", 0));
	char buf[16] = "";
	struct ring r;

	EXPECT_EQ(OK(write(fd, "0123456789", 10)), 10);
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, fd, buf, 16, 3), 7);
	EXPECT_EQ(memcmp(buf, "3456789", 7), 0);
}

TEST(directory_is_eisdir)
{
	int fd = (int)OK(open("/tmp", O_RDONLY | O_DIRECTORY));
	char buf[16];
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, fd, buf, 16, 0), -EISDIR);
	EXPECT_EQ(run_read(&r, fd, buf, 16, (uint64_t)-1), -EISDIR);
	/* loop_rw_iter(): a file without read_iter is not even asked for nothing */
	EXPECT_EQ(run_readv(&r, fd, NULL, 0, 0), 0);
}

TEST(write_only_descriptor_is_ebadf)
{
	int fd = (int)OK(open("/dev/null", O_WRONLY)), p[2];
	char buf[16];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, fd, buf, 16, 0), -EBADF);
	EXPECT_EQ(run_read(&r, p[1], buf, 16, 0), -EBADF);
}

TEST(o_path_descriptor_is_ebadf)
{
	int fd = (int)OK(open("/tmp", O_PATH));
	char buf[16];
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, fd, buf, 16, 0), -EBADF);
}

TEST(append_descriptor_reads_where_told)
{
	int file = make_file(100);
	char buf[16];
	struct ring r;

	OK(fcntl(file, F_SETFL, O_APPEND));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, buf, 16, 50), 16);
	EXPECT(is_pattern(buf, 50, 16));
}

TEST(nonblocking_file_is_read_all_the_same)
{
	int file = make_file(100);
	char buf[16];
	struct ring r;

	OK(fcntl(file, F_SETFL, O_NONBLOCK));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_read(&r, file, buf, 16, 50), 16);
	EXPECT_EQ(OK(fcntl(file, F_GETFL)) & O_NONBLOCK, O_NONBLOCK);
}
