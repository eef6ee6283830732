/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to files: reads, writes, space, attributes. */
#include "gen.h"

#include <linux/falloc.h>

#define OP_FTRUNCATE 55
#define OP_READV_FIXED 60
#define OP_WRITEV_FIXED 61

static uint64_t file_offset(void)
{
	return ONE_IN(4) ? (uint64_t)-1 : ONE_IN(12) ? PICK((uint64_t)-2, INT64_MAX, 1ULL << 63) : rnd(14000);
}

bool gen_file_rw(struct io_uring_sqe *s, struct making *m)
{
	int obj = take(m, OBJ_FILE, FILES);
	unsigned len = ONE_IN(8) ? 0 : rnd(m->region_size);

	if (obj < 0)
		return false;
	s->opcode = (uint8_t)PICK(IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV,
				  IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, OP_READV_FIXED, OP_WRITEV_FIXED);
	set_file(s, obj, false);
	s->off = file_offset();
	s->len = len;
	switch (s->opcode) {
	case IORING_OP_READ: s->addr = address(m->region); break;
	case IORING_OP_WRITE: s->addr = address(from(len)); break;
	case IORING_OP_READV: set_buffers(s, m->region, len); break;
	case IORING_OP_WRITEV: set_buffers(s, from(len), len); break;
	case OP_READV_FIXED:
		s->buf_index = 1;
		set_buffers(s, m->region, len);
		break;
	case OP_WRITEV_FIXED: set_buffers(s, source + rnd((unsigned)(FIXED - len)), len); break;
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

/* All to one place of one file: the last wins. */
bool gen_file_place(struct io_uring_sqe *s, struct making *m)
{
	int obj = m->last >= 0 ? m->last : take(m, OBJ_FILE, FILES);

	if (obj < 0)
		return false;
	m->last = obj;
	s->opcode = (uint8_t)PICK(IORING_OP_WRITE, IORING_OP_WRITE, IORING_OP_WRITEV, IORING_OP_WRITE_FIXED);
	set_file(s, obj, false);
	s->off = rnd(64);
	s->len = 1 + rnd(100);
	s->addr = address(source + rnd((unsigned)(FIXED - s->len)));
	if (s->opcode == IORING_OP_WRITEV)
		set_buffers(s, from(s->len), s->len);
	return true;
}

/* Whole blocks, as O_DIRECT asks: over the end, in the holes, and what is behind the end. */
bool gen_file_direct(struct io_uring_sqe *s, struct making *m)
{
	int obj = take(m, OBJ_DIRECT, 1);
	unsigned blocks;

	if (obj < 0)
		return false;
	s->opcode = (uint8_t)PICK(IORING_OP_READ, IORING_OP_WRITE, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV);
	blocks = rnd(s->opcode == IORING_OP_READ || s->opcode == IORING_OP_READV ? m->region_size / PAGE + 1 : 5);
	set_file(s, obj, false);
	s->off = (uint64_t)rnd(6) * PAGE;
	s->len = blocks * PAGE;
	s->addr = address(s->opcode == IORING_OP_READ || s->opcode == IORING_OP_READV
				  ? m->region
				  : source + (uint64_t)rnd((unsigned)(SOURCE / PAGE) - blocks) * PAGE);
	if (s->opcode == IORING_OP_READV || s->opcode == IORING_OP_WRITEV) {
		struct iovec *iov = keep(sizeof(*iov));

		*iov = (struct iovec){(char *)(uintptr_t)s->addr, s->len};
		s->addr = address(iov);
		s->len = 1;
	}
	if (ONE_IN(8))
		s->rw_flags = (int)PICK(RWF_DSYNC, RWF_SYNC);
	return true;
}

bool gen_file_misc(struct io_uring_sqe *s, struct making *m)
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
	default: s->len = rnd(5000); s->fadvise_advice = (uint32_t)PICK(0, 1, 2, 3, 4, 5, 6);
	}
	return true;
}

bool gen_xattr(struct io_uring_sqe *s, struct making *m)
{
	static const char *const paths[FILES] = {"f0", "f1", "f2", "f3"};
	static const char *const names[] = {"user.a", "user.b", "user.", "none.a", ""};
	int obj = take(m, OBJ_FILE, FILES);

	if (obj < 0)
		return false;
	s->opcode = (uint8_t)PICK(IORING_OP_FGETXATTR, IORING_OP_GETXATTR, IORING_OP_FSETXATTR, IORING_OP_SETXATTR);
	s->addr = address(names[rnd(ONE_IN(3) ? 5 : 2)]);
	s->len = (uint32_t)PICK(0, 3, 100, 1000, 70000);
	if (s->opcode == IORING_OP_FGETXATTR || s->opcode == IORING_OP_FSETXATTR)
		set_file(s, obj, false);
	else
		s->addr3 = address(ONE_IN(8) ? "missing" : paths[obj - OBJ_FILE]);
	if (s->opcode == IORING_OP_FSETXATTR || s->opcode == IORING_OP_SETXATTR) {
		s->addr2 = address(from(1000));
		s->xattr_flags = (uint32_t)PICK(0, 0, 1, 2, 3, 4); /* XATTR_CREATE, XATTR_REPLACE */
	} else
		s->addr2 = address(m->region);
	return true;
}
