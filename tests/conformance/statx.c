/* SPDX-License-Identifier: Apache-2.0 */
/* STATX. */
#include "paths.h"

static struct statx found;

static void statx_sqe(struct io_uring_sqe *sqe, int dfd, const char *name, int flags, unsigned mask)
{
	memset(sqe, 0, sizeof(*sqe));
	memset(&found, 0x5a, sizeof(found));
	sqe->opcode = IORING_OP_STATX;
	sqe->fd = dfd;
	sqe->addr = (uint64_t)(uintptr_t)name;
	sqe->statx_flags = (uint32_t)flags;
	sqe->len = mask;
	sqe->off = (uint64_t)(uintptr_t)&found;
}

static int run_statx(struct ring *r, int dfd, const char *name, int flags, unsigned mask)
{
	struct io_uring_sqe sqe;

	statx_sqe(&sqe, dfd, name, flags, mask);
	return run_sqe(r, &sqe);
}

/* Byte for byte what statx(2) says. */
static void same(int dfd, const char *name, int flags, unsigned mask)
{
	struct statx want;

	memset(&want, 0, sizeof(want));
	OK(statx(dfd, name, flags, mask, &want));
	EXPECT_EQ(memcmp(&want, &found, sizeof(want)), 0);
}

TEST(a_file)
{
	struct ring r;

	enter_scratch();
	put_file("f", "hello", 5);
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_statx(&r, AT_FDCWD, "f", 0, STATX_BASIC_STATS | STATX_BTIME), 0);
	same(AT_FDCWD, "f", 0, STATX_BASIC_STATS | STATX_BTIME);
	note("mode %o size %llu links %u", found.stx_mode, (unsigned long long)found.stx_size, found.stx_nlink);
}

TEST(kinds_of_files)
{
	static const char *const names[] = {".", "/", "/dev/null", "/proc/version", "/etc", "p", "f"};
	struct ring r;

	enter_scratch();
	OK(mkfifo("p", 0600));
	put_file("f", "", 0);
	OK(chmod("f", 04711));
	ring_init(&r, 4, 0);
	for (int i = 0; i < 7; i++) {
		EXPECT_EQ(run_statx(&r, AT_FDCWD, names[i], AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MODE | STATX_INO),
			  0);
		same(AT_FDCWD, names[i], AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MODE | STATX_INO);
		note("%s %o", names[i], found.stx_mode);
	}
}

TEST(symbolic_links)
{
	struct ring r;

	enter_scratch();
	put_file("f", "hello", 5);
	OK(symlink("f", "link"));
	OK(symlink("none", "dangling"));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_statx(&r, AT_FDCWD, "link", 0, STATX_BASIC_STATS), 0);
	note("%o", found.stx_mode);
	EXPECT_EQ(run_statx(&r, AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS), 0);
	note("%o", found.stx_mode);
	same(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS);
	run_statx(&r, AT_FDCWD, "dangling", 0, STATX_BASIC_STATS);
}

TEST(relative_to_a_directory)
{
	struct ring r;
	int d;

	enter_scratch();
	OK(mkdir("d", 0755));
	put_file("d/f", "hello", 5);
	d = (int)OK(open("d", O_PATH));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_statx(&r, d, "f", 0, STATX_SIZE), 0);
	note("size %llu", (unsigned long long)found.stx_size);
	run_statx(&r, -1, "f", 0, STATX_SIZE);
	EXPECT_EQ(run_statx(&r, -1, "/dev/null", 0, STATX_SIZE), 0);
	run_statx(&r, (int)OK(open("d/f", O_RDONLY)), "f", 0, STATX_SIZE);
}

TEST(of_a_descriptor)
{
	struct ring r;
	int fd, p[2];

	enter_scratch();
	put_file("f", "hello", 5);
	OK(pipe(p));
	fd = (int)OK(open("f", O_RDONLY));
	OK(unlink("f"));
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_statx(&r, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS), 0);
	same(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS);
	note("links %u", found.stx_nlink);
	EXPECT_EQ(run_statx(&r, p[0], "", AT_EMPTY_PATH, STATX_BASIC_STATS), 0);
	same(p[0], "", AT_EMPTY_PATH, STATX_BASIC_STATS);
	EXPECT_EQ(run_statx(&r, AT_FDCWD, "", AT_EMPTY_PATH, STATX_BASIC_STATS), 0);
	same(AT_FDCWD, "", AT_EMPTY_PATH, STATX_BASIC_STATS);
	run_statx(&r, fd, "", 0, STATX_BASIC_STATS);
	run_statx(&r, 12345, "", AT_EMPTY_PATH, STATX_BASIC_STATS);
}

TEST(what_is_refused)
{
	struct io_uring_sqe sqe;
	struct ring r;

	enter_scratch();
	put_file("f", "", 0);
	ring_init(&r, 4, 0);
	run_statx(&r, AT_FDCWD, "none", 0, STATX_BASIC_STATS);
	run_statx(&r, AT_FDCWD, "f", 0x10, STATX_BASIC_STATS);
	run_statx(&r, AT_FDCWD, "f", AT_STATX_SYNC_TYPE, STATX_BASIC_STATS);
	run_statx(&r, AT_FDCWD, "f", 0, STATX__RESERVED);
	run_statx(&r, AT_FDCWD, (void *)8, 0, STATX_BASIC_STATS);
	run_statx(&r, AT_FDCWD, NULL, 0, STATX_BASIC_STATS);
	for (int i = 0; i < 5; i++) {
		statx_sqe(&sqe, AT_FDCWD, "f", 0, STATX_BASIC_STATS);
		sqe.buf_index = i == 0;
		sqe.file_index = i == 1;
		sqe.flags = i == 2 ? IOSQE_FIXED_FILE : 0;
		sqe.ioprio = i == 3;
		sqe.off = i == 4 ? 8 : sqe.off;
		run_sqe(&r, &sqe);
	}
}

TEST(a_buffer_at_the_end_of_its_mapping)
{
	char *end = map_then_hole(1) + PAGE;
	struct io_uring_sqe sqe;
	struct ring r;

	enter_scratch();
	put_file("f", "", 0);
	ring_init(&r, 4, 0);
	statx_sqe(&sqe, AT_FDCWD, "f", 0, STATX_BASIC_STATS);
	sqe.off = (uint64_t)(uintptr_t)end - sizeof(struct statx);
	run_sqe(&r, &sqe);
	sqe.off += 8;
	run_sqe(&r, &sqe);
}

TEST(in_a_link_behind_a_mkdir)
{
	struct io_uring_sqe *sqe;
	struct ring r;

	enter_scratch();
	ring_init(&r, 4, 0);
	sqe = ring_sqe(&r);
	sqe->opcode = IORING_OP_MKDIRAT;
	sqe->fd = AT_FDCWD;
	sqe->addr = (uint64_t)(uintptr_t) "d";
	sqe->len = 0700;
	sqe->flags = IOSQE_IO_LINK;
	sqe->user_data = 1;
	sqe = ring_sqe(&r);
	statx_sqe(sqe, AT_FDCWD, "d", 0, STATX_BASIC_STATS);
	sqe->user_data = 2;
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	note_all(&r, 2);
	note("%o", found.stx_mode);
}

TEST(the_working_directory_of_the_moment)
{
	struct ring r;

	enter_scratch();
	OK(mkdir("d", 0755));
	put_file("f", "1", 1);
	put_file("d/f", "22", 2);
	ring_init(&r, 4, 0);
	run_statx(&r, AT_FDCWD, "f", 0, STATX_SIZE);
	note("size %llu", (unsigned long long)found.stx_size);
	OK(chdir("d"));
	run_statx(&r, AT_FDCWD, "f", 0, STATX_SIZE);
	note("size %llu", (unsigned long long)found.stx_size);
	run_statx(&r, AT_FDCWD, "../f", 0, STATX_SIZE);
	note("size %llu", (unsigned long long)found.stx_size);
}
