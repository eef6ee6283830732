/* SPDX-License-Identifier: Apache-2.0 */
/* RENAMEAT, UNLINKAT, MKDIRAT, SYMLINKAT, LINKAT. */
#include "paths.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif

static struct io_uring_sqe names_sqe(int op, int dfd, const char *name, int dfd2, const char *name2, unsigned flags)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.fd = dfd;
	sqe.addr = (uint64_t)(uintptr_t)name;
	sqe.len = (uint32_t)dfd2;
	sqe.off = (uint64_t)(uintptr_t)name2;
	sqe.rw_flags = (int)flags;
	return sqe;
}

static int run_rename(struct ring *r, const char *from, const char *to, unsigned flags)
{
	struct io_uring_sqe sqe = names_sqe(IORING_OP_RENAMEAT, AT_FDCWD, from, AT_FDCWD, to, flags);

	return run_sqe(r, &sqe);
}

static int run_link(struct ring *r, int dfd, const char *from, const char *to, unsigned flags)
{
	struct io_uring_sqe sqe = names_sqe(IORING_OP_LINKAT, dfd, from, AT_FDCWD, to, flags);

	return run_sqe(r, &sqe);
}

static int run_unlink(struct ring *r, int dfd, const char *name, unsigned flags)
{
	struct io_uring_sqe sqe = names_sqe(IORING_OP_UNLINKAT, dfd, name, 0, NULL, flags);

	return run_sqe(r, &sqe);
}

static int run_mkdir(struct ring *r, int dfd, const char *name, unsigned mode)
{
	struct io_uring_sqe sqe = names_sqe(IORING_OP_MKDIRAT, dfd, name, (int)mode, NULL, 0);

	return run_sqe(r, &sqe);
}

static int run_symlink(struct ring *r, const char *target, int dfd, const char *name)
{
	struct io_uring_sqe sqe = names_sqe(IORING_OP_SYMLINKAT, dfd, target, 0, name, 0);

	return run_sqe(r, &sqe);
}

TEST(rename_moves)
{
	struct ring r;

	enter_scratch();
	put_file("a", "a", 1);
	ring_init(&r, 4, 0);
	EXPECT_EQ(run_rename(&r, "a", "b", 0), 0);
	note_mode("a");
	note_mode("b");
	run_rename(&r, "a", "b", 0);
}

TEST(rename_flags)
{
	struct stat st;
	struct ring r;

	enter_scratch();
	put_file("a", "a", 1);
	put_file("b", "bb", 2);
	ring_init(&r, 4, 0);
	run_rename(&r, "a", "b", RENAME_NOREPLACE);
	run_rename(&r, "a", "b", RENAME_EXCHANGE);
	OK(stat("a", &st));
	note("size of a %ld", (long)st.st_size);
	run_rename(&r, "a", "none", RENAME_EXCHANGE);
	run_rename(&r, "a", "b", RENAME_EXCHANGE | RENAME_NOREPLACE);
	run_rename(&r, "a", "b", 0x80);
	run_rename(&r, "a", "b", 0);
	note_mode("a");
}

TEST(rename_directories)
{
	struct ring r;

	enter_scratch();
	OK(mkdir("d", 0755));
	OK(mkdir("d/e", 0755));
	put_file("f", "", 0);
	ring_init(&r, 4, 0);
	run_rename(&r, "d", "d/e/x", 0);
	run_rename(&r, "d", "f", 0);
	run_rename(&r, "f", "d", 0);
	run_rename(&r, "d/e", "e", 0);
	note_mode("e");
	run_rename(&r, ".", "x", 0);
	run_rename(&r, "d", "/dev/shm/uringfs-no-such", 0);
}

TEST(rename_between_directories)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int a, b;

	enter_scratch();
	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	put_file("a/f", "", 0);
	a = (int)OK(open("a", O_PATH));
	b = (int)OK(open("b", O_PATH));
	ring_init(&r, 4, 0);
	sqe = names_sqe(IORING_OP_RENAMEAT, a, "f", b, "g", 0);
	run_sqe(&r, &sqe);
	note_mode("b/g");
	sqe = names_sqe(IORING_OP_RENAMEAT, b, "g", -1, "h", 0);
	run_sqe(&r, &sqe);
	sqe = names_sqe(IORING_OP_RENAMEAT, -1, "g", a, "h", 0);
	run_sqe(&r, &sqe);
}

TEST(unlink_and_rmdir)
{
	struct ring r;
	int d;

	enter_scratch();
	put_file("f", "", 0);
	OK(mkdir("d", 0755));
	put_file("d/g", "", 0);
	d = (int)OK(open("d", O_PATH));
	ring_init(&r, 4, 0);
	run_unlink(&r, AT_FDCWD, "f", 0);
	run_unlink(&r, AT_FDCWD, "f", 0);
	run_unlink(&r, AT_FDCWD, "d", 0);
	run_unlink(&r, AT_FDCWD, "d", AT_REMOVEDIR);
	run_unlink(&r, d, "g", AT_REMOVEDIR);
	run_unlink(&r, d, "g", 0);
	run_unlink(&r, AT_FDCWD, "d", AT_REMOVEDIR);
	run_unlink(&r, d, "g", 0);
	run_unlink(&r, AT_FDCWD, "d", 1);
	run_unlink(&r, AT_FDCWD, ".", AT_REMOVEDIR);
	run_unlink(&r, AT_FDCWD, "", 0);
}

TEST(mkdir_modes)
{
	struct ring r;

	enter_scratch();
	ring_init(&r, 4, 0);
	run_mkdir(&r, AT_FDCWD, "a", 0777);
	note_mode("a");
	umask(077);
	run_mkdir(&r, AT_FDCWD, "b", 0777);
	note_mode("b");
	umask(0);
	run_mkdir(&r, AT_FDCWD, "c", 01777);
	note_mode("c");
	run_mkdir(&r, AT_FDCWD, "d", 0xffffffff);
	note_mode("d");
	run_mkdir(&r, AT_FDCWD, "a", 0777);
	run_mkdir(&r, AT_FDCWD, "none/a", 0777);
	run_mkdir(&r, AT_FDCWD, "/", 0777);
	run_mkdir(&r, (int)OK(open("a", O_PATH)), "x/", 0700);
	note_mode("a/x");
}

TEST(symlinks)
{
	struct ring r;
	char buf[64];
	ssize_t n;

	enter_scratch();
	OK(mkdir("d", 0755));
	ring_init(&r, 4, 0);
	run_symlink(&r, "/proc/self/anything", AT_FDCWD, "a");
	n = OK(readlink("a", buf, sizeof(buf)));
	note("%.*s", (int)n, buf);
	run_symlink(&r, "x", AT_FDCWD, "a");
	run_symlink(&r, "", AT_FDCWD, "b");
	run_symlink(&r, "x", AT_FDCWD, "");
	run_symlink(&r, "x", (int)OK(open("d", O_PATH)), "c");
	note_mode("d/c");
	run_symlink(&r, "x", -1, "c");
}

TEST(links)
{
	struct stat st;
	struct ring r;
	int fd;

	enter_scratch();
	put_file("f", "x", 1);
	OK(symlink("f", "s"));
	OK(mkdir("d", 0755));
	ring_init(&r, 4, 0);
	run_link(&r, AT_FDCWD, "f", "g", 0);
	OK(stat("f", &st));
	note("links %d", (int)st.st_nlink);
	run_link(&r, AT_FDCWD, "f", "g", 0);
	run_link(&r, AT_FDCWD, "s", "t", 0);
	note_mode("t");
	run_link(&r, AT_FDCWD, "s", "u", AT_SYMLINK_FOLLOW);
	note_mode("u");
	run_link(&r, AT_FDCWD, "d", "e", 0);
	run_link(&r, AT_FDCWD, "none", "e", 0);
	run_link(&r, AT_FDCWD, "f", "e", 1);
	run_link(&r, AT_FDCWD, "", "e", 0);
	fd = (int)OK(open(".", O_RDWR | O_TMPFILE, 0600));
	run_link(&r, fd, "", "tmp", AT_EMPTY_PATH);
	run_link(&r, 12345, "", "e", AT_EMPTY_PATH);
}

/* Of what it has opened itself anybody may make names (Linux 6.10). */
TEST(links_of_descriptors_of_a_user)
{
	struct ring r;
	int fd, path;

	enter_scratch();
	OK(chmod(".", 0777));
	ring_init(&r, 4, 0);
	if (geteuid() == 0)
		OK(setresuid(12345, 12345, 12345));
	fd = (int)OK(open(".", O_RDWR | O_TMPFILE, 0600));
	run_link(&r, fd, "", "tmp", AT_EMPTY_PATH);
	note_mode("tmp");
	run_link(&r, fd, "", "tmp", AT_EMPTY_PATH);
	run_link(&r, fd, "", "more", AT_EMPTY_PATH | AT_SYMLINK_FOLLOW);
	run_link(&r, fd, "", "none", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
	path = (int)OK(open("tmp", O_PATH));
	run_link(&r, path, "", "other", AT_EMPTY_PATH);
	OK(unlink("tmp"));
	OK(unlink("more"));
	OK(unlink("other"));
	run_link(&r, path, "", "gone", AT_EMPTY_PATH);
	run_link(&r, (int)OK(open(".", O_RDONLY)), "", "dir", AT_EMPTY_PATH);
	run_link(&r, AT_FDCWD, "", "dir", AT_EMPTY_PATH);
}

TEST(fields_that_are_refused)
{
	static const int ops[] = {IORING_OP_RENAMEAT, IORING_OP_UNLINKAT, IORING_OP_MKDIRAT, IORING_OP_SYMLINKAT,
				  IORING_OP_LINKAT};
	struct ring r;

	enter_scratch();
	ring_init(&r, 4, 0);
	for (int op = 0; op < 5; op++) {
		for (int i = 0; i < 8; i++) {
			struct io_uring_sqe sqe;

			sqe = names_sqe(ops[op], AT_FDCWD, "none/a", 0, op == 0 || op > 2 ? "none/b" : NULL, 0);
			sqe.buf_index = i == 1;
			sqe.file_index = i == 2;
			sqe.flags = i == 3 ? IOSQE_FIXED_FILE : 0;
			sqe.ioprio = i == 4;
			sqe.len = i == 5 ? 1 : sqe.len;
			sqe.rw_flags = i == 6;
			sqe.off = i == 7 ? (sqe.off ? 0 : 8) : sqe.off;
			run_sqe(&r, &sqe);
		}
	}
}

TEST(names_that_are_refused)
{
	static const int ops[] = {IORING_OP_RENAMEAT, IORING_OP_UNLINKAT, IORING_OP_MKDIRAT, IORING_OP_SYMLINKAT,
				  IORING_OP_LINKAT};
	char *page = map_then_hole(1), longest[4097];
	struct ring r;

	memset(page, 'a', PAGE);
	memset(longest, 'a', 4096);
	longest[4096] = 0;
	enter_scratch();
	ring_init(&r, 4, 0);
	for (int op = 0; op < 5; op++) {
		const char *second = op == 0 || op > 2 ? "b" : NULL;
		const char *const bad[] = {NULL, (void *)8, page, page + PAGE - 1, longest, longest + 1, ""};

		for (int i = 0; i < 7; i++) {
			struct io_uring_sqe sqe = names_sqe(ops[op], AT_FDCWD, bad[i], 0, second, 0);

			run_sqe(&r, &sqe);
			if (!second)
				continue;
			sqe = names_sqe(ops[op], AT_FDCWD, "a", ops[op] == IORING_OP_SYMLINKAT ? 0 : AT_FDCWD, bad[i],
					0);
			run_sqe(&r, &sqe);
		}
	}
}

TEST(a_chain_of_names)
{
	struct ring r;

	enter_scratch();
	ring_init(&r, 8, 0);
	*ring_sqe(&r) = names_sqe(IORING_OP_MKDIRAT, AT_FDCWD, "d", 0755, NULL, 0);
	*ring_sqe(&r) = names_sqe(IORING_OP_SYMLINKAT, AT_FDCWD, "x", 0, "d/s", 0);
	*ring_sqe(&r) = names_sqe(IORING_OP_RENAMEAT, AT_FDCWD, "d/s", AT_FDCWD, "d/t", 0);
	*ring_sqe(&r) = names_sqe(IORING_OP_UNLINKAT, AT_FDCWD, "d/s", 0, NULL, 0);
	*ring_sqe(&r) = names_sqe(IORING_OP_UNLINKAT, AT_FDCWD, "d/t", 0, NULL, 0);
	for (unsigned i = 0; i < 5; i++) {
		struct io_uring_sqe *sqe = &r.sqes[r.array[i]];

		sqe->user_data = i + 1;
		sqe->flags = i < 4 ? IOSQE_IO_LINK : 0;
	}
	EXPECT_EQ(ring_submit_wait(&r, 5), 5);
	note_all(&r, 5);
	note_mode("d/t");
}

/* What is wrong first is said: the names are looked up in their order, each from its directory. */
TEST(order_of_checks)
{
	static const int ops[] = {IORING_OP_RENAMEAT, IORING_OP_LINKAT, IORING_OP_SYMLINKAT};
	static const char *const names[] = {"a", "none/a", "/none/a", "d", "b/"};
	static const unsigned flags[] = {0, RENAME_NOREPLACE, 0x4000};
	struct ring r;

	enter_scratch();
	put_file("a", "a", 1);
	OK(mkdir("d", 0755));
	ring_init(&r, 8, 0);
	for (unsigned op = 0; op < 3; op++)
		for (unsigned i = 0; i < 5 * 5 * 3 * 3; i++) {
			int dfds[] = {AT_FDCWD, -1, 9999}; /* a good one at most once: nothing may succeed */
			int first = dfds[i % 3], second = op == 2 ? 0 : dfds[i % 3 ? i / 3 % 3 : 1 + i / 3 % 2];
			unsigned flag = op == 2 ? 0 : flags[i / 9 % 3];
			struct io_uring_sqe sqe = names_sqe(ops[op], first, names[i % 5], second, names[i / 5 % 5],
							    flag);

			if (op == 2 && first == AT_FDCWD)
				continue;
			run_sqe(&r, &sqe);
		}
	run_mkdir(&r, 9999, "none/a", 0755);
	run_unlink(&r, 9999, "a", AT_REMOVEDIR);
}

TEST(failures_break_no_links)
{
	static const int ops[] = {IORING_OP_RENAMEAT, IORING_OP_UNLINKAT, IORING_OP_MKDIRAT, IORING_OP_SYMLINKAT,
				  IORING_OP_LINKAT};
	struct ring r;

	enter_scratch();
	ring_init(&r, 8, 0);
	for (int op = 0; op < 5; op++) {
		const char *second = op == 0 || op > 2 ? "none/b" : NULL;

		for (int skip = 0; skip < 2; skip++) {
			*ring_sqe(&r) = names_sqe(ops[op], AT_FDCWD, "none/a", 0, second, 0);
			last_sqe(&r)->flags = (uint8_t)(IOSQE_IO_LINK | (skip ? IOSQE_CQE_SKIP_SUCCESS : 0));
			last_sqe(&r)->user_data = 1;
			ring_nop(&r, skip ? 1 : 2);
			EXPECT_EQ(ring_submit_wait(&r, skip ? 1 : 2), 2);
			note_all(&r, skip ? 1 : 2);
		}
	}
}

TEST(drained_names)
{
	struct ring r;

	enter_scratch();
	ring_init(&r, 8, 0);
	*ring_sqe(&r) = names_sqe(IORING_OP_MKDIRAT, AT_FDCWD, "d", 0755, NULL, 0);
	*ring_sqe(&r) = names_sqe(IORING_OP_MKDIRAT, AT_FDCWD, "d/e", 0755, NULL, 0);
	*ring_sqe(&r) = names_sqe(IORING_OP_UNLINKAT, AT_FDCWD, "d/e", 0, NULL, AT_REMOVEDIR);
	for (unsigned i = 0; i < 3; i++) {
		r.sqes[r.array[i]].user_data = i + 1;
		r.sqes[r.array[i]].flags = IOSQE_IO_DRAIN;
	}
	EXPECT_EQ(ring_submit_wait(&r, 3), 3);
	note_all(&r, 3);
}
