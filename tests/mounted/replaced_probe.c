/* SPDX-License-Identifier: Apache-2.0 */
/* What a program does to its ring between two calls: the memory gone, the descriptor closed, or another file's. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>

#include "probe_ring.h"

static void say(const char *what, long ret)
{
	printf("%s: %ld\n", what, ret);
}

static void without_memory(struct ring *r)
{
	say("as it is", enter(r, 1, 0));
	CHECK(mprotect(r->sqes, 4096, PROT_NONE) == 0);
	say("entries that cannot be read", enter(r, 1, 0));
	CHECK(munmap(r->sqes, 4096) == 0 && munmap(r->rings, 4096) == 0);
	say("without its mappings", enter(r, 1, 1));
}

static void with_other_descriptors(struct ring *r, struct ring *other)
{
	int copy = dup(r->fd), null = open("/dev/null", O_RDWR);

	CHECK(dup2(null, r->fd) == r->fd);
	say("replaced by a file", enter(r, 1, 0));
	CHECK(dup2(other->fd, r->fd) == r->fd);
	queue(other, IORING_OP_NOP, -1, 1);
	say("replaced by another ring", enter(r, 1, 0));
	close(r->fd);
	say("closed", enter(r, 1, 0));
	r->fd = copy;
	say("by its copy", enter(r, 2, 2));
	say("what is left", enter(r, 8, 0));
}

int main(void)
{
	struct ring r, other;

	set_up(&r, 8, 0);
	set_up(&other, 8, 0);
	for (int i = 0; i < 8; i++)
		queue(&r, IORING_OP_NOP, -1, 1);
	without_memory(&r);
	with_other_descriptors(&r, &other);
	return 0;
}
