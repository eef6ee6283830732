/* SPDX-License-Identifier: Apache-2.0 */
/* submitter.h: what the parts of scene.h know of each other. */
#ifndef SUBMITTER_H
#define SUBMITTER_H

#include "scene.h"

extern char *stolen; /* scene.stolen: the submitter names it, too */

/* The submitter: what it is to do, and what it has. */
struct submitter {
	unsigned flags;
	submit_fn *prepare, *submit;
	const char *argv[5];
	bool indirect; /* a child of the attacker's child */
	int settled[2];
	int execed;	    /* kept by nobody who does not become the victim */
	int hello, welcome; /* to the attacker: its ring is there; from it: it has taken that */
	struct ring ring;
};
extern struct submitter self;

/* What it says of its ring. */
struct hello {
	pid_t child; /* 0: the attacker's own child */
	int fd;
	struct io_uring_params p;
};

void submit_and_exec(void);
/* Harmless things where the victim will have its secrets. */
void hold_harmless(void);
/* For the requests whose arguments lie in memory. */
void put_message(void);

/* What there is to see of the secret, or of its rights; NULL: nothing. */
const char *gained(struct scene *s);

#endif
