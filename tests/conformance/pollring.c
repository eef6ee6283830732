/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_POLL_ADD of rings: of several polls the last armed is the first, and there may be very many. */
#include "polladd.h"

static void arm_six(struct ring *r, int fd)
{
	for (unsigned i = 1; i <= 6; i++)
		poll_add(r, fd, POLLIN, i % 2 ? MULTI : 0, i, 0);
	submit(r);
}

static void two_rings(struct ring *r, struct ring *s)
{
	ring_init(r, 16, 0);
	ring_init(s, 16, 0);
	arm_six(r, s->fd);
}

TEST(several_of_the_ring_itself)
{
	struct ring r;

	ring_init(&r, 16, 0);
	arm_six(&r, r.fd);
	nop(&r, 100, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 7);
	nop(&r, 101, 0);
	submit(&r);
	finish(&r, 0);
}

TEST(several_of_another_ring)
{
	struct ring r, s;

	two_rings(&r, &s);
	nop(&s, 100, 0);
	EXPECT_EQ(ring_submit(&s), 1);
	wait_for(&r, 6);
	finish(&r, 0);
}

TEST(removed_among_several)
{
	struct ring r, s;

	two_rings(&r, &s);
	poll_remove(&r, 3, 0, 0, 0, 7);
	submit_for(&r, 2);
	nop(&s, 100, 0);
	EXPECT_EQ(ring_submit(&s), 1);
	wait_for(&r, 5);
	finish(&r, 0);
}

/* Each takes its time, however many there are. */
TEST(very_many_of_the_ring_itself)
{
	enum { BATCH = 1024, BATCHES = 24 };
	unsigned found = 0;
	struct ring r;
	struct cqe cqe;

	ring_init(&r, BATCH, 0);
	for (unsigned i = 0; i < BATCHES; i++) {
		for (unsigned k = 0; k < BATCH; k++)
			poll_add(&r, r.fd, POLLIN, 0, 1, 0);
		EXPECT_EQ(ring_submit(&r), BATCH);
	}
	nop(&r, 2, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	while (found <= BATCH * BATCHES) {
		OK(enter(r.fd, 0, 1, GETEVENTS));
		for (; ring_reap(&r, &cqe); found++)
			EXPECT_EQ(cqe.res, cqe.user_data == 1 ? POLLIN : 0);
	}
	note("%u", found);
	finish(&r, 0);
}
