/* SPDX-License-Identifier: Apache-2.0 */
/* sqe->rw_flags (RWF_*), integrity attributes and polled rings, of reads and writes. */
#include "harness.h"

#include <sys/socket.h>

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif
#ifndef RWF_ATOMIC
#define RWF_ATOMIC 0x40
#endif
#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x80
#endif
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x100
#endif

static char buf[8192];

/* sqe->attr_ptr and sqe->attr_type_mask; the struct behind them */
struct attr_pi {
	uint16_t flags, app_tag;
	uint32_t len;
	uint64_t addr, seed, rsvd;
};

static struct io_uring_sqe rw_sqe(int op, int fd, unsigned len, uint32_t rw_flags)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.fd = fd;
	sqe.addr = (uint64_t)(uintptr_t)buf;
	sqe.len = len;
	sqe.rw_flags = (int)rw_flags;
	sqe.user_data = 0x77;
	return sqe;
}

static int flagged(struct ring *r, int op, int fd, uint32_t rw_flags)
{
	struct io_uring_sqe sqe = rw_sqe(op, fd, 16, rw_flags);

	note("rw_flags=0x%x", rw_flags);
	return run_sqe(r, &sqe);
}

#define GET IORING_OP_READ
#define PUT IORING_OP_WRITE

static int file_in(const char *dir)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/uringfs-conformance-XXXXXX", dir);
	fd = (int)OK(mkstemp(path));
	OK(unlink(path));
	EXPECT_EQ(write(fd, buf, 4096), 4096);
	return fd;
}

TEST(each_flag_on_a_read)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	for (int bit = 0; bit < 32; bit++)
		flagged(&r, GET, file, 1u << bit);
}

TEST(each_flag_on_a_write)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	for (int bit = 0; bit < 32; bit++)
		flagged(&r, PUT, file, 1u << bit);
	note("size %lld", (long long)lseek(file, 0, SEEK_END));
}

TEST(each_flag_on_a_file_in_memory)
{
	int file = file_in("/dev/shm");
	struct ring r;

	ring_init(&r, 4, 0);
	for (int bit = 0; bit < 10; bit++) {
		flagged(&r, GET, file, 1u << bit);
		flagged(&r, PUT, file, 1u << bit);
	}
}

TEST(each_flag_on_a_pipe)
{
	int p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	for (int bit = 0; bit < 10; bit++) {
		EXPECT_EQ(OK(write(p[1], buf, 16)), 16);
		flagged(&r, PUT, p[1], 1u << bit);
		flagged(&r, GET, p[0], 1u << bit);
		EXPECT_GE(OK(read(p[0], buf, 100)), 0);
	}
}

TEST(each_flag_on_a_socket)
{
	int s[2];
	struct ring r;

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 4, 0);
	for (int bit = 0; bit < 10; bit++) {
		EXPECT_EQ(OK(write(s[1], buf, 16)), 16);
		flagged(&r, PUT, s[0], 1u << bit);
		flagged(&r, GET, s[0], 1u << bit);
		EXPECT_GE(recv(s[0], buf, 100, MSG_DONTWAIT), -1);
	}
}

TEST(each_flag_on_dev_zero)
{
	int fd = (int)OK(open("/dev/zero", O_RDWR));
	struct ring r;

	ring_init(&r, 4, 0);
	for (int bit = 0; bit < 10; bit++) {
		flagged(&r, GET, fd, 1u << bit);
		flagged(&r, PUT, fd, 1u << bit);
	}
}

TEST(append_and_noappend_exclude_each_other)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(flagged(&r, PUT, file, RWF_APPEND | RWF_NOAPPEND), -EINVAL);
	EXPECT_EQ(flagged(&r, GET, file, RWF_APPEND | RWF_NOAPPEND), -EINVAL);
	EXPECT_EQ(flagged(&r, GET, file, RWF_APPEND | RWF_NOAPPEND | 1u << 30), -EOPNOTSUPP);
}

TEST(rwf_append_appends)
{
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(flagged(&r, PUT, file, RWF_APPEND), 16);
	note("size %lld", (long long)lseek(file, 0, SEEK_END));
	EXPECT_EQ(OK(pread(file, buf, 16, 0)), 16);
	EXPECT(is_pattern(buf, 0, 16));
}

TEST(rwf_noappend_overrides_o_append)
{
	int file = make_file(100);
	struct ring r;

	OK(fcntl(file, F_SETFL, O_APPEND));
	ring_init(&r, 4, 0);
	EXPECT_EQ(flagged(&r, PUT, file, RWF_NOAPPEND), 16);
	note("size %lld", (long long)lseek(file, 0, SEEK_END));
	EXPECT_EQ(flagged(&r, PUT, file, 0), 16);
	note("size %lld", (long long)lseek(file, 0, SEEK_END));
}

TEST(nowait_on_empty_and_full)
{
	int p[2];
	struct ring r;

	OK(pipe(p));
	EXPECT_EQ(OK(fcntl(p[1], F_SETPIPE_SZ, (int)PAGE)), PAGE);
	ring_init(&r, 4, 0);
	EXPECT_EQ(flagged(&r, GET, p[0], RWF_NOWAIT), -EAGAIN);
	EXPECT_EQ(OK(write(p[1], map_pages(1, PROT_READ), PAGE)), PAGE);
	EXPECT_EQ(flagged(&r, PUT, p[1], RWF_NOWAIT), -EAGAIN);
	EXPECT_EQ(flagged(&r, GET, p[0], RWF_NOWAIT), 16);
}

TEST(nowait_where_it_is_not_known)
{
	int event = (int)OK(syscall(SYS_eventfd2, 0, 0)), proc = (int)OK(open("/proc/version", O_RDONLY));
	struct ring r;

	ring_init(&r, 4, 0);
	flagged(&r, GET, event, RWF_NOWAIT);
	flagged(&r, GET, proc, RWF_NOWAIT);
}

static void nowait_at(struct ring *r, int op, int fd, uint64_t off, uint8_t flags)
{
	struct io_uring_sqe sqe = rw_sqe(op, fd, 16, RWF_NOWAIT);

	sqe.off = off;
	sqe.flags = flags;
	run_sqe(r, &sqe);
	note("position %lld", (long long)lseek(fd, 0, SEEK_CUR));
}

/* io-wq waits: it takes no notice, but where it polls. */
TEST(nowait_in_a_worker)
{
	static const uint8_t flags[] = {0, IOSQE_ASYNC, IOSQE_IO_DRAIN};
	static const char *const dirs[] = {"/tmp", "/dev/shm"};
	int p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 4, 0);
	for (int i = 0; i < 2; i++) {
		int file = file_in(dirs[i]);

		OK(lseek(file, 100, SEEK_SET));
		for (int j = 0; j < 3; j++) {
			nowait_at(&r, PUT, file, 0, flags[j]);
			nowait_at(&r, PUT, file, (uint64_t)-1, flags[j]);
			nowait_at(&r, GET, file, 0, flags[j]);
			nowait_at(&r, GET, file, (uint64_t)-1, flags[j]);
		}
		note("size %lld", (long long)lseek(file, 0, SEEK_END));
	}
	for (int j = 0; j < 3; j++) {
		struct io_uring_sqe sqe = rw_sqe(GET, p[0], 16, RWF_NOWAIT);

		sqe.flags = flags[j];
		EXPECT_EQ(run_sqe(&r, &sqe), -EAGAIN);
	}
}

TEST(nosignal_on_a_broken_pipe)
{
	int p[2];
	struct ring r;

	OK(pipe(p));
	OK(close(p[0]));
	ring_init(&r, 4, 0);
	EXPECT_EQ(flagged(&r, PUT, p[1], RWF_NOSIGNAL), -EPIPE);
}

TEST(dsync_and_sync_write)
{
	int file = make_file(0);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(flagged(&r, PUT, file, RWF_DSYNC), 16);
	EXPECT_EQ(flagged(&r, PUT, file, RWF_SYNC), 16);
	EXPECT_EQ(flagged(&r, PUT, file, RWF_SYNC | RWF_DSYNC | RWF_APPEND), 16);
	note("size %lld", (long long)lseek(file, 0, SEEK_END));
}

TEST(the_mode_comes_before_the_flags)
{
	int null = (int)OK(open("/dev/null", O_RDONLY));
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(flagged(&r, PUT, null, 1u << 31), -EBADF);
	EXPECT_EQ(flagged(&r, GET, null, 1u << 31), -EOPNOTSUPP);
	EXPECT_EQ(flagged(&r, GET, -1, 1u << 31), -EBADF);
}

static int with_attributes(struct ring *r, int op, int fd, const void *attr, uint64_t mask)
{
	struct io_uring_sqe sqe = rw_sqe(op, fd, 16, 0);
	uint64_t pair[2] = {(uint64_t)(uintptr_t)attr, mask};

	memcpy((char *)&sqe + 48, pair, sizeof(pair));
	return run_sqe(r, &sqe);
}

TEST(integrity_attributes)
{
	struct attr_pi attr = {0, 0, 64, 0, 0, 0}, reserved = {.rsvd = 1}, far = {.len = 1};
	int file = make_file(100);
	struct ring r;

	attr.addr = (uint64_t)(uintptr_t)buf;
	far.addr = 0xffff888000000000ULL;
	ring_init(&r, 4, 0);
	EXPECT_EQ(with_attributes(&r, GET, file, &attr, 2), -EINVAL);
	EXPECT_EQ(with_attributes(&r, GET, file, NULL, 3), -EINVAL);
	EXPECT_EQ(with_attributes(&r, GET, file, NULL, 1), -EFAULT);
	EXPECT_EQ(with_attributes(&r, GET, file, &reserved, 1), -EINVAL);
	EXPECT_EQ(with_attributes(&r, GET, file, &far, 1), -EFAULT);
	EXPECT_EQ(with_attributes(&r, GET, file, &attr, 1), -EINVAL);
	EXPECT_EQ(with_attributes(&r, PUT, file, &attr, 1), -EINVAL);
	EXPECT_EQ(with_attributes(&r, GET, -1, &attr, 1), -EBADF);
	EXPECT_EQ(with_attributes(&r, GET, file, NULL, 0), 16);
}

/* Some of these end a submission, some are for the file to refuse. */
TEST(which_attributes_end_the_submission)
{
	struct attr_pi attr = {.rsvd = 0}, reserved = {.rsvd = 1};
	const struct attr_pi *const both[2] = {&attr, &reserved};
	int file = make_file(100);
	struct ring r;

	ring_init(&r, 8, 0);
	for (int i = 0; i < 2; i++) {
		struct io_uring_sqe sqe = rw_sqe(GET, file, 16, 0);
		uint64_t pair[2] = {(uint64_t)(uintptr_t)both[i], 1};

		memcpy((char *)&sqe + 48, pair, sizeof(pair));
		memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
		ring_nop(&r, 2);
		note("submitted %d", ring_submit(&r));
		note("submitted %d", ring_submit(&r));
	}
}

TEST(buffer_select_without_buffers)
{
	int file = make_file(100);
	struct io_uring_sqe sqe = rw_sqe(GET, file, 16, 0);
	struct iovec iov[2] = {{NULL, 16}, {NULL, 16}};
	struct ring r;

	ring_init(&r, 4, 0);
	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_index = 3;
	EXPECT_EQ(run_sqe(&r, &sqe), -ENOBUFS);
	sqe.fd = -1;
	EXPECT_EQ(run_sqe(&r, &sqe), -EBADF);
	sqe.fd = file;
	sqe.opcode = IORING_OP_READV;
	sqe.addr = (uint64_t)(uintptr_t)iov;
	sqe.len = 2;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.len = 1;
	EXPECT_EQ(run_sqe(&r, &sqe), -ENOBUFS);
	sqe.addr = 0;
	EXPECT_EQ(run_sqe(&r, &sqe), -EFAULT);
}
