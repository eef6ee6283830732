/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scene.h: an attacker and a child of its that submits requests and then becomes a privileged program.
 *
 * From the environment: SECURITY_DIR, where the victims and the secret are; VICTIM, which bits the victim has
 * (setuid, setgid, caps); HOW the submitter comes to exec. Nothing here waits for time: pipes say what has happened.
 */
#ifndef SCENE_H
#define SCENE_H

#include "harness.h"
#include "victim.h"

#define SECRET_TEXT "the secret of another" /* conftest.py writes it */

/* The submitter's descriptors beside VICTIM_FD; the victim inherits them. */
#define LOOT_FD 101    /* a pipe that ends at the attacker */
#define SOCKET_FD 102  /* a socket, likewise */
#define TRIGGER_FD 103 /* a pipe, empty until the victim is there */
#define BAIT_FD 104    /* a pipe full of what the attacker would like to have in the victim's memory */
#define READY_FD 105
#define GO_FD 106
#define KEEP_FD 107 /* scene_keep() */

enum { HEAD = 1, TAIL, LATER };

struct scene {
	struct ring ring; /* the submitter's, taken from it */
	char *stolen;	  /* the ring's registered buffer 0: memory of the attacker; 1 is empty */
	int loot, socket, trigger, ready, go, execed;
	int kept;  /* scene_keep() */
	int pidfd; /* the submitter; then the victim */
	pid_t child;
	struct cqe cqes[LATER + 1]; /* by user_data */
};

typedef void submit_fn(struct ring *r);

/* Where a file of SECURITY_DIR is. */
bool rings_are_files(void); /* which take control writes: by control and by trap */
const char *at(const char *name);
const char *choice(const char *variable, const char *fallback);

/* A child makes a ring with those flags, submit() is called there, and it executes the victim. Returns when that
 * is ready: has its secret, and waits. */
void scene_begin(struct scene *s, unsigned flags, submit_fn *submit);
/* The same with a program that does not say when it is ready: returns when the exec has happened. Its input is `go`. */
void scene_exec(struct scene *s, unsigned flags, submit_fn *submit, const char *program, const char *argument);
/* For a submit() that does not return. */
void scene_become_victim(void);
/* Before that: let the submitter call this, and take what it leaves at KEEP_FD. */
void scene_keep(submit_fn *prepare);
void scene_collect(struct scene *s, unsigned n); /* wait for n CQEs */
/* What comes of the same request of a process that has all that itself. */
const char *scene_of_who_may(struct scene *s);
/* Let the victim end; fails the behaviour if anything was gained. */
void scene_end(struct scene *s);

/* Before the next. */
void scene_forget(struct scene *s);

/* ---- requests of somebody who wants what the victim has */

/* The one of the environment's TAIL, as request TAIL. */
struct io_uring_sqe *queue_attack(struct ring *r);
struct io_uring_sqe *queue(struct ring *r, unsigned opcode, int fd, const void *addr, unsigned len, uint64_t off);

/* ---- what has been gained */

bool leaves_file(void); /* the one of TAIL: in the ring's table */
bool reads_secret(int fd);
bool message_tells(int sock); /* the next message, or a descriptor in it */

#endif
