/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_POLL_ADD: what its families share. */
#ifndef POLLADD_H
#define POLLADD_H

#include "events.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define MULTI IORING_POLL_ADD_MULTI

static int fds[2], sockets[2];

static inline void start(struct ring *r)
{
	make_pipe(fds);
	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
	ring_init(r, 16, 0);
}

static inline void put(int fd)
{
	EXPECT_EQ(write(fd, "x", 1), 1);
}

static inline void take(int fd)
{
	char c;

	EXPECT_EQ(read(fd, &c, 1), 1);
}

static inline void fill(int fd)
{
	static char data[65536];

	OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	while (write(fd, data, sizeof(data)) > 0)
		;
	EXPECT_EQ(errno, EAGAIN);
}

#endif
