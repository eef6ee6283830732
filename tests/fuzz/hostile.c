/* SPDX-License-Identifier: Apache-2.0 */
/* Fields that are wrong: one of a request that is well-formed otherwise, or all of them. */
#include "gen.h"

uint64_t bad_address(void)
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

static bool nothing_to_write(const struct io_uring_sqe *s, const struct making *m)
{
	const struct iovec *iov = (const void *)(uintptr_t)s->addr;
	size_t sum = 0;

	if (s->opcode != IORING_OP_WRITEV || m->last < 0) /* noise has no vector there */
		return s->len == 0;
	for (unsigned i = 0; i < s->len; i++)
		sum += iov[i].iov_len;
	return sum == 0;
}

static void spoil_flags(struct io_uring_sqe *s)
{
	bool group = of_group(s);

	s->flags |= (uint8_t)PICK(0x80, IOSQE_FIXED_FILE, IOSQE_BUFFER_SELECT);
	if (s->flags & IOSQE_FIXED_FILE)
		s->fd = SLOTS - 1; /* empty for ever: another index is another's file */
	if (s->flags & IOSQE_BUFFER_SELECT && !group)
		s->buf_group = NO_GROUP;
}

/* RWF_NOWAIT counts unless io-wq is at it, which goes on with links, and takes what an enter cuts off and what is
 * behind a drain. And a write of nothing, or nowhere, does not tell the daemon whether the file system has
 * FOP_BUFFER_WASYNC. */
static void spoil_rw_flags(struct io_uring_sqe *s, const struct making *m)
{
	s->rw_flags = (int)PICK(0x200, 0x80000000, RWF_NOWAIT, 0x40);
	if (s->rw_flags == RWF_NOWAIT && (m->worker || s->opcode == IORING_OP_MADVISE /* MADV_FREE */ ||
					  nothing_to_write(s, m) || (s->off > 1 << 20 && ~s->off)))
		s->rw_flags = 0x40;
}

/* Nothing that could make it pend, nor reach what another chain has. */
void spoil(struct io_uring_sqe *s, const struct making *m)
{
	/* a write that appends, of which a part can be read, at the current position: that stays where it was */
	if ((m->last == OBJ_APPENDS || s->rw_flags & RWF_APPEND) && !~s->off)
		s->off = 0;
	switch (rnd(is_stream(s, m) ? 6 : 11)) {
	case 0: s->fd = (int)PICK((uint64_t)-1, 9999, (uint64_t)INT32_MIN, INT32_MAX, (uint64_t)-100); break;
	case 1: spoil_flags(s); break;
	case 2: /* IORING_RECVSEND_POLL_FIRST in io-wq: EAGAIN; what is no socket says so when it is ready */
		s->ioprio = (uint16_t)PICK(m->worker || !is_socket(m) ? 7 : 1, 7, 0x2000, 0x4007, 0x8000, 0xffff);
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
		/* it would read into another's memory, or advise on it */
		if (s->opcode != IORING_OP_READ && s->opcode != IORING_OP_MADVISE)
			/* of a buffer without an end a part would be sent: docs/differences.md */
			s->len = (uint32_t)(of_group(s) ? PICK(0, 1, 1025) : PICK(0, 1, 1025, INT32_MAX, UINT32_MAX));
		break;
	case 7: spoil_rw_flags(s, m); break;
	case 8: s->addr3 = PICK(1, 0xffff888000000000ULL); break;
	case 9: s->file_index = (uint32_t)PICK(4096, UINT32_MAX, UINT32_MAX - 1); break;
	default: s->opcode = (uint8_t)PICK(63, 64, 66, 100, 255);
	}
}

/* ---- every field random ---- */

uint64_t any(void)
{
	return PICK(0, 0, 0, 1, 2, 0x7f, 0xffff, 1ULL << rnd(64), INT32_MAX, UINT32_MAX, (uint64_t)-1,
		    ((uint64_t)rnd(UINT32_MAX) << 32) | rnd(UINT32_MAX));
}

/* Not those that docs/differences.md tells of, that might wait for ever, or cancel what others wait for. */
static uint8_t any_opcode(bool no_zc)
{
	static const uint8_t left_out[] = {IORING_OP_TIMEOUT,	     IORING_OP_LINK_TIMEOUT, IORING_OP_ASYNC_CANCEL,
					   IORING_OP_TIMEOUT_REMOVE, IORING_OP_MADVISE,	     58 /* RECV_ZC */};
	uint8_t opcode = (uint8_t)rnd(OPCODES);

	if (no_zc && (opcode == IORING_OP_SEND_ZC || opcode == IORING_OP_SENDMSG_ZC))
		return IORING_OP_SEND;

	return memchr(left_out, opcode, sizeof(left_out)) ? IORING_OP_NOP : opcode;
}

/* Of a descriptor or slot that is none, with addresses that fault: whatever the fields say, it fails. */
bool gen_noise(struct io_uring_sqe *s, struct making *m)
{
	s->opcode = any_opcode(m->drains || m->skip);
	s->fd = (int)PICK((uint64_t)-1, 9999, (uint64_t)INT32_MIN, INT32_MAX);
	if (ONE_IN(4)) {
		s->fd = (int)PICK(SLOTS - 1, SLOTS, UINT32_MAX);
		s->flags = IOSQE_FIXED_FILE;
	}
	if (ONE_IN(2))
		s->ioprio = (uint16_t)any();
	s->off = ONE_IN(3) ? bad_address() : any();
	s->addr = bad_address();
	s->len = (uint32_t)any();
	s->rw_flags = (int)any();
	s->buf_index = (uint16_t)PICK(NO_GROUP, 0xffff);
	if (ONE_IN(4))
		s->personality = (uint16_t)any();
	s->file_index = (uint32_t)PICK(0, SLOTS + 1, INT32_MAX, UINT32_MAX - 1);
	s->addr3 = ONE_IN(3) ? bad_address() : any();
	return true;
}
