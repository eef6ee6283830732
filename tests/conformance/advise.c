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
	static const uint32_t hints[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_FREE, MADV_COLD};
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
