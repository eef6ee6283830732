/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the FUSE wire share: fusewire.c (hooks and messages), lane.c, wirecalls.c (Python's side). */
#ifndef URINGFS_FUSEWIRE_H
#define URINGFS_FUSEWIRE_H

#include "native.h"

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

extern struct wire {
	struct fuse_session *session; /* NULL: none is mounted through us */
	uint64_t init_unique;
	bool offered;  /* the kernel's INIT has passthrough */
	bool granted;  /* our reply took it */
	/* the message read last; pyfuse3 dispatches it before it reads the next */
	uint64_t unique;
	uint32_t opcode, uid, gid, tid, events;
	unsigned long emptied; /* how often a read has found no message */
} wire;

extern bool passthrough_wanted;

ssize_t wire_next(int fd, void *buf, size_t size);

/* wirecalls.c: the uniques of interrupted requests, until Python takes them */
void interrupts_add(uint64_t unique);
void interrupts_clear(void);

/* lane.c: see there */
void lane_enter(void);
bool lane_answers(int fd, const char *buf, size_t size);
ssize_t lane_read(int fd, void *buf, size_t size);
PyObject *lane_set(PyObject *module, PyObject *handler);

#endif /* URINGFS_FUSEWIRE_H */
