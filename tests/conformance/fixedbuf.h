/* SPDX-License-Identifier: Apache-2.0 */
/* Registered buffers: their table, and requests that use them. */
#ifndef FIXEDBUF_H
#define FIXEDBUF_H

#include "harness.h"

#define REGISTER_BUFFERS2 15
#define REGISTER_BUFFERS_UPDATE 16
#define REGISTER_SPARSE 1U
#ifndef IORING_OP_READV_FIXED
#define IORING_OP_READV_FIXED 60
#define IORING_OP_WRITEV_FIXED 61
#endif

struct rsrc_register {
	uint32_t nr, flags;
	uint64_t resv2, data, tags;
};

struct rsrc_update2 {
	uint32_t offset, resv;
	uint64_t data, tags;
	uint32_t nr, resv2;
};

#define U64(p) ((uint64_t)(uintptr_t)(p))

static inline struct io_uring_sqe fixed_sqe(int op, int fd, const void *addr, unsigned len, uint64_t off,
					    unsigned index)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.fd = fd;
	sqe.addr = U64(addr);
	sqe.len = len;
	sqe.off = off;
	sqe.buf_index = (uint16_t)index;
	sqe.user_data = 0xf1;
	return sqe;
}

static inline int fixed(struct ring *r, int op, int fd, const void *addr, unsigned len, uint64_t off, unsigned index)
{
	struct io_uring_sqe sqe = fixed_sqe(op, fd, addr, len, off, index);

	return run_sqe(r, &sqe);
}

static inline int reg(struct ring *r, const struct iovec *iov, unsigned n)
{
	int ret = sys_register(r->fd, IORING_REGISTER_BUFFERS, iov, n);

	note("register %u: %d", n, ret);
	return ret;
}

static inline int unreg(struct ring *r)
{
	int ret = sys_register(r->fd, IORING_UNREGISTER_BUFFERS, NULL, 0);

	note("unregister: %d", ret);
	return ret;
}

static inline int reg2(struct ring *r, const struct iovec *iov, const uint64_t *tags, unsigned n, unsigned flags)
{
	struct rsrc_register rr = {n, flags, 0, U64(iov), U64(tags)};
	int ret = sys_register(r->fd, REGISTER_BUFFERS2, &rr, sizeof(rr));

	note("register2 %u flags 0x%x: %d", n, flags, ret);
	return ret;
}

static inline int update(struct ring *r, unsigned offset, const struct iovec *iov, const uint64_t *tags, unsigned n)
{
	struct rsrc_update2 up = {offset, 0, U64(iov), U64(tags), n, 0};
	int ret = sys_register(r->fd, REGISTER_BUFFERS_UPDATE, &up, sizeof(up));

	note("update %u at %u: %d", n, offset, ret);
	return ret;
}

static inline void note_tags(struct ring *r)
{
	struct cqe cqe;

	while (ring_reap(r, &cqe))
		note("tag %llu res=%d flags=%u", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
}

#define RF IORING_OP_READ_FIXED
#define WF IORING_OP_WRITE_FIXED

#endif
