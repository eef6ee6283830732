/* SPDX-License-Identifier: Apache-2.0 */
/* Paths that mean whoever looks them up: what is opened is the caller's, or the request is refused; never
 * that of a process of the daemon's. SECURITY_PATH: which one, seen from the directory this makes. */
#include "harness.h"

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static struct ring ring;
static char scratch[TEMPORARY];

static void leave(void)
{
	char command[TEMPORARY + 16];

	snprintf(command, sizeof(command), "rm -rf %s", scratch);
	if (chdir("/") || system(command))
		perror(command);
}

/* Where the relative paths begin; links of the caller's own. */
static void arrange(void)
{
	temporary(scratch, "uringfs-itself");
	EXPECT(mkdtemp(scratch) != NULL);
	atexit(leave);
	OK(chdir(scratch));
	OK(symlink("/proc/self", "self"));
	OK(symlink("/proc/./self/exe", "exe"));
	OK(symlink("/proc/self/maps", "maps"));
	OK(symlink("/proc/thread-self/status", "status"));
	OK(symlink("/proc", "proc"));
	OK(symlink("/dev/fd", "fd"));
	OK(symlink("/dev/stdin", "stdin"));
	OK(symlink("/dev/stdout", "stdout"));
	for (int fd = 0; fd < 2; fd++) {
		int file = (int)OK(open(fd ? "one" : "zero", O_RDWR | O_CREAT | O_EXCL, 0600));

		OK(dup2(file, fd));
		OK(close(file));
	}
	if (getenv("SECURITY_CWD"))
		OK(chdir(getenv("SECURITY_CWD")));
	ring_init(&ring, 8, 0);
}

static int dirfd_of_case(void)
{
	const char *name = getenv("SECURITY_DIRFD");

	return name ? (int)OK(open(name, O_RDONLY | O_DIRECTORY)) : AT_FDCWD;
}

static int result(void)
{
	struct cqe cqe;

	EXPECT_EQ(ring_submit_wait(&ring, 1), 1);
	EXPECT(ring_reap(&ring, &cqe));
	return cqe.res;
}

static const char *path_of_case(void)
{
	const char *path = getenv("SECURITY_PATH");

	EXPECT(path != NULL);
	return path;
}

static struct io_uring_sqe *path_request(unsigned opcode)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring);

	sqe->opcode = (uint8_t)opcode;
	sqe->fd = dirfd_of_case();
	sqe->addr = (uint64_t)(uintptr_t)path_of_case();
	return sqe;
}

static int open_by_ring(int flags)
{
	struct io_uring_sqe *sqe = path_request(IORING_OP_OPENAT);

	sqe->open_flags = (uint32_t)flags;
	return result();
}

static int open2_by_ring(uint64_t resolve)
{
	static struct open_how how;
	struct io_uring_sqe *sqe = path_request(IORING_OP_OPENAT2);

	how.flags = O_RDONLY;
	how.resolve = resolve;
	sqe->off = (uint64_t)(uintptr_t)&how;
	sqe->len = sizeof(how);
	return result();
}

/* Files of procfs have no identity that lasts, so what tells whose they are is their text. */
static void fingerprint(int fd, char *out, size_t size)
{
	static char data[65536];
	struct stat st;
	ssize_t n = 0, got;
	const char *line;

	OK(fstat(fd, &st));
	while (n < (ssize_t)sizeof(data) - 1 && (got = read(fd, data + n, sizeof(data) - 1 - (size_t)n)) > 0)
		n += got;
	data[n] = 0;
	if ((line = strstr(data, "[stack]"))) {
		while (line > data && line[-1] != '\n')
			line--;
		snprintf(out, size, "a stack at %.12s", line);
	} else if ((line = strstr(data, "\nTgid:\t"))) {
		snprintf(out, size, "status of %d", atoi(line + 7));
	} else {
		snprintf(out, size, "file %u:%u %llu", major(st.st_dev), minor(st.st_dev),
			 (unsigned long long)st.st_ino);
	}
}

/* Rather than another's; the kernel has no reason to. */
static void refused(int res)
{
	fprintf(stderr, "refused: %d\n", res);
	EXPECT(strcmp(getenv("SECURITY_CHANNEL"), "kernel") != 0);
}

static int open_natively(int flags)
{
	return openat(dirfd_of_case(), path_of_case(), flags);
}

static void compare_files(int fd)
{
	char native[128] = "", ours[128] = "";
	int own;

	if (fd < 0) {
		refused(fd);
		return;
	}
	own = (int)OK(open_natively(O_RDONLY));
	fingerprint(own, native, sizeof(native));
	fingerprint(fd, ours, sizeof(ours));
	if (strcmp(native, ours) != 0)
		FAIL("%s: %s; of another process: %s", path_of_case(), native, ours);
}

TEST(an_open)
{
	arrange();
	compare_files(open_by_ring(O_RDONLY | O_NONBLOCK));
}

TEST(an_openat2)
{
	arrange();
	compare_files(open2_by_ring(0));
}

/* A directory of procfs: what lies in it. */
TEST(an_open_of_a_directory)
{
	int fd, own;

	arrange();
	fd = open_by_ring(O_RDONLY | O_DIRECTORY);
	if (fd < 0) {
		refused(fd);
		return;
	}
	own = (int)OK(open_natively(O_RDONLY | O_DIRECTORY));
	for (int i = 0; i < 2; i++) {
		char want[64] = "", got[64] = "";
		const char *name = i ? "exe" : "cwd";

		if (readlinkat(own, name, want, sizeof(want) - 1) < 0) /* a directory of descriptors */
			continue;
		if (readlinkat(fd, name, got, sizeof(got) - 1) < 0 || strcmp(want, got) != 0)
			FAIL("%s/%s: %s; of another process: %s", path_of_case(), name, want, got);
	}
	if (readlinkat(own, "2", (char[64]){0}, 64) > 0) {
		struct stat a, b;

		OK(fstatat(own, "2", &a, 0));
		if (fstatat(fd, "2", &b, 0) || a.st_ino != b.st_ino || a.st_dev != b.st_dev)
			FAIL("%s: descriptors of another process", path_of_case());
	}
}

TEST(a_statx)
{
	struct io_uring_sqe *sqe;
	struct statx found;
	struct stat own;
	int res;

	arrange();
	memset(&found, 0, sizeof(found));
	sqe = path_request(IORING_OP_STATX);
	sqe->off = (uint64_t)(uintptr_t)&found;
	sqe->len = STATX_BASIC_STATS;
	res = result();
	if (res < 0) {
		refused(res);
		return;
	}
	OK(fstatat(dirfd_of_case(), path_of_case(), &own, 0));
	if (found.stx_ino != own.st_ino || found.stx_uid != own.st_uid ||
	    makedev(found.stx_dev_major, found.stx_dev_minor) != own.st_dev)
		FAIL("%s: inode %llu of user %u; of another process: %llu of user %u", path_of_case(),
		     (unsigned long long)own.st_ino, own.st_uid, (unsigned long long)found.stx_ino, found.stx_uid);
}
