/* SPDX-License-Identifier: Apache-2.0 */
/* A process that shares a ring is killed at any instruction while it submits, again and again: who is left submits the
 * rest, and each request has one completion. Arguments: rounds, a seed, and MOUNT/new for the calls of uringfs.h. Says how
 * many were killed behind their call. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "probe_ring.h"

#define BATCH 8u
#define SHORT_NS 300000 /* from the word to the signal, every second time */
#define LONG_NS 5000000

struct shared {
	int ready, go, entered;
};

static struct ring r;
static struct shared *shared;
static char *memory, path[] = "killed-XXXXXX";
static int file, direct;

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void wait_ns(long ns)
{
	for (long end = now() + ns; now() < end;)
		;
}

static void reap(unsigned count, unsigned long *seen, unsigned long first)
{
	unsigned *head = word(&r, r.p.cq_off.head);

	CHECK(__atomic_load_n(word(&r, r.p.cq_off.tail), __ATOMIC_ACQUIRE) - *head == count);
	for (unsigned i = 0; i < count; i++, __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE)) {
		const struct io_uring_cqe *cqe = cqe_at(&r, *head);

		CHECK(cqe->user_data >= first && cqe->user_data < first + count);
		CHECK(!(*seen & 1UL << (cqe->user_data - first)));
		CHECK(cqe->res >= 0 || cqe->res == -ECANCELED || cqe->res == -EINTR);
		*seen |= 1UL << (cqe->user_data - first);
	}
}

static void transfer(unsigned char opcode, int fd, unsigned i, unsigned long first)
{
	struct io_uring_sqe *sqe = queue(&r, opcode, fd, first + i);

	sqe->addr = (unsigned long)(memory + 4096UL * i);
	sqe->len = 4096;
}

/* Inline, without the lock, by workers and by the kernel's AIO */
static void queue_batch(unsigned long first)
{
	queue(&r, IORING_OP_NOP, -1, first);
	transfer(IORING_OP_READ, file, 1, first);
	transfer(IORING_OP_WRITE, file, 2, first);
	queue(&r, IORING_OP_FSYNC, file, first + 3);
	transfer(IORING_OP_READ, direct, 4, first);
	queue(&r, IORING_OP_NOP, -1, first + 5)->flags = IOSQE_IO_LINK;
	queue(&r, IORING_OP_NOP, -1, first + 6);
	transfer(IORING_OP_READ, file, 7, first);
}

/* The one that dies: it has taken part before, or begins to now. */
static void submit(int takes_part)
{
	unsigned long seen = 0;

	if (takes_part) {
		queue(&r, IORING_OP_NOP, -1, 1);
		CHECK(enter(&r, 1, 1) == 1);
		reap(1, &seen, 1);
	}
	__atomic_store_n(&shared->ready, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&shared->go, __ATOMIC_SEQ_CST))
		;
	enter(&r, BATCH, 0);
	__atomic_store_n(&shared->entered, 1, __ATOMIC_SEQ_CST);
	pause();
	_exit(0);
}

static int kill_one(unsigned long first, int takes_part, long ns)
{
	unsigned long seen = 0;
	int entered;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		submit(takes_part);
	while (!__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST))
		sched_yield();
	queue_batch(first);
	__atomic_store_n(&shared->go, 1, __ATOMIC_SEQ_CST);
	wait_ns(ns);
	CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	entered = shared->entered;
	CHECK(enter(&r, BATCH, 0) >= 0 && enter(&r, 0, BATCH) >= 0);
	reap(BATCH, &seen, first);
	CHECK(seen == (1UL << BATCH) - 1);
	return entered;
}

int main(int argc, char **argv)
{
	unsigned rounds = (unsigned)atoi(argv[1]), behind = 0;

	CHECK(argc > 2);
	srandom((unsigned)atoi(argv[2]));
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memory = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED && memory != MAP_FAILED);
	file = mkstemp(path);
	CHECK(file >= 0 && pwrite(file, memory, 4 * 4096, 0) == 4 * 4096 && fsync(file) == 0);
	direct = open(path, O_RDONLY | O_DIRECT);
	direct = direct < 0 ? open(path, O_RDONLY) : direct;
	unlink(path);
	set_up_at(&r, 2 * BATCH, argc > 3 ? argv[3] : NULL);
	for (unsigned i = 0; i < rounds; i++)
		behind += (unsigned)kill_one(1000UL * (i + 1), i % 4 != 0, random() % (i % 2 ? SHORT_NS : LONG_NS));
	printf("%u of %u had returned\n", behind, rounds);
	return 0;
}
