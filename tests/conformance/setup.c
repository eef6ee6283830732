/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring_setup(2): what is refused, what is rounded, and where everything lies. */
#include "harness.h"

static int try_setup(unsigned entries, unsigned flags, unsigned cq_entries, struct io_uring_params *p)
{
	memset(p, 0, sizeof(*p));
	p->flags = flags;
	p->cq_entries = cq_entries;
	return sys_setup(entries, p);
}

/* -errno, or the sizes that came out. */
static int sizes(unsigned entries, unsigned flags, unsigned cq_entries)
{
	struct io_uring_params p;
	int fd = try_setup(entries, flags, cq_entries, &p);

	if (fd < 0)
		note("setup(%u, flags=0x%x, cq=%u) = %d", entries, flags, cq_entries, fd);
	else
		note("setup(%u, flags=0x%x, cq=%u) = ring, sq_entries=%u cq_entries=%u", entries, flags, cq_entries,
		     p.sq_entries, p.cq_entries);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

/* The last eight bytes of both offset structs: resv2, user_addr since Linux 6.5. */
static unsigned long long last(const void *offsets)
{
	uint64_t value;

	memcpy(&value, (const char *)offsets + 32, sizeof(value));
	return value;
}

static void layout(unsigned entries, unsigned flags, unsigned cq_entries)
{
	struct io_uring_params p;
	int fd = try_setup(entries, flags, cq_entries, &p);

	if (fd == -EINVAL && !on_uringfs() && (flags & IORING_SETUP_NO_SQARRAY))
		skip("this kernel has no IORING_SETUP_NO_SQARRAY");
	EXPECT_GE(fd, 0);
	note("%u/%u: flags=0x%x sq %u %u %u %u %u %u %u resv %u %llu", p.sq_entries, p.cq_entries, p.flags,
	     p.sq_off.head, p.sq_off.tail, p.sq_off.ring_mask, p.sq_off.ring_entries, p.sq_off.flags, p.sq_off.dropped,
	     p.sq_off.array, p.sq_off.resv1, last(&p.sq_off));
	note("  cq %u %u %u %u %u %u %u resv %u %llu", p.cq_off.head, p.cq_off.tail, p.cq_off.ring_mask,
	     p.cq_off.ring_entries, p.cq_off.overflow, p.cq_off.cqes, p.cq_off.flags, p.cq_off.resv1, last(&p.cq_off));
	close(fd);
}

TEST(no_entries_is_einval)
{
	EXPECT_EQ(sizes(0, 0, 0), -EINVAL);
	EXPECT_EQ(sizes(0, IORING_SETUP_CLAMP, 0), -EINVAL);
}

TEST(too_many_entries_is_einval)
{
	EXPECT_EQ(sizes(32769, 0, 0), -EINVAL);
	EXPECT_EQ(sizes(UINT32_MAX, 0, 0), -EINVAL);
	EXPECT_EQ(sizes(0x80000000u, 0, 0), -EINVAL);
}

TEST(the_most_entries)
{
	EXPECT_EQ(sizes(32768, 0, 0), 0);
}

TEST(clamp_lowers_the_sq)
{
	EXPECT_EQ(sizes(32769, IORING_SETUP_CLAMP, 0), 0);
	EXPECT_EQ(sizes(UINT32_MAX, IORING_SETUP_CLAMP, 0), 0);
}

TEST(entries_round_up_to_a_power_of_two)
{
	static const unsigned n[] = {1, 2, 3, 4, 5, 7, 8, 9, 100, 127, 128, 129, 4095, 4097, 16385};

	for (size_t i = 0; i < sizeof(n) / sizeof(*n); i++)
		EXPECT_EQ(sizes(n[i], 0, 0), 0);
}

TEST(cq_entries_are_ignored_without_cqsize)
{
	EXPECT_EQ(sizes(4, 0, 1000), 0);
	EXPECT_EQ(sizes(4, 0, UINT32_MAX), 0);
}

TEST(cqsize_zero_is_einval)
{
	EXPECT_EQ(sizes(4, IORING_SETUP_CQSIZE, 0), -EINVAL);
	EXPECT_EQ(sizes(4, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, 0), -EINVAL);
}

TEST(cqsize_below_the_sq_is_einval)
{
	EXPECT_EQ(sizes(8, IORING_SETUP_CQSIZE, 4), -EINVAL);
	EXPECT_EQ(sizes(5, IORING_SETUP_CQSIZE, 4), -EINVAL);
	EXPECT_EQ(sizes(8, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, 1), -EINVAL);
}

TEST(cqsize_is_rounded_before_it_is_compared)
{
	EXPECT_EQ(sizes(8, IORING_SETUP_CQSIZE, 7), 0);
	EXPECT_EQ(sizes(8, IORING_SETUP_CQSIZE, 8), 0);
	EXPECT_EQ(sizes(8, IORING_SETUP_CQSIZE, 9), 0);
	EXPECT_EQ(sizes(5, IORING_SETUP_CQSIZE, 5), 0);
	EXPECT_EQ(sizes(1, IORING_SETUP_CQSIZE, 1), 0);
	EXPECT_EQ(sizes(1, IORING_SETUP_CQSIZE, 1000), 0);
}

TEST(cqsize_above_the_limit)
{
	EXPECT_EQ(sizes(8, IORING_SETUP_CQSIZE, 65537), -EINVAL);
	EXPECT_EQ(sizes(8, IORING_SETUP_CQSIZE, UINT32_MAX), -EINVAL);
	EXPECT_EQ(sizes(8, IORING_SETUP_CQSIZE, 65536), 0);
	EXPECT_EQ(sizes(8, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, 65537), 0);
	EXPECT_EQ(sizes(UINT32_MAX, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, UINT32_MAX), 0);
}

TEST(reserved_fields_must_be_zero)
{
	struct io_uring_params p;
	int good;

	for (int i = 0; i < 3; i++) {
		memset(&p, 0, sizeof(p));
		p.resv[i] = 1u << (i * 15);
		EXPECT_EQ(sys_setup(4, &p), -EINVAL);
	}
	memset(&p, 0, sizeof(p));
	good = sys_setup(4, &p);
	EXPECT_GE(good, 0);
}

TEST(unknown_flags_are_einval)
{
	EXPECT_EQ(sizes(4, 1u << 31, 0), -EINVAL);
	EXPECT_EQ(sizes(4, 1u << 30, 0), -EINVAL);
	EXPECT_EQ(sizes(4, UINT32_MAX, 0), -EINVAL);
}

TEST(flags_that_need_another_are_einval)
{
	EXPECT_EQ(sizes(4, IORING_SETUP_SQ_AFF, 0), -EINVAL);
	EXPECT_EQ(sizes(4, IORING_SETUP_TASKRUN_FLAG, 0), -EINVAL);
	EXPECT_EQ(sizes(4, IORING_SETUP_DEFER_TASKRUN, 0), -EINVAL);
}

/* Fields of other flags are not looked at. */
TEST(thread_fields_are_ignored_and_kept)
{
	struct io_uring_params p;
	int fd;

	memset(&p, 0, sizeof(p));
	p.sq_thread_cpu = 12345;
	p.sq_thread_idle = 54321;
	p.wq_fd = 77;
	p.sq_entries = 99;
	fd = sys_setup(4, &p);
	EXPECT_GE(fd, 0);
	note("cpu=%u idle=%u wq_fd=%u sq_entries=%u", p.sq_thread_cpu, p.sq_thread_idle, p.wq_fd, p.sq_entries);
}

/* What a caller leaves in the offsets is overwritten, to the last byte that has a meaning. */
TEST(offsets_are_overwritten)
{
	struct io_uring_params p;
	int fd;

	memset(&p, 0, sizeof(p));
	memset(&p.sq_off, 0xa5, sizeof(p.sq_off));
	memset(&p.cq_off, 0xa5, sizeof(p.cq_off));
	fd = sys_setup(16, &p);
	EXPECT_GE(fd, 0);
	note("resv %u %llu %u %llu", p.sq_off.resv1, last(&p.sq_off), p.cq_off.resv1, last(&p.cq_off));
	EXPECT_EQ(last(&p.cq_off), 0);
	EXPECT(p.sq_off.head < PAGE && p.cq_off.cqes < PAGE);
}

TEST(params_null_is_efault)
{
	struct io_uring_params p;

	EXPECT_GE(try_setup(4, 0, 0, &p), 0);
	EXPECT_EQ(sys_setup(4, NULL), -EFAULT);
	EXPECT_EQ(sys_setup(0, NULL), -EFAULT);
}

TEST(params_unmapped_is_efault)
{
	char *at = map_then_hole(1);

	memset(at, 0, PAGE);
	EXPECT_EQ(sys_setup(4, (void *)(at + PAGE)), -EFAULT);
	EXPECT_EQ(sys_setup(4, (void *)(at + PAGE - 64)), -EFAULT);
	EXPECT_GE(sys_setup(4, (void *)(at + PAGE - sizeof(struct io_uring_params))), 0);
}

TEST(params_at_a_kernel_address_is_efault)
{
	EXPECT_EQ(sys_setup(4, (void *)0xffff888000000000UL), -EFAULT);
	EXPECT_EQ(sys_setup(4, (void *)-8L), -EFAULT);
}

TEST(params_read_only_is_efault)
{
	EXPECT_EQ(sys_setup(4, (void *)map_pages(1, PROT_READ)), -EFAULT);
}

TEST(a_refused_setup_leaves_params_alone)
{
	struct io_uring_params p, before;

	memset(&p, 0, sizeof(p));
	p.flags = 1u << 31;
	p.sq_entries = 4242;
	before = p;
	EXPECT_EQ(sys_setup(4, &p), -EINVAL);
	EXPECT_EQ(memcmp(&p, &before, sizeof(p)), 0);
}

TEST(layout_of_every_size)
{
	for (unsigned n = 1; n <= 32768; n *= 2)
		layout(n, 0, 0);
}

TEST(layout_with_cqsize)
{
	layout(1, IORING_SETUP_CQSIZE, 1);
	layout(1, IORING_SETUP_CQSIZE, 65536);
	layout(64, IORING_SETUP_CQSIZE, 64);
	layout(3, IORING_SETUP_CQSIZE, 17);
	layout(40000, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, 100000);
}

TEST(layout_without_index_array)
{
	layout(1, IORING_SETUP_NO_SQARRAY, 0);
	layout(64, IORING_SETUP_NO_SQARRAY, 0);
	layout(32768, IORING_SETUP_NO_SQARRAY, 0);
	layout(8, IORING_SETUP_NO_SQARRAY | IORING_SETUP_CQSIZE, 512);
}

TEST(layout_with_submit_all)
{
	layout(1, IORING_SETUP_SUBMIT_ALL, 0);
	layout(64, IORING_SETUP_SUBMIT_ALL, 0);
	layout(64, IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE, 256);
}

/* uringfs may advertise less than this kernel; what both must have is what clients here rely on. */
TEST(features_everyone_relies_on)
{
	const unsigned need = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
			      IORING_FEAT_RW_CUR_POS;
	struct io_uring_params p;
	int fd = try_setup(4, 0, 0, &p);

	EXPECT_GE(fd, 0);
	note("features & 0x%x = 0x%x", need, p.features & need);
	EXPECT_EQ(p.features & need, need);
	EXPECT_EQ(p.features & (1u << 31), 0);
}

TEST(words_of_a_fresh_ring)
{
	struct ring r;

	ring_init(&r, 1, 0);
	ring_note_words(&r);
	ring_close(&r);
	ring_init(&r, 100, IORING_SETUP_SUBMIT_ALL);
	ring_note_words(&r);
	for (unsigned i = 0; i < r.p.sq_entries; i++)
		EXPECT_EQ(r.array[i], 0);
	for (size_t i = 0; i < r.sqes_size; i++)
		EXPECT_EQ(((char *)r.sqes)[i], 0);
}

TEST(a_hundred_rings_at_once)
{
	static struct ring r[100];

	for (unsigned i = 0; i < 100; i++)
		ring_init(&r[i], 8, 0);
	for (unsigned i = 0; i < 100; i++) {
		struct cqe cqe;

		ring_nop(&r[i], i);
		EXPECT_EQ(ring_submit(&r[i]), 1);
		EXPECT(ring_reap(&r[i], &cqe));
		EXPECT_EQ(cqe.user_data, i);
	}
	for (unsigned i = 0; i < 100; i++)
		ring_close(&r[i]);
	note("100 rings, 100 CQEs");
}

TEST(descriptor_is_close_on_exec)
{
	struct io_uring_params p;
	int fd = try_setup(4, 0, 0, &p);

	EXPECT_GE(fd, 0);
	EXPECT_EQ(OK(fcntl(fd, F_GETFD)) & FD_CLOEXEC, FD_CLOEXEC);
}
