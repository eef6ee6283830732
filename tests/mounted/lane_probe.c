/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of NOPs; then how many of them the program's own process has taken, as the ring's attribute says. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "probe_ring.h"

#define ENTRIES 8
#define BATCHES 5

static struct ring r;

static void batch(unsigned count)
{
	unsigned first = *word(&r, r.p.sq_off.tail), *head = word(&r, r.p.cq_off.head);

	for (unsigned i = 0; i < count; i++)
		queue(&r, IORING_OP_NOP, 0, first + i);
	CHECK(enter(&r, count, count) == (long)count);
	for (unsigned i = 0; i < count; i++, ++*head)
		CHECK(cqe_at(&r, *head)->user_data == *head && !cqe_at(&r, *head)->res);
}

int main(int argc, char **argv)
{
	int status;

	set_up_at(&r, ENTRIES, argc > 1 ? argv[1] : NULL);
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
	say_taken(&r, stdout);
	return 0;
}
