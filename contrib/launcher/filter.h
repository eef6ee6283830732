/* SPDX-License-Identifier: Apache-2.0 */
/* The filter by which io_uring's system calls become ours, and how to ask whether it is in force. uringfs/cli/notify.py
 * has the same filter with SECCOMP_RET_USER_NOTIF: tests/unit/launcher/ compares the two. */
#ifndef URINGFS_FILTER_H
#define URINGFS_FILTER_H

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#include "numbers.h"

#if defined(__x86_64__)
#define TRAP_ARCH AUDIT_ARCH_X86_64
#else
#define TRAP_ARCH AUDIT_ARCH_AARCH64
#endif

/* io_uring_enter with these: is a filter of ours in force? No kernel and no other filter answers so. */
#define PROBE_ARG 0x5572696e674653L
#define PROBE_ANSWER 0x55524e47L

/* What becomes of a call is the action. A 32-bit program's io_uring is not there, rather than the kernel's: nothing of
 * 64 bits could answer it. */
#define IO_URING_FILTER(action)                                                          \
	{                                                                                \
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),   \
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, NR_SETUP, 0, 1),                     \
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, NR_REGISTER, 0, 1),                  \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),                            \
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)), \
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TRAP_ARCH, 0, 1),                    \
		BPF_STMT(BPF_RET | BPF_K, (action)),                                     \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),                   \
	}

#endif
