/* SPDX-License-Identifier: Apache-2.0 */
/* FADVISE and MADVISE. */
#include "sync.h"

#define AT(p) ((uint64_t)(uintptr_t)(p))

TEST(fadvise_each_advice)
{
	int file = make_file(100000);
	struct ring r;

	ring_init(&r, 4, 0);
	for (uint32_t advice = 0; advice < 8; advice++)
		go(&r, IORING_OP_FADVISE, file, 0, 0, 50000, advice);
	EXPECT_EQ(go(&r, IORING_OP_FADVISE, file, 0, 0, 0, UINT32_MAX), -EINVAL);
	EXPECT_EQ(go(&r, IORING_OP_FADVISE, file, 4096, 1ULL << 40, 0, POSIX_FADV_WILLNEED), 0);
	EXPECT_EQ(go(&r, IORING_OP_FADVISE, file, 0, (uint64_t)-1, 0, POSIX_FADV_WILLNEED), -EINVAL);
	go(&r, IORING_OP_FADVISE, file, (uint64_t)-1, 0, 10, POSIX_FADV_WILLNEED);
}

TEST(fadvise_fields)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_FADVISE, make_file(10), 0, 0, 0, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	each_field(&r, &sqe);
}

TEST(fadvise_kinds_of_file)
{
	struct ring r;

	ring_init(&r, 4, 0);
	kinds_of_file(&r, IORING_OP_FADVISE, 0, 0, 0, POSIX_FADV_SEQUENTIAL);
	kinds_of_file(&r, IORING_OP_FADVISE, 0, 0, 0, POSIX_FADV_DONTNEED);
	kinds_of_file(&r, IORING_OP_FADVISE, 0, 0, 0, 77);
}

TEST(madvise_hints)
{
	static const uint32_t hints[] = {MADV_NORMAL,	MADV_RANDOM, MADV_SEQUENTIAL,
					 MADV_WILLNEED, MADV_FREE,   MADV_COLD};
	char *at = map_pages(4, PROT_READ | PROT_WRITE);
	struct ring r;

	memset(at, 'x', 4 * PAGE);
	ring_init(&r, 4, 0);
	for (size_t i = 0; i < sizeof(hints) / sizeof(*hints); i++)
		EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at), 4 * PAGE, hints[i]), 0);
}

TEST(madvise_dontneed_of_private_memory)
{
	char *at = map_pages(400, PROT_READ | PROT_WRITE);
	struct ring r;

	memset(at, 'x', 300 * PAGE);
	ring_init(&r, 4, 0);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at + PAGE), 350 * PAGE, MADV_DONTNEED), 0);
	EXPECT_EQ(at[0], 'x');
	for (size_t i = PAGE; i < 400 * PAGE; i++)
		EXPECT_EQ(at[i], 0);
}

TEST(madvise_dontneed_of_shared_memory)
{
	char *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct ring r;

	EXPECT(at != MAP_FAILED);
	at[5] = 'x';
	ring_init(&r, 4, 0);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at), PAGE, MADV_DONTNEED), 0);
	EXPECT_EQ(at[5], 'x');
}

/* Private memory, private and shared of a file, shared and anonymous: the results of each advice that is not about
 * bad memory or the size of pages. */
TEST(madvise_each_advice_on_each_kind_of_memory)
{
	int file = make_file(2 * PAGE), rw = PROT_READ | PROT_WRITE;
	char *kinds[] = {
		mmap(NULL, 2 * PAGE, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		mmap(NULL, 2 * PAGE, rw, MAP_PRIVATE, file, 0),
		mmap(NULL, 2 * PAGE, rw, MAP_SHARED, file, 0),
		mmap(NULL, 2 * PAGE, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
		mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
	};
	struct ring r;

	ring_init(&r, 4, 0);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		EXPECT(kinds[i] != MAP_FAILED);
		for (uint32_t advice = 0; advice < 25; advice++) {
			note("kind %zu advice %u", i, advice);
			go(&r, IORING_OP_MADVISE, -1, 0, AT(kinds[i]), 2 * PAGE, advice);
		}
	}
}

TEST(madvise_dontneed_of_a_private_mapping_of_a_file)
{
	int file = make_file(2 * PAGE);
	char *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0), before = 0;
	struct ring r;

	EXPECT(at != MAP_FAILED);
	before = at[5];
	at[5] = (char)(before + 1);
	ring_init(&r, 4, 0);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at), PAGE, MADV_DONTNEED), 0);
	EXPECT_EQ(at[5], before);
}

TEST(madvise_remove)
{
	char *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct ring r;

	EXPECT(at != MAP_FAILED);
	memset(at, 'x', 2 * PAGE);
	ring_init(&r, 4, 0);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at), PAGE, MADV_REMOVE), 0);
	EXPECT_EQ(at[5], 0);
	EXPECT_EQ(at[PAGE], 'x');
}

TEST(madvise_populate)
{
	char *at = map_pages(4, PROT_READ | PROT_WRITE);
	unsigned char in[4];
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at + PAGE), 2 * PAGE, 23), 0); /* MADV_POPULATE_WRITE */
	OK(mincore(at, 4 * PAGE, in));
	note("%d%d%d%d", in[0] & 1, in[1] & 1, in[2] & 1, in[3] & 1);
}

/* What a child finds: nothing, memory, zeros. */
TEST(madvise_about_children)
{
	static const uint32_t advice[] = {MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK};
	char *at = map_pages(1, PROT_READ | PROT_WRITE);
	struct ring r;

	at[5] = 'x';
	ring_init(&r, 4, 0);
	for (size_t i = 0; i < sizeof(advice) / sizeof(*advice); i++) {
		pid_t pid;

		EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at), PAGE, advice[i]), 0);
		pid = (pid_t)OK(fork());
		if (pid == 0)
			_exit(msync(at, PAGE, MS_ASYNC) < 0 ? 1 : at[5]);
		note("%d", WEXITSTATUS(wait_child(pid)));
	}
}

TEST(madvise_in_a_chain)
{
	char *at = map_pages(1, PROT_READ | PROT_WRITE);
	struct ring r;

	at[5] = 'x';
	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 3; i++) {
		struct io_uring_sqe *sqe = ring_sqe(&r);

		*sqe = sqe_of(IORING_OP_MADVISE, -1, 0, AT(at), PAGE, i == 1 ? 77 : MADV_DONTNEED);
		sqe->flags = i < 2 ? IOSQE_IO_LINK : 0;
		sqe->user_data = i;
	}
	EXPECT_EQ(ring_submit(&r), 3);
	for (unsigned i = 0; i < 3; i++) {
		struct cqe cqe = ring_wait(&r);

		note("%u: %d", (unsigned)cqe.user_data, cqe.res);
	}
	EXPECT_EQ(at[5], 0);
}

TEST(madvise_arguments)
{
	char *at = map_pages(4, PROT_READ | PROT_WRITE);
	struct ring r;

	ring_init(&r, 4, 0);
	OK(munmap(at + 2 * PAGE, PAGE));
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at), 0, MADV_NORMAL), 0);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at), 4 * PAGE, MADV_NORMAL), -ENOMEM);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at + 1), PAGE, MADV_NORMAL), -EINVAL);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at), 100, MADV_NORMAL), 0);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at), PAGE, 77), -EINVAL);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, AT(at), PAGE, UINT32_MAX), -EINVAL);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 0, 0, PAGE, MADV_NORMAL), -ENOMEM);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 2 * PAGE, AT(at), 1, MADV_WILLNEED), 0);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, 3 * PAGE, AT(at), 1, MADV_WILLNEED), -ENOMEM);
	EXPECT_EQ(go(&r, IORING_OP_MADVISE, -1, UINT64_MAX, AT(at), 1, MADV_NORMAL), -EINVAL);
}

TEST(madvise_fields)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_MADVISE, -1, 0, 0, 0, 0);
	struct ring r;

	ring_init(&r, 4, 0);
	each_field(&r, &sqe);
}
