/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of NOPs; then how many of them the program's own process has taken, as the ring's attribute says. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "probe_ring.h"

#define BATCHES 5

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
	int status;

	by_header = argc > 1;
	set_up(by_header ? argv[1] : NULL);
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
	say_taken(stdout);
	return 0;
}
