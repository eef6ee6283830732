/* SPDX-License-Identifier: Apache-2.0 */
/* SQEs by their fields, and what every field and every kind of file makes of an op. */
#ifndef SYNC_H
#define SYNC_H

#include "harness.h"

static inline struct io_uring_sqe sqe_of(int op, int fd, uint64_t off, uint64_t addr, uint32_t len, uint32_t flags)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.fd = fd;
	sqe.off = off;
	sqe.addr = addr;
	sqe.len = len;
	sqe.rw_flags = (int)flags;
	sqe.user_data = 0x5c;
	return sqe;
}

static inline int go(struct ring *r, int op, int fd, uint64_t off, uint64_t addr, uint32_t len, uint32_t flags)
{
	struct io_uring_sqe sqe = sqe_of(op, fd, off, addr, len, flags);

	return run_sqe(r, &sqe);
}

/* Which fields of the SQE the op insists on being 0. */
static inline void each_field(struct ring *r, const struct io_uring_sqe *good)
{
	static const struct {
		const char *name;
		int at, size;
	} fields[] = {
		{"ioprio", 2, 2},    {"off", 8, 8},	   {"addr", 16, 8},	   {"len", 24, 4},
		{"rw_flags", 28, 4}, {"buf_index", 40, 2}, {"personality", 42, 2}, {"file_index", 44, 4},
		{"addr3", 48, 8},    {"pad2", 56, 8},
	};

	run_sqe(r, good);
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		struct io_uring_sqe sqe = *good;

		((char *)&sqe)[fields[i].at] = 1;
		note("%s", fields[i].name);
		run_sqe(r, &sqe);
		((char *)&sqe)[fields[i].at + fields[i].size - 1] = 0x40;
		note("%s, high", fields[i].name);
		run_sqe(r, &sqe);
	}
}

static inline void kinds_of_file(struct ring *r, int op, uint64_t off, uint64_t addr, uint32_t len, uint32_t flags)
{
	struct ring other;
	int p[2], dir = (int)OK(open("/tmp", O_RDONLY | O_DIRECTORY)), zero = (int)OK(open("/dev/zero", O_RDWR));
	int path = (int)OK(open("/tmp", O_PATH)), ro = (int)OK(open("/etc/passwd", O_RDONLY));
	int mem = (int)OK(memfd_create("conformance", 0)), event = (int)OK(syscall(SYS_eventfd2, 0, 0));

	OK(pipe(p));
	ring_init(&other, 1, 0);
	note("pipe");
	go(r, op, p[1], off, addr, len, flags);
	note("directory");
	go(r, op, dir, off, addr, len, flags);
	note("device");
	go(r, op, zero, off, addr, len, flags);
	note("O_PATH");
	go(r, op, path, off, addr, len, flags);
	note("read-only");
	go(r, op, ro, off, addr, len, flags);
	note("memfd");
	go(r, op, mem, off, addr, len, flags);
	note("eventfd");
	go(r, op, event, off, addr, len, flags);
	note("ring");
	go(r, op, other.fd, off, addr, len, flags);
	note("none");
	go(r, op, -1, off, addr, len, flags);
}

#endif
