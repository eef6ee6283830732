/* SPDX-License-Identifier: Apache-2.0 */
/* One random SQE: of a kind that the free objects admit, then perhaps a field made hostile. */
#include "fuzz.h"

#ifndef RWF_APPEND
#define RWF_APPEND 0x10
#endif
#define OP_WAITID 50
#define OP_FTRUNCATE 55
#define NO_GROUP 77

#include <linux/falloc.h>
#include <linux/stat.h>
#include <linux/time_types.h>
#include <sys/epoll.h>

#define MIN(a, b) ((a) < (b) ? (a) : (b))

static struct __kernel_timespec hour = {3600, 0}, moment = {0, 300000}, wrong = {0, -1};

/* Headers and vectors that a request points to must stay; a program makes few. */
static void *keep(size_t size)
{
	static char pool[1 << 20];
	static size_t used;
	char *at = pool + used;

	used += (size + 15) & ~15UL;
	EXPECT(used <= sizeof(pool));
	return memset(at, 0, size);
}

static uint64_t address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* One of n objects from first on, or -1: all are in use. */
static int take(struct making *m, int first, int n)
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

static void set_file(struct io_uring_sqe *s, int obj, bool write_end)
{
	const struct object *o = &objects[obj];

	s->fd = write_end ? o->wfd : o->rfd;
	if (obj < OBJ_GROUP && ONE_IN(3)) {
		s->fd = write_end ? o->wslot : o->rslot;
		s->flags |= IOSQE_FIXED_FILE;
	}
}

/* Some memory, in one piece or several. */
static void set_buffers(struct io_uring_sqe *s, char *at, unsigned len)
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

static char *from(unsigned len)
{
	return source + rnd((unsigned)(SOURCE - len));
}

static uint64_t file_offset(void)
{
	return ONE_IN(4) ? (uint64_t)-1 : ONE_IN(12) ? PICK((uint64_t)-2, INT64_MAX, 1ULL << 63) : rnd(14000);
}

static bool gen_file_rw(struct io_uring_sqe *s, struct making *m)
{
	int obj = take(m, OBJ_FILE, FILES);
	unsigned len = ONE_IN(8) ? 0 : rnd(m->region_size);

	if (obj < 0)
		return false;
	s->opcode = (uint8_t)PICK(IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV,
				  IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED);
	set_file(s, obj, false);
	s->off = file_offset();
	s->len = len;
	switch (s->opcode) {
	case IORING_OP_READ: s->addr = address(m->region); break;
	case IORING_OP_WRITE: s->addr = address(from(len)); break;
	case IORING_OP_READV: set_buffers(s, m->region, len); break;
	case IORING_OP_WRITEV: set_buffers(s, from(len), len); break;
	case IORING_OP_READ_FIXED:
		s->buf_index = 1;
		s->addr = address(m->region);
		break;
	default: s->addr = address(source + rnd((unsigned)(FIXED - len)));
	}
	if (ONE_IN(8))
		s->rw_flags = (int)PICK(RWF_DSYNC, RWF_SYNC, RWF_HIPRI, RWF_APPEND);
	return true;
}

static bool gen_file_misc(struct io_uring_sqe *s, struct making *m)
{
	int obj = take(m, OBJ_FILE, FILES);

	if (obj < 0)
		return false;
	set_file(s, obj, false);
	s->opcode = (uint8_t)PICK(IORING_OP_FSYNC, IORING_OP_FALLOCATE, OP_FTRUNCATE, IORING_OP_SYNC_FILE_RANGE,
				  IORING_OP_FADVISE);
	s->off = rnd(12000);
	switch (s->opcode) {
	case IORING_OP_FSYNC:
		s->fsync_flags = (uint32_t)PICK(0, IORING_FSYNC_DATASYNC, 2);
		s->off = 0;
		break;
	case IORING_OP_FALLOCATE:
		s->addr = PICK(0, 1, 4096, 5000, (uint64_t)-1, 1ULL << 63);
		s->len = (uint32_t)PICK(0, 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					FALLOC_FL_PUNCH_HOLE, 0x1000);
		break;
	case OP_FTRUNCATE: s->off = ONE_IN(8) ? (uint64_t)-1 : rnd(14000); break;
	case IORING_OP_SYNC_FILE_RANGE:
		s->len = rnd(5000);
		s->sync_range_flags = (uint32_t)PICK(0, 1, 2, 4, 7, 8);
		break;
	default:
		s->len = rnd(5000);
		s->fadvise_advice = (uint32_t)PICK(0, 1, 2, 3, 4, 5, 6);
	}
	return true;
}

static struct msghdr *message(char *at, unsigned len)
{
	struct io_uring_sqe vec;
	struct msghdr *msg = keep(sizeof(*msg));

	set_buffers(&vec, at, len);
	msg->msg_iov = (struct iovec *)(uintptr_t)vec.addr;
	msg->msg_iovlen = vec.len;
	return msg;
}

static bool gen_stream_write(struct io_uring_sqe *s, struct making *m)
{
	int obj = take(m, OBJ_PIPE, PIPES + SOCKS);
	unsigned len = 1 + rnd(3000);

	if (obj < 0 || objects[obj].writes >= 12)
		return false;
	objects[obj].writes++;
	set_file(s, obj, true);
	s->opcode = (uint8_t)PICK(IORING_OP_WRITE, IORING_OP_WRITEV, IORING_OP_WRITE_FIXED, IORING_OP_SEND,
				  IORING_OP_SENDMSG);
	s->len = len;
	s->addr = address(source + rnd((unsigned)(FIXED - len)));
	if (s->opcode == IORING_OP_WRITEV)
		set_buffers(s, from(len), len);
	else if (s->opcode == IORING_OP_SENDMSG) {
		s->addr = address(message(from(len), len));
		s->len = 1;
	} else if (s->opcode == IORING_OP_SEND)
		s->msg_flags = (uint32_t)PICK(0, 0, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_NOSIGNAL);
	else
		s->off = PICK(0, (uint64_t)-1);
	return true;
}

/* Provided buffers are a group's: one chain's. */
static void select_buffer(struct io_uring_sqe *s, struct making *m)
{
	int group = take(m, OBJ_GROUP, GROUPS);

	if (group < 0)
		return;
	s->flags |= IOSQE_BUFFER_SELECT;
	s->buf_group = (uint16_t)(group - OBJ_GROUP);
	s->addr = 0;
}

static bool gen_stream_read(struct io_uring_sqe *s, struct making *m)
{
	int obj = take(m, OBJ_PIPE, PIPES + SOCKS);
	unsigned len = 1 + rnd(MIN(m->region_size - 1, 4000));

	if (obj < 0 || m->read[obj] || !world_ready(obj)) /* it would pend */
		return false;
	m->read[obj] = 1;
	set_file(s, obj, false);
	s->opcode = (uint8_t)PICK(IORING_OP_READ, IORING_OP_READV, IORING_OP_RECV, IORING_OP_RECVMSG,
				  IORING_OP_READ_FIXED);
	s->len = len;
	s->addr = address(m->region);
	if (s->opcode == IORING_OP_READV)
		set_buffers(s, m->region, len);
	else if (s->opcode == IORING_OP_RECVMSG) {
		s->addr = address(message(m->region, len));
		s->len = 1;
	} else if (s->opcode == IORING_OP_READ_FIXED)
		s->buf_index = 1;
	else if (ONE_IN(3))
		select_buffer(s, m);
	if (s->opcode == IORING_OP_RECV || s->opcode == IORING_OP_RECVMSG)
		s->msg_flags = (uint32_t)PICK(0, 0, MSG_PEEK, MSG_DONTWAIT, MSG_TRUNC);
	return true;
}

static bool gen_event(struct io_uring_sqe *s, struct making *m)
{
	int obj = take(m, OBJ_EVENT, EVENTS);

	if (obj < 0)
		return false;
	set_file(s, obj, false);
	s->off = PICK(0, (uint64_t)-1);
	s->len = (uint32_t)PICK(8, 8, 8, 7, 16);
	if (!m->read[obj] && world_ready(obj) && ONE_IN(2)) {
		m->read[obj] = 1;
		s->opcode = IORING_OP_READ;
		s->addr = address(m->region);
	} else {
		uint64_t *value = keep(16);

		*value = PICK(0, 1, 3, 1000, UINT64_MAX);
		s->opcode = IORING_OP_WRITE;
		s->addr = address(value);
	}
	return true;
}

/* Of what is so already. */
static bool gen_poll(struct io_uring_sqe *s, struct making *m)
{
	int obj = take(m, OBJ_PIPE, PIPES + SOCKS + EVENTS);
	bool in = obj >= 0 && !m->read[obj] && world_ready(obj) && ONE_IN(2);

	if (obj < 0 || (!in && objects[obj].writes >= 10))
		return false;
	set_file(s, obj, !in);
	s->opcode = IORING_OP_POLL_ADD;
	s->poll32_events = in ? POLLIN : POLLOUT;
	if (ONE_IN(3))
		s->poll32_events |= POLLPRI | POLLRDHUP;
	return true;
}

static bool gen_buffers(struct io_uring_sqe *s, struct making *m)
{
	int obj = take(m, OBJ_GROUP, GROUPS);

	if (obj < 0)
		return false;
	s->buf_group = (uint16_t)(obj - OBJ_GROUP);
	s->fd = (int)PICK(1, 2, 5, 0, 65536);
	s->opcode = IORING_OP_REMOVE_BUFFERS;
	if (ONE_IN(4))
		return true;
	s->opcode = IORING_OP_PROVIDE_BUFFERS;
	s->fd = 1 + (int)rnd(3);
	s->addr = address(arena + ARENA_REGIONS * PAGE + ((unsigned)s->buf_group * 4 + rnd(3)) * PAGE);
	s->len = PAGE / 4;
	s->off = PICK(0, 1, 100, 65533, 65535);
	return true;
}

static const char *name(void)
{
	static const char *const names[] = {"n0", "n1", "n2", "n0/n1", "missing/n", "", "f9"};

	return names[rnd(7)];
}

static bool gen_path(struct io_uring_sqe *s, struct making *m)
{
	if (take(m, OBJ_DIR, 1) < 0)
		return false;
	s->opcode = (uint8_t)PICK(IORING_OP_MKDIRAT, IORING_OP_UNLINKAT, IORING_OP_RENAMEAT, IORING_OP_SYMLINKAT,
				  IORING_OP_LINKAT, IORING_OP_STATX, IORING_OP_OPENAT);
	s->fd = objects[OBJ_DIR].rfd;
	s->addr = address(name());
	switch (s->opcode) {
	case IORING_OP_MKDIRAT: s->len = 0700; break;
	case IORING_OP_UNLINKAT: s->unlink_flags = (uint32_t)PICK(0, AT_REMOVEDIR, 1); break;
	case IORING_OP_SYMLINKAT: s->addr2 = address(name()); break;
	case IORING_OP_RENAMEAT:
	case IORING_OP_LINKAT:
		s->addr2 = address(name());
		s->len = (uint32_t)s->fd;
		s->hardlink_flags = (uint32_t)PICK(0, 0, 1, 0x4000);
		break;
	case IORING_OP_STATX:
		s->addr2 = address(keep(sizeof(struct statx)));
		s->len = (uint32_t)PICK(STATX_BASIC_STATS, 0, STATX__RESERVED);
		s->statx_flags = (uint32_t)PICK(0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, 1);
		break;
	default:
		if (take(m, OBJ_SLOTS, 1) < 0)
			return false;
		s->open_flags = (uint32_t)PICK(O_RDWR | O_CREAT, O_RDONLY, O_RDONLY | O_DIRECTORY);
		s->len = 0600;
		s->file_index = 1 + SLOTS_FIRST + rnd(6);
	}
	return true;
}

static bool gen_slot(struct io_uring_sqe *s, struct making *m)
{
	if (take(m, OBJ_SLOTS, 1) < 0)
		return false;
	s->opcode = (uint8_t)PICK(IORING_OP_CLOSE, IORING_OP_SOCKET, IORING_OP_FILES_UPDATE);
	s->file_index = 1 + SLOTS_FIRST + rnd(6);
	if (s->opcode == IORING_OP_SOCKET) {
		s->fd = (int)PICK(AF_UNIX, AF_INET, 99);
		s->off = PICK(SOCK_STREAM, SOCK_DGRAM, 77);
	} else if (s->opcode == IORING_OP_FILES_UPDATE) {
		int *fds = keep(2 * sizeof(int));

		fds[0] = (int)PICK(objects[OBJ_DIR].rfd, (uint64_t)-1, 9999);
		fds[1] = (int)PICK(objects[OBJ_DIR].rfd, (uint64_t)-1, (uint64_t)-2);
		s->file_index = 0;
		s->fd = 0;
		s->addr = address(fds);
		s->len = rnd(3);
		s->off = SLOTS_FIRST + rnd(6);
	}
	return true;
}

static bool gen_splice(struct io_uring_sqe *s, struct making *m)
{
	int in = take(m, OBJ_PIPE, PIPES), out = take(m, OBJ_PIPE, PIPES), file = take(m, OBJ_FILE, FILES);

	if (in < 0 || out < 0 || file < 0 || m->read[in] || !world_ready(in))
		return false;
	s->opcode = (uint8_t)PICK(IORING_OP_SPLICE, IORING_OP_TEE);
	s->splice_fd_in = objects[in].rfd;
	s->len = 1 + rnd(3000);
	s->off = s->splice_off_in = (uint64_t)-1;
	s->splice_flags = ONE_IN(8) ? 0x10 : 0;
	if (s->opcode == IORING_OP_TEE) {
		if (in == out || objects[out].writes >= 4)
			return false;
		s->off = s->splice_off_in = 0;
		objects[out].writes += 8; /* as many pieces as the other holds */
		s->fd = objects[out].wfd;
		return true;
	}
	m->read[in] = 1;
	s->fd = objects[file].wfd;
	s->off = PICK((uint64_t)-1, 0, 5000);
	return true;
}

static bool gen_epoll(struct io_uring_sqe *s, struct making *m)
{
	struct epoll_event *event = keep(sizeof(*event));

	if (take(m, OBJ_EPOLL, 1) < 0)
		return false;
	event->events = EPOLLIN;
	s->opcode = IORING_OP_EPOLL_CTL;
	s->fd = objects[OBJ_EPOLL].rfd;
	s->len = (uint32_t)PICK(EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, 9);
	s->off = (uint64_t)PICK(objects[OBJ_EVENT].rfd, objects[OBJ_FILE].rfd, 9999);
	s->addr = address(event);
	return true;
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
	s->file_index = (uint32_t)PICK(WEXITED, WEXITED | WNOHANG, WSTOPPED | WCONTINUED | WNOWAIT, 0xe0000004, 0, 0x10);
	s->addr2 = PICK(0, address(keep(128)), address(keep(128)), 8);
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

/* ---- hostile fields ---- */

static uint64_t bad_address(void)
{
	return PICK(0, 1, address(hole), address(hole) - 3, 0xffff888000000000ULL, (uint64_t)-4096, 1ULL << 47);
}

static bool is_stream(const struct io_uring_sqe *s, const struct making *m)
{
	uint64_t streams = ((1ULL << OBJ_GROUP) - 1) & ~((1ULL << OBJ_PIPE) - 1);

	return s->opcode == IORING_OP_TIMEOUT || s->opcode == IORING_OP_POLL_ADD || (m->own & streams) != 0;
}

static bool is_socket(const struct making *m)
{
	return m->last >= OBJ_SOCK && m->last < OBJ_EVENT;
}

static bool of_group(const struct io_uring_sqe *s)
{
	return s->flags & IOSQE_BUFFER_SELECT || s->opcode == IORING_OP_PROVIDE_BUFFERS ||
	       s->opcode == IORING_OP_REMOVE_BUFFERS;
}

static bool nothing_to_write(const struct io_uring_sqe *s)
{
	const struct iovec *iov = (const void *)(uintptr_t)s->addr;
	size_t sum = 0;

	if (s->opcode != IORING_OP_WRITEV)
		return s->len == 0;
	for (unsigned i = 0; i < s->len; i++)
		sum += iov[i].iov_len;
	return sum == 0;
}

static void spoil_flags(struct io_uring_sqe *s)
{
	s->flags |= (uint8_t)PICK(0x80, IOSQE_FIXED_FILE, IOSQE_BUFFER_SELECT);
	if (s->flags & IOSQE_FIXED_FILE)
		s->fd = SLOTS - 1; /* empty for ever: another index is another's file */
	if (s->flags & IOSQE_BUFFER_SELECT && !of_group(s))
		s->buf_group = NO_GROUP;
}

/* RWF_NOWAIT counts unless io-wq is at it, which goes on with what is linked behind its own. And a write of
 * nothing, or nowhere, does not tell the daemon whether the file system has FOP_BUFFER_WASYNC. */
static void spoil_rw_flags(struct io_uring_sqe *s, const struct making *m)
{
	s->rw_flags = (int)PICK(0x200, 0x80000000, RWF_NOWAIT, 0x40);
	if (s->rw_flags == RWF_NOWAIT && (m->position || nothing_to_write(s) || (s->off > 1 << 20 && ~s->off)))
		s->rw_flags = 0x40;
}

/* Nothing that could make it pend, nor reach what another chain has. */
static void spoil(struct io_uring_sqe *s, const struct making *m)
{
	switch (rnd(is_stream(s, m) ? 6 : 11)) {
	case 0: s->fd = (int)PICK((uint64_t)-1, 9999, (uint64_t)INT32_MIN, INT32_MAX, (uint64_t)-100); break;
	case 1: spoil_flags(s); break;
	case 2: /* IORING_RECVSEND_POLL_FIRST, _BUNDLE: io-wq, which goes on with links, says EAGAIN, ECANCELED; what
		 * is no socket says so when it is ready */
		s->ioprio = (uint16_t)PICK(m->position || !is_socket(m) ? 7 : 1, 7, 0x2000, 0x4007, 0x8000, 0xffff);
		break;
	case 3:
		if (s->opcode != IORING_OP_POLL_ADD)
			s->addr = bad_address();
		break;
	case 4: s->personality = (uint16_t)PICK(1, 0xffff); break;
	case 5:
		if (!of_group(s))
			s->buf_index = (uint16_t)PICK(1, 2, 0xffff);
		break;
	case 6:
		if (s->opcode != IORING_OP_READ) /* it would read into another's memory */
			s->len = (uint32_t)PICK(0, 1, 1025, INT32_MAX, UINT32_MAX);
		break;
	case 7: spoil_rw_flags(s, m); break;
	case 8: s->addr3 = PICK(1, 0xffff888000000000ULL); break;
	case 9: s->file_index = (uint32_t)PICK(4096, UINT32_MAX, UINT32_MAX - 1); break;
	default: s->opcode = (uint8_t)PICK(66, 100, 255);
	}
}

typedef bool generator(struct io_uring_sqe *s, struct making *m);
static generator *const generators[] = {
	gen_nop,   gen_file_rw, gen_file_rw, gen_file_rw, gen_file_misc, gen_stream_write, gen_stream_write,
	gen_event, gen_stream_read, gen_stream_read, gen_poll, gen_buffers, gen_path, gen_path,
	gen_slot,  gen_splice, gen_epoll, gen_cancel, gen_timeout, gen_waitid,
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

int sqe_held(struct io_uring_sqe *s, uint64_t taken)
{
	struct making m = {.taken = taken};
	int obj = take(&m, OBJ_PIPE, PIPES + SOCKS + EVENTS);
	char *to = keep(64);

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
	s->opcode = (uint8_t)(obj >= OBJ_SOCK && obj < OBJ_EVENT ? PICK(IORING_OP_READ, IORING_OP_RECV) :
								   IORING_OP_READ);
	s->addr = address(to);
	s->len = 8 + rnd(50);
	return obj;
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
