/* SPDX-License-Identifier: Apache-2.0 */
/* What the lane's core is given in the daemon: taker.c, host.c. */
#ifndef URINGFS_TAKER_H
#define URINGFS_TAKER_H

#include "../native.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../../contrib/lane/core.h"

#define MOST_FILES 16u
#define MOST_IOVECS 64u

/* A descriptor of the client's, and ours of the same open file. */
struct fetched {
	int fd, own;
	uint32_t mode;
	uint64_t mount;
};

typedef struct {
	PyObject_HEAD
	Py_buffer view;
	struct lane lane; /* rings NULL: released */
	struct uringfs_lane page;
	/* of one call */
	int tid;
	PyObject *pidfd_of; /* called for the client's pidfd once it is needed; borrowed */
	int pidfd;	    /* -1: not asked for yet */
	unsigned nr_files;
	struct fetched files[MOST_FILES];
	unsigned nr_iovecs;
	size_t sum;
	struct iovec iovecs[MOST_IOVECS];
} Taker;

extern const struct lane_host taker_host;

/* Reads of files on this mount ask nobody for credentials; 0: forget all. */
void taker_know_mount(uint64_t mount);

#endif
