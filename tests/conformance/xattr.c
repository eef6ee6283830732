/* SPDX-License-Identifier: Apache-2.0 */
/* FSETXATTR, SETXATTR, FGETXATTR, GETXATTR. */
#include "paths.h"

#include <sys/xattr.h>

static struct io_uring_sqe xattr_sqe(int op, int fd, const char *path, const char *name, const void *value,
				     unsigned size, unsigned flags)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = (uint8_t)op;
	sqe.fd = fd;
	sqe.addr = (uint64_t)(uintptr_t)name;
	sqe.off = (uint64_t)(uintptr_t)value;
	sqe.len = size;
	sqe.addr3 = (uint64_t)(uintptr_t)path;
	sqe.xattr_flags = flags;
	return sqe;
}

static int run_set(struct ring *r, const char *path, const char *name, const void *value, unsigned size, unsigned flags)
{
	struct io_uring_sqe sqe = xattr_sqe(IORING_OP_SETXATTR, 0, path, name, value, size, flags);

	return run_sqe(r, &sqe);
}

static int run_get(struct ring *r, const char *path, const char *name, void *value, unsigned size)
{
	struct io_uring_sqe sqe = xattr_sqe(IORING_OP_GETXATTR, 0, path, name, value, size, 0);

	return run_sqe(r, &sqe);
}

static int run_fset(struct ring *r, int fd, const char *name, const void *value, unsigned size)
{
	struct io_uring_sqe sqe = xattr_sqe(IORING_OP_FSETXATTR, fd, NULL, name, value, size, 0);

	return run_sqe(r, &sqe);
}

static int run_fget(struct ring *r, int fd, const char *name, void *value, unsigned size)
{
	struct io_uring_sqe sqe = xattr_sqe(IORING_OP_FGETXATTR, fd, NULL, name, value, size, 0);

	return run_sqe(r, &sqe);
}

static void start(struct ring *r)
{
	enter_scratch();
	put_file("f", "", 0);
	ring_init(r, 4, 0);
}

TEST(set_then_get)
{
	char buf[64] = "", zeros[4] = {'a', 0, 'b', 0};
	struct ring r;

	start(&r);
	EXPECT_EQ(run_set(&r, "f", "user.a", "/proc/self", 10, 0), 0);
	EXPECT_EQ(getxattr("f", "user.a", buf, sizeof(buf)), 10);
	note("%.10s", buf);
	EXPECT_EQ(run_set(&r, "f", "user.a", zeros, 4, 0), 0);
	EXPECT_EQ(run_get(&r, "f", "user.a", buf, sizeof(buf)), 4);
	EXPECT_EQ(memcmp(buf, zeros, 4), 0);
}

TEST(sizes)
{
	char buf[64];
	struct ring r;

	start(&r);
	run_set(&r, "f", "user.a", "hello", 5, 0);
	run_get(&r, "f", "user.a", NULL, 0);
	run_get(&r, "f", "user.a", buf, 4);
	run_get(&r, "f", "user.a", buf, 5);
	run_get(&r, "f", "user.a", NULL, 5);
	run_get(&r, "f", "user.a", buf, 0xffffffff);
	run_set(&r, "f", "user.a", NULL, 0, 0);
	run_get(&r, "f", "user.a", buf, 5);
	run_set(&r, "f", "user.a", "x", 65537, 0);
	run_set(&r, "f", "user.a", (void *)8, 5, 0);
}

TEST(create_and_replace)
{
	struct ring r;

	start(&r);
	run_set(&r, "f", "user.a", "1", 1, XATTR_REPLACE);
	run_set(&r, "f", "user.a", "1", 1, XATTR_CREATE);
	run_set(&r, "f", "user.a", "1", 1, XATTR_CREATE);
	run_set(&r, "f", "user.a", "1", 1, XATTR_REPLACE);
	run_set(&r, "f", "user.a", "1", 1, 4);
}

TEST(of_a_descriptor)
{
	struct ring r;
	char buf[64] = "";
	int fd;

	start(&r);
	fd = (int)OK(open("f", O_RDONLY));
	run_fset(&r, fd, "user.b", "value", 5);
	run_fget(&r, fd, "user.b", buf, sizeof(buf));
	note("%s", buf);
	run_fget(&r, -1, "user.b", buf, sizeof(buf));
	run_fset(&r, 12345, "user.b", "value", 5);
	fd = (int)OK(open("f", O_PATH));
	run_fget(&r, fd, "user.b", buf, sizeof(buf));
	run_fset(&r, fd, "user.b", "value", 5);
}

TEST(missing)
{
	char buf[64];
	struct ring r;

	start(&r);
	OK(symlink("f", "s"));
	run_get(&r, "f", "user.none", buf, sizeof(buf));
	run_get(&r, "none", "user.a", buf, sizeof(buf));
	run_get(&r, "f", "nonsense", buf, sizeof(buf));
	run_set(&r, "f", "nonsense.a", "1", 1, 0);
	run_set(&r, "s", "user.a", "1", 1, 0);
	run_get(&r, "f", "user.a", buf, sizeof(buf));
	run_set(&r, "/proc/version", "user.a", "1", 1, 0);
}

TEST(names_that_are_refused)
{
	char *page = map_then_hole(1), name[300];
	struct ring r;

	start(&r);
	memset(page, 'a', PAGE);
	memset(name, 'a', sizeof(name));
	memcpy(name, "user.", 5);
	for (int i = 0; i < 2; i++) {
		const char *path = "f";
		char buf[4];

		name[255] = 0;
		i ? run_set(&r, path, name, "1", 1, 0) : run_get(&r, path, name, buf, 4);
		name[255] = 'a';
		name[256] = 0;
		i ? run_set(&r, path, name, "1", 1, 0) : run_get(&r, path, name, buf, 4);
		i ? run_set(&r, path, "", "1", 1, 0) : run_get(&r, path, "", buf, 4);
		i ? run_set(&r, path, NULL, "1", 1, 0) : run_get(&r, path, NULL, buf, 4);
		i ? run_set(&r, path, page + PAGE - 4, "1", 1, 0) : run_get(&r, path, page + PAGE - 4, buf, 4);
		i ? run_set(&r, NULL, "user.a", "1", 1, 0) : run_get(&r, NULL, "user.a", buf, 4);
		i ? run_set(&r, "", "user.a", "1", 1, 0) : run_get(&r, "", "user.a", buf, 4);
		i ? run_set(&r, page, "user.a", "1", 1, 0) : run_get(&r, page, "user.a", buf, 4);
	}
}

TEST(fields_that_are_refused)
{
	static const int ops[] = {IORING_OP_FSETXATTR, IORING_OP_SETXATTR, IORING_OP_FGETXATTR, IORING_OP_GETXATTR};
	struct ring r;
	char buf[8];
	int fd;

	start(&r);
	fd = (int)OK(open("f", O_RDONLY));
	OK(setxattr("f", "user.a", "1", 1, 0));
	for (int op = 0; op < 4; op++) {
		for (int i = 0; i < 5; i++) {
			struct io_uring_sqe sqe = xattr_sqe(ops[op], fd, "f", "user.a", buf, 1, 0);

			sqe.buf_index = i == 1;
			sqe.flags = i == 2 ? IOSQE_FIXED_FILE : 0;
			sqe.ioprio = i == 3;
			sqe.xattr_flags = i == 4 ? 0x80 : 0;
			run_sqe(&r, &sqe);
		}
	}
}

TEST(a_large_value)
{
	static char value[4000], back[4000];
	struct ring r;

	start(&r);
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (char)pattern(i);
	run_set(&r, "f", "user.large", value, 3000, 0);
	run_get(&r, "f", "user.large", back, sizeof(back));
	EXPECT(is_pattern(back, 0, 3000));
}

TEST(set_then_get_in_a_link)
{
	struct ring r;
	char buf[8] = "";

	start(&r);
	*ring_sqe(&r) = xattr_sqe(IORING_OP_SETXATTR, 0, "f", "user.a", "val", 3, 0);
	last_sqe(&r)->flags = IOSQE_IO_LINK;
	last_sqe(&r)->user_data = 1;
	*ring_sqe(&r) = xattr_sqe(IORING_OP_GETXATTR, 0, "f", "user.a", buf, 3, 0);
	last_sqe(&r)->flags = IOSQE_IO_LINK;
	last_sqe(&r)->user_data = 2;
	*ring_sqe(&r) = xattr_sqe(IORING_OP_GETXATTR, 0, "f", "user.b", buf, 3, 0);
	last_sqe(&r)->user_data = 3;
	EXPECT_EQ(ring_submit_wait(&r, 3), 3);
	note_all(&r, 3);
	note("%s", buf);
}

TEST(of_registered_files)
{
	static const int ops[] = {IORING_OP_FSETXATTR, IORING_OP_SETXATTR, IORING_OP_FGETXATTR, IORING_OP_GETXATTR};
	struct ring r;
	char buf[8];
	int fd;

	start(&r);
	fd = (int)OK(open("f", O_RDONLY));
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_FILES, &fd, 1), 0);
	for (int op = 0; op < 4; op++)
		for (int index = 0; index < 2; index++) {
			struct io_uring_sqe sqe = xattr_sqe(ops[op], index, "f", "user.a", buf, 1, 0);

			sqe.flags = IOSQE_FIXED_FILE;
			run_sqe(&r, &sqe);
		}
}
