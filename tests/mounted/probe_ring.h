/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of a probe of the lane: the kernel's calls, which `uringfs run` answers, or, compiled with URINGFS_LANE and
 * given a path, those of uringfs.h. */
#ifndef PROBE_RING_H
#define PROBE_RING_H

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

static struct io_uring_params p;
static int fd;
static char *rings;
static struct io_uring_sqe *sqes;
static int by_header; /* of uringfs.h, and its calls */

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

static inline long registers(unsigned opcode, void *arg, unsigned nr)
{
#ifdef URINGFS_LANE
	if (by_header)
		return uringfs_register(fd, opcode, arg, nr);
#endif
	return syscall(SYS_io_uring_register, fd, opcode, arg, nr);
}

static void set_up(const char *path)
{
#ifdef URINGFS_LANE
	if (by_header)
		fd = uringfs_open(path);
	if (by_header && uringfs_setup(fd, ENTRIES, &p) < 0)
		exit(2);
#endif
	(void)path;
	if (!by_header)
		fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
	rings = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, ENTRIES * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	if (fd < 0 || rings == MAP_FAILED || sqes == (void *)MAP_FAILED)
		exit(2);
}

/* How many requests the program's own process has taken, as the ring's attribute says */
static void say_taken(FILE *to)
{
	char taken[32] = "";

	if (syscall(SYS_fgetxattr, fd, "user.uring.lane_submitted", taken, sizeof(taken) - 1) < 0)
		exit(4);
	fputs(taken, to);
}

#endif
