/* SPDX-License-Identifier: Apache-2.0 */
/* One random SQE: of a kind that the free objects admit, then perhaps a field made hostile. */
#include "gen.h"

#include <linux/time_types.h>

#define OP_WAITID 50
#define OP_FUTEX_WAIT 51
#define OP_FUTEX_WAKE 52
#define FUTEX_U32 2
#define FUTEX_PRIVATE 128

static struct __kernel_timespec hour = {3600, 0}, moment = {0, 300000}, wrong = {0, -1};

void *keep(size_t size)
{
	static char pool[1 << 20];
	static size_t used;
	char *at = pool + used;

	used += (size + 15) & ~15UL;
	EXPECT(used <= sizeof(pool));
	return memset(at, 0, size);
}

int take(struct making *m, int first, int n)
{
	int obj = first + (int)rnd((unsigned)n);

	for (int i = 0; i < n; i++, obj = first + (obj - first + 1) % n) {
		if (m->taken & 1ULL << obj)
			continue;
		if (m->own & 1ULL << obj)
			m->cuttable = false;
		m->own |= 1ULL << obj;
		m->last = obj;
		return obj;
	}
	return -1;
}

void set_file(struct io_uring_sqe *s, int obj, bool write_end)
{
	const struct object *o = &objects[obj];

	s->fd = write_end ? o->wfd : o->rfd;
	if (obj < OBJ_GROUP && ONE_IN(3)) {
		s->fd = write_end ? o->wslot : o->rslot;
		s->flags |= IOSQE_FIXED_FILE;
	}
}

void set_buffers(struct io_uring_sqe *s, char *at, unsigned len)
{
	unsigned n = 1 + rnd(3);
	struct iovec *iov = keep(n * sizeof(*iov));

	for (unsigned i = 0; i < n; i++) {
		iov[i].iov_base = at;
		iov[i].iov_len = i == n - 1 ? len : rnd(len + 1);
		at += iov[i].iov_len;
		len -= (unsigned)iov[i].iov_len;
	}
	s->addr = address(iov);
	s->len = n;
}

char *from(unsigned len)
{
	return source + rnd((unsigned)(SOURCE - len));
}

struct msghdr *message(char *at, unsigned len)
{
	struct io_uring_sqe vec;
	struct msghdr *msg = keep(sizeof(*msg));

	set_buffers(&vec, at, len);
	msg->msg_iov = (struct iovec *)(uintptr_t)vec.addr;
	msg->msg_iovlen = vec.len;
	return msg;
}

/* Of what is not there. */
static bool gen_cancel(struct io_uring_sqe *s, struct making *m)
{
	(void)m;
	s->opcode = (uint8_t)PICK(IORING_OP_ASYNC_CANCEL, IORING_OP_TIMEOUT_REMOVE, IORING_OP_POLL_REMOVE);
	s->addr = 0xdead0000;
	s->fd = -1;
	if (s->opcode == IORING_OP_ASYNC_CANCEL) {
		s->cancel_flags = (uint32_t)PICK(0, IORING_ASYNC_CANCEL_ALL, IORING_ASYNC_CANCEL_FD, 1u << 20);
		s->fd = 9999;
	} else if (s->opcode == IORING_OP_TIMEOUT_REMOVE && ONE_IN(2)) {
		s->timeout_flags = (uint32_t)PICK(IORING_TIMEOUT_UPDATE, IORING_LINK_TIMEOUT_UPDATE, 0x40000);
		s->addr2 = address(&hour);
	} else if (s->opcode == IORING_OP_POLL_REMOVE)
		s->len = (uint32_t)PICK(0, IORING_POLL_UPDATE_EVENTS, IORING_POLL_ADD_MULTI, 0x40);
	return true;
}

static bool gen_timeout(struct io_uring_sqe *s, struct making *m)
{
	(void)m;
	s->opcode = IORING_OP_TIMEOUT;
	s->fd = -1;
	s->addr = address(ONE_IN(8) ? &wrong : &moment);
	s->len = ONE_IN(8) ? 2 : 1;
	s->timeout_flags = (uint32_t)PICK(0, 0, IORING_TIMEOUT_ETIME_SUCCESS, IORING_TIMEOUT_BOOTTIME,
					  IORING_TIMEOUT_REALTIME | IORING_TIMEOUT_BOOTTIME, IORING_TIMEOUT_ABS);
	return true;
}

/* Of a process without children: what pends is another test's. */
static bool gen_waitid(struct io_uring_sqe *s, struct making *m)
{
	(void)m;
	s->opcode = OP_WAITID;
	s->len = (uint32_t)PICK(P_ALL, P_PID, P_PGID, 3 /* P_PIDFD */, 4);
	s->fd = (int)PICK(0, 1, 9999, INT32_MAX, (uint64_t)-1);
	s->file_index = (uint32_t)PICK(WEXITED, WEXITED | WNOHANG, WSTOPPED | WCONTINUED | WNOWAIT, 0xe0000004, 0,
				       0x10);
	s->addr2 = PICK(0, address(keep(128)), address(keep(128)), 8);
	return true;
}

/* Of the request's own memory. The start of the arena is registered: there the kernel has pinned other pages then. */
static bool gen_madvise(struct io_uring_sqe *s, struct making *m)
{
	if (m->region < arena + FIXED)
		return false;
	s->opcode = IORING_OP_MADVISE;
	s->fd = -1;
	s->addr = address(m->region) + ONE_IN(8);
	s->len = (uint32_t)PICK(PAGE, PAGE, 1, 0);
	if (ONE_IN(4))
		s->off = PAGE;
	s->fadvise_advice = (uint32_t)PICK(MADV_NORMAL, MADV_WILLNEED, MADV_DONTNEED, MADV_DONTNEED, MADV_REMOVE,
					   MADV_DONTFORK, MADV_DOFORK, MADV_HUGEPAGE, MADV_DONTDUMP, MADV_WIPEONFORK,
					   MADV_COLD, 22 /* POPULATE_READ */, 23 /* POPULATE_WRITE */, 99, UINT32_MAX);
	return true;
}

static bool gen_nop(struct io_uring_sqe *s, struct making *m)
{
	(void)m;
	s->opcode = IORING_OP_NOP;
	s->fd = (int)PICK((uint64_t)-1, 0, 9999);
	if (ONE_IN(4)) {
		s->rw_flags = 1; /* IORING_NOP_INJECT_RESULT */
		s->len = (uint32_t)PICK(0, 7, (uint64_t)-5, INT32_MAX);
	}
	return true;
}

/* Of nobody who waits, or of a value that is another. */
static bool gen_futex(struct io_uring_sqe *s, struct making *m)
{
	uint32_t *word = keep(sizeof(*word));

	(void)m;
	*word = 5;
	s->opcode = (uint8_t)PICK(OP_FUTEX_WAIT, OP_FUTEX_WAKE);
	s->fd = (int)PICK(FUTEX_U32, FUTEX_U32, FUTEX_U32 | FUTEX_PRIVATE, 0, 3, 0x10000);
	s->addr = address(word);
	s->addr2 = s->opcode == OP_FUTEX_WAIT ? PICK(6, 6, 1ULL << 32) : PICK(0, 1, INT32_MAX);
	s->addr3 = PICK(UINT32_MAX, 1, 0, 1ULL << 32);
	return true;
}

static generator *const generators[] = {
	gen_nop,	  gen_file_rw, gen_file_rw,	gen_file_direct, gen_file_misc, gen_stream_write,
	gen_stream_write, gen_event,   gen_stream_read, gen_stream_read, gen_poll,	gen_buffers,
	gen_path,	  gen_path,    gen_slot,	gen_splice,	 gen_epoll,	gen_cancel,
	gen_timeout,	  gen_xattr,   gen_socket,	gen_slot_socket, gen_futex,	gen_waitid,
	gen_madvise,	  gen_noise,   gen_noise,
};

void sqe_random(struct io_uring_sqe *s, struct making *m)
{
	generator *g = generators[rnd(sizeof(generators) / sizeof(*generators))];

	memset(s, 0, sizeof(*s));
	if (!g(s, m)) {
		memset(s, 0, sizeof(*s));
		gen_nop(s, m);
	}
	if (ONE_IN(6))
		s->flags |= IOSQE_ASYNC;
	if (!m->skip && ONE_IN(6))
		spoil(s, m);
}

/* ---- requests that pend ---- */

/* Into one piece of memory, a buffer in its place perhaps; what room a multishot leaves for names and control. */
static void hold_message(struct io_uring_sqe *s, char *to)
{
	struct iovec *iov = keep(sizeof(*iov));
	struct msghdr *msg = keep(sizeof(*msg));

	*iov = (struct iovec){to, s->len};
	msg->msg_iov = iov;
	msg->msg_iovlen = 1;
	msg->msg_name = keep(64);
	msg->msg_namelen = (socklen_t)PICK(0, 0, 16, 40);
	msg->msg_control = keep(64);
	msg->msg_controllen = PICK(0, 0, 24);
	s->addr = address(msg);
	s->len = 1;
}

/* Into provided buffers, each time there is something or once. */
static void select_held(struct io_uring_sqe *s, struct making *m, int obj)
{
	int group = take(m, OBJ_GROUP, GROUPS);

	if (group < 0)
		return;
	s->flags |= IOSQE_BUFFER_SELECT;
	s->buf_group = (uint16_t)(group - OBJ_GROUP);
	if (s->opcode != IORING_OP_RECVMSG)
		s->addr = 0;
	/* one write of a number is as many events of a semaphore */
	if (ONE_IN(2) || obj == OBJ_SEMAPHORE || world_buffers((unsigned)(group - OBJ_GROUP)) < 2 + MULTISHOTS)
		return;
	if (s->opcode == IORING_OP_RECVMSG) {
		s->ioprio = RECV_MULTISHOT;
		return;
	}
	s->len = 0;
	if (s->opcode == IORING_OP_RECV)
		s->ioprio = RECV_MULTISHOT;
	else
		s->opcode = OP_READ_MULTISHOT;
}

static bool accept_held(struct io_uring_sqe *s, struct making *m)
{
	if (m->taken & 1ULL << OBJ_SLOTS || take(m, OBJ_LISTENER, 1) < 0 || world_ready(OBJ_LISTENER))
		return false;
	s->opcode = IORING_OP_ACCEPT;
	s->fd = objects[OBJ_LISTENER].rfd;
	if (ONE_IN(3)) {
		s->fd = SLOT_LISTENER;
		s->flags = IOSQE_FIXED_FILE;
	}
	s->file_index = 1 + SLOTS_FIRST + rnd(6);
	if (ONE_IN(3))
		return true;
	s->file_index = UINT32_MAX; /* IORING_FILE_INDEX_ALLOC */
	s->ioprio = (uint16_t)PICK(0, 1 /* IORING_ACCEPT_MULTISHOT */);
	return true;
}

uint64_t sqe_also(const struct io_uring_sqe *s)
{
	if (s->opcode == IORING_OP_ACCEPT)
		return 1ULL << OBJ_SLOTS;
	return s->flags & IOSQE_BUFFER_SELECT ? 1ULL << (OBJ_GROUP + s->buf_group) : 0;
}

int sqe_held(struct io_uring_sqe *s, uint64_t taken)
{
	struct making m = {.taken = taken};
	int obj = take(&m, OBJ_PIPE, PIPES + SOCKS + EVENTS);
	char *to = keep(64);

	memset(s, 0, sizeof(*s));
	if (ONE_IN(6) && accept_held(s, &m))
		return OBJ_LISTENER;
	memset(s, 0, sizeof(*s));
	if (obj < 0 || ONE_IN(4)) {
		s->opcode = IORING_OP_TIMEOUT;
		s->fd = -1;
		s->addr = address(&hour);
		s->len = 1;
		return OBJ_NONE;
	}
	if (world_ready(obj))
		return -1;
	set_file(s, obj, false);
	if (ONE_IN(2)) {
		s->opcode = IORING_OP_POLL_ADD;
		s->poll32_events = POLLIN;
		s->len = ONE_IN(2) ? IORING_POLL_ADD_MULTI : 0;
		return obj;
	}
	s->opcode = IORING_OP_READ;
	if (obj >= OBJ_SOCK && obj < OBJ_EVENT)
		s->opcode = (uint8_t)PICK(IORING_OP_READ, IORING_OP_RECV, IORING_OP_RECVMSG);
	s->addr = address(to);
	s->len = 8 + rnd(50);
	if (s->opcode == IORING_OP_RECVMSG)
		hold_message(s, to);
	if (ONE_IN(2))
		select_held(s, &m, obj);
	return obj;
}

bool sqe_multishot(const struct io_uring_sqe *s)
{
	return (s->opcode == IORING_OP_POLL_ADD && s->len) || s->opcode == OP_READ_MULTISHOT ||
	       (s->opcode == IORING_OP_ACCEPT && s->ioprio) ||
	       ((s->opcode == IORING_OP_RECV || s->opcode == IORING_OP_RECVMSG) && s->ioprio & RECV_MULTISHOT);
}

void sqe_link_timeout(struct io_uring_sqe *s, bool soon)
{
	memset(s, 0, sizeof(*s));
	s->opcode = IORING_OP_LINK_TIMEOUT;
	s->fd = -1;
	s->addr = address(soon ? &moment : &hour);
	s->len = 1;
}

uint64_t an_hour(void)
{
	return address(&hour);
}

uint64_t small_number(void)
{
	static const uint64_t number = 3;

	return address(&number);
}

uint64_t a_moment(void)
{
	return address(&moment);
}
