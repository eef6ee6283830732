/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of NOPs; then how many of them the program's own process has taken, as the ring's attribute says. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/io_uring.h>

#ifdef URINGFS_LANE
#include "../../contrib/uringfs.h"
#endif

#define ENTRIES 8
#define BATCHES 5

static struct io_uring_params p;
static int fd, by_header;
static char *rings;
static struct io_uring_sqe *sqes;

static unsigned *word(unsigned offset)
{
	return (unsigned *)(void *)(rings + offset);
}

static long enter(unsigned count)
{
#ifdef URINGFS_LANE
	if (by_header)
		return uringfs_enter(fd, count, count, IORING_ENTER_GETEVENTS, NULL);
#endif
	return syscall(SYS_io_uring_enter, fd, count, count, IORING_ENTER_GETEVENTS, NULL, 0);
}

static void batch(unsigned count)
{
	unsigned tail = *word(p.sq_off.tail), *head = word(p.cq_off.head);

	for (unsigned i = 0; i < count; i++, tail++) {
		memset(&sqes[tail % ENTRIES], 0, sizeof(*sqes));
		sqes[tail % ENTRIES].user_data = tail;
		word(p.sq_off.array)[tail % ENTRIES] = tail % ENTRIES;
	}
	__atomic_store_n(word(p.sq_off.tail), tail, __ATOMIC_RELEASE);
	if (enter(count) != (long)count)
		exit(1);
	for (unsigned i = 0; i < count; i++, ++*head) {
		struct io_uring_cqe *cqe = (void *)(rings + p.cq_off.cqes);

		if (cqe[*head % p.cq_entries].user_data != *head || cqe[*head % p.cq_entries].res)
			exit(1);
	}
}

int main(int argc, char **argv)
{
	char taken[32] = "";
	int status;

#ifdef URINGFS_LANE
	by_header = argc > 1;
	fd = by_header ? uringfs_open(argv[1]) : -1;
	if (by_header && uringfs_setup(fd, ENTRIES, &p) < 0)
		return 1;
#endif
	(void)argc;
	(void)argv;
	if (!by_header)
		fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
	rings = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, ENTRIES * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	if (fd < 0 || rings == MAP_FAILED || sqes == (void *)MAP_FAILED)
		return 1;
	for (unsigned i = 1; i <= BATCHES; i++)
		batch(i);
	fflush(stdout);
	if (fork() == 0) { /* a process with a number of its own */
		batch(2);
		_exit(0);
	}
	if (wait(&status) < 0 || status)
		return 1;
	batch(1);
	syscall(SYS_fgetxattr, fd, "user.uring.lane_submitted", taken, sizeof(taken) - 1);
	puts(taken);
	return 0;
}
