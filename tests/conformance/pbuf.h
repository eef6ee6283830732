/* SPDX-License-Identifier: Apache-2.0 */
/* Provided buffers, and requests that take of them: what the families of them share. */
#ifndef PBUF_H
#define PBUF_H

#include "harness.h"
#include "uapi_extra.h"

#include <sys/socket.h>

static char pool[8][64];

static inline int provide_at(struct ring *r, void *addr, uint32_t len, int n, unsigned bgid, uint64_t bid)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_PROVIDE_BUFFERS;
	sqe.fd = n;
	sqe.addr = (uint64_t)(uintptr_t)addr;
	sqe.len = len;
	sqe.off = bid;
	sqe.buf_group = (uint16_t)bgid;
	return run_sqe(r, &sqe);
}

static inline int provide(struct ring *r, unsigned n, unsigned bgid, unsigned bid)
{
	return provide_at(r, pool, sizeof(pool[0]), (int)n, bgid, bid);
}

static inline int remove_buffers(struct ring *r, int n, unsigned bgid)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_REMOVE_BUFFERS;
	sqe.fd = n;
	sqe.buf_group = (uint16_t)bgid;
	return run_sqe(r, &sqe);
}

static inline struct io_uring_sqe selecting(unsigned op, int fd, unsigned len, unsigned bgid)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.fd = fd;
	sqe.len = len;
	sqe.buf_group = (uint16_t)bgid;
	return sqe;
}

static inline int read_selected(struct ring *r, int fd, unsigned len, unsigned bgid)
{
	struct io_uring_sqe sqe = selecting(IORING_OP_READ, fd, len, bgid);

	return run_sqe(r, &sqe);
}

static inline void note_cqe(struct ring *r)
{
	struct cqe cqe = ring_wait(r);

	note("%llu: %d 0x%x", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
}

#endif
