/* SPDX-License-Identifier: Apache-2.0 */
/* FUTEX_WAIT and FUTEX_WAITV, and futex(2) of whoever shares the word: what is printed is the same on the kernel. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe_ring.h"

#define ENTRIES 128
#define OP_TIMEOUT 11
#define OP_CANCEL 14
#define OP_WAIT 51
#define OP_WAKE 52
#define OP_WAITV 53
#define U32 2
#define PRIVATE 128

static struct ring ring;
static uint32_t words[ENTRIES];

static void submit(unsigned count)
{
	CHECK(syscall(SYS_io_uring_enter, ring.fd, count, 0, IORING_ENTER_GETEVENTS, NULL, 0) == (long)count);
}

static void futex(unsigned op, uint32_t *at, uint64_t value, unsigned flags, unsigned user_data)
{
	struct io_uring_sqe *sqe = queue(&ring, (unsigned char)op, 0, user_data);

	sqe->fd = (int)(U32 | flags);
	sqe->addr = (uintptr_t)at;
	sqe->off = value;
	sqe->addr3 = ~0U;
}

/* The next CQEs, in their order */
static void print_cqes(unsigned count)
{
	for (; count; count--) {
		unsigned head = *word(&ring, ring.p.cq_off.head);
		struct io_uring_cqe *cqe;

		while (__atomic_load_n(word(&ring, ring.p.cq_off.tail), __ATOMIC_ACQUIRE) == head)
			CHECK(syscall(SYS_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) >= 0);
		cqe = cqe_at(&ring, head);
		printf("%d: %d\n", (int)cqe->user_data, cqe->res);
		__atomic_store_n(word(&ring, ring.p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	}
}

static long wake(uint32_t *at, int most, int flags)
{
	return syscall(SYS_futex, at, FUTEX_WAKE | flags, most, NULL, NULL, 0);
}

static void private_wake(uint32_t *at, int most)
{
	printf("woke %ld\n", wake(at, most, FUTEX_PRIVATE_FLAG));
}

/* By futex(2), though the word is what it was: each that it says it has */
static void by_futex(void)
{
	private_wake(words, 1);
	for (unsigned i = 1; i <= 3; i++) {
		futex(OP_WAIT, words, 0, PRIVATE, i);
		submit(1);
	}
	private_wake(words, 1);
	print_cqes(1);
	private_wake(words, 1);
	print_cqes(1);
	private_wake(words, 5);
	print_cqes(1);
}

/* A word that changes wakes nobody. */
static void by_word(void)
{
	const struct __kernel_timespec moment = {0, 200000000};
	struct io_uring_sqe *sqe;

	futex(OP_WAIT, words, 0, PRIVATE, 1);
	submit(1);
	words[0] = 1;
	sqe = queue(&ring, OP_TIMEOUT, 0, 2);
	sqe->addr = (uintptr_t)&moment;
	sqe->len = 1;
	submit(1);
	print_cqes(1);
	private_wake(words, 1);
	print_cqes(1);
	futex(OP_WAIT, words, 0, PRIVATE, 3);
	submit(1);
	print_cqes(1);
}

static void by_ring(void)
{
	for (unsigned i = 1; i <= 3; i++)
		futex(OP_WAIT, words, 0, PRIVATE, i);
	futex(OP_WAKE, words, 2, PRIVATE, 4);
	submit(4);
	print_cqes(3);
	futex(OP_WAKE, words, 5, PRIVATE, 5);
	submit(1);
	print_cqes(2);
}

static void vector(void)
{
	struct futex_waitv v[3] = {{0, (uintptr_t)&words[0], U32 | PRIVATE, 0},
				   {0, (uintptr_t)&words[1], U32, 0},
				   {0, (uintptr_t)&words[2], U32 | PRIVATE, 0}};

	for (int i = 2; i >= 0; i--) {
		struct io_uring_sqe *sqe = queue(&ring, OP_WAITV, 0, 1);

		sqe->addr = (uintptr_t)v;
		sqe->len = 3;
		submit(1);
		printf("woke %ld\n", wake(&words[i], 1, v[i].flags & PRIVATE ? FUTEX_PRIVATE_FLAG : 0));
		print_cqes(1);
	}
	private_wake(words, 1);
}

static void cancelled(void)
{
	futex(OP_WAIT, words, 0, PRIVATE, 1);
	submit(1);
	queue(&ring, OP_CANCEL, 0, 2)->addr = 1;
	submit(1);
	print_cqes(2);
	private_wake(words, 1);
	futex(OP_WAIT, words, 0, PRIVATE, 3);
	queue(&ring, OP_CANCEL, 0, 4)->addr = 3;
	submit(2);
	print_cqes(2);
	private_wake(words, 1);
}

/* Another process, by the memory that it shares */
static void shared(void)
{
	uint32_t *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	CHECK(at != MAP_FAILED);
	futex(OP_WAIT, at, 0, 0, 1);
	submit(1);
	pid = fork();
	if (pid == 0)
		_exit(wake(at, 1, 0) == 1 ? 0 : 1);
	CHECK(waitpid(pid, &status, 0) == pid);
	printf("status %d\n", status);
	print_cqes(1);
}

/* Of what a ring that is gone has asked for nobody sleeps any more. */
static void closed(void)
{
	futex(OP_WAIT, words, 0, PRIVATE, 1);
	submit(1);
	unmap_ring(&ring);
	close(ring.fd);
	while (wake(words, 1, FUTEX_PRIVATE_FLAG))
		;
	puts("nobody");
}

/* Rights that change while it sleeps */
static void rights(void)
{
	futex(OP_WAIT, words, 0, PRIVATE, 1);
	submit(1);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	wake(words, 1, FUTEX_PRIVATE_FLAG);
	print_cqes(1);
	futex(OP_WAIT, words, 0, PRIVATE, 2);
	submit(1);
	private_wake(words, 1);
	print_cqes(1);
}

/* More than a program has threads for */
static void many(void)
{
	for (unsigned i = 0; i < 100; i++)
		futex(OP_WAIT, &words[i], 0, PRIVATE, 0);
	submit(100);
	for (unsigned i = 0; i < 100; i++) {
		words[i] = 1;
		wake(&words[i], 1, FUTEX_PRIVATE_FLAG);
	}
	print_cqes(100);
}

static void *sleeper(void *arg)
{
	CHECK(syscall(SYS_futex, arg, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == 0);
	return NULL;
}

/* Who sleeps in futex(2) is in the same queue. */
static void queued(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, sleeper, words) == 0);
	while (syscall(SYS_futex, words, FUTEX_REQUEUE_PRIVATE, 0, 1L, words, 0) != 1)
		;
	futex(OP_WAIT, words, 0, PRIVATE, 1);
	submit(1);
	private_wake(words, 1);
	CHECK(pthread_join(thread, NULL) == 0);
	futex(OP_WAKE, words, 3, PRIVATE, 2);
	submit(1);
	print_cqes(2);
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {{"futex", by_futex}, {"word", by_word},  {"ring", by_ring},  {"vector", vector}, {"cancelled", cancelled},
	     {"shared", shared},  {"closed", closed}, {"rights", rights}, {"many", many},     {"queued", queued}};

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	set_up(&ring, ENTRIES, (unsigned)strtoul(argv[2], NULL, 0));
	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(argv[1], modes[i].name) == 0)
			modes[i].run();
	return 0;
}
