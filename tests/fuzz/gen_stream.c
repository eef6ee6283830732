/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to pipes, sockets and eventfds, and the provided buffers they take. */
#include "gen.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#define OP_URING_CMD 46

/* Provided buffers are a group's: one chain's. */
static void select_buffer(struct io_uring_sqe *s, struct making *m)
{
	/* io-wq uses a ring's buffer up at once, and goes on with links */
	int group = take(m, OBJ_GROUP, m->worker ? OBJ_BUF_RING - OBJ_GROUP : GROUPS);

	if (group < 0)
		return;
	s->flags |= IOSQE_BUFFER_SELECT;
	s->buf_group = (uint16_t)(group - OBJ_GROUP);
	s->addr = 0;
}

bool gen_stream_write(struct io_uring_sqe *s, struct making *m)
{
	int obj = take(m, OBJ_PIPE, PIPES + SOCKS);
	unsigned len = 1 + rnd(3000);

	if (obj < 0 || objects[obj].writes >= 12)
		return false;
	objects[obj].writes++;
	set_file(s, obj, true);
	s->opcode = (uint8_t)PICK(IORING_OP_WRITE, IORING_OP_WRITEV, IORING_OP_WRITE_FIXED, IORING_OP_SEND,
				  IORING_OP_SENDMSG, IORING_OP_SEND_ZC, IORING_OP_SENDMSG_ZC);
	if ((m->drains || m->skip) && (s->opcode == IORING_OP_SEND_ZC || s->opcode == IORING_OP_SENDMSG_ZC))
		s->opcode =
			IORING_OP_SEND; /* the kernel's drains wait for a notification for ever; nobody knows when it
					     * comes behind a CQE that is skipped */
	s->len = len;
	s->addr = address(source + rnd((unsigned)(FIXED - len)));
	if (s->opcode == IORING_OP_WRITEV)
		set_buffers(s, from(len), len);
	else if (s->opcode == IORING_OP_SENDMSG || s->opcode == IORING_OP_SENDMSG_ZC) {
		s->addr = address(message(from(len), len));
		s->len = 1;
	} else if (s->opcode == IORING_OP_SEND || s->opcode == IORING_OP_SEND_ZC)
		s->msg_flags = (uint32_t)PICK(0, 0, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_NOSIGNAL);
	else
		s->off = PICK(0, (uint64_t)-1);
	if (s->opcode == IORING_OP_SEND && !m->skip && ONE_IN(3)) {
		select_buffer(s, m);
		s->ioprio = ONE_IN(2) && !m->worker && s->flags & IOSQE_BUFFER_SELECT ? BUNDLE : 0;
	}
	return true;
}

bool gen_stream_read(struct io_uring_sqe *s, struct making *m)
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
	else if (ONE_IN(2)) {
		select_buffer(s, m);
		if (s->opcode == IORING_OP_RECV && !m->worker && ONE_IN(3))
			s->ioprio = BUNDLE;
	}
	if (s->opcode == IORING_OP_RECV || s->opcode == IORING_OP_RECVMSG)
		s->msg_flags = (uint32_t)PICK(0, 0, MSG_PEEK, MSG_DONTWAIT, MSG_TRUNC);
	return true;
}

bool gen_event(struct io_uring_sqe *s, struct making *m)
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
bool gen_poll(struct io_uring_sqe *s, struct making *m)
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

bool gen_buffers(struct io_uring_sqe *s, struct making *m)
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
	s->addr = address(arena + (ARENA_REGIONS + (unsigned)s->buf_group * GROUP_PAGES + rnd(3)) * PAGE);
	s->len = PAGE / 4;
	s->off = PICK(0, 1, 100, 65533, 65535);
	return true;
}

bool gen_splice(struct io_uring_sqe *s, struct making *m)
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
		if (in == out || objects[out].writes >= 4 || objects[in].writes > 8)
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

bool gen_epoll(struct io_uring_sqe *s, struct making *m)
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

/* What is asked of a socket, and of other files in vain; ACCEPT and CONNECT of one that is connected. */
bool gen_socket(struct io_uring_sqe *s, struct making *m)
{
	int obj = ONE_IN(4) ? take(m, OBJ_PIPE, PIPES) : take(m, OBJ_SOCK, SOCKS);
	uint32_t name[2] = {(uint32_t)PICK(SOL_SOCKET, SOL_SOCKET, 99), (uint32_t)PICK(SO_TYPE, SO_DOMAIN, 12345)};

	if (obj < 0)
		return false;
	set_file(s, obj, ONE_IN(2));
	s->opcode = (uint8_t)PICK(OP_URING_CMD, OP_URING_CMD, IORING_OP_SHUTDOWN);
	s->len = 99; /* how: no such */
	if (s->opcode == OP_URING_CMD) {
		s->len = 0;
		s->off = PICK(0, 1, 2, 2, 3, 9); /* SIOCINQ, SIOCOUTQ, GETSOCKOPT, SETSOCKOPT */
		if (s->off == 2 || s->off == 3) {
			memcpy(&s->addr, name, sizeof(name));
			s->addr3 = address(keep(8));
			s->file_index = (uint32_t)PICK(4, 4, 0, 3, UINT32_MAX);
		}
	}
	return true;
}
