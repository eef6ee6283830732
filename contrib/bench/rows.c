/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the benchmark, written out literally. */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "bench.h"

#define NR_FIXED 32 /* registered buffers: as many as a row has requests per enter */

static void prep_rw(struct io_uring_sqe *sqe, int opcode, int fd, const void *data, unsigned size)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = (uint8_t)opcode;
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)data;
	sqe->len = size;
}

static void prep_nop(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	(void)w;
	prep_rw(sqe, IORING_OP_NOP, 0, NULL, 0);
	sqe->user_data = i;
}

/* At offset 0 whatever the batch: gVisor's READV knows no other. */
static void prep_readv(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	prep_rw(sqe, IORING_OP_READV, w->file, &w->iov[i], 1);
	sqe->user_data = i;
}

static void prep_read(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	prep_rw(sqe, IORING_OP_READ, w->file, w->iov[i].iov_base, BENCH_READ_SIZE);
	sqe->off = (uint64_t)i * BENCH_READ_SIZE;
	sqe->user_data = i;
}

static void prep_write(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	prep_rw(sqe, IORING_OP_WRITE, w->out, w->iov[i].iov_base, BENCH_READ_SIZE);
	sqe->off = (uint64_t)i * BENCH_READ_SIZE;
	sqe->user_data = i;
}

static int begin_fixed(struct work *w)
{
	struct ring *ring = &w->ring;

	if (ring->backend->reg(ring, IORING_REGISTER_FILES, &w->file, 1) < 0)
		return -1;
	return ring->backend->reg(ring, IORING_REGISTER_BUFFERS, w->iov, NR_FIXED);
}

static void prep_fixed(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	prep_rw(sqe, IORING_OP_READ_FIXED, 0, w->iov[i].iov_base, BENCH_READ_SIZE);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->buf_index = (uint16_t)i;
	sqe->off = (uint64_t)i * BENCH_READ_SIZE;
	sqe->user_data = i;
}

static void prep_poll(struct io_uring_sqe *sqe, int fd, unsigned i)
{
	prep_rw(sqe, IORING_OP_POLL_ADD, fd, NULL, 0);
	sqe->poll32_events = POLLIN;
	sqe->user_data = i;
}

static void prep_poll_ready(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	prep_poll(sqe, w->ready, i);
}

static void prep_poll_quiet(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	prep_poll(sqe, w->quiet, i);
}

static void prep_poll_armed(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	eventfd_t count;

	if (i == 0)
		eventfd_read(w->event, &count); /* what the batch before has left; EAGAIN at first */
	prep_poll(sqe, w->event, i);
}

static int kick_event(struct work *w)
{
	return eventfd_write(w->event, 1);
}

static void prep_timeout(struct io_uring_sqe *sqe, const struct __kernel_timespec *ts, unsigned i)
{
	prep_rw(sqe, IORING_OP_TIMEOUT, -1, ts, 1);
	sqe->user_data = i;
}

static void prep_timeout_now(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	static const struct __kernel_timespec now;

	(void)w;
	prep_timeout(sqe, &now, i);
}

static void prep_timeout_hour(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	static const struct __kernel_timespec hour = {3600, 0};

	(void)w;
	prep_timeout(sqe, &hour, i);
}

/* A receive that has to wait, then the send that it waits for; next time in the other direction. */
static void prep_pingpong(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	int sends = i % 2;

	prep_rw(sqe, sends ? IORING_OP_SEND : IORING_OP_RECV, w->pair[w->turn ^ i % 2], w->iov[i].iov_base, 1);
	sqe->user_data = i;
	w->turn ^= (unsigned)sends;
}

/* The send first: the receive need not wait. */
static void prep_exchange(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	prep_rw(sqe, i % 2 ? IORING_OP_RECV : IORING_OP_SEND, w->pair[i % 2], w->iov[i].iov_base, 1);
	sqe->user_data = i;
}

static void prep_openat(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	prep_rw(sqe, IORING_OP_OPENAT, AT_FDCWD, w->path, 0);
	sqe->open_flags = O_RDONLY | O_CLOEXEC;
	sqe->user_data = i;
}

static void prep_statx(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	prep_rw(sqe, IORING_OP_STATX, AT_FDCWD, w->path, STATX_BASIC_STATS);
	sqe->off = (uint64_t)(uintptr_t)w->iov[i].iov_base;
	sqe->user_data = i;
}

#define FEW 10
#define MANY 10000

/* clang-format off: a table */
const struct row rows[] = {
	/* name                entries batch  expect           prep */
	{"control write", 256, 0, 0, NULL, NULL, NULL, 0, NULL},
	{"NOP x1", 256, 1, 0, prep_nop, NULL, NULL, 0, NULL},
	{"NOP x32", 256, 32, 0, prep_nop, NULL, NULL, 0, NULL},
	{"NOP x256", 256, 256, 0, prep_nop, NULL, NULL, 0, NULL},
	{"NOP x4096", 4096, 4096, 0, prep_nop, NULL, NULL, 0, NULL},
	{"READV 4K x1", 256, 1, BENCH_READ_SIZE, prep_readv, NULL, NULL, 0, NULL},
	{"READV 4K x32", 256, 32, BENCH_READ_SIZE, prep_readv, NULL, NULL, 0, NULL},
	{"READ 4K x1", 256, 1, BENCH_READ_SIZE, prep_read, NULL, NULL, 0, NULL},
	{"READ 4K x32", 256, 32, BENCH_READ_SIZE, prep_read, NULL, NULL, 0, NULL},
	{"WRITE 4K x1", 256, 1, BENCH_READ_SIZE, prep_write, NULL, NULL, 0, NULL},
	{"WRITE 4K x32", 256, 32, BENCH_READ_SIZE, prep_write, NULL, NULL, 0, NULL},
	{"READ_FIXED 4K x1", 256, 1, BENCH_READ_SIZE, prep_fixed, begin_fixed, NULL, 0, NULL},
	{"READ_FIXED 4K x32", 256, 32, BENCH_READ_SIZE, prep_fixed, begin_fixed, NULL, 0, NULL},
	{"POLL_ADD ready x1", 256, 1, POLLIN, prep_poll_ready, NULL, NULL, 0, NULL},
	{"POLL_ADD ready x32", 256, 32, POLLIN, prep_poll_ready, NULL, NULL, 0, NULL},
	{"POLL_ADD armed x1", 256, 1, POLLIN, prep_poll_armed, NULL, kick_event, 0, NULL},
	{"POLL_ADD armed x32", 256, 32, POLLIN, prep_poll_armed, NULL, kick_event, 0, NULL},
	{"POLL_ADD, 10 pending", 256, 1, POLLIN, prep_poll_armed, NULL, kick_event, FEW, prep_poll_quiet},
	{"POLL_ADD, 10000 pending", 256, 1, POLLIN, prep_poll_armed, NULL, kick_event, MANY, prep_poll_quiet},
	{"TIMEOUT x1", 256, 1, -ETIME, prep_timeout_now, NULL, NULL, 0, NULL},
	{"TIMEOUT x32", 256, 32, -ETIME, prep_timeout_now, NULL, NULL, 0, NULL},
	{"TIMEOUT, 10 pending", 256, 1, -ETIME, prep_timeout_now, NULL, NULL, FEW, prep_timeout_hour},
	{"TIMEOUT, 10000 pending", 256, 1, -ETIME, prep_timeout_now, NULL, NULL, MANY, prep_timeout_hour},
	{"OPENAT x1", 256, 1, BENCH_DESCRIPTOR, prep_openat, NULL, NULL, 0, NULL},
	{"OPENAT x128", 256, 128, BENCH_DESCRIPTOR, prep_openat, NULL, NULL, 0, NULL},
	{"STATX x128", 256, 128, 0, prep_statx, NULL, NULL, 0, NULL},
	{"SEND, RECV, ready", 256, 2, 1, prep_exchange, NULL, NULL, 0, NULL},
	{"socketpair ping-pong", 256, 2, 1, prep_pingpong, NULL, NULL, 0, NULL},
	{"NOP x256, ring 256", 256, 256, 0, prep_nop, NULL, NULL, 0, NULL},
	{"NOP x256, ring 1024", 1024, 256, 0, prep_nop, NULL, NULL, 0, NULL},
	{"NOP x256, ring 4096", 4096, 256, 0, prep_nop, NULL, NULL, 0, NULL},
	{"NOP x256, ring 16384", 16384, 256, 0, prep_nop, NULL, NULL, 0, NULL},
};
/* clang-format on */
const unsigned nr_rows = sizeof(rows) / sizeof(rows[0]);
