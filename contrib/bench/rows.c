/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the benchmark, written out literally. */
#include "bench.h"

static void prep_nop(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	(void)w;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_NOP;
	sqe->user_data = i;
}

/* At offset 0 whatever the batch: gVisor's READV knows no other. */
static void prep_readv(struct work *w, struct io_uring_sqe *sqe, unsigned i)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READV;
	sqe->fd = w->file;
	sqe->addr = (uint64_t)(uintptr_t)&w->iov[i];
	sqe->len = 1;
	sqe->user_data = i;
}

const struct row rows[] = {
	/* name                entries batch  expect           prep */
	{"control write",          256,    0, 0,               NULL},
	{"NOP x1",                 256,    1, 0,               prep_nop},
	{"NOP x32",                256,   32, 0,               prep_nop},
	{"NOP x256",               256,  256, 0,               prep_nop},
	{"NOP x4096",             4096, 4096, 0,               prep_nop},
	{"READV 4K x1",            256,    1, BENCH_READ_SIZE, prep_readv},
	{"READV 4K x32",           256,   32, BENCH_READ_SIZE, prep_readv},
	{"NOP x256, ring 256",     256,  256, 0,               prep_nop},
	{"NOP x256, ring 1024",   1024,  256, 0,               prep_nop},
	{"NOP x256, ring 4096",   4096,  256, 0,               prep_nop},
	{"NOP x256, ring 16384", 16384,  256, 0,               prep_nop},
};
const unsigned nr_rows = sizeof(rows) / sizeof(rows[0]);
