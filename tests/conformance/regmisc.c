/* SPDX-License-Identifier: Apache-2.0 */
/* Ring descriptors, synchronous cancellation, queries, the probe, enter flags. */
#include "harness.h"
#include "uapi_extra.h"

struct rsrc_update {
	uint32_t offset, resv;
	uint64_t data;
};

static int register_rings(struct ring *r, struct rsrc_update *up, unsigned n)
{
	return sys_register(r->fd, IORING_REGISTER_RING_FDS, up, n);
}

/* What an enter by index is given: on a mount a control write has named the ring already. */
static int by_index(struct ring *r, unsigned index)
{
	return on_uringfs() ? r->fd : (int)index;
}

TEST(a_ring_by_index)
{
	struct rsrc_update up[2];
	struct ring r;

	ring_init(&r, 4, 0);
	memset(up, 0, sizeof(up));
	up[0].offset = up[1].offset = UINT32_MAX;
	up[0].data = up[1].data = (uint64_t)r.fd;
	EXPECT_EQ(register_rings(&r, up, 2), 2);
	note("%u %u", up[0].offset, up[1].offset);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(enter(by_index(&r, up[0].offset), 1, 0, IORING_ENTER_REGISTERED_RING), 1);
	EXPECT_EQ(ring_ready(&r), 1);
	up[0].data = up[1].data = 0;
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_RING_FDS, up, 2), 2);
	EXPECT_EQ(enter(by_index(&r, up[0].offset), 0, 0, IORING_ENTER_REGISTERED_RING), -EBADF);
	EXPECT_EQ(enter(r.fd, 0, 0, 0), 0);
}

TEST(a_slot_that_is_asked_for)
{
	struct rsrc_update up = {5, 0, 0};
	struct ring r;

	ring_init(&r, 4, 0);
	up.data = (uint64_t)r.fd;
	EXPECT_EQ(register_rings(&r, &up, 1), 1);
	EXPECT_EQ(up.offset, 5);
	EXPECT_EQ(register_rings(&r, &up, 1), -EBUSY);
	up.offset = 16;
	EXPECT_EQ(register_rings(&r, &up, 1), -EINVAL);
	up.offset = 6;
	up.resv = 1;
	EXPECT_EQ(register_rings(&r, &up, 1), -EINVAL);
	up.resv = 0;
	up.data = (uint64_t)make_file(1);
	EXPECT_EQ(register_rings(&r, &up, 1), -EOPNOTSUPP);
	up.data = 1 << 20;
	EXPECT_EQ(register_rings(&r, &up, 1), -EBADF);
	EXPECT_EQ(register_rings(&r, &up, 0), -EINVAL);
	EXPECT_EQ(register_rings(&r, &up, 17), -EINVAL);
	EXPECT_EQ(register_rings(&r, (void *)8, 1), -EFAULT);
}

TEST(sixteen_slots)
{
	struct rsrc_update up[16], one = {UINT32_MAX, 0, 0};
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 16; i++)
		up[i] = (struct rsrc_update){UINT32_MAX, 0, (uint64_t)r.fd};
	EXPECT_EQ(register_rings(&r, up, 16), 16);
	EXPECT_EQ(up[15].offset, 15);
	one.data = (uint64_t)r.fd;
	EXPECT_EQ(register_rings(&r, &one, 1), -EBUSY);
	one.offset = 3;
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_RING_FDS, &one, 1), -EINVAL);
	one.data = 0;
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_RING_FDS, &one, 1), 1);
	one.offset = UINT32_MAX;
	one.data = (uint64_t)r.fd;
	EXPECT_EQ(register_rings(&r, &one, 1), 1);
	EXPECT_EQ(one.offset, 3);
}

static void *elsewhere(void *arg)
{
	struct ring *r = arg;
	int ret = enter(by_index(r, 0), 0, 0, IORING_ENTER_REGISTERED_RING);

	note("another thread: %d", ret);
	return NULL;
}

TEST(an_index_is_a_threads_own)
{
	struct rsrc_update up = {UINT32_MAX, 0, 0};
	struct ring r;
	pthread_t t;

	ring_init(&r, 4, 0);
	up.data = (uint64_t)r.fd;
	EXPECT_EQ(register_rings(&r, &up, 1), 1);
	EXPECT_EQ(pthread_create(&t, NULL, elsewhere, &r), 0);
	EXPECT_EQ(pthread_join(t, NULL), 0);
}

TEST(register_by_index)
{
	struct rsrc_update up = {UINT32_MAX, 0, 0};
	unsigned op = IORING_REGISTER_PERSONALITY | 1U << 31; /* USE_REGISTERED_RING */
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_register(by_index(&r, 0), op, NULL, 0), -EBADF);
	up.data = (uint64_t)r.fd;
	EXPECT_EQ(register_rings(&r, &up, 1), 1);
	EXPECT_EQ(sys_register(by_index(&r, 0), op, NULL, 0), 1);
}

struct sync_cancel {
	uint64_t addr;
	int32_t fd;
	uint32_t flags;
	int64_t sec, nsec;
	uint8_t opcode, pad[7];
	uint64_t pad2[3];
};

static void pend(struct ring *r, int fd, uint64_t user_data)
{
	static char buf[4];
	static struct iovec iov = {buf, sizeof(buf)};

	ring_readv(r, fd, &iov, 1, 0, user_data);
	EXPECT_EQ(ring_submit(r), 1);
}

static int cancel(struct ring *r, uint64_t addr, int fd, unsigned flags)
{
	struct sync_cancel c = {.addr = addr, .fd = fd, .flags = flags, .sec = -1, .nsec = -1};

	return sys_register(r->fd, IORING_REGISTER_SYNC_CANCEL, &c, 1);
}

static void note_cqe(struct ring *r)
{
	struct cqe cqe = ring_wait(r);

	note("%llu: %d", (unsigned long long)cqe.user_data, cqe.res);
}

TEST(cancelled_by_user_data)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(cancel(&r, 5, 0, 0), -ENOENT);
	pend(&r, p[0], 5);
	pend(&r, p[0], 6);
	EXPECT_EQ(cancel(&r, 5, 0, 0), 0);
	note_cqe(&r);
	EXPECT_EQ(cancel(&r, 5, 0, 0), -ENOENT);
	EXPECT_EQ(cancel(&r, 6, 0, 0), 0);
	note_cqe(&r);
}

TEST(cancelled_all)
{
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	for (int i = 0; i < 3; i++)
		pend(&r, p[0], 5);
	note("all of 5: %d", cancel(&r, 5, 0, IORING_ASYNC_CANCEL_ALL));
	for (int i = 0; i < 3; i++)
		note_cqe(&r);
	pend(&r, p[0], 7);
	pend(&r, p[0], 7);
	note("any: %d", cancel(&r, 0, 0, IORING_ASYNC_CANCEL_ANY));
	note_cqe(&r);
	note_cqe(&r);
	note("none: %d", cancel(&r, 0, 0, IORING_ASYNC_CANCEL_ANY));
}

TEST(cancelled_by_file)
{
	struct ring r;
	int p[2], q[2];

	OK(pipe(p));
	OK(pipe(q));
	ring_init(&r, 8, 0);
	pend(&r, p[0], 5);
	pend(&r, q[0], 6);
	EXPECT_EQ(cancel(&r, 0, q[0], IORING_ASYNC_CANCEL_FD), 0);
	note_cqe(&r);
	EXPECT_EQ(cancel(&r, 0, q[0], IORING_ASYNC_CANCEL_FD), -ENOENT);
	EXPECT_EQ(cancel(&r, 0, -1, IORING_ASYNC_CANCEL_FD), -EBADF);
	EXPECT_EQ(cancel(&r, 0, 0, IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED), -EBADF);
	EXPECT_EQ(cancel(&r, 0, p[0], IORING_ASYNC_CANCEL_FD), 0);
	note_cqe(&r);
}

TEST(cancellations_that_are_refused)
{
	struct sync_cancel c = {.addr = 1, .sec = -1, .nsec = -1};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(cancel(&r, 0, 0, 1U << 20), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_SYNC_CANCEL, &c, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_SYNC_CANCEL, NULL, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_SYNC_CANCEL, (void *)8, 1), -EFAULT);
	c.pad[3] = 1;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_SYNC_CANCEL, &c, 1), -EINVAL);
	c.pad[3] = 0;
	c.pad2[2] = 1;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_SYNC_CANCEL, &c, 1), -EINVAL);
}

TEST(enter_flags)
{
	struct ring r;

	ring_init(&r, 8, 0);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(enter(r.fd, 0, 1, GETEVENTS | IORING_ENTER_NO_IOWAIT), 0);
	EXPECT_EQ(enter(r.fd, 0, 0, IORING_ENTER_SQ_WAKEUP | IORING_ENTER_SQ_WAIT), 0);
	EXPECT_EQ(enter(r.fd, 0, 0, 1U << 20), -EINVAL);
	EXPECT_EQ(enter(r.fd, 0, 0, 1U << 31), -EINVAL);
}

TEST(the_probe)
{
	struct {
		uint8_t last_op, ops_len;
		uint16_t resv;
		uint32_t resv2[3];
		struct {
			uint8_t op, resv;
			uint16_t flags;
			uint32_t resv2;
		} ops[256];
	} probe;
	struct ring r;

	ring_init(&r, 8, 0);
	memset(&probe, 0, sizeof(probe));
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PROBE, &probe, 256), 0);
	EXPECT_EQ(probe.last_op + 1, probe.ops_len);
	for (int i = 0; i < probe.ops_len; i++)
		EXPECT_EQ(probe.ops[i].op, i);
	for (int i = 0; i <= IORING_OP_READV; i++)
		EXPECT_EQ(probe.ops[i].flags, 1);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PROBE, &probe, 256), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PROBE, &probe, 257), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PROBE, NULL, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PROBE, (void *)8, 1), -EFAULT);
	memset(&probe, 0, sizeof(probe));
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_PROBE, &probe, 2), 0);
	note("two: %u %u %u", probe.ops_len, probe.ops[1].op, probe.ops[2].op);
}

struct query {
	uint64_t next, data;
	uint32_t op, size;
	int32_t result;
	uint32_t resv[3];
};

TEST(queries)
{
	uint64_t data[8];
	struct query q = {0, (uint64_t)(uintptr_t)data, 0, 16, 0, {0}}, first = {0, 0, 999, 8, 0, {0}};
	struct ring r;

	ring_init(&r, 8, 0);
	memset(data, 0, sizeof(data));
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_QUERY, &q, 0), 0);
	note("size %u result %d", q.size, q.result);
	EXPECT_GE(data[0], 1);
	EXPECT(data[1] != 0);
	EXPECT_EQ(data[2], 0);
	first.next = (uint64_t)(uintptr_t)&q;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_QUERY, &first, 0), -EFAULT);
	first.data = (uint64_t)(uintptr_t)data;
	q.size = 0;
	note("list: %d", sys_register(r.fd, IORING_REGISTER_QUERY, &first, 0));
	note("unknown %d %u %d, no size %d", first.result, first.size, data[0] == 0, q.result);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_QUERY, &q, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_QUERY, (void *)8, 0), -EFAULT);
	q = (struct query){(uint64_t)(uintptr_t)&q, (uint64_t)(uintptr_t)data, 999, 16, 0, {0}};
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_QUERY, &q, 0), -ERANGE);
}

/* On descriptor -1 in the kernel; on a file that is no ring yet on a mount. */
TEST(a_query_without_a_ring)
{
	uint64_t data[8];
	struct query q = {0, (uint64_t)(uintptr_t)data, 0, sizeof(data), 0, {0}};
	char path[4096];
	int fd = -1;

	if (on_uringfs()) {
		snprintf(path, sizeof(path), "%s/new", getenv("URINGFS_DIR"));
		fd = (int)OK(uringfs_open(path));
	}
	EXPECT_EQ(sys_register(fd, IORING_REGISTER_QUERY, &q, 0), 0);
	EXPECT_EQ(q.result, 0);
	EXPECT_GE(data[0] & UINT32_MAX, 62); /* request opcodes */
	EXPECT_GE(data[0] >> 32, 36);	     /* register opcodes */
	EXPECT(data[2] & IORING_SETUP_SQPOLL);
	note("features 0x%llx", (unsigned long long)data[1] & 0x3ffff);
	note("%d", sys_register(fd, IORING_REGISTER_QUERY, &q, 1));
	note("%d", sys_register(fd, IORING_REGISTER_QUERY, (void *)8, 0));
}
