/* SPDX-License-Identifier: Apache-2.0 */
/* Registered files: sparse tables, tags, updates, ranges, use after unregistering; FILES_UPDATE. */
#include "harness.h"
#include "uapi_extra.h"

#define ALLOC 0xffffffffU /* IORING_FILE_INDEX_ALLOC */

struct rsrc {
	uint32_t nr, flags;
	uint64_t resv2, data, tags;
};

struct update2 {
	uint32_t offset, resv;
	uint64_t data, tags;
	uint32_t nr, resv2;
};

struct range {
	uint32_t off, len;
	uint64_t resv;
};

static char buf[64];

static struct io_uring_sqe fixed_read(int index)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_READ;
	sqe.flags = IOSQE_FIXED_FILE;
	sqe.fd = index;
	sqe.addr = (uint64_t)(uintptr_t)buf;
	sqe.len = sizeof(buf);
	return sqe;
}

static int read_fixed(struct ring *r, int index)
{
	struct io_uring_sqe sqe = fixed_read(index);

	return run_sqe(r, &sqe);
}

static int register2(struct ring *r, unsigned nr, unsigned flags, const int *fds, const uint64_t *tags)
{
	struct rsrc reg = {nr, flags, 0, (uint64_t)(uintptr_t)fds, (uint64_t)(uintptr_t)tags};

	return sys_register(r->fd, IORING_REGISTER_FILES2, &reg, sizeof(reg));
}

static int update2(struct ring *r, unsigned offset, const int *fds, const uint64_t *tags, unsigned nr)
{
	struct update2 up = {offset, 0, (uint64_t)(uintptr_t)fds, (uint64_t)(uintptr_t)tags, nr, 0};

	return sys_register(r->fd, IORING_REGISTER_FILES_UPDATE2, &up, sizeof(up));
}

static int unregister(struct ring *r)
{
	return sys_register(r->fd, IORING_UNREGISTER_FILES, NULL, 0);
}

static void note_cqes(struct ring *r)
{
	struct cqe cqe;

	enter(r->fd, 0, 0, GETEVENTS);
	while (ring_reap(r, &cqe))
		note("cqe %llu %d %u", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
}

TEST(a_sparse_table)
{
	int fds[2] = {make_file(11), make_file(12)};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register2(&r, 8, 1, NULL, NULL), 0);
	EXPECT_EQ(read_fixed(&r, 0), -EBADF);
	EXPECT_EQ(update2(&r, 6, fds, NULL, 2), 2);
	EXPECT_EQ(read_fixed(&r, 6), 11);
	EXPECT_EQ(read_fixed(&r, 7), 12);
	EXPECT_EQ(read_fixed(&r, 8), -EBADF);
	EXPECT_EQ(update2(&r, 7, fds, NULL, 2), -EINVAL);
	EXPECT_EQ(update2(&r, UINT32_MAX, fds, NULL, 2), -EOVERFLOW);
	EXPECT_EQ(unregister(&r), 0);
}

TEST(registrations_that_are_refused)
{
	int fds[2] = {make_file(11), 1 << 20};
	uint64_t tags[2] = {1, 2};
	struct rsrc reg = {1, 0, 1, (uint64_t)(uintptr_t)fds, 0};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register2(&r, 0, 0, fds, NULL), -EINVAL);
	EXPECT_EQ(register2(&r, 1, 2, fds, NULL), -EINVAL);
	EXPECT_EQ(register2(&r, 1, 1, fds, NULL), -EINVAL);
	EXPECT_EQ(register2(&r, 2, 0, fds, tags), -EBADF);
	EXPECT_EQ(register2(&r, 1 << 21, 1, NULL, NULL), -EMFILE);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES2, &reg, sizeof(reg)), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES2, &reg, sizeof(reg) - 8), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES2, (void *)8, sizeof(reg)), -EFAULT);
	EXPECT_EQ(unregister(&r), -ENXIO);
	note_cqes(&r);
}

TEST(an_empty_slot_has_no_tag)
{
	int fds[2] = {make_file(11), -1};
	uint64_t tags[2] = {1, 2}, fine[2] = {1, 0};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register2(&r, 2, 0, fds, tags), -EINVAL);
	EXPECT_EQ(register2(&r, 2, 0, fds, fine), 0);
	note_cqes(&r);
}

TEST(tags_come_when_a_file_goes)
{
	int fds[3] = {make_file(1), make_file(2), make_file(3)}, none = -1;
	uint64_t tags[3] = {101, 102, 0}, next = 104;
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register2(&r, 3, 0, fds, tags), 0);
	note_cqes(&r);
	EXPECT_EQ(update2(&r, 0, &fds[2], &next, 1), 1);
	note_cqes(&r);
	EXPECT_EQ(update2(&r, 1, &none, NULL, 1), 1);
	note_cqes(&r);
	EXPECT_EQ(unregister(&r), 0);
	note_cqes(&r);
}

TEST(a_tag_waits_for_who_uses_the_file)
{
	uint64_t tag = 77;
	struct io_uring_sqe sqe = fixed_read(0);
	struct ring r;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(register2(&r, 1, 0, &p[0], &tag), 0);
	sqe.user_data = 1;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(unregister(&r), 0);
	note_cqes(&r);
	EXPECT_EQ(write(p[1], "xyz", 3), 3);
	EXPECT_EQ(enter(r.fd, 0, 2, GETEVENTS), 0);
	note_cqes(&r);
}

TEST(updates_that_are_refused)
{
	int fds[2] = {make_file(1), -2}, bad = 1 << 20;
	uint64_t tags[2] = {0, 5};
	struct update2 up = {0, 1, (uint64_t)(uintptr_t)fds, 0, 1, 0};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(update2(&r, 0, fds, NULL, 1), -ENXIO);
	EXPECT_EQ(register2(&r, 4, 1, NULL, NULL), 0);
	EXPECT_EQ(update2(&r, 0, fds, NULL, 0), -EINVAL);
	EXPECT_EQ(update2(&r, 0, &bad, NULL, 1), -EBADF);
	EXPECT_EQ(update2(&r, 0, (void *)8, NULL, 1), -EFAULT);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES_UPDATE2, &up, sizeof(up)), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES_UPDATE2, &up, 8), -EINVAL);
	EXPECT_EQ(update2(&r, 0, fds, tags, 2), 1);
	EXPECT_EQ(read_fixed(&r, 0), 1);
}

TEST(skipped_slots)
{
	int fds[3] = {make_file(1), make_file(2), make_file(3)}, up[3] = {-2, -1, -2};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, fds, 3), 0);
	EXPECT_EQ(update2(&r, 0, up, NULL, 3), 3);
	EXPECT_EQ(read_fixed(&r, 0), 1);
	EXPECT_EQ(read_fixed(&r, 1), -EBADF);
	EXPECT_EQ(read_fixed(&r, 2), 3);
}

TEST(an_update_that_fails_half_way)
{
	int fds[3] = {make_file(1), 1 << 20, make_file(3)};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register2(&r, 4, 1, NULL, NULL), 0);
	EXPECT_EQ(update2(&r, 0, fds, NULL, 3), 1);
	EXPECT_EQ(read_fixed(&r, 0), 1);
	EXPECT_EQ(read_fixed(&r, 1), -EBADF);
	EXPECT_EQ(read_fixed(&r, 2), -EBADF);
}

TEST(rings_are_not_registered)
{
	struct ring r, other;

	ring_init(&r, 8, 0);
	ring_init(&other, 8, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &other.fd, 1), -EBADF);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &r.fd, 1), -EBADF);
}

static int files_update(struct ring *r, const int *fds, unsigned n, uint64_t offset)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_FILES_UPDATE;
	sqe.fd = -1;
	sqe.addr = (uint64_t)(uintptr_t)fds;
	sqe.len = n;
	sqe.off = offset;
	return run_sqe(r, &sqe);
}

TEST(files_update_of_slots)
{
	int fds[2] = {make_file(21), make_file(22)}, mixed[3] = {-1, -2, 1 << 20};
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(files_update(&r, fds, 2, 0), -ENXIO);
	EXPECT_EQ(register2(&r, 4, 1, NULL, NULL), 0);
	EXPECT_EQ(files_update(&r, fds, 2, 1), 2);
	EXPECT_EQ(read_fixed(&r, 1), 21);
	EXPECT_EQ(read_fixed(&r, 2), 22);
	EXPECT_EQ(files_update(&r, fds, 2, 3), -EINVAL);
	EXPECT_EQ(files_update(&r, fds, 0, 0), -EINVAL);
	EXPECT_EQ(files_update(&r, (void *)8, 1, 0), -EFAULT);
	EXPECT_EQ(files_update(&r, mixed, 3, 1), 2);
	EXPECT_EQ(read_fixed(&r, 1), -EBADF);
	EXPECT_EQ(read_fixed(&r, 2), 22);
	EXPECT_EQ(files_update(&r, &mixed[2], 1, 0), -EBADF);
}

TEST(files_update_fields)
{
	int fd = make_file(21);
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register2(&r, 4, 1, NULL, NULL), 0);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_FILES_UPDATE;
	sqe.addr = (uint64_t)(uintptr_t)&fd;
	sqe.len = 1;
	sqe.rw_flags = 1;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.rw_flags = 0;
	sqe.splice_fd_in = 1;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.splice_fd_in = 0;
	sqe.flags = IOSQE_FIXED_FILE;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	sqe.flags = IOSQE_BUFFER_SELECT;
	EXPECT_EQ(run_sqe(&r, &sqe), -EOPNOTSUPP);
	sqe.flags = 0;
	EXPECT_EQ(run_sqe(&r, &sqe), 1);
}

TEST(files_update_finds_slots)
{
	int fds[3] = {make_file(21), make_file(22), make_file(23)}, one = make_file(1);
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(files_update(&r, fds, 3, ALLOC), -ENXIO);
	EXPECT_EQ(register2(&r, 4, 1, NULL, NULL), 0);
	EXPECT_EQ(files_update(&r, &one, 1, 1), 1);
	EXPECT_EQ(files_update(&r, fds, 3, ALLOC), 3);
	note("%d %d %d", fds[0], fds[1], fds[2]);
	EXPECT_EQ(read_fixed(&r, fds[0]), 21);
	EXPECT_EQ(read_fixed(&r, fds[2]), 23);
	one = make_file(2);
	EXPECT_EQ(files_update(&r, &one, 1, ALLOC), -ENFILE);
	one = -1;
	EXPECT_EQ(files_update(&r, &one, 1, ALLOC), -EBADF);
}

TEST(files_update_in_a_chain)
{
	int fd = make_file(21);
	struct io_uring_sqe sqe;
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register2(&r, 4, 1, NULL, NULL), 0);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_FILES_UPDATE;
	sqe.flags = IOSQE_IO_LINK;
	sqe.addr = (uint64_t)(uintptr_t)&fd;
	sqe.len = 1;
	sqe.off = 3;
	sqe.user_data = 1;
	*ring_sqe(&r) = sqe;
	sqe = fixed_read(3);
	sqe.user_data = 2;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	note_cqes(&r);
}

/* A page that is there but not to be read, for a request that outlives its enter. */
TEST(files_update_of_what_cannot_be_read)
{
	char *hole = map_then_hole(1);
	int *const lists[] = {(int *)(hole + PAGE), (int *)(hole + PAGE - 4), (int *)(hole + PAGE - 3)};
	struct io_uring_sqe sqe;
	struct ring r;

	memset(hole, -1, PAGE);
	ring_init(&r, 8, 0);
	EXPECT_EQ(register2(&r, 4, 1, NULL, NULL), 0);
	for (uint64_t i = 0; i < 3; i++) {
		memset(&sqe, 0, sizeof(sqe));
		sqe.flags = IOSQE_IO_LINK;
		*ring_sqe(&r) = sqe;
		sqe.opcode = IORING_OP_FILES_UPDATE;
		sqe.flags = 0;
		sqe.addr = (uint64_t)(uintptr_t)lists[i];
		sqe.len = 2;
		sqe.user_data = i + 1;
		*ring_sqe(&r) = sqe;
		EXPECT_EQ(ring_submit_wait(&r, 2), 2);
		note_cqes(&r);
	}
}

TEST(a_range_to_find_slots_in)
{
	int fds[2] = {make_file(21), make_file(22)}, more = make_file(3);
	struct range range = {2, 2, 0};
	struct ring r;

	ring_init(&r, 8, 0);
	note("no table: %d", sys_register(r.fd, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0));
	EXPECT_EQ(register2(&r, 6, 1, NULL, NULL), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0), 0);
	EXPECT_EQ(files_update(&r, fds, 2, ALLOC), 2);
	note("%d %d", fds[0], fds[1]);
	EXPECT_EQ(files_update(&r, &more, 1, ALLOC), -ENFILE);
	range.off = 5;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0), -EINVAL);
	range.off = UINT32_MAX;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0), -EOVERFLOW);
	range.off = 0;
	range.resv = 1;
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILE_ALLOC_RANGE, NULL, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILE_ALLOC_RANGE, (void *)8, 0), -EFAULT);
}
