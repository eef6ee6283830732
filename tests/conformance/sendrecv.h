/* SPDX-License-Identifier: Apache-2.0 */
/* SEND and RECV: what the families of them share. */
#ifndef SENDRECV_H
#define SENDRECV_H

#include "net.h"

static char buf[1 << 20];

static inline struct io_uring_sqe sending(int fd, const void *data, unsigned len)
{
	return sqe_of(IORING_OP_SEND, fd, data, len);
}

static inline struct io_uring_sqe receiving(int fd, unsigned len)
{
	return sqe_of(IORING_OP_RECV, fd, buf, len);
}

static inline void note_buf(int n)
{
	note("\"%.*s\"", n > 0 ? n : 0, buf);
}

#endif
