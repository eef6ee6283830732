/* SPDX-License-Identifier: Apache-2.0 */
/* SEND, SENDMSG, RECV, RECVMSG (io_uring/net.c) that need not wait, single, without provided buffers. Part of core.h. */
#ifndef URINGFS_LANE_NET_H
#define URINGFS_LANE_NET_H

#include <sys/socket.h>

/* Neither MSG_WAITALL, which goes on after a short transfer, nor MSG_ERRQUEUE and MSG_OOB, which wait for other events. */
#define LANE_SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE | MSG_EOR | MSG_CONFIRM | MSG_DONTROUTE)
#define LANE_RECV_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC | MSG_CMSG_CLOEXEC)
#define LANE_INT_MAX 0x7fffffffu
#define LANE_SOCK_NONEMPTY (1u << 2) /* IORING_CQE_F_SOCK_NONEMPTY */

/* io_sendmsg_prep() of SEND: behind addr_len comes __pad3 */
static inline bool lane_sure_send(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return sqe->len <= LANE_INT_MAX && !(sqe->msg_flags & ~(unsigned)LANE_SEND_FLAGS) && !(sqe->file_index >> 16) &&
	       (sqe->addr2 || !sqe->file_index) && lane_access_ok(sqe->addr, sqe->len);
}

/* io_sendmsg_prep(); what the msghdr says, the call itself finds out. */
static inline bool lane_sure_sendmsg(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return sqe->len <= LANE_INT_MAX && !(sqe->msg_flags & ~(unsigned)LANE_SEND_FLAGS) && !sqe->file_index &&
	       !sqe->addr2;
}

/* io_recvmsg_prep() */
static inline bool lane_sure_recvmsg(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	(void)p;
	return sqe->len <= LANE_INT_MAX && !(sqe->msg_flags & ~(unsigned)LANE_RECV_FLAGS) && !sqe->file_index &&
	       !sqe->addr2;
}

static inline bool lane_sure_recv(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	return lane_sure_recvmsg(p, sqe) && lane_access_ok(sqe->addr, sqe->len);
}

/* What the request ends with if there is no file, but for a msghdr and a name, which are looked at first. */
static inline enum lane_outcome lane_net_no_file(const struct io_uring_sqe *sqe, long ret, struct lane_done *done)
{
	if (ret == -EAGAIN || sqe->opcode == IORING_OP_SENDMSG || sqe->opcode == IORING_OP_RECVMSG || sqe->addr2)
		return LANE_WAITS;
	return lane_result(done, ret, true);
}

/* As lane_get_file(). Whether a descriptor is a file the call on it says; its flags matter where there is nothing to receive. */
static inline long lane_get_socket(struct lane_pass *p, const struct io_uring_sqe *sqe, struct lane_file *known,
				   struct lane_file **found)
{
	if (sqe->flags & IOSQE_FIXED_FILE)
		return lane_get_file(p, sqe, found);
	LANE_CLEAR(known, sizeof(*known));
	known->fd = lane_fd_of(p, sqe);
	*found = known;
	return 0;
}

static inline enum lane_outcome lane_nothing_to_receive(struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	struct lane_file *file;

	return lane_get_file(p, sqe, &file) < 0 ? LANE_WAITS : lane_waits_for(p, file);
}

/* io_send(), io_sendmsg(): a send that fails with EFAULT has sent nothing. */
static inline enum lane_outcome lane_issue_send(struct lane_pass *p, const struct io_uring_sqe *sqe,
						struct lane_done *done)
{
	struct lane *l = p->lane;
	struct lane_file known, *file;
	long ret = lane_get_socket(p, sqe, &known, &file);

	if (ret < 0)
		return lane_net_no_file(sqe, ret, done);
	ret = l->host->send_to(l, file->fd, sqe, (int)sqe->msg_flags | MSG_DONTWAIT | MSG_NOSIGNAL);
	if (ret == -EBADF)
		return lane_net_no_file(sqe, ret, done);
	if (lane_leaves(ret) || ret == -EFAULT || ret == -EMSGSIZE)
		return LANE_WAITS;
	return lane_result(done, ret, ret < 0);
}

/* io_recv(), io_recvmsg(): one that fails with EFAULT may have taken a datagram. The host has looked whether it is
 * the msghdr that cannot be read, which is -EINVAL here. */
static inline enum lane_outcome lane_issue_recv(struct lane_pass *p, const struct io_uring_sqe *sqe,
						struct lane_done *done)
{
	struct lane *l = p->lane;
	struct lane_file known, *file;
	long ret = lane_get_socket(p, sqe, &known, &file);

	if (ret < 0)
		return lane_net_no_file(sqe, ret, done);
	ret = l->host->receive(l, file->fd, sqe, (int)sqe->msg_flags | MSG_DONTWAIT);
	if (ret == -EAGAIN && !(sqe->msg_flags & MSG_DONTWAIT))
		return lane_nothing_to_receive(p, sqe);
	if (ret == -EBADF)
		return lane_net_no_file(sqe, ret, done);
	if (lane_leaves(ret) || ret == -EMSGSIZE)
		return LANE_WAITS;
	if (ret >= 0 && l->host->more(l, file->fd) > 0)
		done->flags = LANE_SOCK_NONEMPTY;
	return lane_result(done, ret, ret < 0);
}

#endif
