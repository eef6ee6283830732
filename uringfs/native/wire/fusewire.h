/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the FUSE wire share: fusewire.c (hooks and messages), shortcut.c, pager.c, wirecalls.c (Python's
 * side). */
#ifndef URINGFS_FUSEWIRE_H
#define URINGFS_FUSEWIRE_H

#include "../native.h"

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

extern struct wire {
	struct fuse_session *session; /* NULL: none is mounted through us */
	int fd;			      /* /dev/fuse */
	uint64_t init_unique;
	uint32_t offered; /* flags2 of the kernel's INIT */
	uint32_t granted; /* those of ours that our reply took */
	bool paged;	  /* pager.c reads, too */
	/* the message read last; pyfuse3 dispatches it before it reads the next */
	uint64_t unique;
	uint32_t opcode, uid, gid, tid;
	uint32_t detail;       /* POLL: events; GETATTR: getattr_flags */
	unsigned long emptied; /* how often a read has found no message */
} wire;

extern bool passthrough_wanted;
extern int shadow_wanted; /* the page cache is: memfd for pages that are not in it; or -1 */

/* linux/fuse.h of 7.40 (Linux 6.9); older headers lack them. Bits of flags2 */
#define WIRE_DIRECT_IO_ALLOW_MMAP (1u << 4) /* FUSE_DIRECT_IO_ALLOW_MMAP >> 32, Linux 6.6 */
#define WIRE_PASSTHROUGH (1u << 5)	    /* FUSE_PASSTHROUGH >> 32 */

/* fusewire.c: read(2) of the next message for the daemon, if there is one */
ssize_t wire_next(void *buf, size_t size);

/* wirecalls.c: the uniques of interrupted requests, until Python takes them */
void interrupts_add(uint64_t unique);
void interrupts_clear(void);

/* shortcut.c: see there */
void shortcut_enter(void);
bool shortcut_answers(int fd, const char *buf, size_t size);
ssize_t shortcut_read(void *buf, size_t size);
PyObject *shortcut_set(PyObject *module, PyObject *args);
PyObject *poll_answer(PyObject *module, PyObject *args);

/* pager.c: see there */
#define PAGER_MOST (1u << 20)		  /* bytes of one READ or WRITE */
#define PAGER_MESSAGE (PAGER_MOST + 8192) /* and of a message */
int pager_start(int fd);
void pager_stop(void);
bool pager_holds(void);
ssize_t pager_take(int fd, void *buf, size_t size);
PyObject *pager_pid(PyObject *module, PyObject *arg);
void helper_signals(void);
void helper_keep_only(const int *fds, int count);

/* keeper.c: see there */
bool keeper_start(void);
void keeper_stop(bool wait);
PyObject *keeper_map(PyObject *module, PyObject *args);
PyObject *keeper_unmap(PyObject *module, PyObject *args);
PyObject *keeper_pid(PyObject *module, PyObject *arg);

#endif /* URINGFS_FUSEWIRE_H */
