/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that enters all the time, while another executes a privileged program, whenever that comes: each request
 * finds the descriptors and the memory of the one program or none. */
#include "scene.h"

#include <sched.h>

#define ROUNDS 25
#define BATCH 4

static atomic_int entered;

static void *exec_after_some(void *unused)
{
	(void)unused;
	while (atomic_load(&entered) < 3)
		sched_yield();
	scene_become_victim();
	return NULL;
}

static void reap_all(struct ring *r)
{
	struct cqe cqe;

	while (ring_reap(r, &cqe)) {
	}
}

static void enter_for_ever(struct ring *r)
{
	pthread_t thread;

	EXPECT_EQ(pthread_create(&thread, NULL, exec_after_some, NULL), 0);
	for (;;) {
		for (int i = 0; i < BATCH; i++)
			queue_attack(r);
		ring_submit_wait(r, BATCH);
		reap_all(r);
		atomic_fetch_add(&entered, 1);
	}
}

TEST(exec_while_it_enters)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct scene s;

		scene_begin(&s, 0, enter_for_ever);
		scene_end(&s);
		scene_forget(&s);
	}
}
