/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to make and to command sockets: what the families of them share. */
#ifndef SOCKET_H
#define SOCKET_H

#include "net.h"

static inline struct io_uring_sqe make(int domain, int type, int protocol)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_SOCKET, domain, NULL, (unsigned)protocol);

	sqe.off = (uint64_t)type;
	return sqe;
}

static inline struct io_uring_sqe named(int op, int fd, const void *addr, size_t len)
{
	struct io_uring_sqe sqe = sqe_of(op, fd, addr, 0);

	sqe.off = len;
	return sqe;
}

static inline void note_kind(int fd)
{
	int domain, type, protocol;
	socklen_t len = sizeof(int);

	OK(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len));
	OK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len));
	OK(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len));
	note("domain %d type %d protocol %d, status 0x%x, descriptor flags %d", domain, type, protocol,
	     fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
}

#endif
