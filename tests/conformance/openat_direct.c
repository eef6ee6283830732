/* SPDX-License-Identifier: Apache-2.0 */
/* OPENAT of direct descriptors and on SQPOLL rings; OPENAT2. */
#include "paths.h"

TEST(a_direct_descriptor)
{
	int none[4] = {-1, -1, -1, -1};
	struct io_uring_sqe sqe;
	struct ring r;

	enter_scratch();
	put_file("f", "hello", 5);
	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, none, 4), 0);
	open_sqe(&sqe, AT_FDCWD, "f", O_RDONLY, 0);
	sqe.file_index = 3;
	EXPECT_EQ(run_sqe(&r, &sqe), 0);
	read_fixed(&r, 2);
	read_fixed(&r, 1);
	sqe.file_index = 3; /* the file there before goes */
	run_sqe(&r, &sqe);
	sqe.file_index = 5;
	run_sqe(&r, &sqe);
	sqe.addr = (uintptr_t) "none";
	run_sqe(&r, &sqe);
}

TEST(a_slot_is_found)
{
	int none[4] = {-1, -1, -1, -1};
	struct io_uring_sqe sqe;
	struct ring r;

	enter_scratch();
	put_file("f", "hello", 5);
	ring_init(&r, 4, 0);
	open_sqe(&sqe, AT_FDCWD, "f", O_RDONLY, 0);
	sqe.file_index = IORING_FILE_INDEX_ALLOC;
	run_sqe(&r, &sqe);
	sqe.file_index = 1;
	run_sqe(&r, &sqe);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, none, 4), 0);
	sqe.file_index = IORING_FILE_INDEX_ALLOC;
	for (int i = 0; i < 6; i++)
		run_sqe(&r, &sqe);
	run_close(&r, 0, 2);
	run_close(&r, 0, 3);
	run_sqe(&r, &sqe);
	run_sqe(&r, &sqe);
	run_sqe(&r, &sqe);
}

TEST(a_slot_is_found_within_a_range)
{
	int none[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
	struct io_uring_file_index_range range = {.off = 3, .len = 2};
	struct io_uring_sqe sqe;
	struct ring r;

	enter_scratch();
	put_file("f", "hello", 5);
	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, none, 8), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0), 0);
	open_sqe(&sqe, AT_FDCWD, "f", O_RDONLY, 0);
	sqe.file_index = IORING_FILE_INDEX_ALLOC;
	for (int i = 0; i < 3; i++)
		run_sqe(&r, &sqe);
}

TEST(open_then_read_in_a_link)
{
	int none[1] = {-1};
	struct iovec iov;
	struct io_uring_sqe *sqe;
	struct ring r;
	char buf[8] = "";

	enter_scratch();
	put_file("f", "hello", 5);
	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, none, 1), 0);
	iov.iov_base = buf;
	iov.iov_len = sizeof(buf);
	sqe = ring_sqe(&r);
	open_sqe(sqe, AT_FDCWD, "f", O_RDONLY, 0);
	sqe->file_index = 1;
	sqe->flags = IOSQE_IO_HARDLINK;
	sqe->user_data = 1;
	ring_readv(&r, 0, &iov, 1, 0, 2);
	last_sqe(&r)->flags = IOSQE_FIXED_FILE | IOSQE_IO_HARDLINK;
	sqe = ring_sqe(&r);
	close_sqe(sqe, 0, 1);
	sqe->user_data = 3;
	EXPECT_EQ(ring_submit_wait(&r, 3), 3);
	note_all(&r, 3);
	note("%s", buf);
	read_fixed(&r, 0);
}

TEST(openat2_resolves)
{
	struct open_how how;
	struct ring r;

	enter_scratch();
	OK(mkdir("d", 0755));
	put_file("d/f", "x", 1);
	OK(symlink("d/f", "link"));
	OK(symlink("/d/f", "d/abs"));
	ring_init(&r, 4, 0);
	memset(&how, 0, sizeof(how));
	note_fd(run_open2(&r, AT_FDCWD, "link", &how, sizeof(how)));
	how.resolve = RESOLVE_NO_SYMLINKS;
	run_open2(&r, AT_FDCWD, "link", &how, sizeof(how));
	how.resolve = RESOLVE_BENEATH;
	run_open2(&r, (int)OK(open("d", O_PATH)), "../d/f", &how, sizeof(how));
	run_open2(&r, AT_FDCWD, "d/abs", &how, sizeof(how));
	how.resolve = RESOLVE_IN_ROOT;
	run_open2(&r, AT_FDCWD, "d/abs", &how, sizeof(how));
	how.flags = O_CREAT | O_RDWR;
	how.mode = 0600;
	note_fd(run_open2(&r, AT_FDCWD, "d/new", &how, sizeof(how)));
	note_mode("d/new");
}

TEST(openat2_is_strict)
{
	struct {
		struct open_how how;
		uint64_t more;
	} big;
	struct ring r;

	enter_scratch();
	put_file("f", "x", 1);
	ring_init(&r, 4, 0);
	memset(&big, 0, sizeof(big));
	note_fd(run_open2(&r, AT_FDCWD, "f", &big.how, sizeof(big)));
	big.more = 1;
	run_open2(&r, AT_FDCWD, "f", &big.how, sizeof(big));
	run_open2(&r, AT_FDCWD, "f", &big.how, sizeof(big.how) - 1);
	run_open2(&r, AT_FDCWD, "f", NULL, sizeof(big.how));
	big.how.mode = 0600;
	run_open2(&r, AT_FDCWD, "f", &big.how, sizeof(big.how));
	big.how.mode = 0;
	big.how.flags = 1ULL << 40;
	run_open2(&r, AT_FDCWD, "f", &big.how, sizeof(big.how));
	big.how.flags = 0;
	big.how.resolve = 1 << 20;
	run_open2(&r, AT_FDCWD, "f", &big.how, sizeof(big.how));
}

TEST(an_sqpoll_ring_opens_and_closes)
{
	struct io_uring_params p;
	struct ring r;
	struct cqe cqe;

	enter_scratch();
	OK(mkdir("d", 0755));
	put_file("d/f", "", 0);
	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_SQPOLL;
	ring_init_params(&r, 4, &p);
	for (int i = 0; i < 2; i++) {
		open_sqe(ring_sqe(&r), AT_FDCWD, i ? "f" : "d/f", O_RDONLY, 0);
		ring_store_tail(&r);
		while (!ring_reap(&r, &cqe))
			EXPECT_GE(enter(r.fd, 0, 1, GETEVENTS | IORING_ENTER_SQ_WAKEUP), 0);
		note_fd(cqe.res);
		close_sqe(ring_sqe(&r), cqe.res, 0);
		ring_store_tail(&r);
		while (!ring_reap(&r, &cqe))
			EXPECT_GE(enter(r.fd, 0, 1, GETEVENTS | IORING_ENTER_SQ_WAKEUP), 0);
		note("closed: %d", cqe.res);
		if (!i)
			OK(chdir("d"));
	}
}
