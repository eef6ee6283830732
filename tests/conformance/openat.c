/* SPDX-License-Identifier: Apache-2.0 */
/* OPENAT: plain descriptors. */
#include "paths.h"

TEST(opens_a_file)
{
	struct ring r;
	char buf[8];
	int fd;

	enter_scratch();
	put_file("f", "hello", 5);
	ring_init(&r, 4, 0);
	fd = note_fd(run_open(&r, AT_FDCWD, "f", O_RDONLY, 0));
	EXPECT_EQ(read(fd, buf, sizeof(buf)), 5);
	EXPECT_EQ(memcmp(buf, "hello", 5), 0);
	note("status 0x%x, descriptor flags %d", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
}

TEST(the_lowest_descriptor)
{
	struct ring r;
	int low, fd;

	enter_scratch();
	put_file("f", "", 0);
	ring_init(&r, 4, 0);
	low = (int)OK(open("f", O_RDONLY));
	OK(close(low));
	fd = note_fd(run_open(&r, AT_FDCWD, "f", O_RDONLY, 0));
	EXPECT_EQ(fd, low);
	EXPECT_EQ(note_fd(run_open(&r, AT_FDCWD, "f", O_RDONLY, 0)), low + 1);
	OK(close(low));
	EXPECT_EQ(note_fd(run_open(&r, AT_FDCWD, "f", O_RDONLY, 0)), low);
}

TEST(cloexec)
{
	struct ring r;
	int fd;

	enter_scratch();
	put_file("f", "", 0);
	ring_init(&r, 4, 0);
	fd = note_fd(run_open(&r, AT_FDCWD, "f", O_RDONLY | O_CLOEXEC, 0));
	note("descriptor flags %d", fcntl(fd, F_GETFD));
}

TEST(creates_with_the_umask)
{
	static const mode_t masks[] = {0, 022, 077, 0777};
	struct ring r;

	enter_scratch();
	ring_init(&r, 4, 0);
	for (int i = 0; i < 4; i++) {
		char name[8] = {'f', (char)('0' + i), 0};

		umask(masks[i]);
		note_fd(run_open(&r, AT_FDCWD, name, O_RDWR | O_CREAT | O_EXCL, 0666));
		note_mode(name);
		run_open(&r, AT_FDCWD, name, O_RDWR | O_CREAT | O_EXCL, 0666);
	}
}

TEST(missing_and_denied)
{
	struct ring r;

	enter_scratch();
	put_file("f", "", 0);
	OK(mkdir("d", 0755));
	ring_init(&r, 4, 0);
	run_open(&r, AT_FDCWD, "none", O_RDONLY, 0);
	run_open(&r, AT_FDCWD, "f/x", O_RDONLY, 0);
	run_open(&r, AT_FDCWD, "d", O_WRONLY, 0);
	run_open(&r, AT_FDCWD, "f", O_RDONLY | O_DIRECTORY, 0);
	run_open(&r, AT_FDCWD, "none/x", O_RDWR | O_CREAT, 0666);
	OK(symlink("loop", "loop"));
	run_open(&r, AT_FDCWD, "loop", O_RDONLY, 0);
	run_open(&r, AT_FDCWD, "loop", O_RDONLY | O_NOFOLLOW, 0);
}

TEST(names_that_are_refused)
{
	struct ring r;
	char *page;

	enter_scratch();
	ring_init(&r, 4, 0);
	run_open_at(&r, AT_FDCWD, 0, O_RDONLY, 0);
	run_open_at(&r, AT_FDCWD, 8, O_RDONLY, 0);
	run_open(&r, AT_FDCWD, "", O_RDONLY, 0);
	page = map_then_hole(1);
	memset(page, 'a', PAGE);
	run_open_at(&r, AT_FDCWD, (uintptr_t)page, O_RDONLY, 0);
	run_open_at(&r, AT_FDCWD, (uintptr_t)page + PAGE - 10, O_RDONLY, 0);
	page = map_then_hole(2);
	memset(page, 'a', 2 * PAGE);
	run_open_at(&r, AT_FDCWD, (uintptr_t)page, O_RDONLY, 0);
	page[4095] = 0;
	run_open_at(&r, AT_FDCWD, (uintptr_t)page, O_RDONLY, 0);
}

TEST(a_name_at_the_end_of_its_mapping)
{
	char *page = map_then_hole(1) + PAGE;
	struct ring r;

	enter_scratch();
	put_file("f", "", 0);
	ring_init(&r, 4, 0);
	memcpy(page - 2, "f", 2);
	note_fd(run_open_at(&r, AT_FDCWD, (uintptr_t)page - 2, O_RDONLY, 0));
}

TEST(relative_to_a_directory)
{
	struct ring r;
	int d;

	enter_scratch();
	OK(mkdir("d", 0755));
	put_file("d/f", "x", 1);
	d = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
	ring_init(&r, 4, 0);
	note_fd(run_open(&r, d, "f", O_RDONLY, 0));
	note_fd(run_open(&r, d, "../d/f", O_RDONLY, 0));
	run_open(&r, d, "d/f", O_RDONLY, 0);
	note_fd(run_open(&r, 12345, "/dev/null", O_RDONLY, 0));
	run_open(&r, 12345, "f", O_RDONLY, 0);
	run_open(&r, -1, "f", O_RDONLY, 0);
	d = (int)OK(open("d", O_PATH));
	note_fd(run_open(&r, d, "f", O_RDONLY, 0));
	d = (int)OK(open("d/f", O_RDONLY));
	run_open(&r, d, "f", O_RDONLY, 0);
}

TEST(the_description_is_shared)
{
	struct ring r;
	char buf[8] = "";
	int fd;

	enter_scratch();
	put_file("f", "hello", 5);
	ring_init(&r, 4, 0);
	fd = note_fd(run_open(&r, AT_FDCWD, "f", O_RDWR | O_APPEND, 0));
	EXPECT_EQ(write(fd, "!", 1), 1);
	EXPECT_EQ(pread(fd, buf, sizeof(buf), 0), 6);
	note("%s at %ld", buf, (long)lseek(fd, 0, SEEK_CUR));
}

TEST(truncates_tmpfile_path)
{
	struct stat st;
	struct ring r;
	int fd;

	enter_scratch();
	put_file("f", "hello", 5);
	ring_init(&r, 4, 0);
	note_fd(run_open(&r, AT_FDCWD, "f", O_WRONLY | O_TRUNC, 0));
	OK(stat("f", &st));
	note("size %ld", (long)st.st_size);
	fd = run_open(&r, AT_FDCWD, ".", O_RDWR | O_TMPFILE, 0600);
	if (fd >= 0)
		note("links %d", (fstat(fd, &st), (int)st.st_nlink));
	fd = note_fd(run_open(&r, AT_FDCWD, "f", O_PATH, 0));
	note("status 0x%x", fcntl(fd, F_GETFL));
}

TEST(fields_that_are_refused)
{
	struct io_uring_sqe sqe;
	struct ring r;

	enter_scratch();
	put_file("f", "", 0);
	ring_init(&r, 4, 0);
	open_sqe(&sqe, AT_FDCWD, "f", O_RDONLY, 0);
	sqe.buf_index = 1;
	run_sqe_hidden(&r, &sqe);
	open_sqe(&sqe, AT_FDCWD, "f", O_RDONLY, 0);
	sqe.flags = IOSQE_FIXED_FILE;
	run_sqe_hidden(&r, &sqe);
	open_sqe(&sqe, AT_FDCWD, "f", O_RDONLY, 0);
	sqe.flags = IOSQE_BUFFER_SELECT;
	run_sqe_hidden(&r, &sqe);
	open_sqe(&sqe, AT_FDCWD, "f", O_RDONLY, 0);
	sqe.ioprio = 1;
	run_sqe_hidden(&r, &sqe);
	open_sqe(&sqe, AT_FDCWD, "f", O_CLOEXEC, 0);
	sqe.file_index = 1;
	run_sqe_hidden(&r, &sqe);
	open_sqe(&sqe, AT_FDCWD, "f", (int)0xffffffff, 0777777);
	run_sqe_hidden(&r, &sqe);
}

TEST(a_failed_open_breaks_its_link)
{
	struct io_uring_sqe *sqe;
	struct ring r;

	enter_scratch();
	ring_init(&r, 4, 0);
	sqe = ring_sqe(&r);
	open_sqe(sqe, AT_FDCWD, "none", O_RDONLY, 0);
	sqe->flags = IOSQE_IO_LINK;
	sqe->user_data = 1;
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	note_all(&r, 2);
}

TEST(many_at_once)
{
	struct ring r;
	int seen[256] = {0};

	enter_scratch();
	put_file("f", "hello", 5);
	ring_init(&r, 64, 0);
	for (int i = 0; i < 64; i++) {
		struct io_uring_sqe *sqe = ring_sqe(&r);

		open_sqe(sqe, AT_FDCWD, "f", O_RDONLY, 0);
		sqe->user_data = (uint64_t)i;
	}
	EXPECT_EQ(ring_submit_wait(&r, 64), 64);
	for (int i = 0; i < 64; i++) {
		struct cqe cqe = ring_wait(&r);
		char byte;

		EXPECT_GE(cqe.res, 3);
		EXPECT(cqe.res < 256 && !seen[cqe.res]++);
		EXPECT_EQ(pread(cqe.res, &byte, 1, 4), 1);
		EXPECT_EQ(byte, 'o');
	}
	note("done");
}

TEST(submitted_without_a_wait)
{
	struct io_uring_sqe *sqe;
	struct ring r;
	struct cqe cqe;

	enter_scratch();
	put_file("f", "hello", 5);
	ring_init(&r, 4, 0);
	sqe = ring_sqe(&r);
	open_sqe(sqe, AT_FDCWD, "f", O_RDONLY, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	cqe = ring_wait(&r);
	EXPECT_GE(cqe.res, 3);
	EXPECT_EQ(close(cqe.res), 0);
	note("done");
}

static void fifo(unsigned char flags)
{
	struct io_uring_sqe *sqe;
	struct ring r;
	struct cqe cqe;
	char byte;
	int w;

	enter_scratch();
	OK(mkfifo("p", 0600));
	ring_init(&r, 4, 0);
	sqe = ring_sqe(&r);
	open_sqe(sqe, AT_FDCWD, "p", O_RDONLY, 0);
	sqe->flags = flags;
	EXPECT_EQ(ring_submit(&r), 1);
	if (flags & IOSQE_ASYNC)
		EXPECT_EQ(ring_ready(&r), 0);
	else
		EXPECT_EQ(enter(r.fd, 0, 1, GETEVENTS), 0);
	w = (int)OK(open("p", O_WRONLY));
	cqe = ring_wait(&r);
	EXPECT_GE(cqe.res, 3);
	EXPECT_EQ(write(w, "x", 1), 1);
	EXPECT_EQ(read(cqe.res, &byte, 1), 1);
	note("status 0x%x", fcntl(cqe.res, F_GETFL));
}

TEST(a_fifo_is_opened_without_its_writer)
{
	fifo(0);
}

TEST(a_fifo_waits_for_its_writer)
{
	fifo(IOSQE_ASYNC);
}

TEST(a_fifo_without_a_reader)
{
	struct ring r;

	enter_scratch();
	OK(mkfifo("p", 0600));
	ring_init(&r, 4, 0);
	run_open(&r, AT_FDCWD, "p", O_WRONLY, 0);
}

TEST(a_full_table)
{
	struct rlimit limit = {0, 0};
	struct ring r;
	int fd;

	enter_scratch();
	put_file("f", "", 0);
	ring_init(&r, 4, 0);
	fd = (int)OK(open("f", O_RDONLY));
	limit.rlim_cur = limit.rlim_max = (rlim_t)fd + 1;
	OK(setrlimit(RLIMIT_NOFILE, &limit));
	run_open(&r, AT_FDCWD, "f", O_RDONLY, 0);
}

TEST(proc_self_is_the_caller)
{
	char buf[64], want[64];
	struct ring r;
	ssize_t n;
	int fd;

	enter_scratch();
	ring_init(&r, 4, 0);
	fd = run_open(&r, AT_FDCWD, "/proc/self/stat", O_RDONLY, 0);
	EXPECT_GE(fd, 0);
	n = read(fd, buf, sizeof(buf) - 1);
	EXPECT_GE(n, 1);
	buf[n] = 0;
	snprintf(want, sizeof(want), "%d (", getpid());
	EXPECT_EQ(strncmp(buf, want, strlen(want)), 0);
	put_file("f", "x", 1);
	fd = (int)OK(open("f", O_RDONLY));
	snprintf(want, sizeof(want), "/proc/self/fd/%d", fd);
	fd = run_open(&r, AT_FDCWD, want, O_RDWR, 0);
	EXPECT_GE(fd, 0);
	EXPECT_EQ(pread(fd, buf, sizeof(buf), 0), 1);
}

/* copy_struct_from_user(): what lies behind the struct is looked at, up to the first that is no zero, or that faults. */
TEST(how_of_many_pages)
{
	const unsigned pages = 700;
	char *how = map_then_hole(pages);
	struct ring r;

	ring_init(&r, 4, 0);
	memset(how, 0, PAGE);
	note_fd(run_open2(&r, AT_FDCWD, "/dev/null", (void *)how, pages * PAGE));
	run_open2(&r, AT_FDCWD, "/dev/null", (void *)how, pages * PAGE + 1);
	how[pages * PAGE - 1] = 1;
	run_open2(&r, AT_FDCWD, "/dev/null", (void *)how, pages * PAGE + 1);
	run_open2(&r, AT_FDCWD, "/dev/null", (void *)how, pages * PAGE);
	note_fd(run_open2(&r, AT_FDCWD, "/dev/null", (void *)how, pages * PAGE - 1));
	how[pages * PAGE - 1] = 0;
	how[300 * PAGE] = 1;
	run_open2(&r, AT_FDCWD, "/dev/null", (void *)how, pages * PAGE);
	OK(mprotect(how + 200 * PAGE, PAGE, PROT_NONE));
	run_open2(&r, AT_FDCWD, "/dev/null", (void *)how, pages * PAGE);
}
