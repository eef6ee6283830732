/* SPDX-License-Identifier: Apache-2.0 */
/* FSYNC, SYNC_FILE_RANGE, FALLOCATE, FTRUNCATE. */
#include "sync.h"

#include <linux/falloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define OP_FTRUNCATE 55
#define LIMIT (1L << 30) /* above the offset of uringfs's control writes */

static void note_size(int fd)
{
	struct stat st;

	OK(fstat(fd, &st));
	note("size %lld blocks %lld", (long long)st.st_size, (long long)st.st_blocks);
}

TEST(fsync_whole_and_range)
{
	int file = make_file(10000);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(go(&r, IORING_OP_FSYNC, file, 0, 0, 0, 0), 0);
	EXPECT_EQ(go(&r, IORING_OP_FSYNC, file, 0, 0, 0, IORING_FSYNC_DATASYNC), 0);
	EXPECT_EQ(go(&r, IORING_OP_FSYNC, file, 4096, 0, 100, 0), 0);
	EXPECT_EQ(go(&r, IORING_OP_FSYNC, file, 1 << 30, 0, 100, 0), 0);
	EXPECT_EQ(go(&r, IORING_OP_FSYNC, file, (uint64_t)-1, 0, 0, 0), -EINVAL);
	EXPECT_EQ(go(&r, IORING_OP_FSYNC, file, 0, 0, 0, 2), -EINVAL);
	EXPECT_EQ(go(&r, IORING_OP_FSYNC, file, 0, 0, 0, 0x80000001), -EINVAL);
}

TEST(fsync_fields)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_FSYNC, make_file(10), 0, 0, 0, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	each_field(&r, &sqe);
}

TEST(fsync_kinds_of_file)
{
	struct ring r;

	ring_init(&r, 4, 0);
	kinds_of_file(&r, IORING_OP_FSYNC, 0, 0, 0, 0);
	kinds_of_file(&r, IORING_OP_FSYNC, 0, 0, 0, IORING_FSYNC_DATASYNC);
}

TEST(write_linked_to_fsync)
{
	int file = make_file(0);
	struct io_uring_sqe sqe = sqe_of(IORING_OP_WRITE, file, 0, (uint64_t)(uintptr_t) "data", 4, 0);
	struct ring r;

	ring_init(&r, 8, 0);
	sqe.flags = IOSQE_IO_LINK;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	sqe = sqe_of(IORING_OP_FSYNC, file, 0, 0, 0, 0);
	sqe.flags = IOSQE_IO_LINK;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 3);
	EXPECT_EQ(ring_submit_wait(&r, 3), 3);
	for (int i = 0; i < 3; i++) {
		struct cqe cqe = ring_wait(&r);

		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	}
}

/* io_fsync() sets a result, but does not fail the request. */
TEST(a_failed_fsync_breaks_no_link)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 8, 0);
	sqe = sqe_of(IORING_OP_FSYNC, p[0], 0, 0, 0, 0);
	sqe.flags = IOSQE_IO_LINK;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 3);
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	for (int i = 0; i < 2; i++) {
		struct cqe cqe = ring_wait(&r);

		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	}
}

/* A drained fsync comes behind the writes before it. */
TEST(drained_fsync)
{
	int file = make_file(0);
	struct io_uring_sqe sqe = sqe_of(IORING_OP_WRITE, file, 0, (uint64_t)(uintptr_t) "data", 4, 0);
	struct ring r;
	struct cqe cqe;

	ring_init(&r, 8, 0);
	for (int i = 0; i < 3; i++)
		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	sqe = sqe_of(IORING_OP_FSYNC, file, 0, 0, 0, 0);
	sqe.flags = IOSQE_IO_DRAIN;
	sqe.user_data = 9;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit_wait(&r, 4), 4);
	for (int i = 0; i < 4; i++) {
		cqe = ring_wait(&r);
		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	}
	EXPECT_EQ(cqe.user_data, 9);
}

TEST(sync_file_range_arguments)
{
	int file = make_file(10000);
	struct ring r;

	ring_init(&r, 4, 0);
	for (uint32_t flags = 0; flags < 9; flags++)
		go(&r, IORING_OP_SYNC_FILE_RANGE, file, 0, 0, 4096, flags);
	EXPECT_EQ(go(&r, IORING_OP_SYNC_FILE_RANGE, file, 100, 0, 0, 7), 0);
	EXPECT_EQ(go(&r, IORING_OP_SYNC_FILE_RANGE, file, (uint64_t)-1, 0, 0, 7), -EINVAL);
	EXPECT_EQ(go(&r, IORING_OP_SYNC_FILE_RANGE, file, INT64_MAX, 0, 5, 7), -EINVAL);
	EXPECT_EQ(go(&r, IORING_OP_SYNC_FILE_RANGE, file, 0, 0, UINT32_MAX, 7), 0);
}

TEST(sync_file_range_fields)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_SYNC_FILE_RANGE, make_file(10), 0, 0, 0, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	each_field(&r, &sqe);
}

TEST(sync_file_range_kinds_of_file)
{
	struct ring r;

	ring_init(&r, 4, 0);
	kinds_of_file(&r, IORING_OP_SYNC_FILE_RANGE, 0, 0, 0, 2);
}

TEST(fallocate_grows_and_keeps)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(go(&r, IORING_OP_FALLOCATE, file, 0, 65536, FALLOC_FL_KEEP_SIZE, 0), 0);
	note_size(file);
	EXPECT_EQ(go(&r, IORING_OP_FALLOCATE, file, 65536, 65536, 0, 0), 0);
	note_size(file);
	EXPECT_EQ(go(&r, IORING_OP_FALLOCATE, file, 0, 131072, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0), 0);
	note_size(file);
	go(&r, IORING_OP_FALLOCATE, file, 0, 131072, FALLOC_FL_ZERO_RANGE, 0);
	note_size(file);
}

TEST(fallocate_arguments)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	go(&r, IORING_OP_FALLOCATE, file, 0, 0, 0, 0);
	go(&r, IORING_OP_FALLOCATE, file, (uint64_t)-1, 10, 0, 0);
	go(&r, IORING_OP_FALLOCATE, file, 0, (uint64_t)-1, 0, 0);
	go(&r, IORING_OP_FALLOCATE, file, INT64_MAX, 10, 0, 0);
	go(&r, IORING_OP_FALLOCATE, file, 1ULL << 60, 10, 0, 0);
	go(&r, IORING_OP_FALLOCATE, file, 0, 10, FALLOC_FL_PUNCH_HOLE, 0);
	go(&r, IORING_OP_FALLOCATE, file, 0, 10, 0x80000000, 0);
	go(&r, IORING_OP_FALLOCATE, file, 0, 10, 0x1000, 0);
	go(&r, IORING_OP_FALLOCATE, file, 7, 10, FALLOC_FL_COLLAPSE_RANGE, 0);
	note_size(file);
}

TEST(fallocate_fields)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_FALLOCATE, make_file(10), 0, 100, 0, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	each_field(&r, &sqe);
}

TEST(fallocate_kinds_of_file)
{
	struct ring r;

	ring_init(&r, 4, 0);
	kinds_of_file(&r, IORING_OP_FALLOCATE, 0, 4096, 0, 0);
}

static volatile sig_atomic_t got;

static void count(int sig)
{
	(void)sig;
	got = got + 1;
}

static void limit_fsize(void)
{
	struct rlimit rl = {LIMIT, RLIM_INFINITY};

	OK(setrlimit(RLIMIT_FSIZE, &rl));
	on_signal(SIGXFSZ, count, 0);
}

TEST(rlimit_fsize)
{
	int file = make_file(0), large = make_file(0);
	struct ring r;

	OK(ftruncate(large, LIMIT + 5000));
	ring_init(&r, 4, 0);
	limit_fsize();
	EXPECT_EQ(go(&r, OP_FTRUNCATE, file, LIMIT, 0, 0, 0), 0);
	EXPECT_EQ(go(&r, OP_FTRUNCATE, file, LIMIT + 1, 0, 0, 0), -EFBIG);
	EXPECT_EQ(go(&r, OP_FTRUNCATE, large, LIMIT + 6000, 0, 0, 0), -EFBIG);
	EXPECT_EQ(go(&r, OP_FTRUNCATE, large, LIMIT + 4000, 0, 0, 0), 0);
	EXPECT_EQ(go(&r, IORING_OP_FALLOCATE, file, LIMIT - 4096, 4096, 0, 0), 0);
	EXPECT_EQ(go(&r, IORING_OP_FALLOCATE, file, LIMIT - 4096, 4097, 0, 0), -EFBIG);
	/* The filesystem's: a tmpfs looks at the limit even so, and not at the length */
	go(&r, IORING_OP_FALLOCATE, file, LIMIT, 4096, FALLOC_FL_KEEP_SIZE, 0);
	go(&r, IORING_OP_FALLOCATE, file, LIMIT, 0, 0, 0);
	note("signals %d", (int)got);
}

TEST(ftruncate_both_ways)
{
	int file = make_file(10000);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(go(&r, OP_FTRUNCATE, file, 100, 0, 0, 0), 0);
	EXPECT_EQ(lseek(file, 0, SEEK_END), 100);
	EXPECT_EQ(go(&r, OP_FTRUNCATE, file, 1 << 20, 0, 0, 0), 0);
	EXPECT_EQ(lseek(file, 0, SEEK_END), 1 << 20);
	EXPECT_EQ(go(&r, OP_FTRUNCATE, file, (uint64_t)-1, 0, 0, 0), -EINVAL);
	go(&r, OP_FTRUNCATE, file, INT64_MAX, 0, 0, 0);
	go(&r, OP_FTRUNCATE, file, 1ULL << 60, 0, 0, 0);
	OK(fcntl(file, F_SETFL, O_APPEND));
	EXPECT_EQ(go(&r, OP_FTRUNCATE, file, 10, 0, 0, 0), 0);
}

TEST(ftruncate_fields)
{
	struct io_uring_sqe sqe = sqe_of(OP_FTRUNCATE, make_file(10), 0, 0, 0, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	each_field(&r, &sqe);
}

TEST(ftruncate_kinds_of_file)
{
	struct ring r;

	ring_init(&r, 4, 0);
	kinds_of_file(&r, OP_FTRUNCATE, 10, 0, 0, 0);
}

TEST(truncation_takes_a_set_user_id_bit)
{
	char path[] = "/tmp/uringfs-conformance-XXXXXX";
	int file = (int)OK(mkstemp(path));
	struct stat st;
	pid_t pid;

	OK(unlink(path));
	OK(fchmod(file, 04777));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct ring r;

		ring_init(&r, 4, 0);
		if (geteuid() == 0)
			OK(setresuid(12345, 12345, 12345));
		EXPECT_EQ(go(&r, OP_FTRUNCATE, file, 10, 0, 0, 0), 0);
		fflush(stdout);
		_exit(0);
	}
	expect_child_ok(pid);
	OK(fstat(file, &st));
	note("mode %o", st.st_mode & 07777);
}

TEST(what_fails_and_breaks_a_link)
{
	struct io_uring_sqe sqes[] = {
		sqe_of(IORING_OP_FADVISE, make_file(10), 0, 0, 0, 77),
		sqe_of(IORING_OP_MADVISE, -1, 0, 0, 1, 77),
		sqe_of(IORING_OP_FALLOCATE, (int)OK(open("/dev/zero", O_RDWR)), 0, 10, 0, 0),
		sqe_of(OP_FTRUNCATE, (int)OK(open("/dev/zero", O_RDWR)), 0, 0, 0, 0),
		sqe_of(IORING_OP_SYNC_FILE_RANGE, make_file(10), 0, 0, 0, 77),
		sqe_of(IORING_OP_FSYNC, -1, 0, 0, 0, 0),
	};
	struct ring r;

	ring_init(&r, 8, 0);
	for (size_t i = 0; i < sizeof(sqes) / sizeof(*sqes); i++) {
		sqes[i].flags = IOSQE_IO_LINK;
		memcpy(ring_sqe(&r), &sqes[i], sizeof(sqes[i]));
		ring_nop(&r, 3);
		EXPECT_EQ(ring_submit_wait(&r, 2), 2);
		for (int n = 0; n < 2; n++) {
			struct cqe cqe = ring_wait(&r);

			note("op %u user_data=%llu res=%d", sqes[i].opcode, (unsigned long long)cqe.user_data, cqe.res);
		}
	}
}

/* A request whose failure is none is skipped as a success is. */
TEST(a_failed_fsync_may_be_skipped)
{
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 8, 0);
	sqe = sqe_of(IORING_OP_FSYNC, p[0], 0, 0, 0, 0);
	sqe.flags = IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK;
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	ring_nop(&r, 3);
	EXPECT_EQ(ring_submit_wait(&r, 1), 2);
	note("user_data=%llu", (unsigned long long)ring_wait(&r).user_data);
	EXPECT_EQ(ring_ready(&r), 0);
}
