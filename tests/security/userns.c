/* SPDX-License-Identifier: Apache-2.0 */
/* A caller that is root, with all capabilities, in a user namespace of its own: outside it is the ordinary user. */
#include "scene.h"

#include <netinet/in.h>
#include <sched.h>
#include <sys/xattr.h>

static struct ring ring;

static void put(const char *path, const char *text)
{
	int fd = (int)OK(open(path, O_WRONLY));

	EXPECT_EQ(OK(write(fd, text, strlen(text))), strlen(text));
	OK(close(fd));
}

static void be_root_of_a_namespace(int flags)
{
	char map[32];

	snprintf(map, sizeof(map), "0 %u 1", getuid());
	OK(unshare(CLONE_NEWUSER | flags));
	put("/proc/self/setgroups", "deny");
	put("/proc/self/uid_map", map);
	put("/proc/self/gid_map", map);
	EXPECT_EQ(getuid(), 0);
	EXPECT_EQ(getgid(), 0);
}

static void begin(int flags)
{
	int32_t slots[2] = {-1, -1};

	be_root_of_a_namespace(flags);
	ring_init(&ring, 8, 0);
	EXPECT_EQ(sys_register(ring.fd, IORING_REGISTER_FILES, slots, 2), 0);
}

static int finish(void)
{
	struct cqe cqe;

	EXPECT_EQ(ring_submit_wait(&ring, 1), 1);
	EXPECT(ring_reap(&ring, &cqe));
	note("res=%d", cqe.res);
	return cqe.res;
}

TEST(opens_nothing)
{
	struct io_uring_sqe *sqe;

	begin(0);
	sqe = queue(&ring, IORING_OP_OPENAT, AT_FDCWD, at("secret"), 0, 0);
	sqe->file_index = 1;
	EXPECT_EQ(finish(), -EACCES);
	sqe = queue(&ring, IORING_OP_OPENAT, AT_FDCWD, at("new"), 0600, 0);
	sqe->open_flags = O_RDWR | O_CREAT;
	sqe->file_index = 1;
	EXPECT_EQ(finish(), -EACCES);
}

TEST(changes_no_names)
{
	begin(0);
	queue(&ring, IORING_OP_MKDIRAT, AT_FDCWD, at("secret.made"), 0777, 0);
	EXPECT_EQ(finish(), -EACCES);
	queue(&ring, IORING_OP_UNLINKAT, AT_FDCWD, at("secret"), 0, 0);
	EXPECT_EQ(finish(), -EACCES);
	queue(&ring, IORING_OP_RENAMEAT, AT_FDCWD, at("secret"), (unsigned)AT_FDCWD, (uint64_t)(uintptr_t)at("stolen"));
	EXPECT_EQ(finish(), -EACCES);
	queue(&ring, IORING_OP_LINKAT, AT_FDCWD, at("secret"), (unsigned)AT_FDCWD, (uint64_t)(uintptr_t)at("stolen"));
	EXPECT(finish() < 0); /* fs.protected_hardlinks */
}

TEST(makes_no_raw_socket)
{
	struct io_uring_sqe *sqe;

	begin(0);
	sqe = queue(&ring, IORING_OP_SOCKET, AF_PACKET, NULL, 0, SOCK_RAW);
	sqe->file_index = 1;
	EXPECT_EQ(finish(), -EPERM);
	sqe = queue(&ring, IORING_OP_SOCKET, AF_INET, NULL, IPPROTO_ICMP, SOCK_RAW);
	sqe->file_index = 1;
	EXPECT_EQ(finish(), -EPERM);
}

TEST(sets_no_trusted_attribute)
{
	char name[] = "/tmp/uringfs-userns-XXXXXX";
	int fd;

	begin(0);
	fd = (int)OK(mkstemp(name));
	OK(unlink(name));
	EXPECT(fsetxattr(fd, "trusted.words", "x", 1, 0) < 0 && errno == EPERM);
	queue(&ring, IORING_OP_FSETXATTR, fd, "trusted.words", 1, (uint64_t)(uintptr_t) "x");
	EXPECT_EQ(finish(), -EPERM);
}

static int set_option(int fd, int option, int value)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring);

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = 3; /* SOCKET_URING_OP_SETSOCKOPT */
	memcpy(&sqe->addr, (uint32_t[2]){SOL_SOCKET, (uint32_t)option}, 8);
	sqe->file_index = sizeof(value); /* optlen */
	*(uint64_t *)((char *)sqe + 48) = (uint64_t)(uintptr_t)&value;
	return finish();
}

TEST(sets_no_socket_option_that_needs_a_right)
{
	static const int options[] = {SO_RCVBUFFORCE, SO_SNDBUFFORCE, SO_MARK, SO_DEBUG};
	int fd, value = 1 << 20;

	begin(0);
	fd = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
	for (unsigned i = 0; i < 4; i++) {
		int native = setsockopt(fd, SOL_SOCKET, options[i], &value, sizeof(value)) < 0 ? -errno : 0;

		EXPECT_EQ(set_option(fd, options[i], value), native);
		EXPECT(native < 0);
	}
}

TEST(binds_no_port_of_roots)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(7)};
	int fd;

	begin(0);
	fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
	EXPECT(bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0 && errno == EACCES);
	queue(&ring, 56, fd, &name, 0, sizeof(name)); /* IORING_OP_BIND */
	EXPECT_EQ(finish(), -EACCES);
}

/* Its own network is its own. */
TEST(has_its_rights_in_its_own_namespaces)
{
	struct io_uring_sqe *sqe;

	begin(CLONE_NEWNET);
	sqe = queue(&ring, IORING_OP_SOCKET, AF_INET, NULL, 0, SOCK_STREAM);
	sqe->file_index = 1;
	EXPECT_EQ(finish(), 0);
}

/* Opened before: the same user, who has no more rights than before. */
TEST(goes_on_with_a_ring_it_has)
{
	ring_init(&ring, 8, 0);
	be_root_of_a_namespace(0);
	ring_nop(&ring, 1);
	EXPECT_EQ(finish(), 0);
}
