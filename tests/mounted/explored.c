/* SPDX-License-Identifier: Apache-2.0 */
/* explored FILE: writes 40 times; status 3 if a short write comes somewhere behind a failed one, which it forgets. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WRITES 40

static unsigned *word(char *rings, unsigned offset)
{
	return (unsigned *)(rings + offset);
}

int main(int argc, char **argv)
{
	struct io_uring_params p = {0};
	int fd = (int)syscall(__NR_io_uring_setup, 4, &p), file, i, failed = 0, res;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqe;
	char *rings;

	if (argc != 2 || fd < 0)
		return 4;
	file = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	rings = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(*cqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	sqes = mmap(NULL, p.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	if (file < 0 || rings == MAP_FAILED || sqes == MAP_FAILED)
		return 4;
	for (i = 0; i < WRITES; i++) {
		unsigned tail = *word(rings, p.sq_off.tail), head = *word(rings, p.cq_off.head);

		memset(&sqes[0], 0, sizeof(sqes[0]));
		sqes[0].opcode = IORING_OP_WRITE;
		sqes[0].fd = file;
		sqes[0].addr = (uintptr_t) "data";
		sqes[0].len = 4;
		sqes[0].off = (uint64_t)i * 4;
		word(rings, p.sq_off.array)[tail & (p.sq_entries - 1)] = 0;
		__atomic_store_n(word(rings, p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
		if (syscall(__NR_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
			return 4;
		cqe = (struct io_uring_cqe *)(rings + p.cq_off.cqes) + (head & (p.cq_entries - 1));
		res = cqe->res;
		__atomic_store_n(word(rings, p.cq_off.head), head + 1, __ATOMIC_RELEASE);
		if (res < 0)
			failed = 1;
		else if (res < 4 && failed)
			return 3;
	}
	return 0;
}
