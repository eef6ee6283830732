/* SPDX-License-Identifier: Apache-2.0 */
/* What requests do to files, pipes and sockets, by the client's own system calls. */
#include "ring.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define BAD ((uint64_t)4096) /* nothing is mapped there */

static struct ring r;
static char buf[8192];
static char path[] = "lane-XXXXXX";
static int file, pipes[2], pair[2];

static struct io_uring_sqe *sqe(uint8_t opcode, int fd, const void *addr, uint32_t len, uint64_t off)
{
	struct io_uring_sqe *s = ring_sqe(&r, opcode, fd);

	s->addr = (uint64_t)(uintptr_t)addr;
	s->len = len;
	s->off = off;
	return s;
}

static void test_read(void)
{
	CHECK_EQ(pwrite(file, "0123456789", 10, 0), 10);
	sqe(IORING_OP_READ, file, buf, 4, 2);
	CHECK_EQ(ring_do(&r), 4);
	CHECK(!memcmp(buf, "2345", 4));
	sqe(IORING_OP_READ, file, buf, 100, 8); /* the end */
	CHECK_EQ(ring_do(&r), 2);
	sqe(IORING_OP_READ, file, buf, 100, 10);
	CHECK_EQ(ring_do(&r), 0);
	sqe(IORING_OP_READ, file, buf, 100,
	    (uint64_t)-1); /* preadv2() takes the lock of the position, io_uring does not */
	ring_leave(&r);
	sqe(IORING_OP_READ, file, buf, 0, 0); /* preadv2() does not ask the file */
	ring_leave(&r);
	sqe(IORING_OP_READ, 999, buf, 1, 0);
	CHECK_EQ(ring_do(&r), -EBADF);
	sqe(IORING_OP_READ, file, (void *)BAD, 1, 0);
	CHECK_EQ(ring_do(&r), -EFAULT);
}

static void test_readv(void)
{
	struct iovec iov[2] = {{buf, 3}, {buf + 100, 5}};

	sqe(IORING_OP_READV, file, iov, 2, 1);
	CHECK_EQ(ring_do(&r), 8);
	CHECK(!memcmp(buf, "123", 3) && !memcmp(buf + 100, "45678", 5));
	sqe(IORING_OP_READV, file, iov, 2, 4);
	CHECK_EQ(ring_do(&r), 6);
	sqe(IORING_OP_READV, file, NULL, 0, 4);
	ring_leave(&r);
	sqe(IORING_OP_READV, 999, iov, 2, 4); /* iovecs are looked at first */
	ring_leave(&r);
	iov[0].iov_base = (void *)BAD;
	sqe(IORING_OP_READV, file, iov, 2, 0);
	CHECK_EQ(ring_do(&r), -EFAULT);
	sqe(IORING_OP_READV, file, (void *)BAD, 1, 0); /* io_prep_readv() says so, which ends a batch */
	ring_leave(&r);
	iov[0].iov_len = (size_t)-1;
	sqe(IORING_OP_READV, file, iov, 1, 0);
	ring_leave(&r);
	sqe(IORING_OP_READV, file, iov, 1025, 0);
	ring_leave(&r);
}

/* What __io_prep_rw() looks at */
static void test_refused_reads(void)
{
	uint64_t one = 1;

	sqe(IORING_OP_READ, file, buf, 1, 0)->rw_flags = RWF_NOWAIT;
	ring_leave(&r);
	sqe(IORING_OP_READ, file, buf, 1, (uint64_t)-2);
	ring_leave(&r);
	sqe(IORING_OP_READ, file, buf, 0x7ffff000, 0);
	ring_leave(&r);
	sqe(IORING_OP_READ, file, (void *)(uintptr_t)(LANE_TASK_SIZE_MAX - 1), 100, 0);
	ring_leave(&r);
	memcpy((char *)sqe(IORING_OP_READ, file, buf, 1, 0) + 56, &one, sizeof(one));
	ring_leave(&r);
	sqe(IORING_OP_READ_FIXED, file, buf, 1, 0); /* none is registered */
	ring_leave(&r);
	sqe(IORING_OP_READ, 0, buf, 1, 0)->flags = IOSQE_FIXED_FILE;
	ring_leave(&r);
}

/* Not cached: the page cache has nothing of it (an O_DIRECT descriptor asks for as much). */
static void test_reads_that_wait(void)
{
	int direct = open(path, O_RDONLY | O_DIRECT);

	CHECK(direct >= 0);
	sqe(IORING_OP_READ, direct, buf, 4096, 0);
	ring_leave(&r);
	close(direct);
	sqe(IORING_OP_READ, pipes[0], buf, 1, 0);
	ring_leave(&r);
	sqe(IORING_OP_RECV, pair[0], buf, 1, 0);
	ring_leave(&r);
}

/* A short read that is no end: half of it is cached. */
static long half_cached(struct lane *l, const struct lane_rw *rw)
{
	struct lane_rw half = *rw;

	if (rw->nr == 1)
		return -EAGAIN;
	half.nr /= 2;
	return lane_host_read(l, &half);
}

static void test_half_cached(void)
{
	r.host.read = half_cached;
	sqe(IORING_OP_READ, file, buf, 8, 0);
	ring_leave(&r);
	r.host.read = lane_host_read;
}

static void test_write(void)
{
	struct iovec iov[2] = {{"ab", 2}, {"cde", 3}};

	sqe(IORING_OP_WRITE, file, "xyz", 3, 1);
	CHECK_EQ(ring_do(&r), 3);
	sqe(IORING_OP_WRITEV, file, iov, 2, 4);
	CHECK_EQ(ring_do(&r), 5);
	CHECK_EQ(pread(file, buf, 100, 0), 10);
	CHECK(!memcmp(buf, "0xyzabcde9", 10));
	sqe(IORING_OP_WRITE, file, "+", 1, (uint64_t)-1);
	ring_leave(&r);
	sqe(IORING_OP_WRITE, file, (void *)BAD, 1, 0);
	CHECK_EQ(ring_do(&r), -EFAULT);
	sqe(IORING_OP_WRITEV, file, (void *)BAD, 1, 0);
	ring_leave(&r);
	sqe(IORING_OP_WRITE, pipes[0], "x", 1, 0);
	CHECK_EQ(ring_do(&r), -EBADF);
	CHECK_EQ(r.lane.page->requests[0].holder, 0);
}

static void test_file_size_limit(void)
{
	struct rlimit old, one = {1, RLIM_INFINITY};
	struct lane_call c = {-1, 1, 0, 0, NULL, 0, 0, NULL, 0, false, false, 0, 0, 0, NULL, 0, false, false};
	uint64_t mask;

	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
	one.rlim_max = old.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &one), 0);
	sqe(IORING_OP_WRITE, file, "x", 1, 100);
	LANE_BLOCK(&mask);
	CHECK(lane_enter_ring(&r.lane, &c));
	LANE_UNBLOCK(&mask); /* no SIGXFSZ */
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
	ring_expect(&r, r.made, -EFBIG);
}

static void test_pipes(void)
{
	struct iovec iov[2] = {{"ab", 2}, {"cde", 3}};

	sqe(IORING_OP_WRITEV, pipes[1], iov, 2, 0);
	CHECK_EQ(ring_do(&r), 5);
	sqe(IORING_OP_READ, pipes[0], buf, 2, 7); /* a pipe ignores it, a socket does not */
	ring_leave(&r);
	sqe(IORING_OP_READ, pipes[0], buf, 2, 0);
	CHECK_EQ(ring_do(&r), 2);
	sqe(IORING_OP_READ, pipes[0], buf, 100, (uint64_t)-1);
	CHECK_EQ(ring_do(&r), 3);
	CHECK(!memcmp(buf, "cde", 3));
}

/* What is read of a stream is all there is, but less than asked for all the same: it fails its link. */
static void test_short_reads_break_links(void)
{
	uint32_t taken;

	CHECK_EQ(write(pipes[1], "ab", 2), 2);
	sqe(IORING_OP_READ, pipes[0], buf, 3, 0)->flags = IOSQE_IO_LINK;
	ring_sqe(&r, IORING_OP_NOP, -1);
	CHECK(ring_enter(&r, 2, &taken));
	ring_expect(&r, r.made - 1, 2);
	ring_expect(&r, r.made, -ECANCELED);
}

/* The rest of a chain whose first is done is a chain of the daemon's; a write to a file does not leave the lane in one. */
static void test_chains_that_wait(void)
{
	uint32_t taken;

	ring_sqe(&r, IORING_OP_NOP, -1)->flags = IOSQE_IO_LINK;
	sqe(IORING_OP_READ, pipes[0], buf, 3, 0)->flags = IOSQE_IO_LINK;
	ring_sqe(&r, IORING_OP_NOP, -1);
	CHECK(!ring_enter(&r, 3, &taken));
	CHECK_EQ(taken, 1);
	ring_expect(&r, r.made - 2, 0);
	lane_set_word(r.lane.rings, LANE_SQ_TAIL, r.lane.page->sq_head);
	ring_sqe(&r, IORING_OP_NOP, -1)->flags = IOSQE_IO_LINK;
	sqe(IORING_OP_WRITE, file, "x", 1, 0);
	CHECK(!ring_enter(&r, 2, &taken));
	CHECK_EQ(taken, 1);
	ring_reap(&r);
	lane_set_word(r.lane.rings, LANE_SQ_TAIL, r.lane.page->sq_head);
}

static unsigned flags_of_next(void)
{
	uint32_t taken;
	struct cqe cqe;

	CHECK(ring_enter(&r, 1, &taken));
	cqe = ring_reap(&r);
	CHECK(cqe.res >= 0);
	return cqe.flags;
}

static void test_stream(void)
{
	sqe(IORING_OP_SEND, pair[0], "hello", 5, 0);
	CHECK_EQ(ring_do(&r), 5);
	sqe(IORING_OP_RECV, pair[1], buf, 2, 0);
	CHECK_EQ(flags_of_next(), LANE_SOCK_NONEMPTY);
	sqe(IORING_OP_RECV, pair[1], buf, 100, 0);
	CHECK_EQ(flags_of_next(), 0);
	CHECK(!memcmp(buf, "llo", 3));
	sqe(IORING_OP_RECV, pair[1], buf, 1, 0)->msg_flags = MSG_WAITALL;
	ring_leave(&r);
	sqe(IORING_OP_RECV, pair[1], buf, 1, 0)->ioprio = 1; /* IORING_RECVSEND_POLL_FIRST */
	ring_leave(&r);
	sqe(IORING_OP_SEND, file, "x", 1, 0);
	CHECK_EQ(ring_do(&r), -ENOTSOCK);
	sqe(IORING_OP_SEND, pair[0], (void *)BAD, 1, 0);
	ring_leave(&r);
}

static void test_messages(void)
{
	struct iovec out = {"message", 7}, in = {buf, sizeof(buf)};
	struct msghdr msg;
	int ends[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
	memset(&msg, 0, sizeof(msg));
	msg.msg_iov = &out;
	msg.msg_iovlen = 1;
	sqe(IORING_OP_SENDMSG, ends[0], &msg, 1, 0);
	CHECK_EQ(ring_do(&r), 7);
	in.iov_len = 3;
	msg.msg_iov = &in;
	sqe(IORING_OP_RECVMSG, ends[1], &msg, 1, 0);
	CHECK_EQ(ring_do(&r), 3);
	CHECK_EQ(msg.msg_flags, MSG_TRUNC);
	sqe(IORING_OP_RECVMSG, ends[1], (void *)BAD, 1, 0);
	ring_leave(&r);
	CHECK_EQ(send(ends[0], "x", 1, 0), 1);
	in.iov_base = (void *)BAD;
	sqe(IORING_OP_RECVMSG, ends[1], &msg, 1, 0); /* the datagram is gone: it cannot be left */
	CHECK_EQ(ring_do(&r), -EFAULT);
	CHECK_EQ(send(ends[0], "x", 1, 0), 1);
	msg.msg_iov = (void *)BAD;
	sqe(IORING_OP_RECVMSG, ends[1], &msg, 1, 0);
	ring_leave(&r);
	close(ends[0]);
	close(ends[1]);
}

static void test_tcp_says_that_there_is_the_end(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(any);
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = socket(AF_INET, SOCK_STREAM, 0), other;

	CHECK_EQ(bind(listener, (void *)&any, sizeof(any)), 0);
	CHECK_EQ(listen(listener, 1), 0);
	CHECK_EQ(getsockname(listener, (void *)&any, &size), 0);
	CHECK_EQ(connect(one, (void *)&any, sizeof(any)), 0);
	other = accept(listener, NULL, NULL);
	CHECK_EQ(send(one, "ab", 2, 0), 2);
	sqe(IORING_OP_RECV, other, buf, 2, 0);
	CHECK_EQ(flags_of_next(), 0);
	CHECK_EQ(send(one, "ab", 2, 0), 2);
	CHECK_EQ(shutdown(one, SHUT_WR), 0);
	sqe(IORING_OP_RECV, other, buf, 2, 0);
	CHECK_EQ(flags_of_next(), LANE_SOCK_NONEMPTY);
	close(one);
	close(other);
	close(listener);
}

static void test_poll(void)
{
	ring_sqe(&r, IORING_OP_POLL_ADD, pipes[1])->poll32_events = POLLOUT;
	CHECK_EQ(ring_do(&r), POLLOUT);
	ring_sqe(&r, IORING_OP_POLL_ADD, pipes[0])->poll32_events = POLLIN;
	ring_leave(&r);
	ring_sqe(&r, IORING_OP_POLL_ADD, pipes[1])->poll32_events = POLLOUT | 1u << 31; /* EPOLLET */
	ring_leave(&r);
	ring_sqe(&r, IORING_OP_POLL_ADD, 999)->poll32_events = POLLIN;
	CHECK_EQ(ring_do(&r), -EBADF);
}

static void test_descriptors(void)
{
	int fd;

	ring_sqe(&r, IORING_OP_OPENAT, AT_FDCWD)->addr = (uint64_t)(uintptr_t)path;
	fd = ring_do(&r);
	CHECK(fd > 2);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	ring_sqe(&r, IORING_OP_CLOSE, fd);
	CHECK_EQ(ring_do(&r), 0);
	CHECK_EQ(fcntl(fd, F_GETFL), -1);
	ring_sqe(&r, IORING_OP_CLOSE, fd);
	ring_leave(&r);
	ring_sqe(&r, IORING_OP_OPENAT, AT_FDCWD)->addr = (uint64_t)(uintptr_t) ""; /* getname() */
	ring_leave(&r);
	ring_sqe(&r, IORING_OP_OPENAT, AT_FDCWD)->open_flags = O_CREAT;
	ring_leave(&r);
	sqe(LANE_OP_SOCKET, AF_INET, NULL, 0, SOCK_DGRAM | SOCK_CLOEXEC);
	fd = ring_do(&r);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ring_sqe(&r, IORING_OP_CLOSE, fd);
	CHECK_EQ(ring_do(&r), 0);
	sqe(LANE_OP_SOCKET, AF_INET, NULL, 0, SOCK_DGRAM | 1 << 20);
	ring_leave(&r);
}

/* The descriptor is asked once a batch, and again behind a close. */
static void test_a_descriptor_that_is_another_in_the_next_batch(void)
{
	int fd = dup(pipes[1]);

	sqe(IORING_OP_WRITE, fd, "x", 1, 0);
	CHECK_EQ(ring_do(&r), 1);
	CHECK_EQ(dup2(file, fd), fd);
	sqe(IORING_OP_WRITE, fd, "x", 1, 0);
	CHECK_EQ(ring_do(&r), 1);
	close(fd);
	sqe(IORING_OP_READ, pipes[0], buf, 100, 0);
	CHECK_EQ(ring_do(&r), 1);
}

static unsigned asked;

static long count_file_flags(struct lane *l, int fd)
{
	asked++;
	return lane_host_file_flags(l, fd);
}

static void read_times(int fd, unsigned times, int res)
{
	for (unsigned i = 0; i < times; i++) {
		sqe(IORING_OP_READ, fd, buf, 1, 0);
		CHECK_EQ(ring_do(&r), res);
	}
}

/* The flags of a descriptor that is read again and again are believed for a while; what it is now shows all the same. */
static void test_believed_flags(void)
{
	struct iovec iov = {buf, 1};
	int fd = open(path, O_RDONLY), other = open("/dev/null", O_RDONLY);

	r.host.file_flags = count_file_flags;
	r.lane.beliefs = 3;
	read_times(fd, 8, 1);
	CHECK_EQ(asked, 2);
	CHECK_EQ(dup2(other, fd), fd);
	read_times(fd, 1, 0); /* its first byte is not there */
	CHECK_EQ(dup2(file, fd), fd);
	read_times(fd, 1, 1);
	CHECK_EQ(close(fd), 0);
	read_times(fd, 3, -EBADF);
	sqe(IORING_OP_POLL_ADD, fd, NULL, 0, 0);
	CHECK_EQ(ring_do(&r), -EBADF);
	read_times(file, 1, 1);
	sqe(IORING_OP_READV, file, &iov, 1, 0);
	CHECK_EQ(ring_do(&r), 1);
	read_times(other, 1, 0);
	r.lane.beliefs = r.lane.believed = 0;
	asked = 0;
	read_times(file, 3, 1);
	CHECK_EQ(asked, 3);
	r.host.file_flags = lane_host_file_flags;
	close(other);
}

int main(void)
{
	file = mkstemp(path);
	CHECK(file >= 0);
	CHECK_EQ(pipe(pipes), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ring_make(&r, 16, 32, 0);
	test_read();
	test_readv();
	test_refused_reads();
	test_reads_that_wait();
	test_half_cached();
	test_write();
	test_file_size_limit();
	test_pipes();
	test_short_reads_break_links();
	test_chains_that_wait();
	test_stream();
	test_messages();
	test_tcp_says_that_there_is_the_end();
	test_poll();
	test_descriptors();
	test_a_descriptor_that_is_another_in_the_next_batch();
	test_believed_flags();
	unlink(path);
	return 0;
}
