/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_WAITID, for the families about it. */
#ifndef WAITID_H
#define WAITID_H

#include "events.h"

#include <signal.h>
#include <sys/prctl.h>

#define OP_WAITID 50
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static siginfo_t info UNUSED;
static int go[2]; /* a child ends once this pipe is closed */

static inline struct io_uring_sqe *waitid_(struct ring *r, int which, pid_t id, siginfo_t *infop, int options,
					   uint64_t user_data, unsigned flags)
{
	struct io_uring_sqe *sqe = queue(r, OP_WAITID, user_data, flags);

	sqe->len = (uint32_t)which;
	sqe->fd = id;
	sqe->addr2 = (uint64_t)(uintptr_t)infop;
	sqe->file_index = (uint32_t)options;
	return sqe;
}

/* For this child, into info. */
static inline void submit_waitid(struct ring *r, pid_t pid, int options, uint64_t user_data)
{
	waitid_(r, P_PID, pid, &info, options, user_data, 0);
	submit(r);
}

/* A child that waits for let_go(), then exits so. */
static inline pid_t child(int status)
{
	pid_t pid = (pid_t)OK(fork());
	char byte;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		while (read(go[0], &byte, 1) < 0)
			;
		_exit(status);
	}
	return pid;
}

static inline void let_go(void)
{
	close(go[1]);
}

/* Until waitid(2) would find it, without taking it. */
static inline void until_there(pid_t pid, int options)
{
	siginfo_t si;

	OK(waitid(P_PID, (id_t)pid, &si, options | WNOWAIT));
}

static inline void note_info(const siginfo_t *si, pid_t pid)
{
	note("signo %d code %d pid %s uid %s status %d", si->si_signo, si->si_code,
	     si->si_pid == pid ? "the child's"
	     : si->si_pid      ? "another"
			       : "0",
	     si->si_uid == getuid() ? "ours" : "another", si->si_status);
}

static inline void begin(struct ring *r)
{
	OK(pipe2(go, O_CLOEXEC));
	memset(&info, 0xee, sizeof(info));
	ring_init(r, 16, 0);
}

#endif
