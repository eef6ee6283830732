/* SPDX-License-Identifier: Apache-2.0 */
/* The opcodes of the lane, written out literally. Part of core.h. */
#ifndef URINGFS_LANE_OPS_H
#define URINGFS_LANE_OPS_H

#include "descriptors.h"

#include "rw.h"

#include "net.h"

#include "paths.h"

#include "files.h"

#include "sync.h"

static inline const struct lane_op *lane_op(unsigned opcode)
{
	static const struct lane_op nop = {lane_sure_nop, lane_issue_nop, NULL};
	static const struct lane_op readv = {lane_sure_rwv, lane_issue_read, lane_blocking_read};
	static const struct lane_op writev = {lane_sure_rwv, lane_issue_write, lane_blocking_write};
	static const struct lane_op fsync = {lane_sure_fsync, lane_issue_sync, lane_blocking_sync};
	static const struct lane_op read_fixed = {lane_sure_rw_fixed, lane_issue_rw_fixed, lane_blocking_read};
	static const struct lane_op write_fixed = {lane_sure_rw_fixed, lane_issue_rw_fixed, lane_blocking_write};
	static const struct lane_op readv_fixed = {lane_sure_rwv, lane_issue_rwv_fixed, lane_blocking_read};
	static const struct lane_op writev_fixed = {lane_sure_rwv, lane_issue_rwv_fixed, lane_blocking_write};
	static const struct lane_op poll = {lane_sure_poll, lane_issue_poll, NULL};
	static const struct lane_op sync_range = {lane_sure_sync_range, lane_issue_sync, lane_blocking_sync};
	static const struct lane_op fallocate = {lane_sure_fallocate, lane_issue_space, lane_blocking_space};
	static const struct lane_op ftruncate = {lane_sure_ftruncate, lane_issue_space, lane_blocking_space};
	static const struct lane_op statx = {lane_sure_statx, lane_issue_statx, lane_blocking_path};
	static const struct lane_op names = {lane_sure_names, lane_issue_path, lane_blocking_path};
	static const struct lane_op unlinkat = {lane_sure_unlinkat, lane_issue_path, lane_blocking_path};
	static const struct lane_op mkdirat = {lane_sure_mkdirat, lane_issue_path, lane_blocking_path};
	static const struct lane_op symlinkat = {lane_sure_symlinkat, lane_issue_path, lane_blocking_path};
	static const struct lane_op sendmsg = {lane_sure_sendmsg, lane_issue_send, NULL};
	static const struct lane_op recvmsg = {lane_sure_recvmsg, lane_issue_recv, NULL};
	static const struct lane_op openat = {lane_sure_openat, lane_issue_openat, lane_blocking_path};
	static const struct lane_op close = {lane_sure_close, lane_issue_close, lane_blocking_close};
	static const struct lane_op read = {lane_sure_rw, lane_issue_read, lane_blocking_read};
	static const struct lane_op write = {lane_sure_rw, lane_issue_write, lane_blocking_write};
	static const struct lane_op send = {lane_sure_send, lane_issue_send, NULL};
	static const struct lane_op recv = {lane_sure_recv, lane_issue_recv, NULL};
	static const struct lane_op socket = {lane_sure_socket, lane_issue_socket, NULL};

	switch (opcode) {
	case IORING_OP_NOP: return &nop;
	case IORING_OP_READV: return &readv;
	case IORING_OP_WRITEV: return &writev;
	case IORING_OP_FSYNC: return &fsync;
	case IORING_OP_READ_FIXED: return &read_fixed;
	case IORING_OP_WRITE_FIXED: return &write_fixed;
	case IORING_OP_POLL_ADD: return &poll;
	case IORING_OP_SYNC_FILE_RANGE: return &sync_range;
	case IORING_OP_SENDMSG: return &sendmsg;
	case IORING_OP_RECVMSG: return &recvmsg;
	case IORING_OP_FALLOCATE: return &fallocate;
	case IORING_OP_STATX: return &statx;
	case IORING_OP_RENAMEAT:
	case IORING_OP_LINKAT: return &names;
	case IORING_OP_UNLINKAT: return &unlinkat;
	case IORING_OP_MKDIRAT: return &mkdirat;
	case IORING_OP_SYMLINKAT: return &symlinkat;
	case LANE_OP_FTRUNCATE: return &ftruncate;
	case IORING_OP_OPENAT: return &openat;
	case IORING_OP_CLOSE: return &close;
	case IORING_OP_READ: return &read;
	case IORING_OP_WRITE: return &write;
	case IORING_OP_SEND: return &send;
	case IORING_OP_RECV: return &recv;
	case LANE_OP_SOCKET: return &socket;
	case LANE_OP_READV_FIXED: return &readv_fixed;
	case LANE_OP_WRITEV_FIXED: return &writev_fixed;
	}
	return NULL;
}

#endif
