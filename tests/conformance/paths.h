/* SPDX-License-Identifier: Apache-2.0 */
/* paths.h: what the families that work on paths share. */
#ifndef PATHS_H
#define PATHS_H

#include "harness.h"

#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#ifndef IORING_FILE_INDEX_ALLOC
#define IORING_FILE_INDEX_ALLOC (~0U)
#endif

/* A directory of its own, the working directory from now on; gone with the behaviour. */
static char scratch_path[TEMPORARY];

static void leave_scratch(void)
{
	char command[TEMPORARY + 16];

	snprintf(command, sizeof(command), "rm -rf %s", scratch_path);
	if (chdir("/") || system(command))
		perror(command);
}

__attribute__((unused)) static void enter_scratch(void)
{
	temporary(scratch_path, "uringfs-paths");
	EXPECT(mkdtemp(scratch_path) != NULL);
	OK(chmod(scratch_path, 0777));
	OK(chdir(scratch_path));
	atexit(leave_scratch);
	umask(022);
}

__attribute__((unused)) static void put_file(const char *name, const char *data, size_t size)
{
	int fd = (int)OK(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644));

	EXPECT_EQ(write(fd, data, size), size);
	OK(close(fd));
}

__attribute__((unused)) static void note_mode(const char *name)
{
	struct stat st;

	if (lstat(name, &st))
		note("%s: errno %d", name, errno);
	else
		note("%s: mode %o", name, st.st_mode);
}

/* As run_sqe(), but a result >= 0 is noted as no more than that: a descriptor. */
__attribute__((unused)) static int run_sqe_hidden(struct ring *r, const struct io_uring_sqe *sqe)
{
	struct io_uring_sqe *slot = ring_sqe(r);
	struct cqe cqe;

	EXPECT(slot != NULL);
	memcpy(slot, sqe, sizeof(*sqe));
	EXPECT_EQ(ring_submit_wait(r, 1), 1);
	EXPECT(ring_reap(r, &cqe));
	EXPECT_EQ(cqe.user_data, sqe->user_data);
	note("op=%u res=%d flags=%u", sqe->opcode, cqe.res < 0 ? cqe.res : 0, cqe.flags);
	return cqe.res;
}

__attribute__((unused)) static void open_sqe(struct io_uring_sqe *sqe, int dfd, const char *name, int flags,
					     unsigned mode)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_OPENAT;
	sqe->fd = dfd;
	sqe->addr = (uint64_t)(uintptr_t)name;
	sqe->open_flags = (uint32_t)flags;
	sqe->len = mode;
	sqe->user_data = 0xabcdef;
}

__attribute__((unused)) static int run_open_at(struct ring *r, int dfd, uint64_t name, int flags, unsigned mode)
{
	struct io_uring_sqe sqe;

	open_sqe(&sqe, dfd, (const char *)(uintptr_t)name, flags, mode);
	return run_sqe_hidden(r, &sqe);
}

__attribute__((unused)) static int run_open(struct ring *r, int dfd, const char *name, int flags, unsigned mode)
{
	return run_open_at(r, dfd, (uint64_t)(uintptr_t)name, flags, mode);
}

__attribute__((unused)) static int run_open2(struct ring *r, int dfd, const char *name, const struct open_how *how,
					     unsigned size)
{
	struct io_uring_sqe sqe;

	open_sqe(&sqe, dfd, name, 0, size);
	sqe.opcode = IORING_OP_OPENAT2;
	sqe.off = (uint64_t)(uintptr_t)how;
	return run_sqe_hidden(r, &sqe);
}

/* A descriptor it must be, and be in our table. */
__attribute__((unused)) static int note_fd(int fd)
{
	EXPECT_GE(fd, 3);
	OK(fcntl(fd, F_GETFD));
	return fd;
}

__attribute__((unused)) static void close_sqe(struct io_uring_sqe *sqe, int fd, unsigned file_index)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_CLOSE;
	sqe->fd = fd;
	sqe->file_index = file_index;
}

__attribute__((unused)) static int run_close(struct ring *r, int fd, unsigned file_index)
{
	struct io_uring_sqe sqe;

	close_sqe(&sqe, fd, file_index);
	return run_sqe(r, &sqe);
}

__attribute__((unused)) static int read_fixed(struct ring *r, int index)
{
	static char buf[64];
	struct iovec iov = {buf, sizeof(buf)};
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_READV;
	sqe.flags = IOSQE_FIXED_FILE;
	sqe.fd = index;
	sqe.addr = (uint64_t)(uintptr_t)&iov;
	sqe.len = 1;
	return run_sqe(r, &sqe);
}

__attribute__((unused)) static struct io_uring_sqe *last_sqe(struct ring *r)
{
	uint32_t slot = (r->tail - 1) & (r->p.sq_entries - 1);

	return &r->sqes[r->array ? r->array[slot] : slot];
}

/* n CQEs in the order of their user_data, 1..n. */
__attribute__((unused)) static void note_all(struct ring *r, unsigned n)
{
	struct cqe found[64], cqe;

	memset(found, 0, sizeof(found));
	for (unsigned i = 0; i < n; i++) {
		cqe = ring_wait(r);
		EXPECT(cqe.user_data >= 1 && cqe.user_data <= n && n < 64);
		found[cqe.user_data] = cqe;
	}
	for (unsigned i = 1; i <= n; i++)
		note("%u: res=%d flags=%u", i, found[i].res, found[i].flags);
}

#endif
