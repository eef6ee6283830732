/* SPDX-License-Identifier: Apache-2.0 */
/* A signalfd, for the families about it: the pending signals of who submits. */
#ifndef SIGNALFD_H
#define SIGNALFD_H

#include "events.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

static int fd;

static inline void start(struct ring *r, int flags)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	OK(sigprocmask(SIG_BLOCK, &set, NULL));
	fd = (int)OK(signalfd(-1, &set, SFD_CLOEXEC | flags));
	ring_init(r, 8, 0);
}

static inline void raise_both(void)
{
	OK(kill(getpid(), SIGUSR2));
	OK(kill(getpid(), SIGUSR1));
}

static struct signalfd_siginfo infos[4];

static inline struct io_uring_sqe *read_op(struct ring *r, unsigned size, uint64_t user_data)
{
	struct io_uring_sqe *sqe = queue(r, IORING_OP_READ, user_data, 0);

	memset(infos, 0, sizeof(infos));
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)infos;
	sqe->len = size;
	return sqe;
}

static inline void note_infos(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		note("signal %u of %s", infos[i].ssi_signo, infos[i].ssi_pid == (unsigned)getpid() ? "us" : "others");
}

static inline void take(int signal)
{
	EXPECT_EQ(read(fd, infos, sizeof(*infos)), sizeof(*infos));
	EXPECT_EQ(infos[0].ssi_signo, signal);
}

#endif
