/* SPDX-License-Identifier: Apache-2.0 */
/* What the behaviours of sockets share. */
#ifndef NET_H
#define NET_H

#include "harness.h"
#include "uapi_extra.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sched.h>
#include <sys/stat.h>

/* Enumerators of newer headers, by value. */
#define OP_SENDMSG_ZC 48
#define OP_URING_CMD 46
#define OP_SEND_ZC 47
#define OP_BIND 56
#define OP_LISTEN 57
#define FILE_INDEX_ALLOC (~0U)
#define POLL_FIRST (1U << 0)
#define RECV_MULTISHOT (1U << 1)
#define BUNDLE (1U << 4)
#define SEND_FIXED_BUF (1U << 2)
#define SEND_REPORT_USAGE (1U << 3)
#define ACCEPT_MULTISHOT (1U << 0)
#define ACCEPT_DONTWAIT (1U << 1)
#define ACCEPT_POLL_FIRST (1U << 2)

static inline struct io_uring_sqe sqe_of(int op, int fd, const void *addr, unsigned len)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.fd = fd;
	sqe.addr = (uint64_t)(uintptr_t)addr;
	sqe.len = len;
	sqe.user_data = 0x50c0 + (unsigned)op;
	return sqe;
}

static inline void push(struct ring *r, struct io_uring_sqe sqe)
{
	struct io_uring_sqe *at = ring_sqe(r);

	EXPECT(at != NULL);
	*at = sqe;
}

static inline struct cqe note_cqe(struct ring *r)
{
	struct cqe cqe = ring_wait(r);

	note("user_data=0x%llx res=%d flags=0x%x", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
	return cqe;
}

/* Whose number is nobody's business. */
static inline int note_new(struct ring *r)
{
	struct cqe cqe = ring_wait(r);

	note("user_data=0x%llx res=%s%d flags=0x%x", (unsigned long long)cqe.user_data,
	     cqe.res > 2 ? "descriptor " : "", cqe.res > 2 ? 0 : cqe.res, cqe.flags);
	return cqe.res;
}

static inline int run(struct ring *r, struct io_uring_sqe sqe)
{
	return run_sqe(r, &sqe);
}

static inline int run_new(struct ring *r, struct io_uring_sqe sqe)
{
	push(r, sqe);
	EXPECT_EQ(ring_submit(r), 1);
	return note_new(r);
}

/* Submitted, and seen to be pending. */
static inline void start(struct ring *r, struct io_uring_sqe sqe)
{
	push(r, sqe);
	EXPECT_EQ(ring_submit(r), 1);
	EXPECT_EQ(ring_ready(r), 0);
}

static inline void cancel(struct ring *r, uint64_t user_data)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_ASYNC_CANCEL, -1, NULL, 0);

	sqe.addr = user_data;
	sqe.user_data = 0xca;
	sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
	push(r, sqe);
	EXPECT_EQ(ring_submit(r), 1);
}

static inline void pair(int type, int sv[2])
{
	OK(socketpair(AF_UNIX, type, 0, sv));
}

static inline struct sockaddr_in loopback(void)
{
	struct sockaddr_in a;

	memset(&a, 0, sizeof(a));
	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static inline int tcp_listener(struct sockaddr_in *a)
{
	socklen_t len = sizeof(*a);
	int fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0));

	*a = loopback();
	OK(bind(fd, (struct sockaddr *)a, sizeof(*a)));
	OK(listen(fd, 8));
	OK(getsockname(fd, (struct sockaddr *)a, &len));
	return fd;
}

static inline void tcp_pair(int sv[2])
{
	struct sockaddr_in a;
	int l = tcp_listener(&a), one = 1;

	sv[0] = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
	OK(connect(sv[0], (struct sockaddr *)&a, sizeof(a)));
	sv[1] = (int)OK(accept(l, NULL, NULL));
	OK(setsockopt(sv[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	OK(close(l));
}

static inline int udp_socket(struct sockaddr_in *a)
{
	socklen_t len = sizeof(*a);
	int fd = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));

	*a = loopback();
	OK(bind(fd, (struct sockaddr *)a, sizeof(*a)));
	OK(getsockname(fd, (struct sockaddr *)a, &len));
	return fd;
}

static inline void until_readable(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};

	EXPECT_EQ(poll(&p, 1, 10000), 1);
}

/* So full that a send would block. */
static inline void fill(int fd)
{
	static char junk[4096];

	while (send(fd, junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	EXPECT_EQ(errno, EAGAIN);
}

static inline void sparse_files(struct ring *r, unsigned n)
{
	int fds[16];

	for (unsigned i = 0; i < n; i++)
		fds[i] = -1;
	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_FILES, fds, n), 0);
}

#endif
