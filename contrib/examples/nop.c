/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nop [RING]: the smallest complete program. One NOP goes into a ring, its completion comes out.
 *
 * RING: default $URINGFS_DIR/new, then /mnt/uring/new. "new" is a fresh ring of one's own; any other
 * name is a ring shared by that name, which must not have been set up yet.
 *
 *   cc -std=c11 -D_GNU_SOURCE -I.. nop.c -o nop
 */
#include "uringfs.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Words both sides write. An acquire load of a tail shows what was stored before it was moved there;
 * a release store of one shows ours. */
typedef _Atomic uint32_t shared_u32;

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	const char *dir = getenv("URINGFS_DIR");
	char path[4096];

	snprintf(path, sizeof(path), "%s/new", dir ? dir : "/mnt/uring");
	if (argc > 1)
		snprintf(path, sizeof(path), "%s", argv[1]);

	/* 1. A ring is a file. Setting it up fills in p: the sizes, and where everything lies. */
	struct io_uring_params p = {0};
	int fd = uringfs_open(path);

	if (fd < 0)
		die(path);
	if (uringfs_setup(fd, 8, &p) < 0)
		die("setup");

	/* 2. Two mappings: both queues (IORING_FEAT_SINGLE_MMAP), and the array of SQEs. */
	size_t sq_size = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
	size_t cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	size_t size = sq_size > cq_size ? sq_size : cq_size;
	char *rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqes = mmap(NULL, p.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
					 IORING_OFF_SQES);

	if (rings == MAP_FAILED || sqes == MAP_FAILED)
		die("mmap");

	shared_u32 *sq_tail = (shared_u32 *)(void *)(rings + p.sq_off.tail);
	uint32_t *sq_array = (uint32_t *)(void *)(rings + p.sq_off.array);
	shared_u32 *cq_head = (shared_u32 *)(void *)(rings + p.cq_off.head);
	shared_u32 *cq_tail = (shared_u32 *)(void *)(rings + p.cq_off.tail);
	struct io_uring_cqe *cqes = (struct io_uring_cqe *)(void *)(rings + p.cq_off.cqes);

	/* 3. Queue: fill an SQE, put its index into the array, then move the tail past it. Sizes are
	 * powers of two, so a position becomes a slot by a mask. */
	uint32_t tail = atomic_load_explicit(sq_tail, memory_order_relaxed);
	uint32_t slot = tail & (p.sq_entries - 1);

	memset(&sqes[slot], 0, sizeof(sqes[slot]));
	sqes[slot].opcode = IORING_OP_NOP;
	sqes[slot].user_data = 42; /* comes back in the completion */
	sq_array[slot] = slot;
	atomic_store_explicit(sq_tail, tail + 1, memory_order_release);

	/* 4. Submit one request and wait for one completion. */
	int submitted = uringfs_enter(fd, 1, 1, IORING_ENTER_GETEVENTS, NULL);

	if (submitted < 0)
		die("enter");

	/* 5. Reap: everything between head and tail is ours; moving the head gives it back. */
	uint32_t head = atomic_load_explicit(cq_head, memory_order_relaxed);

	while (head != atomic_load_explicit(cq_tail, memory_order_acquire)) {
		const struct io_uring_cqe *cqe = &cqes[head & (p.cq_entries - 1)];

		printf("submitted %d; completed: user_data=%llu res=%d\n", submitted,
		       (unsigned long long)cqe->user_data, cqe->res);
		head++;
	}
	atomic_store_explicit(cq_head, head, memory_order_release);

	munmap(sqes, p.sq_entries * sizeof(*sqes));
	munmap(rings, size);
	close(fd);
	return 0;
}
