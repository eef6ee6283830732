/* SPDX-License-Identifier: Apache-2.0 */
/* SENDMSG and RECVMSG: what the families of them share. */
#ifndef SENDMSG_H
#define SENDMSG_H

#include "net.h"

static char buf[4096], control[512];

static inline struct io_uring_sqe sending(int fd, struct msghdr *m)
{
	return sqe_of(IORING_OP_SENDMSG, fd, m, 1);
}

static inline struct io_uring_sqe receiving(int fd, struct msghdr *m)
{
	return sqe_of(IORING_OP_RECVMSG, fd, m, 1);
}

static inline struct msghdr message(struct iovec *iov, size_t n)
{
	struct msghdr m;

	memset(&m, 0, sizeof(m));
	m.msg_iov = iov;
	m.msg_iovlen = n;
	return m;
}

static inline struct msghdr into(struct iovec *iov, size_t len)
{
	memset(buf, 0, sizeof(buf));
	iov->iov_base = buf;
	iov->iov_len = len;
	return message(iov, 1);
}

static inline struct msghdr text(struct iovec *iov, const char *s)
{
	iov->iov_base = (void *)s;
	iov->iov_len = strlen(s);
	return message(iov, 1);
}

static inline void note_msg(const struct msghdr *m)
{
	note("\"%s\" namelen=%u controllen=%zu flags=0x%x", buf, m->msg_namelen, m->msg_controllen, m->msg_flags);
}

static inline struct cmsghdr *attach(struct msghdr *m, int type, const void *data, size_t len)
{
	struct cmsghdr *c;

	memset(control, 0, sizeof(control));
	m->msg_control = control;
	m->msg_controllen = CMSG_SPACE(len);
	c = CMSG_FIRSTHDR(m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	return c;
}

#endif
