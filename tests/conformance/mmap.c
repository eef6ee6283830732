/* SPDX-License-Identifier: Apache-2.0 */
/* mmap(2) of a ring: the three offsets, who shares them, and how long they last. */
#include "harness.h"

static void *map(int fd, size_t size, int prot, int flags, off_t off)
{
	void *at = mmap(NULL, size, prot, flags, fd, off);

	EXPECT(at != MAP_FAILED);
	return at;
}

static void one_nop(struct ring *r, uint64_t user_data)
{
	struct cqe cqe;

	ring_nop(r, user_data);
	EXPECT_EQ(ring_submit_wait(r, 1), 1);
	EXPECT(ring_reap(r, &cqe));
	note("nop user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	EXPECT_EQ(cqe.user_data, user_data);
}

static void note_cq_map(struct ring *r, const char *cq)
{
	const struct io_cqring_offsets *o = &r->p.cq_off;

	note("apart: head=%u tail=%u mask=%u entries=%u overflow=%u", *(uint32_t *)(cq + o->head),
	     *(uint32_t *)(cq + o->tail), *(uint32_t *)(cq + o->ring_mask), *(uint32_t *)(cq + o->ring_entries),
	     *(uint32_t *)(cq + o->overflow));
}

TEST(without_populate)
{
	struct ring r;

	memset(&r, 0, sizeof(r));
	r.fd = sys_setup(16, &r.p);
	EXPECT_GE(r.fd, 0);
	ring_map(&r, MAP_SHARED);
	one_nop(&r, 1);
}

TEST(the_largest_ring)
{
	struct ring r;

	ring_init(&r, 32768, 0);
	one_nop(&r, 1);
	for (unsigned i = 0; i < 32768; i++)
		ring_nop(&r, i);
	EXPECT_EQ(ring_submit(&r), 32768);
	EXPECT_EQ(ring_ready(&r), 32768);
	for (unsigned i = 0; i < 32768; i++) {
		struct cqe cqe;

		EXPECT(ring_reap(&r, &cqe));
		EXPECT_EQ(cqe.user_data, i);
	}
	ring_note_words(&r);
}

TEST(the_same_ring_mapped_twice)
{
	struct ring r, twin;

	ring_init(&r, 16, 0);
	twin = r;
	ring_map(&twin, MAP_SHARED);
	EXPECT(twin.rings != r.rings);
	ring_nop(&r, 11);
	ring_store_tail(&r);
	EXPECT_EQ(atomic_load(twin.sq_tail), 1);
	EXPECT_EQ(enter(r.fd, 1, 1, GETEVENTS), 1);
	EXPECT_EQ(twin.cqes[0].user_data, 11);
	EXPECT_EQ(ring_ready(&twin), 1);
	ring_note_words(&twin);
}

/* A client that ignores SINGLE_MMAP: the CQ at an offset of its own, head and all. */
static char *map_cq_apart(struct ring *r)
{
	char *cq = map(r->fd, r->cq_size, PROT_READ | PROT_WRITE, MAP_SHARED, (off_t)IORING_OFF_CQ_RING);

	r->cq_map = cq;
	r->cq_head = (void *)(cq + r->p.cq_off.head);
	r->cq_tail = (void *)(cq + r->p.cq_off.tail);
	r->cq_overflow = (void *)(cq + r->p.cq_off.overflow);
	r->cqes = (void *)(cq + r->p.cq_off.cqes);
	return cq;
}

TEST(cq_mapped_apart)
{
	struct ring r;
	char *cq;

	ring_init(&r, 8, 0);
	cq = map_cq_apart(&r);
	note_cq_map(&r, cq);
	for (uint64_t i = 0; i < 100; i++)
		one_nop(&r, i);
	note_cq_map(&r, cq);
}

/* The head that counts is the one the client advances: here the one apart. */
TEST(cq_mapped_apart_overflows_and_flushes)
{
	struct io_uring_params p;
	struct cqe cqe;
	struct ring r;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_CQSIZE;
	p.cq_entries = 4;
	ring_init_params(&r, 4, &p);
	map_cq_apart(&r);
	for (uint64_t i = 0; i < 6; i++) {
		ring_nop(&r, i);
		EXPECT_EQ(ring_submit(&r), 1);
	}
	note("ready=%u flags=%u", ring_ready(&r), atomic_load(r.sq_flags));
	for (uint64_t i = 0; i < 6; i++) {
		cqe = ring_wait(&r);
		EXPECT_EQ(cqe.user_data, i);
	}
	note("ready=%u flags=%u", ring_ready(&r), atomic_load(r.sq_flags));
	EXPECT_EQ(ring_ready(&r), 0);
}

TEST(cq_mapped_apart_after_completions)
{
	struct ring r;
	struct cqe cqe;

	ring_init(&r, 8, 0);
	for (uint64_t i = 0; i < 5; i++)
		ring_nop(&r, 100 + i);
	EXPECT_EQ(ring_submit(&r), 5);
	note_cq_map(&r, map_cq_apart(&r));
	for (uint64_t i = 0; i < 5; i++) {
		EXPECT(ring_reap(&r, &cqe));
		EXPECT_EQ(cqe.user_data, 100 + i);
	}
	EXPECT_EQ(ring_ready(&r), 0);
}

TEST(cq_mapped_read_only_elsewhere)
{
	struct ring r;
	const char *watch;

	ring_init(&r, 8, 0);
	watch = map(r.fd, r.rings_size, PROT_READ, MAP_SHARED, IORING_OFF_SQ_RING);
	one_nop(&r, 5);
	note("watched: cq.tail=%u sq.head=%u", *(const uint32_t *)(watch + r.p.cq_off.tail),
	     *(const uint32_t *)(watch + r.p.sq_off.head));
}

TEST(mapping_outlives_the_descriptor)
{
	struct ring r;
	int other;

	ring_init(&r, 8, 0);
	one_nop(&r, 1);
	other = (int)OK(dup(r.fd));
	OK(close(r.fd));
	r.fd = other;
	one_nop(&r, 2);
	OK(close(r.fd));
	EXPECT_EQ(enter(r.fd, 0, 0, 0), -EBADF);
	ring_note_words(&r);
	ring_nop(&r, 3);
	ring_store_tail(&r);
	ring_note_words(&r);
	ring_unmap(&r);
}

TEST(descriptor_outlives_the_mapping)
{
	struct ring r;

	ring_init(&r, 8, 0);
	ring_nop(&r, 77);
	ring_store_tail(&r);
	ring_unmap(&r);
	EXPECT_EQ(enter(r.fd, 1, 1, GETEVENTS), 1);
	ring_map(&r, MAP_SHARED);
	EXPECT_EQ(ring_ready(&r), 1);
	EXPECT_EQ(r.cqes[0].user_data, 77);
	ring_note_words(&r);
}

/* uringfs: a ring that had a name. Kernel: rings have none, and the rest is the same. */
TEST(unlinked_ring)
{
	struct ring r;
	char path[4096];

	memset(&r, 0, sizeof(r));
	if (on_uringfs()) {
		snprintf(path, sizeof(path), "%s/conformance-%d", getenv("URINGFS_DIR"), getpid());
		r.fd = (int)OK(uringfs_open(path));
		OK(uringfs_setup(r.fd, 8, &r.p));
		ring_map(&r, MAP_SHARED);
		OK(unlink(path));
		EXPECT_EQ(access(path, F_OK), -1);
		EXPECT_EQ(errno, ENOENT);
	} else {
		ring_init(&r, 8, 0);
	}
	for (uint64_t i = 0; i < 20; i++)
		one_nop(&r, i);
	ring_note_words(&r);
	ring_close(&r);
}

TEST(shared_with_a_child)
{
	struct ring r;
	struct cqe cqe;
	pid_t pid;

	ring_init(&r, 8, 0);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		ring_nop(&r, 31);
		EXPECT_EQ(ring_submit(&r), 1);
		_exit(0);
	}
	expect_child_ok(pid);
	ring_note_words(&r);
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(cqe.user_data, 31);
	r.tail = atomic_load(r.sq_tail);
	one_nop(&r, 32);
}

TEST(mapped_by_several_processes)
{
	struct ring r;
	pid_t pids[4];

	ring_init(&r, 8, 0);
	for (int i = 0; i < 4; i++) {
		pids[i] = (pid_t)OK(fork());
		if (pids[i] == 0) {
			struct ring mine = r;

			ring_map(&mine, MAP_SHARED);
			mine.sqes[i].opcode = IORING_OP_NOP;
			mine.sqes[i].user_data = 50 + (uint64_t)i;
			mine.array[i] = (uint32_t)i;
			_exit(0);
		}
	}
	for (int i = 0; i < 4; i++)
		expect_child_ok(pids[i]);
	atomic_store(r.sq_tail, 4);
	EXPECT_EQ(enter(r.fd, 4, 4, GETEVENTS), 4);
	for (int i = 0; i < 4; i++)
		note("user_data=%llu", (unsigned long long)r.cqes[i].user_data);
	EXPECT_EQ(r.cqes[3].user_data, 53);
}

/* Closed by the parent, entered by the child: the ring lives as long as anyone has it. */
TEST(lives_on_in_a_child)
{
	struct ring r;
	int go[2];
	pid_t pid;
	char c;

	ring_init(&r, 8, 0);
	OK(pipe(go));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		EXPECT_EQ(OK(read(go[0], &c, 1)), 1);
		ring_nop(&r, 9);
		EXPECT_EQ(ring_submit_wait(&r, 1), 1);
		EXPECT_EQ(ring_ready(&r), 1);
		_exit(0);
	}
	ring_close(&r);
	OK(write(go[1], "x", 1));
	expect_child_ok(pid);
	note("the child's NOP completed");
}
