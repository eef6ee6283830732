/* SPDX-License-Identifier: Apache-2.0 */
/* The opcodes of the lane, written out literally. Part of core.h. */
#ifndef URINGFS_LANE_OPS_H
#define URINGFS_LANE_OPS_H

#include "rw.h"

#include "net.h"

#include "files.h"

static inline const struct lane_op *lane_op(unsigned opcode)
{
	static const struct lane_op nop = {lane_sure_nop, lane_issue_nop, NULL};
	static const struct lane_op readv = {lane_sure_rwv, lane_issue_read, NULL};
	static const struct lane_op writev = {lane_sure_rwv, lane_issue_write, lane_blocking_write};
	static const struct lane_op rw_fixed = {lane_sure_rw_fixed, lane_issue_rw_fixed, lane_blocking_write};
	static const struct lane_op poll = {lane_sure_poll, lane_issue_poll, NULL};
	static const struct lane_op sendmsg = {lane_sure_sendmsg, lane_issue_send, NULL};
	static const struct lane_op recvmsg = {lane_sure_recvmsg, lane_issue_recv, NULL};
	static const struct lane_op openat = {lane_sure_openat, lane_issue_openat, NULL};
	static const struct lane_op close = {lane_sure_close, lane_issue_close, lane_blocking_close};
	static const struct lane_op read = {lane_sure_rw, lane_issue_read, NULL};
	static const struct lane_op write = {lane_sure_rw, lane_issue_write, lane_blocking_write};
	static const struct lane_op send = {lane_sure_send, lane_issue_send, NULL};
	static const struct lane_op recv = {lane_sure_recv, lane_issue_recv, NULL};
	static const struct lane_op socket = {lane_sure_socket, lane_issue_socket, NULL};

	switch (opcode) {
	case IORING_OP_NOP:
		return &nop;
	case IORING_OP_READV:
		return &readv;
	case IORING_OP_WRITEV:
		return &writev;
	case IORING_OP_READ_FIXED:
	case IORING_OP_WRITE_FIXED:
		return &rw_fixed;
	case IORING_OP_POLL_ADD:
		return &poll;
	case IORING_OP_SENDMSG:
		return &sendmsg;
	case IORING_OP_RECVMSG:
		return &recvmsg;
	case IORING_OP_OPENAT:
		return &openat;
	case IORING_OP_CLOSE:
		return &close;
	case IORING_OP_READ:
		return &read;
	case IORING_OP_WRITE:
		return &write;
	case IORING_OP_SEND:
		return &send;
	case IORING_OP_RECV:
		return &recv;
	case LANE_OP_SOCKET:
		return &socket;
	}
	return NULL;
}

#endif
