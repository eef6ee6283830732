/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench: the speed of a ring, whatever is behind it.
 *
 *   bench BACKEND [-p PATH] [-f FILE] [-t SECONDS] [-n REPETITIONS] [-r ROW]...
 *
 * BACKEND: kernel, gvisor (the same calls, completions may be missing), uringfs (PATH: MOUNT/new) or
 * floor (PATH: the file of the floor daemon). One line of JSON a row on stdout: the counts of every
 * repetition, or the error that ended the row. Exit 0 if every row ran, 1 if one failed, 2 for usage.
 * Pinning to CPUs is the caller's: taskset(1).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include "bench.h"

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Takes what the CQ holds; the number of CQEs, or -1 with errno = a failed request's error. */
static int reap(struct work *w, const struct row *row)
{
	struct ring *ring = &w->ring;
	unsigned head = *ring->cq_head;
	unsigned tail = __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE);
	unsigned n = tail - head;

	for (; head != tail; head++) {
		int res = ring->cqes[head & ring->cq_mask].res;

		if (row->expect == BENCH_DESCRIPTOR && res >= 0) {
			close(res);
		} else if (res != row->expect) {
			errno = res < 0 ? -res : ENODATA;
			return -1;
		}
	}
	__atomic_store_n(ring->cq_head, head, __ATOMIC_RELEASE);
	return (int)n;
}

static int submit(struct ring *ring, unsigned n)
{
	while (n) {
		int ret = ring->backend->enter(ring, n, 0, 0);

		if (ret < 0)
			return -1;
		if (ret == 0 || (unsigned)ret > n) {
			errno = EPROTO; /* SQEs are there and none was taken */
			return -1;
		}
		n -= (unsigned)ret;
	}
	return 0;
}

/* n new SQEs, submitted. */
static int queue(struct work *w, prep_fn prep, unsigned n)
{
	struct ring *ring = &w->ring;
	unsigned tail = *ring->sq_tail, i;

	for (i = 0; i < n; i++)
		prep(w, &ring->sqes[(tail + i) & ring->sq_mask], i);
	__atomic_store_n(ring->sq_tail, tail + n, __ATOMIC_RELEASE);
	return submit(ring, n);
}

/* What the row needs before its clock starts. */
static int begin(struct work *w, const struct row *row)
{
	unsigned done, n;

	if (row->begin && row->begin(w) < 0)
		return -1;
	for (done = 0; done < row->pending; done += n) {
		n = row->pending - done < w->ring.entries ? row->pending - done : w->ring.entries;
		if (queue(w, row->pend, n) < 0)
			return -1;
	}
	return 0;
}

/* One enter with a full batch, and its completions; without a batch, one enter alone. */
static int run_batch(struct work *w, const struct row *row)
{
	struct ring *ring = &w->ring;
	unsigned left = row->batch;
	int n;

	w->enters++;
	if (!row->batch) {
		w->ops++;
		/* gVisor's enter of nothing returns -1 from an otherwise complete round trip */
		n = ring->backend->enter(ring, 0, 0, 0);
		return n < 0 && !(ring->backend->lossy && errno == EPERM) ? -1 : 0;
	}
	if (queue(w, row->prep, row->batch) < 0 || (row->kick && row->kick(w) < 0))
		return -1;
	for (;;) {
		n = reap(w, row);
		if (n < 0)
			return -1;
		w->ops += (unsigned)n;
		if ((unsigned)n >= left)
			return 0;
		left -= (unsigned)n;
		if (ring->backend->lossy) {
			w->missing += left;
			return 0;
		}
		w->waits++;
		if (ring->backend->enter(ring, 0, left, IORING_ENTER_GETEVENTS) < 0)
			return -1;
	}
}

/* Batches for `budget` seconds; the clock is read once per chunk, so that it costs a fast ring nothing.
 * The seconds it took, or -1. */
static double run_budget(struct work *w, const struct row *row, double budget)
{
	double start = now(), last = start, t;
	unsigned chunk = 1, i;

	w->enters = w->ops = w->waits = w->missing = 0;
	for (;;) {
		for (i = 0; i < chunk; i++)
			if (run_batch(w, row) < 0)
				return -1;
		t = now();
		if (t - start >= budget)
			return t - start;
		if (t - last < 2e-4)
			chunk *= 2;
		last = t;
	}
}

static int run_row(struct work *w, const struct row *row, double budget, unsigned repetitions)
{
	unsigned i = 0;
	int unknown;

	printf("{\"row\": \"%s\", \"entries\": %u, \"batch\": %u, \"reps\": [", row->name, row->entries, row->batch);
	if (begin(w, row) < 0 || run_budget(w, row, budget / 10) < 0) /* the latter to warm up */
		goto fail;
	for (i = 0; i < repetitions; i++) {
		double seconds = run_budget(w, row, budget);

		if (seconds < 0)
			goto fail;
		printf("%s{\"seconds\": %.6f, \"enters\": %" PRIu64 ", \"ops\": %" PRIu64 ", \"waits\": %" PRIu64
		       ", \"missing\": %" PRIu64 "}",
		       i ? ", " : "", seconds, w->enters, w->ops, w->waits, w->missing);
	}
	printf("], \"error\": null}\n");
	return 0;
fail:
	/* What a backend without the opcode, or without io_uring_register(2), answers to the first request */
	unknown = i == 0 && (errno == EINVAL || errno == ENOSYS);
	printf("], \"error\": \"%s\"}\n", unknown ? "no such opcode" : strerror(errno));
	return -1;
}

static int bench_row(struct work *w, const struct backend *b, const char *path, const struct row *row, double budget,
		     unsigned repetitions)
{
	int ret;

	if (ring_open(&w->ring, b, path, row->entries) < 0) {
		printf("{\"row\": \"%s\", \"entries\": %u, \"batch\": %u, \"reps\": [], \"error\": \"setup: %s\"}\n",
		       row->name, row->entries, row->batch, strerror(errno));
		ret = -1;
	} else {
		ret = run_row(w, row, budget, repetitions);
	}
	ring_close(&w->ring);
	fflush(stdout);
	return ret;
}

static void prepare(struct work *w, const char *file)
{
	unsigned i;

	memset(w, 0, sizeof(*w));
	w->path = file;
	w->file = open(file, O_RDONLY | O_CLOEXEC);
	if (w->file < 0) {
		perror(file);
		exit(2);
	}
	w->out = open(file, O_WRONLY | O_CLOEXEC);
	w->ready = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	w->quiet = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->ready < 0 || w->quiet < 0 || w->event < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->pair) < 0) {
		perror("bench");
		exit(2);
	}
	w->data = calloc(BENCH_MAX_BATCH, BENCH_READ_SIZE);
	w->iov = calloc(BENCH_MAX_BATCH, sizeof(*w->iov));
	if (!w->data || !w->iov) {
		perror("bench");
		exit(2);
	}
	for (i = 0; i < BENCH_MAX_BATCH; i++) {
		w->iov[i].iov_base = w->data + (size_t)i * BENCH_READ_SIZE;
		w->iov[i].iov_len = BENCH_READ_SIZE;
	}
	/* A file that is shorter would make every row that reads fail late and oddly. */
	if (pread(w->file, w->data, BENCH_READ_SIZE, 0) != BENCH_READ_SIZE) {
		fprintf(stderr, "bench: %s is shorter than %d bytes\n", file, BENCH_READ_SIZE);
		exit(2);
	}
}

static int wanted(char **names, unsigned count, const char *name)
{
	unsigned i;

	for (i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return 1;
	return count == 0;
}

int main(int argc, char **argv)
{
	const char *path = NULL, *file = argv[0]; /* this program: a file of more than one page */
	const struct backend *b = argc > 1 ? backend_find(argv[1]) : NULL;
	double budget = 0.3;
	unsigned repetitions = 5, nr_names = 0, i, ran = 0;
	char **names = argv; /* -r values, gathered over what getopt has read */
	struct work w;
	int opt, failed = 0;

	if (!b)
		goto usage;
	optind = 2;
	while ((opt = getopt(argc, argv, "p:f:t:n:r:")) != -1) {
		switch (opt) {
		case 'p': path = optarg; break;
		case 'f': file = optarg; break;
		case 't': budget = atof(optarg); break;
		case 'n': repetitions = (unsigned)atoi(optarg); break;
		case 'r': names[nr_names++] = optarg; break;
		default: goto usage;
		}
	}
	if (optind != argc || budget <= 0 || repetitions == 0)
		goto usage;
	prepare(&w, file);
	for (i = 0; i < nr_rows; i++) {
		if (!wanted(names, nr_names, rows[i].name) || (rows[i].batch && !b->setup))
			continue;
		ran++;
		failed |= bench_row(&w, b, path, &rows[i], budget, repetitions) < 0;
	}
	free(w.iov);
	free(w.data);
	if (!ran)
		fprintf(stderr, "bench: no such row\n");
	return ran ? failed : 2;
usage:
	fprintf(stderr, "usage: bench kernel|gvisor|uringfs|floor [-p PATH] [-f FILE] [-t SECONDS] "
			"[-n REPETITIONS] [-r ROW]...\n");
	return 2;
}
