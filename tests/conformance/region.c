/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_REGISTER_MEM_REGION, waits with registered arguments; IORING_REGISTER_SEND_MSG_RING. */
#include "harness.h"
#include "uapi_extra.h"

#include <time.h>

struct region {
	uint64_t addr, size;
	uint32_t flags, id;
	uint64_t mmap_offset, resv[4];
};

struct region_reg {
	uint64_t region, flags, resv[2];
};

struct reg_wait {
	int64_t sec, nsec;
	uint32_t min_wait, flags;
	uint64_t sigmask;
	uint32_t sigmask_size, pad[3];
	uint64_t pad2[2];
};

static int add_region(struct ring *r, struct region *rd, uint64_t flags)
{
	struct region_reg reg = {(uint64_t)(uintptr_t)rd, flags, {0}};

	return sys_register(r->fd, IORING_REGISTER_MEM_REGION, &reg, 1);
}

static struct reg_wait *wait_region(struct ring *r)
{
	char *at = map_pages(1, PROT_READ | PROT_WRITE);
	struct region rd = {(uint64_t)(uintptr_t)at, PAGE, 1, 0, 0, {0}};

	ring_init(r, 4, IORING_SETUP_R_DISABLED);
	EXPECT_EQ(add_region(r, &rd, 1), 0);
	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0);
	return (void *)at;
}

static int wait_at(struct ring *r, unsigned n, uint64_t offset, size_t size)
{
	return sys_enter(r->fd, 0, n, GETEVENTS | IORING_ENTER_EXT_ARG | IORING_ENTER_EXT_ARG_REG,
			 (void *)(uintptr_t)offset, size);
}

TEST(a_registered_timeout)
{
	struct ring r;
	struct reg_wait *w = wait_region(&r);

	w[2] = (struct reg_wait){.nsec = 20000000, .flags = 1};
	EXPECT_EQ(wait_at(&r, 1, 2 * sizeof(*w), sizeof(*w)), -ETIME);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(wait_at(&r, 1, 0, sizeof(*w)), 0);
	w[0] = (struct reg_wait){.sec = 1000, .min_wait = 1000, .flags = 1};
	EXPECT_EQ(wait_at(&r, 2, 0, sizeof(*w)), 0);
}

TEST(registered_arguments_that_are_refused)
{
	struct ring r;
	struct reg_wait *w = wait_region(&r);

	EXPECT_EQ(wait_at(&r, 1, 0, sizeof(*w) - 8), -EINVAL);
	EXPECT_EQ(wait_at(&r, 1, 4, sizeof(*w)), -EFAULT);
	EXPECT_EQ(wait_at(&r, 1, PAGE - 8, sizeof(*w)), -EFAULT);
	EXPECT_EQ(wait_at(&r, 1, PAGE, sizeof(*w)), -EFAULT);
	EXPECT_EQ(wait_at(&r, 1, (uint64_t)-64, sizeof(*w)), -EFAULT);
	w[0].flags = 2;
	EXPECT_EQ(wait_at(&r, 1, 0, sizeof(*w)), -EINVAL);
}

TEST(without_a_region)
{
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(wait_at(&r, 1, 0, sizeof(struct reg_wait)), -EFAULT);
}

TEST(regions_that_are_refused)
{
	char *at = map_pages(2, PROT_READ | PROT_WRITE);
	struct region good = {(uint64_t)(uintptr_t)at, PAGE, 1, 0, 0, {0}}, rd;
	struct ring r;

	ring_init(&r, 4, IORING_SETUP_R_DISABLED);
	EXPECT_EQ(add_region(&r, NULL, 0), -EFAULT);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_MEM_REGION, NULL, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_MEM_REGION, at, 0), -EINVAL);
	EXPECT_EQ(add_region(&r, &good, 2), -EINVAL);
#define REFUSED(change, error)                            \
	do {                                              \
		rd = good;                                \
		change;                                   \
		EXPECT_EQ(add_region(&r, &rd, 0), error); \
	} while (0)
	REFUSED(rd.flags = 0, -EFAULT);
	REFUSED(rd.flags = 3, -EINVAL);
	REFUSED(rd.addr = 0, -EFAULT);
	REFUSED(rd.addr += 8, -EINVAL);
	REFUSED(rd.size = 0, -EINVAL);
	REFUSED(rd.size = 100, -EINVAL);
	REFUSED(rd.id = 1, -EINVAL);
	REFUSED(rd.mmap_offset = 1, -EINVAL);
	REFUSED(rd.resv[3] = 1, -EINVAL);
	REFUSED(rd.size = 1ULL << 52, -E2BIG);
	REFUSED(rd.addr = (uint64_t)(uintptr_t)map_then_hole(1); rd.size = 2 * PAGE, -EFAULT);
	EXPECT_EQ(add_region(&r, &good, 0), 0);
	EXPECT_EQ(add_region(&r, &good, 0), -EBUSY);
}

TEST(too_late_for_waits)
{
	char *at = map_pages(1, PROT_READ | PROT_WRITE);
	struct region rd = {(uint64_t)(uintptr_t)at, PAGE, 1, 0, 0, {0}};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(add_region(&r, &rd, 1), -EINVAL);
	EXPECT_EQ(add_region(&r, &rd, 0), 0);
}

/* The kernel takes no ring for it; on a mount any ring file carries it. */
static int send_message(struct ring *r, const struct io_uring_sqe *sqe)
{
	return sys_register(on_uringfs() ? r->fd : -1, IORING_REGISTER_SEND_MSG_RING, sqe, 1);
}

TEST(a_message_without_a_ring)
{
	struct io_uring_sqe sqe;
	struct cqe cqe;
	struct ring r;

	ring_init(&r, 4, 0);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_MSG_RING;
	sqe.fd = r.fd;
	sqe.off = 77;
	sqe.len = 5;
	EXPECT_EQ(send_message(&r, &sqe), 0);
	EXPECT(ring_reap(&r, &cqe));
	note("%llu %d %u", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
	sqe.opcode = IORING_OP_NOP;
	EXPECT_EQ(send_message(&r, &sqe), -EINVAL);
	sqe.opcode = IORING_OP_MSG_RING;
	sqe.flags = IOSQE_ASYNC;
	EXPECT_EQ(send_message(&r, &sqe), -EINVAL);
	sqe.flags = 0;
	sqe.addr = 1;
	EXPECT_EQ(send_message(&r, &sqe), -EINVAL);
	sqe.addr = 0;
	sqe.fd = make_file(1);
	EXPECT_EQ(send_message(&r, &sqe), -EBADFD);
	sqe.fd = -1;
	EXPECT_EQ(send_message(&r, &sqe), -EBADF);
}

static struct ring issuers[2];

static void *send_from_another_thread(void *sqe)
{
	for (unsigned i = 0; i < 2; i++) {
		((struct io_uring_sqe *)sqe)->fd = issuers[i].fd;
		EXPECT_EQ(send_message(&issuers[i], sqe), 0);
	}
	return NULL;
}

TEST(a_message_to_another_threads_own_ring)
{
	struct io_uring_sqe sqe;
	pthread_t thread;
	struct cqe cqe;

	ring_init(&issuers[0], 4, IORING_SETUP_SINGLE_ISSUER);
	ring_init(&issuers[1], 4, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_MSG_RING;
	sqe.off = 77;
	sqe.len = 5;
	EXPECT_EQ(pthread_create(&thread, NULL, send_from_another_thread, &sqe), 0);
	EXPECT_EQ(pthread_join(thread, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		cqe = ring_wait(&issuers[i]);
		note("%llu %d %u", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
	}
}

/* A region of the ring's: mapped at the offset that the call gives back. */
static char *ring_region(struct ring *r, uint64_t size, unsigned flags, uint64_t reg_flags)
{
	struct region rd = {0, size, 0, 0, 0, {0}};
	char *at;

	ring_init(r, 4, flags);
	EXPECT_EQ(add_region(r, &rd, reg_flags), 0);
	note("%llu bytes at 0x%llx, flags %u, id %u", (unsigned long long)rd.size, (unsigned long long)rd.mmap_offset,
	     rd.flags, rd.id);
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, (off_t)rd.mmap_offset);
	EXPECT(at != MAP_FAILED);
	return at;
}

/* Not the last entry: Linux 6.18 takes the first for it (array_index_nospec() in io_get_ext_arg_reg()). */
TEST(waits_in_a_region_of_the_rings)
{
	struct ring r;
	struct reg_wait *w = (void *)ring_region(&r, 2 * PAGE, IORING_SETUP_R_DISABLED, 1);

	for (size_t i = 0; i < 2 * PAGE; i++)
		EXPECT_EQ(((char *)w)[i], 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0);
	w[126] = (struct reg_wait){.nsec = 20000000, .flags = 1};
	EXPECT_EQ(wait_at(&r, 1, 126 * sizeof(*w), sizeof(*w)), -ETIME);
	EXPECT_EQ(wait_at(&r, 1, 128 * sizeof(*w), sizeof(*w)), -EFAULT);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(wait_at(&r, 1, 0, sizeof(*w)), 0);
	w[126].flags = 4;
	EXPECT_EQ(wait_at(&r, 1, 126 * sizeof(*w), sizeof(*w)), -EINVAL);
}

TEST(a_region_that_nothing_uses)
{
	struct region rd = {0, PAGE, 0, 0, 0, {0}};
	struct ring r;
	char *at = ring_region(&r, 16 * PAGE, 0, 0), *twin;

	twin = mmap(NULL, 16 * PAGE, PROT_READ, MAP_SHARED, r.fd, 0x20000000);
	EXPECT(twin != MAP_FAILED);
	strcpy(at + 15 * PAGE, "hello");
	note("%s", twin + 15 * PAGE);
	EXPECT_EQ(add_region(&r, &rd, 0), -EBUSY);
	/* beside control messages and everything else that a ring does */
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	note("%s", at + 15 * PAGE);
}

TEST(regions_of_the_rings_that_are_refused)
{
	char *at = map_pages(1, PROT_READ | PROT_WRITE);
	struct region good = {0, PAGE, 0, 0, 0, {0}}, rd;
	struct ring r;

	ring_init(&r, 4, IORING_SETUP_R_DISABLED);
	REFUSED(rd.addr = (uint64_t)(uintptr_t)at, -EFAULT);
	REFUSED(rd.size = 0, -EINVAL);
	REFUSED(rd.size = 100, -EINVAL);
	REFUSED(rd.id = 1, -EINVAL);
	REFUSED(rd.mmap_offset = PAGE, -EINVAL);
	REFUSED(rd.resv[0] = 1, -EINVAL);
	REFUSED(rd.size = 1ULL << 52, -E2BIG);
	/* the answer cannot be stored: nothing is registered */
	memcpy(at, &good, sizeof(good));
	OK(mprotect(at, PAGE, PROT_READ));
	EXPECT_EQ(add_region(&r, (void *)at, 0), -EFAULT);
	rd = good;
	EXPECT_EQ(add_region(&r, &rd, 1), 0);
}

static volatile sig_atomic_t caught;

static void count(int sig)
{
	(void)sig;
	caught++;
}

/* io_uring_reg_wait.sigmask: as that of io_uring_getevents_arg. */
TEST(registered_signal_masks)
{
	struct ring r;
	struct reg_wait *w = wait_region(&r);
	uint64_t none = 0, usr1 = 1ULL << (SIGUSR1 - 1);
	sigset_t set, after;

	on_signal(SIGUSR1, count, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	OK(sigprocmask(SIG_BLOCK, &set, NULL));
	OK(raise(SIGUSR1));
	w[0] = (struct reg_wait){.nsec = 20000000, .flags = 1};
	EXPECT_EQ(wait_at(&r, 1, 0, sizeof(*w)), -ETIME); /* without a mask the thread's own counts */
	EXPECT_EQ(caught, 0);
	w[1] = (struct reg_wait){.sec = 1000, .flags = 1, .sigmask = (uintptr_t)&none, .sigmask_size = 8};
	EXPECT_EQ(wait_at(&r, 1, sizeof(*w), sizeof(*w)), -EINTR);
	EXPECT_EQ(caught, 1);
	OK(sigprocmask(SIG_SETMASK, NULL, &after));
	EXPECT_EQ(sigismember(&after, SIGUSR1), 1);
	OK(sigprocmask(SIG_UNBLOCK, &set, NULL));
	w[1].sigmask = (uintptr_t)&usr1;
	w[1].sec = 0;
	w[1].nsec = 20000000;
	EXPECT_EQ(wait_at(&r, 1, sizeof(*w), sizeof(*w)), -ETIME);
	w[1].sigmask_size = 4;
	EXPECT_EQ(wait_at(&r, 1, sizeof(*w), sizeof(*w)), -EINVAL);
	w[1].sigmask_size = 8;
	w[1].sigmask = 8;
	EXPECT_EQ(wait_at(&r, 1, sizeof(*w), sizeof(*w)), -EFAULT);
}
