/* SPDX-License-Identifier: Apache-2.0 */
/* A step that has a ring of its own: several requests are armed at once and become ready at once, events are over before
 * anyone looks, a ring with DEFER_TASKRUN is looked at before the enter, and at last the ring is closed with requests
 * pending, whose memory nobody may write any more. CQEs are traced in the order they come in. */
#include "gen.h"

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { KINDS = 4, SOURCES = 4, TOGETHER = 3, PIECE = 8, QUARANTINE = 64 };
#define POISON 0x5a
#define DEFER (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

struct source {
	int from, to;
	const char *kind;
	bool stream; /* one write is for several reads */
	bool socket;
	unsigned armed;
	bool polls;
};

static struct ring side;
static struct source sources[SOURCES];
static unsigned nr_sources, expected;
static char *quarantine[QUARANTINE]; /* pages that were a closed ring's, poisoned */
static unsigned nr_quarantine;

static struct source make_source(void)
{
	static const char *const kinds[] = {"pipe", "stream", "packets", "eventfd"};
	unsigned kind = rnd(KINDS);
	int two[2];

	if (kind == 0)
		OK(pipe2(two, O_CLOEXEC));
	else if (kind < 3)
		OK(socketpair(AF_UNIX, kind == 1 ? SOCK_STREAM : SOCK_SEQPACKET, 0, two));
	else
		two[0] = two[1] = (int)OK(eventfd(0, EFD_CLOEXEC));
	return (struct source){.from = two[0],
			       .to = two[1],
			       .kind = kinds[kind],
			       .stream = kind < 2,
			       .socket = kind == 1 || kind == 2};
}

static void close_sources(void)
{
	for (unsigned i = 0; i < nr_sources; i++) {
		OK(close(sources[i].from));
		if (sources[i].to != sources[i].from)
			OK(close(sources[i].to));
	}
}

static void arm_one(unsigned i, unsigned k, char *to)
{
	struct source *s = &sources[i];
	struct io_uring_sqe *sqe = ring_sqe(&side);

	EXPECT(sqe != NULL);
	sqe->user_data = i * 16 + k;
	sqe->fd = s->from;
	if (s->polls) {
		sqe->opcode = IORING_OP_POLL_ADD;
		sqe->poll32_events = POLLIN;
		return;
	}
	sqe->opcode = (uint8_t)(s->socket && ONE_IN(2) ? IORING_OP_RECV : IORING_OP_READ);
	sqe->addr = address(to + (i * TOGETHER + k) * PIECE);
	sqe->len = PIECE;
}

/* Of one sort: which of a read and a poll of a file is first decides what the other finds, of several files polls come
 * first, but an eventfd's last (docs/differences.md). */
static void arm(char *to)
{
	bool polls = ONE_IN(3);

	expected = 0;
	for (unsigned i = 0; i < nr_sources; i++) {
		struct source *s = &sources[i];

		s->polls = polls;
		s->armed = 1 + (s->stream || polls ? rnd(TOGETHER) : 0);
		if (polls && s->from == s->to)
			s->armed = 0;
		for (unsigned k = 0; k < s->armed; k++)
			arm_one(i, k, to);
		expected += s->armed;
		say("side source %u: %s, %u %s", i, s->kind, s->armed, s->polls ? "polls" : "reads");
	}
	say("side armed %u: %d", expected, ring_submit(&side));
	say("side ready %u", ring_ready(&side));
}

static void trigger(struct source *s)
{
	static const uint64_t data[TOGETHER] = {1, 2, 3};
	uint64_t got;
	size_t size = PIECE * (s->stream && !s->polls ? s->armed : 1);

	EXPECT_EQ(write(s->to, data, size), size);
	if (s->polls) /* over before anyone looks */
		EXPECT_EQ(read(s->from, &got, PIECE), PIECE);
}

static void trigger_all(void)
{
	unsigned first = rnd(nr_sources);

	for (unsigned i = 0; i < nr_sources; i++)
		if (sources[(first + i) % nr_sources].armed)
			trigger(&sources[(first + i) % nr_sources]);
}

static void say_left(const char *when)
{
	for (unsigned i = 0; i < nr_sources; i++) {
		struct pollfd p = {sources[i].from, POLLIN, 0};

		say("side %s: source %u %s", when, i, OK(poll(&p, 1, 0)) ? "has data" : "is empty");
	}
}

static void reap_in_order(void)
{
	struct cqe cqe;

	say("side enter: %d", enter(side.fd, 0, expected, GETEVENTS));
	while (ring_reap(&side, &cqe))
		say("side cqe %llx res=%d flags=0x%x", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
}

/* ---- the end ---- */

static bool poisoned(const char *page)
{
	for (unsigned i = 0; i < PAGE; i++)
		if (page[i] != POISON)
			return false;
	return true;
}

/* Whoever has been served before another ring's request was served has been by now. */
static void settle(struct ring *witness, int feed)
{
	EXPECT_EQ(write(feed, "!", 1), 1);
	EXPECT_EQ(ring_wait(witness).res, 1);
}

static void close_with_requests(char *page)
{
	struct ring witness;
	int feed[2];
	char byte;
	struct iovec iov = {&byte, 1};

	OK(pipe(feed));
	ring_init(&witness, 4, 0);
	ring_readv(&witness, feed[0], &iov, 1, 0, 1);
	EXPECT_EQ(ring_submit(&witness), 1);
	arm(page);
	ring_close(&side);
	memset(page, POISON, PAGE);
	trigger_all();
	settle(&witness, feed[1]);
	say_left("closed");
	say("side closed: memory is %s", poisoned(page) ? "as it was" : "written");
	ring_close(&witness);
	OK(close(feed[0]));
	OK(close(feed[1]));
	if (nr_quarantine < QUARANTINE)
		quarantine[nr_quarantine++] = page;
}

void side_ring(void)
{
	unsigned flags = (unsigned)PICK(0, DEFER, IORING_SETUP_COOP_TASKRUN);
	char *page = map_pages(1, PROT_READ | PROT_WRITE);

	nr_sources = 1 + rnd(SOURCES);
	for (unsigned i = 0; i < nr_sources; i++)
		sources[i] = make_source();
	ring_init(&side, 16, flags);
	for (unsigned rounds = 1 + rnd(3); rounds--;) {
		arm(page);
		trigger_all();
		if (flags & IORING_SETUP_DEFER_TASKRUN) {
			say("side ready %u before the enter", ring_ready(&side));
			say_left("before the enter");
		}
		reap_in_order();
	}
	close_with_requests(page);
	close_sources();
}

/* Nor later. */
void side_end(void)
{
	for (unsigned i = 0; i < nr_quarantine; i++)
		say("side closed: memory %u is %s", i, poisoned(quarantine[i]) ? "as it was" : "written");
}
