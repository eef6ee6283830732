/* SPDX-License-Identifier: Apache-2.0 */
/* What is queued, submitted and complete: chains, entering, waiting, and the trace of completions. */
#include "fuzz.h"

#include <linux/time_types.h>

enum { MAX_REQUESTS = 4096, POSITIONS = 8192 };
#define WAIT_S 4
#define DEADLINE 10

struct chain {
	unsigned first, n;
	uint32_t end; /* the SQ position behind it, or behind what ends it */
	bool skips;
};

struct request requests[MAX_REQUESTS];
unsigned nr_requests;
static struct chain chains[MAX_REQUESTS];
static unsigned nr_chains;
static bool no_cut[POSITIONS]; /* by SQ position: what is before and behind is to be submitted at once */
static struct cqe cqes[2 * MAX_REQUESTS];
static unsigned nr_cqes;
static struct ring *r;
static bool verbose;
static unsigned current, serial;

void run_step(unsigned step)
{
	current = step;
	serial = 0;
}

static void show(const struct io_uring_sqe *s, bool held)
{
	fprintf(stderr,
		"  %llx: op %u flags 0x%x ioprio 0x%x fd %d off 0x%llx addr 0x%llx len %u rw_flags 0x%x "
		"buf_index %u personality %u file_index %u addr3 0x%llx%s\n",
		(unsigned long long)s->user_data, s->opcode, s->flags, s->ioprio, s->fd, (unsigned long long)s->off,
		(unsigned long long)s->addr, s->len, s->rw_flags, s->buf_index, s->personality, s->file_index,
		(unsigned long long)s->addr3, held ? " (held)" : "");
}

static void submit_all(void)
{
	ring_store_tail(r);
	while (ring_queued(r)) {
		int ret = enter(r->fd, ring_queued(r), 0, 0);

		say("enter all: %d", ret);
		if (ret <= 0)
			FAIL("nothing is submitted");
	}
}

struct request *run_add(const struct io_uring_sqe *s, unsigned n, bool cuttable)
{
	struct request *first = &requests[nr_requests];
	struct chain *c = &chains[nr_chains];

	EXPECT(nr_requests + n <= MAX_REQUESTS);
	if (ring_queued(r) + n > r->p.sq_entries)
		submit_all();
	*c = (struct chain){.first = nr_requests, .n = n};
	for (unsigned i = 0; i < n; i++) {
		struct request *q = &requests[nr_requests++];
		struct io_uring_sqe *to = ring_sqe(r);

		EXPECT(to != NULL);
		*to = s[i];
		to->user_data = ((uint64_t)current << 32) | (0xa000 + serial++);
		*q = (struct request){.user_data = to->user_data, .sqe = *to, .chain = nr_chains, .obj = OBJ_NONE};
		c->skips |= (to->flags & IOSQE_CQE_SKIP_SUCCESS) != 0;
		no_cut[r->tail % POSITIONS] = i + 1 < n && !cuttable;
		if (verbose)
			show(to, false);
	}
	c->end = r->tail;
	nr_chains++;
	return first;
}

void run_released(struct request *h)
{
	h->held = false;
	chains[h->chain].end = r->tail;
}

/* ---- completions ---- */

static struct request *find(uint64_t user_data)
{
	for (unsigned i = 0; i < nr_requests; i++)
		if (requests[i].user_data == user_data)
			return &requests[i];
	return NULL;
}

void run_reap(unsigned n)
{
	struct cqe cqe;

	while (n-- && ring_reap(r, &cqe)) {
		struct request *q = find(cqe.user_data);

		EXPECT(nr_cqes < 2 * MAX_REQUESTS);
		cqes[nr_cqes++] = cqe;
		if (!q)
			continue; /* the trace shows it */
		q->res = cqe.res;
		if (cqe.flags & IORING_CQE_F_MORE)
			q->more++;
		else
			q->posted = true;
	}
}

/* A request whose success is not shown has no CQE, and if it fails, neither has what it cancels
 * (io_fail_links()). So such a chain is over with its last CQE, or with the failure of a silent one. */
static bool skipping_over(const struct chain *c)
{
	const struct request *q = &requests[c->first];

	if (q[c->n - 1].posted || (c->n == 1 && q->sqe.opcode == IORING_OP_NOP))
		return true;
	for (unsigned i = 0; i < c->n; i++)
		if (q[i].sqe.flags & IOSQE_CQE_SKIP_SUCCESS && q[i].posted && (i == 0 || q[i].res != -ECANCELED))
			return true;
	return false;
}

static unsigned missing(const struct chain *c)
{
	unsigned n = 0;

	if (c->skips)
		return skipping_over(c) ? 0 : 1;
	for (unsigned i = c->first; i < c->first + c->n; i++) {
		const struct request *q = &requests[i];

		n += !q->posted && (!q->held || q->more < q->more_due); /* a multishot ends where no buffer is left */
	}
	return n;
}

/* CQEs that come whatever else happens once the SQ is taken up to a position, and are not reaped. */
static unsigned certain(uint32_t position)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr_chains; i++)
		if (!chains[i].skips && (int32_t)(position - chains[i].end) >= 0)
			n += missing(&chains[i]);
	return n;
}

void run_enter(void)
{
	uint32_t head = atomic_load(r->sq_head);
	unsigned queued, to_submit, min_complete, flags = rnd(2) ? GETEVENTS : 0;
	int ret;

	ring_store_tail(r);
	queued = ring_queued(r);
	to_submit = rnd(queued + 3);
	while (to_submit < queued && no_cut[(head + to_submit) % POSITIONS])
		to_submit++;
	min_complete = rnd(certain(head + (to_submit > queued ? queued : to_submit)) + 1);
	ret = enter(r->fd, to_submit, min_complete, min_complete ? GETEVENTS : flags);
	say("enter %u of %u: %d", to_submit, queued, ret);
}

/* Also when time is up: in a wait for more than comes. */
static void stuck(int sig)
{
	(void)sig;
	run_reap(UINT32_MAX);
	for (unsigned i = 0; i < nr_chains; i++)
		for (unsigned j = chains[i].first; missing(&chains[i]) && j < chains[i].first + chains[i].n; j++)
			if (!requests[j].posted)
				say("no completion: user_data=%llx op=%u", (unsigned long long)requests[j].user_data,
				    requests[j].sqe.opcode);
	run_trace();
	FAIL("requests do not complete");
}

void run_start(struct ring *ring, bool verbose_)
{
	r = ring;
	verbose = verbose_;
	on_signal(SIGALRM, stuck, SA_NODEFER);
	alarm(DEADLINE);
}

void run_quiesce(void)
{
	struct __kernel_timespec ts = {WAIT_S, 0};
	struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)&ts};

	submit_all();
	for (;;) {
		unsigned left = 0;
		int ret;

		run_reap(UINT32_MAX);
		for (unsigned i = 0; i < nr_chains; i++)
			left += missing(&chains[i]);
		if (!left && !(atomic_load(r->sq_flags) & IORING_SQ_CQ_OVERFLOW))
			return;
		ret = sys_enter(r->fd, 0, left != 0, GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
		if (ret == -ETIME)
			stuck(0);
		EXPECT_EQ(ret, 0);
	}
}

static int by_value(const void *a, const void *b)
{
	const struct cqe *x = a, *y = b;

	if (x->user_data != y->user_data)
		return x->user_data < y->user_data ? -1 : 1;
	if (x->res != y->res)
		return x->res < y->res ? -1 : 1;
	return (x->flags > y->flags) - (x->flags < y->flags);
}

/* Results of one opcode, falsified to see that it is found. */
static void lie(void)
{
	const char *opcode = getenv("URINGFS_FUZZ_LIE");

	for (unsigned i = 0; opcode && i < nr_cqes; i++) {
		struct request *q = find(cqes[i].user_data);

		if (q && q->sqe.opcode == atoi(opcode))
			cqes[i].res++;
	}
}

void run_trace(void)
{
	EXPECT_EQ(enter(r->fd, 0, 0, GETEVENTS), 0); /* a notification behind the last CQE of a chain */
	run_reap(UINT32_MAX);
	lie();
	qsort(cqes, nr_cqes, sizeof(*cqes), by_value);
	for (unsigned i = 0; i < nr_cqes; i++) {
		struct request *q = find(cqes[i].user_data);

		say("cqe %llx res=%d flags=0x%x (op %d flags 0x%x)", (unsigned long long)cqes[i].user_data, cqes[i].res,
		    cqes[i].flags, q ? q->sqe.opcode : -1, q ? q->sqe.flags : 0);
	}
	ring_note_words(r);
}
