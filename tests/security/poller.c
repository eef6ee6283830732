/* SPDX-License-Identifier: Apache-2.0 */
/* A ring with IORING_SETUP_SQPOLL whose thread has become a privileged program: what is queued then. */
#include "scene.h"

static void submit_nothing(struct ring *r)
{
	(void)r;
}

/* Until it completes, or nobody is there who would do it. */
static bool done_by_poller(struct scene *s)
{
	struct pollfd pfd = {.fd = s->ring.fd, .events = POLLIN};
	int ret;

	ring_store_tail(&s->ring);
	for (;;) {
		if (ring_ready(&s->ring))
			return true;
		ret = enter(s->ring.fd, 1, 0, IORING_ENTER_SQ_WAKEUP);
		if (ret == -EOWNERDEAD)
			return false;
		EXPECT_GE(ret, 0);
		OK(poll(&pfd, 1, 1));
	}
}

static void queue_later(struct scene *s, unsigned user_data)
{
	queue_attack(&s->ring)->user_data = user_data;
	if (done_by_poller(s))
		scene_collect(s, 1);
}

/* An open leaves a direct descriptor: the poller reads it, too. */
static void read_direct(struct scene *s)
{
	struct io_uring_sqe *sqe = queue(&s->ring, IORING_OP_READ_FIXED, 0, s->stolen, SECRET_SIZE, 0);

	sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = LATER;
	if (done_by_poller(s))
		scene_collect(s, 1);
}

TEST(a_request_that_is_queued_behind_the_exec_of_its_thread)
{
	struct scene s;

	scene_begin(&s, IORING_SETUP_SQPOLL, submit_nothing);
	queue_later(&s, TAIL);
	if (s.cqes[TAIL].user_data && leaves_file())
		read_direct(&s);
	scene_end(&s);
}
