/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_REGISTER_PERSONALITY, _RESTRICTIONS, _IOWQ_*, _CLOCK. */
#include "harness.h"
#include "uapi_extra.h"

#include <time.h>

static int register_personality(struct ring *r)
{
	return sys_register(r->fd, IORING_REGISTER_PERSONALITY, NULL, 0);
}

static int nop_as(struct ring *r, unsigned personality)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_NOP;
	sqe.personality = (uint16_t)personality;
	return run_sqe(r, &sqe);
}

TEST(personalities)
{
	struct ring r;
	int a, b;

	ring_init(&r, 4, 0);
	EXPECT_EQ(nop_as(&r, 1), -EINVAL);
	a = register_personality(&r);
	b = register_personality(&r);
	note("ids %d %d", a, b);
	EXPECT_EQ(nop_as(&r, a), 0);
	EXPECT_EQ(nop_as(&r, b), 0);
	EXPECT_EQ(nop_as(&r, b + 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_PERSONALITY, NULL, a), 0);
	EXPECT_EQ(nop_as(&r, a), -EINVAL);
	EXPECT_EQ(nop_as(&r, b), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_PERSONALITY, NULL, a), -EINVAL);
	note("the next %d", register_personality(&r));
}

TEST(personalities_that_are_refused)
{
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PERSONALITY, &r, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PERSONALITY, NULL, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_PERSONALITY, NULL, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_PERSONALITY, NULL, 70000), -EINVAL);
	EXPECT_EQ(register_personality(&r), 1);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_PERSONALITY, &r, 1), -EINVAL);
}

TEST(a_read_under_a_personality)
{
	struct io_uring_sqe sqe;
	char buf[16];
	struct iovec iov = {buf, sizeof(buf)};
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_READV;
	sqe.fd = make_file(10);
	sqe.addr = (uint64_t)(uintptr_t)&iov;
	sqe.len = 1;
	sqe.personality = (uint16_t)register_personality(&r);
	EXPECT_EQ(run_sqe(&r, &sqe), 10);
	EXPECT(is_pattern(buf, 0, 10));
	sqe.fd = p[0];
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(write(p[1], "hello", 5), 5);
	EXPECT_EQ(ring_wait(&r).res, 5);
	EXPECT(memcmp(buf, "hello", 5) == 0);
}

struct restriction {
	uint16_t opcode;
	uint8_t value, resv;
	uint32_t resv2[3];
};

static int restrict_ring(struct ring *r, const struct restriction *list, unsigned n)
{
	return sys_register(r->fd, IORING_REGISTER_RESTRICTIONS, list, n);
}

TEST(restricted_to_some_requests)
{
	const struct restriction list[] = {
		{IORING_RESTRICTION_SQE_OP, IORING_OP_NOP, 0, {0}},
		{IORING_RESTRICTION_REGISTER_OP, IORING_REGISTER_ENABLE_RINGS, 0, {0}},
		{IORING_RESTRICTION_REGISTER_OP, IORING_REGISTER_PERSONALITY, 0, {0}},
	};
	char buf[4];
	struct ring r;

	ring_init(&r, 4, IORING_SETUP_R_DISABLED);
	EXPECT_EQ(restrict_ring(&r, list, 3), 0);
	EXPECT_EQ(restrict_ring(&r, list, 3), -EBUSY);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0);
	EXPECT_EQ(run_read(&r, make_file(4), buf, 4, 0), -EACCES);
	EXPECT_EQ(nop_as(&r, 0), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_FILES, NULL, 0), -EACCES);
	EXPECT_EQ(register_personality(&r), 1);
	note("enable: %d", sys_register(r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	note("restrict: %d", restrict_ring(&r, list, 3));
}

static int flagged(struct ring *r, unsigned flags)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_NOP;
	sqe.flags = (uint8_t)flags;
	return run_sqe(r, &sqe);
}

TEST(restricted_flags)
{
	const struct restriction list[] = {
		{IORING_RESTRICTION_SQE_OP, IORING_OP_NOP, 0, {0}},
		{IORING_RESTRICTION_SQE_FLAGS_REQUIRED, IOSQE_ASYNC, 0, {0}},
		{IORING_RESTRICTION_SQE_FLAGS_ALLOWED, IOSQE_IO_DRAIN, 0, {0}},
	};
	struct ring r;

	ring_init(&r, 4, IORING_SETUP_R_DISABLED);
	EXPECT_EQ(restrict_ring(&r, list, 3), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0);
	EXPECT_EQ(flagged(&r, 0), -EACCES);
	EXPECT_EQ(flagged(&r, IOSQE_ASYNC), 0);
	EXPECT_EQ(flagged(&r, IOSQE_ASYNC | IOSQE_IO_DRAIN), 0);
	EXPECT_EQ(flagged(&r, IOSQE_ASYNC | IOSQE_CQE_SKIP_SUCCESS), -EACCES);
	note("a drain behind a skipped CQE: %d", flagged(&r, IOSQE_IO_DRAIN));
}

TEST(nothing_is_left)
{
	struct restriction none;
	struct ring r;

	memset(&none, 0, sizeof(none));
	ring_init(&r, 4, IORING_SETUP_R_DISABLED);
	EXPECT_EQ(restrict_ring(&r, &none, 0), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0);
	EXPECT_EQ(nop_as(&r, 0), -EACCES);
	EXPECT_EQ(register_personality(&r), -EACCES);
}

TEST(restrictions_that_are_refused)
{
	struct restriction bad = {9, 0, 0, {0}};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(restrict_ring(&r, &bad, 1), -EBADFD);
	ring_close(&r);
	ring_init(&r, 4, IORING_SETUP_R_DISABLED);
	EXPECT_EQ(restrict_ring(&r, NULL, 1), -EINVAL);
	EXPECT_EQ(restrict_ring(&r, (void *)8, 1), -EFAULT);
	EXPECT_EQ(restrict_ring(&r, &bad, 1), -EINVAL);
	EXPECT_EQ(restrict_ring(&r, &bad, 100000), -EINVAL);
	bad.opcode = IORING_RESTRICTION_SQE_OP;
	bad.value = 200;
	EXPECT_EQ(restrict_ring(&r, &bad, 1), -EINVAL);
	bad.opcode = IORING_RESTRICTION_REGISTER_OP;
	EXPECT_EQ(restrict_ring(&r, &bad, 1), -EINVAL);
	bad.value = IORING_REGISTER_PROBE;
	bad.resv2[1] = 7;
	note("reserved: %d", restrict_ring(&r, &bad, 1));
}

TEST(a_disabled_ring_may_be_prepared)
{
	int fds[1] = {make_file(3)};
	struct ring r;

	ring_init(&r, 4, IORING_SETUP_R_DISABLED);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, fds, 1), 0);
	EXPECT_EQ(register_personality(&r), 1);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0);
	EXPECT_EQ(nop_as(&r, 1), 0);
}

TEST(io_wq_affinity)
{
	unsigned char mask[8] = {1};
	struct ring r;

	ring_init(&r, 4, 0);
	note("cpu 0: %d", sys_register(r.fd, IORING_REGISTER_IOWQ_AFF, mask, 8));
	note("back: %d", sys_register(r.fd, IORING_UNREGISTER_IOWQ_AFF, NULL, 0));
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_IOWQ_AFF, NULL, 8), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_IOWQ_AFF, mask, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_IOWQ_AFF, (void *)8, 8), -EFAULT);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_IOWQ_AFF, mask, 0), -EINVAL);
}

TEST(io_wq_workers)
{
	uint32_t count[2] = {3, 5}, again[2] = {0, 0}, bad[2] = {1u << 31, 1};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_IOWQ_MAX_WORKERS, count, 2), 0);
	note("bounded %u", count[0]);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_IOWQ_MAX_WORKERS, again, 2), 0);
	note("now %u %u", again[0], again[1]);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_IOWQ_MAX_WORKERS, NULL, 2), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_IOWQ_MAX_WORKERS, count, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_IOWQ_MAX_WORKERS, bad, 2), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_IOWQ_MAX_WORKERS, (void *)8, 2), -EFAULT);
}

struct clock {
	uint32_t id, resv[3];
};

static int64_t now_ns(clockid_t id)
{
	struct timespec ts;

	OK(clock_gettime(id, &ts));
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static int wait_until(struct ring *r, int64_t when)
{
	struct {
		int64_t sec, nsec;
	} ts = {when / 1000000000, when % 1000000000};
	struct {
		uint64_t sigmask;
		uint32_t size, min_wait;
		uint64_t ts;
	} arg = {0, 0, 0, (uint64_t)(uintptr_t)&ts};

	return sys_enter(r->fd, 0, 1, GETEVENTS | IORING_ENTER_EXT_ARG | IORING_ENTER_ABS_TIMER, &arg, sizeof(arg));
}

TEST(absolute_timeouts)
{
	struct clock boot = {CLOCK_BOOTTIME, {0}}, mono = {CLOCK_MONOTONIC, {0}};
	struct ring r;
	int64_t when;

	ring_init(&r, 4, 0);
	when = now_ns(CLOCK_MONOTONIC) + 20000000;
	EXPECT_EQ(wait_until(&r, when), -ETIME);
	EXPECT_GE(now_ns(CLOCK_MONOTONIC), when);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_CLOCK, &boot, 0), 0);
	when = now_ns(CLOCK_BOOTTIME) + 20000000;
	EXPECT_EQ(wait_until(&r, when), -ETIME);
	EXPECT_GE(now_ns(CLOCK_BOOTTIME), when);
	EXPECT_EQ(wait_until(&r, 1), -ETIME);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_CLOCK, &mono, 0), 0);
	EXPECT_EQ(wait_until(&r, now_ns(CLOCK_MONOTONIC)), -ETIME);
}

TEST(clocks_that_are_refused)
{
	struct clock clock = {CLOCK_REALTIME, {0}};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_CLOCK, &clock, 0), -EINVAL);
	clock.id = CLOCK_BOOTTIME;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_CLOCK, &clock, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_CLOCK, NULL, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_CLOCK, (void *)8, 0), -EFAULT);
	clock.resv[2] = 1;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_CLOCK, &clock, 0), -EINVAL);
}
