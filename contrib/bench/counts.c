/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counts: the client of counts.py.
 *
 *   counts PATH ROW WARM TIMES
 *
 * PATH: MOUNT/new. Makes the requests of a row WARM times, says so by a line, waits for one, makes them TIMES times, and
 * does so again. Control writes only, no lane. Exit 1 if a request has another result than it should.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define BATCH 64

static struct ring ring;
static int ends[2];
static char byte;

static void put(struct io_uring_sqe sqe)
{
	unsigned tail = *ring.sq_tail;

	ring.sqes[tail & ring.sq_mask] = sqe;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
}

static void enter(unsigned to_submit, unsigned min_complete)
{
	int ret = uringfs_enter(ring.fd, to_submit, min_complete, min_complete ? IORING_ENTER_GETEVENTS : 0, NULL);

	if (ret != (int)to_submit) {
		perror("enter");
		exit(1);
	}
}

static int reap(void)
{
	unsigned head = *ring.cq_head;
	int res;

	if (head == __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE)) {
		fprintf(stderr, "no completion\n");
		exit(1);
	}
	res = ring.cqes[head & ring.cq_mask].res;
	__atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
	if (res < 0) {
		fprintf(stderr, "res %d\n", res);
		exit(1);
	}
	return res;
}

static void nops(void)
{
	for (int i = 0; i < BATCH; i++)
		put((struct io_uring_sqe){.opcode = IORING_OP_NOP});
	enter(BATCH, BATCH);
	for (int i = 0; i < BATCH; i++)
		reap();
}

static void timeouts(void)
{
	static struct {
		int64_t sec, nsec;
	} soon = {0, 1};

	put((struct io_uring_sqe){.opcode = IORING_OP_TIMEOUT,
				  .addr = (uintptr_t)&soon,
				  .len = 1,
				  .timeout_flags = IORING_TIMEOUT_ETIME_SUCCESS});
	enter(1, 1);
	__atomic_store_n(ring.cq_head, *ring.cq_head + 1, __ATOMIC_RELEASE); /* -ETIME */
}

/* It waits: nothing is in the pipe when it is submitted. */
static void read_of_a_pipe(void)
{
	put((struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = ends[0], .addr = (uintptr_t)&byte, .len = 1});
	enter(1, 0);
	if (write(ends[1], "x", 1) != 1)
		exit(1);
	enter(0, 1);
	reap();
}

static void openat_(void)
{
	put((struct io_uring_sqe){
		.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t) "/dev/null", .open_flags = O_RDONLY});
	enter(1, 1);
	close(reap());
}

static const struct {
	const char *name;
	void (*go)(void);
} requests[] = {{"NOP", nops}, {"READ", read_of_a_pipe}, {"OPENAT", openat_}, {"TIMEOUT", timeouts}};

static void go(void (*request)(void), int times)
{
	while (times--)
		request();
	puts("done");
	fflush(stdout);
	while (getchar() != '\n')
		if (feof(stdin))
			exit(0);
}

int main(int argc, char **argv)
{
	if (argc != 5 || pipe2(ends, O_CLOEXEC) || ring_open(&ring, backend_find("uringfs"), argv[1], BATCH) < 0) {
		perror("counts PATH ROW WARM TIMES");
		return 2;
	}
	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (strcmp(requests[i].name, argv[2]) == 0) {
			go(requests[i].go, atoi(argv[3]));
			for (;;)
				go(requests[i].go, atoi(argv[4]));
		}
	}
	return 2;
}
