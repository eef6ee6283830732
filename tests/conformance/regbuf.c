/* SPDX-License-Identifier: Apache-2.0 */
/* The table of registered buffers: registration, updates, tags, clones. */
#include "fixedbuf.h"

TEST(register_arguments)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE), *ro = map_pages(1, PROT_READ), *hole = map_then_hole(1);
	struct iovec good = {a, PAGE}, bad[] = {
					       {NULL, 5},
					       {a, 0},
					       {a, (1UL << 30) + 1},
					       {ro, PAGE},
					       {hole, 2 * PAGE},
					       {(void *)8, 8},
					       {(void *)0xffff888000000000UL, 16},
					       {a, 1UL << 63},
					       {(void *)(~0UL - 100), 4096},
				       };
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(unreg(&r), -ENXIO);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		reg(&r, &bad[i], 1);
	reg(&r, &good, 0);
	reg(&r, NULL, 1);
	reg(&r, NULL, 0);
	reg(&r, (void *)8, 1);
	reg(&r, &good, (1 << 14) + 1);
	EXPECT_EQ(reg(&r, &good, 1), 0);
	EXPECT_EQ(reg(&r, &good, 1), -EBUSY);
	note("unregister with arguments: %d", sys_register(r.fd, IORING_UNREGISTER_BUFFERS, &good, 0));
	note("unregister with arguments: %d", sys_register(r.fd, IORING_UNREGISTER_BUFFERS, NULL, 1));
	EXPECT_EQ(unreg(&r), 0);
	EXPECT_EQ(unreg(&r), -ENXIO);
}

TEST(a_failed_registration_leaves_nothing)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, PAGE}, {(void *)8, 8}};
	uint64_t tags[2] = {11, 12};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg2(&r, iov, tags, 2, 0), -EFAULT);
	note_tags(&r);
	EXPECT_EQ(unreg(&r), -ENXIO);
	EXPECT_EQ(fixed(&r, RF, make_file(10), a, 10, 0, 0), -EFAULT);
}

TEST(register2_arguments)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov = {a, PAGE};
	struct rsrc_register rr = {1, 0, 0, U64(&iov), 0};
	struct ring r;

	ring_init(&r, 4, 0);
	note("size: %d", sys_register(r.fd, REGISTER_BUFFERS2, &rr, sizeof(rr) - 1));
	note("size: %d", sys_register(r.fd, REGISTER_BUFFERS2, &rr, sizeof(rr) + 1));
	note("null: %d", sys_register(r.fd, REGISTER_BUFFERS2, NULL, sizeof(rr)));
	rr.resv2 = 1;
	note("resv2: %d", sys_register(r.fd, REGISTER_BUFFERS2, &rr, sizeof(rr)));
	reg2(&r, &iov, NULL, 0, 0);
	reg2(&r, &iov, NULL, 1, 2);
	reg2(&r, &iov, NULL, 1, REGISTER_SPARSE);
	reg2(&r, NULL, NULL, (1 << 14) + 1, REGISTER_SPARSE);
	reg2(&r, &iov, (uint64_t *)8, 1, 0);
	EXPECT_EQ(reg2(&r, NULL, NULL, 1 << 14, REGISTER_SPARSE), 0);
	EXPECT_EQ(reg2(&r, &iov, NULL, 1, 0), -EBUSY);
	EXPECT_EQ(unreg(&r), 0);
	EXPECT_EQ(reg2(&r, NULL, NULL, 3, 0), 0); /* sparse in all but name */
}

TEST(sparse_then_updated)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, 100}, {a + 200, 100}}, none = {NULL, 0};
	int file = make_file(1000);
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg2(&r, NULL, NULL, 4, REGISTER_SPARSE), 0);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 2), -EFAULT);
	EXPECT_EQ(update(&r, 2, iov, NULL, 2), 2);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 2), 10);
	EXPECT_EQ(fixed(&r, RF, file, a + 200, 10, 0, 3), 10);
	EXPECT_EQ(update(&r, 2, &none, NULL, 1), 1);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 2), -EFAULT);
	EXPECT_EQ(update(&r, 3, &iov[0], NULL, 1), 1);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 3), 10);
	EXPECT_EQ(fixed(&r, RF, file, a + 200, 10, 0, 3), -EFAULT);
}

TEST(update_arguments)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[3] = {{a, 100}, {(void *)8, 8}, {a, 100}};
	struct rsrc_update2 up = {0, 0, U64(iov), 0, 1, 0};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(update(&r, 0, iov, NULL, 1), -ENXIO);
	EXPECT_EQ(reg2(&r, NULL, NULL, 4, REGISTER_SPARSE), 0);
	update(&r, 0, iov, NULL, 0);
	update(&r, 4, iov, NULL, 1);
	update(&r, 3, iov, NULL, 2);
	update(&r, 0xffffffff, iov, NULL, 1);
	update(&r, 0xffffffff, iov, NULL, 0xffffffff);
	update(&r, 0, NULL, NULL, 1);
	update(&r, 0, iov, NULL, 3); /* one of three */
	update(&r, 0, iov + 1, NULL, 1);
	note("size: %d", sys_register(r.fd, REGISTER_BUFFERS_UPDATE, &up, sizeof(up) - 1));
	up.resv = 1;
	note("resv: %d", sys_register(r.fd, REGISTER_BUFFERS_UPDATE, &up, sizeof(up)));
	up.resv = 0;
	up.resv2 = 1;
	note("resv2: %d", sys_register(r.fd, REGISTER_BUFFERS_UPDATE, &up, sizeof(up)));
}

TEST(tags_of_an_unregistration)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[3] = {{a, 100}, {a + 100, 100}, {a + 200, 100}};
	uint64_t tags[3] = {101, 0, 103};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(reg2(&r, iov, tags, 3, 0), 0);
	note_tags(&r);
	EXPECT_EQ(unreg(&r), 0);
	EXPECT_EQ(ring_ready(&r), 2);
	note_tags(&r);
}

TEST(tags_of_updates)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, 100}, {a + 100, 100}}, none = {NULL, 0};
	uint64_t tags[2] = {201, 202}, tag = 203;
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(reg2(&r, iov, tags, 2, 0), 0);
	EXPECT_EQ(update(&r, 0, iov, &tag, 1), 1);
	note_tags(&r);
	EXPECT_EQ(update(&r, 0, &none, NULL, 1), 1);
	note_tags(&r);
	EXPECT_EQ(update(&r, 1, &none, &tag, 1), -EINVAL);
	note_tags(&r);
	EXPECT_EQ(update(&r, 1, &none, NULL, 1), 1);
	note_tags(&r);
}

TEST(an_empty_slot_takes_no_tag)
{
	uint64_t tag = 5;
	struct iovec none = {NULL, 0};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(reg2(&r, &none, &tag, 1, 0), -EINVAL);
	EXPECT_EQ(reg2(&r, NULL, &tag, 1, REGISTER_SPARSE), -EINVAL);
	EXPECT_EQ(unreg(&r), -ENXIO);
}

/* A buffer lives as long as a request that uses it. */
TEST(a_tag_waits_for_the_last_request)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov = {a, PAGE};
	uint64_t tag = 301;
	struct io_uring_sqe sqe;
	int p[2];
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(reg2(&r, &iov, &tag, 1, 0), 0);
	sqe = fixed_sqe(RF, p[0], a, 10, 0, 0);
	memcpy(ring_sqe(&r), &sqe, sizeof(sqe));
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(unreg(&r), 0);
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT_EQ(fixed(&r, RF, p[0], a, 10, 0, 0), -EFAULT);
	EXPECT_EQ(OK(write(p[1], "hello", 5)), 5);
	while (ring_ready(&r) < 2)
		EXPECT_GE(enter(r.fd, 0, 2, GETEVENTS), 0);
	note_tags(&r);
	EXPECT_EQ(memcmp(a, "hello", 5), 0);
}

#define REGISTER_CLONE_BUFFERS 30
#define SRC_REGISTERED 1U
#define DST_REPLACE 2U

struct clone_buffers {
	uint32_t src_fd, flags, src_off, dst_off, nr, pad[3];
};

static int clone_from(struct ring *r, const struct ring *from, uint32_t flags, uint32_t src, uint32_t dst, uint32_t nr)
{
	struct clone_buffers cb = {(uint32_t)from->fd, flags, src, dst, nr, {0, 0, 0}};
	int ret = sys_register(r->fd, REGISTER_CLONE_BUFFERS, &cb, 1);

	note("clone flags %u %u from %u to %u: %d", flags, nr, src, dst, ret);
	return ret;
}

TEST(a_clone)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, 100}, {a + 100, 100}};
	uint64_t tags[2] = {401, 402};
	int file = make_file(100);
	struct ring r, other;

	ring_init(&r, 4, 0);
	ring_init(&other, 8, 0);
	EXPECT_EQ(clone_from(&r, &other, 0, 0, 0, 0), -ENXIO);
	EXPECT_EQ(reg2(&other, iov, tags, 2, 0), 0);
	EXPECT_EQ(clone_from(&r, &other, 0, 0, 0, 0), 0);
	EXPECT_EQ(clone_from(&r, &other, 0, 0, 0, 0), -EBUSY);
	EXPECT_EQ(unreg(&other), 0);
	note_tags(&other);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 50, 0, 1), 50);
	EXPECT_EQ(unreg(&r), 0);
	note_tags(&r);
}

TEST(a_part_of_a_table_cloned)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[4] = {{a, 100}, {a + 100, 100}, {NULL, 0}, {a + 300, 100}}, mine[2] = {{a, 10}, {a + 10, 10}};
	uint64_t tags[2] = {501, 502};
	int file = make_file(1000);
	struct ring r, other;

	ring_init(&r, 4, 0);
	ring_init(&other, 4, 0);
	EXPECT_EQ(reg(&other, iov, 4), 0);
	EXPECT_EQ(reg2(&r, mine, tags, 2, 0), 0);
	EXPECT_EQ(clone_from(&r, &other, DST_REPLACE, 1, 1, 3), 0);
	note_tags(&r);
	EXPECT_EQ(fixed(&r, RF, file, a, 10, 0, 0), 10);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 100, 0, 1), 100);
	EXPECT_EQ(fixed(&r, RF, file, a + 100, 100, 0, 2), -EFAULT);
	EXPECT_EQ(fixed(&r, RF, file, a + 300, 100, 0, 3), 100);
	EXPECT_EQ(fixed(&r, RF, file, a + 300, 100, 0, 4), -EFAULT);
	EXPECT_EQ(unreg(&r), 0);
	note_tags(&r);
}

TEST(a_clone_of_a_registered_ring)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct io_uring_rsrc_update reg = {UINT32_MAX, 0, 0};
	struct iovec iov = {a, PAGE};
	struct clone_buffers cb;
	struct ring r, other;

	ring_init(&r, 8, 0);
	ring_init(&other, 8, 0);
	EXPECT_EQ(sys_register(other.fd, IORING_REGISTER_BUFFERS, &iov, 1), 0);
	reg.data = (uint64_t)other.fd;
	EXPECT_EQ(sys_register(r.fd, 20, &reg, 1), 1); /* REGISTER_RING_FDS */
	memset(&cb, 0, sizeof(cb));
	cb.flags = SRC_REGISTERED;
	cb.src_fd = 16;
	EXPECT_EQ(sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 1), -EINVAL);
	cb.src_fd = 15;
	EXPECT_EQ(sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 1), -EBADF);
	cb.src_fd = reg.offset;
	EXPECT_EQ(sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 1), 0);
	EXPECT_EQ(fixed(&r, RF, make_file(100), a, 100, 0, 0), 100);
	cb.flags |= 8;
	EXPECT_EQ(sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 1), -EINVAL);
}

TEST(clone_arguments)
{
	char *a = map_pages(1, PROT_READ | PROT_WRITE);
	struct iovec iov[2] = {{a, 100}, {a + 100, 100}};
	struct clone_buffers cb = {0, 0, 0, 0, 0, {0, 0, 0}};
	struct ring r, other;

	ring_init(&r, 4, 0);
	ring_init(&other, 4, 0);
	EXPECT_EQ(reg(&other, iov, 2), 0);
	clone_from(&r, &other, 4, 0, 0, 0);
	clone_from(&r, &other, SRC_REGISTERED, 0, 0, 0);
	clone_from(&r, &other, 0, 1, 0, 0);
	clone_from(&r, &other, 0, 0, 1, 0);
	clone_from(&r, &other, 0, 0, 0, 3);
	clone_from(&r, &other, 0, 1, 0, 2);
	clone_from(&r, &other, 0, UINT32_MAX, 0, 2);
	clone_from(&r, &other, 0, 0, UINT32_MAX, 2);
	clone_from(&r, &other, 0, 0, (1 << 14) - 1, 2);
	cb.src_fd = (uint32_t)make_file(1);
	note("no ring: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 1));
	cb.src_fd = UINT32_MAX;
	note("no file: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 1));
	note("none: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 0));
	note("two: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 2));
	note("null: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, NULL, 1));
	note("unmapped: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, (void *)8, 1));
	cb.src_fd = (uint32_t)other.fd;
	cb.pad[1] = 1;
	note("pad: %d", sys_register(r.fd, REGISTER_CLONE_BUFFERS, &cb, 1));
	clone_from(&other, &other, 0, 0, 0, 0);
	clone_from(&other, &other, DST_REPLACE, 0, 2, 2);
	EXPECT_EQ(fixed(&other, RF, make_file(100), a + 100, 100, 0, 3), 100);
}

/* writable_file_mapping_allowed(): of a file that is written back no page is pinned for long. */
TEST(shared_memory_of_a_file)
{
	static const int files[] = {0, 1};

	for (unsigned i = 0; i < 2; i++) {
		int fd = files[i] ? (int)OK(memfd_create("regbuf", 0))
				  : (int)OK(open("/var/tmp", O_TMPFILE | O_RDWR, 0600));

		OK(ftruncate(fd, 4 * PAGE));
		for (int shared = 0; shared < 2; shared++) {
			struct ring r;
			struct iovec iov = {NULL, 4 * PAGE};
			int ret;

			iov.iov_base = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE,
					    fd, 0);
			EXPECT(iov.iov_base != MAP_FAILED);
			ring_init(&r, 4, 0);
			ret = sys_register(r.fd, IORING_REGISTER_BUFFERS, &iov, 1);
			note("%s, %s: %d", files[i] ? "memfd" : "file", shared ? "shared" : "private", ret);
			ring_close(&r);
		}
	}
}
