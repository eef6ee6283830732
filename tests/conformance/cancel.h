/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_ASYNC_CANCEL: what its families share. */
#ifndef CANCEL_H
#define CANCEL_H

#include "events.h"

#define ALL IORING_ASYNC_CANCEL_ALL
#define FD IORING_ASYNC_CANCEL_FD
#define ANY IORING_ASYNC_CANCEL_ANY
#define FIXED IORING_ASYNC_CANCEL_FD_FIXED
#define USERDATA IORING_ASYNC_CANCEL_USERDATA
#define OP IORING_ASYNC_CANCEL_OP

static int fds[2], other[2];
static char buf[16];
static struct iovec iov = {buf, 16};

static inline void start(struct ring *r)
{
	make_pipe(fds);
	make_pipe(other);
	ring_init(r, 32, 0);
}

static inline void poll_one(struct ring *r, int fd, uint64_t user_data)
{
	poll_add(r, fd, POLLIN, 0, user_data, 0);
}

static inline void cancel_fd(struct ring *r, int fd, unsigned flags, uint64_t user_data)
{
	cancel(r, 0, FD | flags, user_data)->fd = fd;
}

#endif
