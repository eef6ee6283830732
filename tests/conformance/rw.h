/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes of one buffer, and signals counted: what the families of them share. */
#ifndef RW_H
#define RW_H

#include "harness.h"

#include <signal.h>
#include <sys/stat.h>

static inline struct io_uring_sqe rw_sqe(int op, int fd, const void *addr, unsigned len, uint64_t off)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.fd = fd;
	sqe.addr = (uint64_t)(uintptr_t)addr;
	sqe.len = len;
	sqe.off = off;
	sqe.user_data = 0x5151;
	return sqe;
}

static inline int rw(struct ring *r, int op, int fd, const void *addr, unsigned len, uint64_t off)
{
	struct io_uring_sqe sqe = rw_sqe(op, fd, addr, len, off);

	return run_sqe(r, &sqe);
}

static inline int put(struct ring *r, int fd, const void *addr, unsigned len, uint64_t off)
{
	return rw(r, IORING_OP_WRITE, fd, addr, len, off);
}

static inline void fill(char *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = (char)pattern(i);
}

static inline void note_size(int fd)
{
	struct stat st;

	OK(fstat(fd, &st));
	note("size %lld", (long long)st.st_size);
}

/* A pipe with room for one page that is full but for `room` bytes. */
static inline void small_pipe(int p[2], size_t room)
{
	OK(pipe(p));
	EXPECT_EQ(OK(fcntl(p[1], F_SETPIPE_SZ, (int)PAGE)), PAGE);
	if (room < PAGE)
		EXPECT_EQ(OK(write(p[1], map_pages(1, PROT_READ), PAGE - room)), PAGE - room);
}

static volatile sig_atomic_t got __attribute__((unused));

static inline void count(int sig)
{
	(void)sig;
	got = got + 1;
}

#endif
