/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz: random programs of io_uring requests, the same on two backends (harness.h).
 *
 *   fuzz SEED                 one program
 *   fuzz --range A B          the programs A to B - 1, each in a process of its own
 *   --keep MASK               with one: only the steps whose bit is set (hexadecimal), the others unchanged
 *   --verbose                 every SQE to stderr
 *
 * A program is a ring of random flags, a few objects (world.c) and STEPS steps (steps.c). At its end it
 * prints what it has seen: what every enter returned, the CQEs sorted by user_data, the words of the ring,
 * the files' contents, sizes and positions, what is left in pipes, sockets and eventfds, the names in its
 * directory, the memory read into. Nothing of that is masked. What would differ from run to run on one
 * and the same kernel is left out of the programs instead:
 *
 *  - CQEs are sorted: requests that are not linked may complete in any order.
 *  - An object (file, pipe, socketpair, eventfd, group of provided buffers, the directory, the free slots of
 *    the file table, the epoll) belongs to one chain at a time, from its submission to its end.
 *  - A chain whose requests share an object is not cut by an enter's to_submit.
 *  - Requests end by themselves, but for those that are held: these stand alone, are not IOSQE_ASYNC and wait
 *    for an empty pipe, socket or eventfd, or an hour. So a cancellation meets what surely pends, or nothing.
 *  - What ends a held request stands alone and is well-formed. Cancellations of all, or by opcode, and timeouts
 *    that count completions run while nothing else does.
 *  - A stream is read once in a chain, and only if there was something in it. Pipes are never filled up.
 *  - A multishot is triggered by one write, alone in its step: two might be one event, and a full CQ ends it. What a
 *    POLL_ADD waits for may be read back at once, if nothing was there before (docs/differences.md).
 *  - A drain waits for all: no held request while there are drains.
 *  - CQE_SKIP_SUCCESS: in chains of well-formed requests whose last is not silent, or a NOP alone. Else nobody
 *    could know when they are complete.
 *  - An enter waits for what surely comes, and to its end: no timeouts, no signals.
 *  - Hostile values never make a stream's request longer than what is there, a read longer than the memory that
 *    is its own, nor name another's descriptor, slot or group of buffers. A request of nothing but random fields
 *    is of no file and of memory that faults.
 *  - Left out for what docs/differences.md says: zcrx, NAPI, SQPOLL, IOPOLL, descriptors put into the
 *    client's table. Opcodes that newer kernels than the oracle may have are not random either.
 */
#include "fuzz.h"

enum { STEPS = 16 };

static bool verbose;
static uint64_t keep = UINT64_MAX;

static unsigned ring_flags(struct io_uring_params *p)
{
	unsigned flags = (unsigned)PICK(
		0, 0, IORING_SETUP_SUBMIT_ALL, IORING_SETUP_COOP_TASKRUN, IORING_SETUP_SINGLE_ISSUER,
		IORING_SETUP_NO_SQARRAY, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL);

	if (ONE_IN(3)) {
		flags |= IORING_SETUP_CQSIZE;
		p->cq_entries = 16;
	}
	return flags;
}

static void program(uint64_t seed)
{
	struct io_uring_params p;
	struct ring r;

	rnd_seed(seed, 0);
	memset(&p, 0, sizeof(p));
	p.flags = ring_flags(&p);
	ring_init_params(&r, 16, &p);
	world_make(seed, &r);
	run_start(&r, verbose);
	steps_start(&r);
	for (unsigned i = 1; i <= STEPS; i++) {
		if (!(keep & 1ULL << i))
			continue;
		rnd_seed(seed, i);
		run_step(i);
		if (verbose)
			fprintf(stderr, "step %u\n", i);
		step();
	}
	rnd_seed(seed, STEPS + 1);
	run_step(STEPS + 1);
	steps_end();
	run_trace();
	world_trace_rings();
	world_trace();
	world_remove();
}

static bool in_child(uint64_t seed)
{
	pid_t pid;
	int status;

	say("program %llu", (unsigned long long)seed);
	fflush(stdout);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		program(seed);
		exit(0);
	}
	status = wait_child(pid);
	say("end %llu: status 0x%x", (unsigned long long)seed, status);
	return status == 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: fuzz [--verbose] [--keep MASK] SEED | fuzz --range A B\n");
	return 2;
}

int main(int argc, char **argv)
{
	char **at = argv + 1, **end = argv + argc;
	bool good = true;

	setvbuf(stdout, NULL, _IOLBF, 0); /* a program that is stuck has said how far it got */
	if (argc == 4 && strcmp(argv[1], "--range") == 0) {
		uint64_t last = strtoull(argv[3], NULL, 0);

		for (uint64_t seed = strtoull(argv[2], NULL, 0); seed < last; seed++)
			good &= in_child(seed);
		return good ? 0 : 1;
	}
	for (; at < end - 1; at++) {
		if (strcmp(*at, "--verbose") == 0)
			verbose = true;
		else if (strcmp(*at, "--keep") == 0 && at + 1 < end - 1)
			keep = strtoull(*++at, NULL, 16);
		else
			return usage();
	}
	if (at == end || **at < '0' || **at > '9')
		return usage();
	return in_child(strtoull(*at, NULL, 0)) ? 0 : 1;
}
