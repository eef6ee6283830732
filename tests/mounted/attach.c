/* A ring that another has set up, by name: maps it by what uringfs_attach() says, queues a NOP with the user_data
 * given, enters and reaps it. Prints entries, or the errno of the attach. attach PATH USER_DATA */
#include "uringfs.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct io_uring_params p;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	unsigned tail, head, stride;
	char *rings, *sqes;
	int fd = open(argc > 2 ? argv[1] : "", O_RDWR);

	if (uringfs_attach(fd, &p) < 0) {
		printf("%d\n", errno);
		return 1;
	}
	stride = p.flags & IORING_SETUP_SQE128 ? 128 : 64;
	rings = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		     IORING_OFF_SQ_RING);
	sqes = mmap(NULL, p.sq_entries * stride, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	if (rings == MAP_FAILED || sqes == MAP_FAILED)
		return 2;
	tail = *(unsigned *)(rings + p.sq_off.tail);
	sqe = (struct io_uring_sqe *)(sqes + (tail & (p.sq_entries - 1)) * stride);
	memset(sqe, 0, stride);
	sqe->opcode = IORING_OP_NOP;
	sqe->user_data = strtoul(argv[2], NULL, 0);
	((unsigned *)(rings + p.sq_off.array))[tail & (p.sq_entries - 1)] = tail & (p.sq_entries - 1);
	__atomic_store_n((unsigned *)(rings + p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	if (uringfs_enter(fd, 1, 1, IORING_ENTER_GETEVENTS, NULL) != 1)
		return 3;
	head = *(unsigned *)(rings + p.cq_off.head);
	cqe = (struct io_uring_cqe *)(rings + p.cq_off.cqes) + (head & (p.cq_entries - 1));
	printf("%u %u %llu\n", p.sq_entries, p.cq_entries, (unsigned long long)cqe->user_data);
	return 0;
}
