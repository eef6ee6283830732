/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a stream that comes in one go with its last data, while a multishot receive is armed. */
#include "net.h"

#define ROUNDS 20
#define BUFFERS 8
#define BYTES 64

static struct buf {
	uint64_t addr;
	uint32_t len;
	uint16_t bid, tail;
} *buffers;

static char pool[BUFFERS][BYTES];

enum ending { BY_SHUTDOWN, BY_CLOSE };

static struct io_uring_sqe armed(int op, int fd, const struct msghdr *msg, unsigned ioprio)
{
	struct io_uring_sqe sqe = sqe_of(op, fd, msg, msg ? 1 : 0);

	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 7;
	sqe.ioprio = (uint16_t)(RECV_MULTISHOT | ioprio);
	return sqe;
}

static void buffer_ring(struct ring *r)
{
	struct {
		uint64_t addr;
		uint32_t entries;
		uint16_t bgid, flags;
		uint64_t resv[3];
	} reg = {0, BUFFERS, 7, 0, {0}};

	buffers = (void *)map_pages(1, PROT_READ | PROT_WRITE);
	reg.addr = (uintptr_t)buffers;
	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_PBUF_RING, &reg, 1), 0);
}

static void refill(void)
{
	uint16_t tail = __atomic_load_n(&buffers[0].tail, __ATOMIC_RELAXED);

	for (uint16_t i = 0; i < 2; i++, tail++) {
		struct buf *b = &buffers[tail % BUFFERS];

		b->addr = (uintptr_t)pool[tail % BUFFERS];
		b->len = BYTES;
		b->bid = tail % BUFFERS;
	}
	__atomic_store_n(&buffers[0].tail, tail, __ATOMIC_RELEASE);
}

static struct cqe next(struct ring *r)
{
	struct cqe cqe = ring_wait(r);

	note("res=%d flags=0x%x", cqe.res, cqe.flags & ~(IORING_CQE_F_SOCK_NONEMPTY | 0xffff0000U));
	return cqe;
}

static void data_and_end(struct ring *r, int sv[2], struct io_uring_sqe sqe, enum ending ending)
{
	struct cqe cqe;

	start(r, sqe);
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	OK(ending == BY_CLOSE ? close(sv[0]) : shutdown(sv[0], SHUT_WR));
	cqe = next(r);
	EXPECT(cqe.res > 0 && cqe.flags & IORING_CQE_F_MORE);
	cqe = next(r);
	EXPECT(!(cqe.flags & IORING_CQE_F_MORE));
	OK(close(sv[1]));
	if (ending == BY_SHUTDOWN)
		OK(close(sv[0]));
}

static void rounds(int op, const struct msghdr *msg, unsigned ioprio, bool tcp)
{
	struct ring r;
	int sv[2];

	ring_init(&r, 8, 0);
	buffer_ring(&r);
	for (int i = 0; i < ROUNDS; i++) {
		tcp ? tcp_pair(sv) : pair(SOCK_STREAM, sv);
		refill();
		data_and_end(&r, sv, armed(op, sv[1], msg, ioprio), i % 2 ? BY_CLOSE : BY_SHUTDOWN);
	}
}

TEST(of_a_recv)
{
	rounds(IORING_OP_RECV, NULL, 0, false);
}

TEST(of_a_recv_of_tcp)
{
	rounds(IORING_OP_RECV, NULL, 0, true);
}

TEST(of_a_recvmsg)
{
	struct msghdr msg;

	memset(&msg, 0, sizeof(msg));
	rounds(IORING_OP_RECVMSG, &msg, 0, false);
}

TEST(of_a_bundle)
{
	rounds(IORING_OP_RECV, NULL, BUNDLE, false);
}

/* ---- what is left behind when a receive was short ---- */

static void send_with_descriptor(int fd, const char *text)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
	struct msghdr msg;
	struct cmsghdr *cmsg;

	memset(&msg, 0, sizeof(msg));
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control.room;
	msg.msg_controllen = sizeof(control.room);
	cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	EXPECT_EQ(sendmsg(fd, &msg, 0), iov.iov_len);
}

TEST(a_receive_of_all_goes_on_behind_each_descriptor)
{
	char got[16] = "";
	struct io_uring_sqe sqe = sqe_of(IORING_OP_RECV, 0, got, 10);
	struct ring r;
	int sv[2];

	ring_init(&r, 8, 0);
	pair(SOCK_STREAM, sv);
	for (int i = 0; i < 4; i++) /* a receive ends behind each */
		send_with_descriptor(sv[0], "ab");
	EXPECT_EQ(send(sv[0], "yz", 2, 0), 2);
	sqe.fd = sv[1];
	sqe.rw_flags = MSG_WAITALL;
	run(&r, sqe);
	note("%s", got);
}

/* ---- a reset behind data: its error is for one receive, and no end ---- */

/* Data for sv[1], and then a reset, for what sv[0] has not read. */
static void reset_behind(int sv[2], const char *text)
{
	struct pollfd gone = {sv[1], POLLIN, 0};

	EXPECT_EQ(send(sv[1], "x", 1, 0), 1);
	until_readable(sv[0]);
	EXPECT_EQ(send(sv[0], text, strlen(text), 0), strlen(text));
	OK(close(sv[0]));
	while (!(gone.revents & POLLERR))
		OK(poll(&gone, 1, -1));
}

static void piecemeal(int sv[2])
{
	struct ring r;
	char buf[3];

	ring_init(&r, 4, 0);
	reset_behind(sv, "abcdef");
	for (int i = 0; i < 3; i++) {
		struct cqe cqe;

		push(&r, sqe_of(IORING_OP_RECV, sv[1], buf, sizeof(buf)));
		EXPECT_EQ(ring_submit(&r), 1);
		cqe = ring_wait(&r);
		note("res=%d flags=0x%x", cqe.res, cqe.flags);
	}
}

TEST(a_reset_behind_data)
{
	int sv[2];

	pair(SOCK_STREAM, sv);
	piecemeal(sv);
}

TEST(a_reset_behind_data_of_tcp)
{
	int sv[2];

	tcp_pair(sv);
	piecemeal(sv);
}

TEST(a_receive_of_many_and_a_reset)
{
	struct ring r;
	int sv[2];

	ring_init(&r, 8, 0);
	buffer_ring(&r);
	refill();
	tcp_pair(sv);
	reset_behind(sv, "abc");
	push(&r, armed(IORING_OP_RECV, sv[1], NULL, 0));
	EXPECT_EQ(ring_submit(&r), 1);
	next(&r);
	next(&r);
}
