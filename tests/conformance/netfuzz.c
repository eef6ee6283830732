/* SPDX-License-Identifier: Apache-2.0 */
/* Every field of a socket's request takes every value that means something somewhere. A seed a behaviour. */
#include "net.h"

static const int ops[] = {IORING_OP_SENDMSG, IORING_OP_RECVMSG, IORING_OP_ACCEPT,   IORING_OP_CONNECT,
			  IORING_OP_SEND,    IORING_OP_RECV,	IORING_OP_SHUTDOWN, IORING_OP_SOCKET,
			  OP_URING_CMD,	     OP_SEND_ZC,	OP_SENDMSG_ZC,	    OP_BIND,
			  OP_LISTEN};
static unsigned state;

static unsigned next(unsigned n)
{
	state = state * 1664525 + 1013904223;
	return (state >> 16) % n;
}

/* Mostly what is right: else the first check is all that is ever reached. */
#define SELDOM(...) (next(24) ? 0 : PICK(__VA_ARGS__))
#define PICK(...)                                   \
	({                                          \
		uint64_t of[] = {__VA_ARGS__};      \
		of[next(sizeof(of) / sizeof(*of))]; \
	})

static char data[4096];
static struct iovec iov = {data, 16};
static struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

static bool wants_length(int op)
{
	return op == OP_BIND || op == IORING_OP_CONNECT;
}

static bool takes_data(int op)
{
	return op == IORING_OP_SEND || op == IORING_OP_RECV || op == OP_SEND_ZC || op == IORING_OP_SHUTDOWN;
}

/* Sockets on which nothing waits: the other end is gone, or there was none ever. */
static int some_file(int *kind, const struct ring *r, int file)
{
	int sv[2];

	*kind = (int)next(8);
	if (*kind < 4) {
		pair(SOCK_STREAM, sv);
		OK(close(sv[1]));
		return sv[0];
	}
	if (*kind < 6)
		return (int)OK(socket(AF_INET, SOCK_STREAM, 0));
	return *kind == 6 ? dup(file) : dup(r->fd);
}

static void fuzz(unsigned seed)
{
	/* Above 4 GiB, however the program is linked: the width of an address shows */
	struct sockaddr_in *nobody = (void *)map_pages(1, PROT_READ | PROT_WRITE);
	int file = make_file(100), kind, fd;
	char *hole = map_then_hole(1) + PAGE;
	struct ring r;

	*nobody = loopback();
	nobody->sin_port = htons(1);
	ring_init(&r, 8, 0);
	state = seed;
	for (int i = 0; i < 150; i++) {
		struct io_uring_sqe sqe;
		struct cqe cqe;

		memset(&sqe, 0, sizeof(sqe));
		fd = some_file(&kind, &r, file);
		sqe.opcode = (uint8_t)ops[next(sizeof(ops) / sizeof(*ops))];
		sqe.flags = (uint8_t)SELDOM(IOSQE_FIXED_FILE, IOSQE_ASYNC, IOSQE_BUFFER_SELECT);
		sqe.ioprio = (uint16_t)SELDOM(1, 2, 4, 8, 32, 64, 3);
		if (kind > 5) /* polled before it is seen to be no socket: it would wait for the ring itself */
			sqe.ioprio &= ~5;
		sqe.fd = next(12) ? fd : -1;
		if (sqe.opcode == IORING_OP_SOCKET)
			sqe.fd = (int)PICK(AF_INET, AF_UNIX, (uint64_t)-1, 99);
		sqe.off = next(3) ? (wants_length(sqe.opcode) ? 16 : sqe.opcode == IORING_OP_SOCKET)
				  : PICK(0, 1, 2, 16, (uintptr_t)nobody, 1ULL << 32, (uint64_t)-1);
		sqe.addr = PICK(0, (uintptr_t)data, (uintptr_t)&msg, (uintptr_t)&msg, (uintptr_t)nobody,
				(uintptr_t)hole, (uint64_t)-4096);
		sqe.len = (uint32_t)(takes_data(sqe.opcode) ? PICK(0, 1, 16, 0xffffffff) : SELDOM(1, 16, 0xffffffff));
		sqe.rw_flags = (int)SELDOM(MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL, SOCK_CLOEXEC, SOCK_NONBLOCK);
		sqe.buf_index = (uint16_t)SELDOM(1);
		sqe.file_index = (uint32_t)SELDOM(1, 16, 1 << 16, (uint32_t)-1);
		sqe.addr3 = SELDOM(1, (uintptr_t)data);
		sqe.__pad2[0] = SELDOM(1);
		sqe.user_data = (uint64_t)i;
		push(&r, sqe);
		EXPECT_EQ(ring_submit(&r), 1);
		do {
			cqe = ring_wait(&r);
			note("%d: op %u kind %d -> %d 0x%x", i, sqe.opcode, kind,
			     cqe.res > 2 && (sqe.opcode == IORING_OP_SOCKET || sqe.opcode == IORING_OP_ACCEPT)
				     ? 3
				     : cqe.res,
			     cqe.flags);
		} while (cqe.flags & IORING_CQE_F_MORE);
		EXPECT_EQ(cqe.user_data, (uint64_t)i);
		OK(close(fd));
	}
}

TEST(seed_1)
{
	fuzz(1);
}

TEST(seed_2)
{
	fuzz(20202);
}

TEST(seed_3)
{
	fuzz(3030303);
}

TEST(seed_of_the_environment)
{
	const char *seed = getenv("SEED");

	fuzz(seed ? (unsigned)strtoul(seed, NULL, 10) : 4);
}
