/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paths.c: the same requests about paths twice, by system calls and through a ring, in directories of a container.
 *
 * The harness of ../conformance, static: URINGFS_DIR is the mount, DIRS the directories, separated by blanks.
 * Each step is an SQE, performed once each way; what came of it and of the files must be the same.
 */
#include "harness.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif

typedef int (*run_fn)(const struct io_uring_sqe *sqe);

static struct ring ring;
static run_fn run;
static char texts[2][1 << 15], *at, *end; /* what happened, either way */

__attribute__((format(printf, 1, 2))) static void tell(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	at += vsnprintf(at, (size_t)(end - at), fmt, ap);
	va_end(ap);
	EXPECT(at < end);
}

/* ---- either way ---- */

static int by_call(const struct io_uring_sqe *s)
{
	const char *name = (const char *)(uintptr_t)s->addr, *path = (const char *)(uintptr_t)s->addr3;
	void *other = (void *)(uintptr_t)s->addr2;
	long ret;

	switch (s->opcode) {
	case IORING_OP_OPENAT: ret = openat(s->fd, name, (int)s->open_flags, s->len); break;
	case IORING_OP_OPENAT2: ret = syscall(SYS_openat2, s->fd, name, other, s->len); break;
	case IORING_OP_CLOSE: ret = close(s->fd); break;
	case IORING_OP_STATX: ret = syscall(SYS_statx, s->fd, name, s->statx_flags, s->len, other); break;
	case IORING_OP_RENAMEAT: ret = syscall(SYS_renameat2, s->fd, name, s->len, other, s->rename_flags); break;
	case IORING_OP_UNLINKAT: ret = unlinkat(s->fd, name, (int)s->unlink_flags); break;
	case IORING_OP_MKDIRAT: ret = mkdirat(s->fd, name, s->len); break;
	case IORING_OP_SYMLINKAT: ret = symlinkat(name, s->fd, other); break;
	case IORING_OP_LINKAT: ret = linkat(s->fd, name, (int)s->len, other, (int)s->hardlink_flags); break;
	case IORING_OP_FSETXATTR: ret = fsetxattr(s->fd, name, other, s->len, (int)s->xattr_flags); break;
	case IORING_OP_SETXATTR: ret = setxattr(path, name, other, s->len, (int)s->xattr_flags); break;
	case IORING_OP_FGETXATTR: ret = fgetxattr(s->fd, name, other, s->len); break;
	case IORING_OP_GETXATTR: ret = getxattr(path, name, other, s->len); break;
	default: FAIL("opcode %u", s->opcode);
	}
	return ret < 0 ? -errno : (int)ret;
}

static int by_ring(const struct io_uring_sqe *sqe)
{
	struct io_uring_sqe *slot = ring_sqe(&ring);

	EXPECT(slot != NULL);
	memcpy(slot, sqe, sizeof(*sqe));
	EXPECT_EQ(ring_submit_wait(&ring, 1), 1);
	return ring_wait(&ring).res;
}

static int step(const char *what, struct io_uring_sqe sqe)
{
	int res = run(&sqe);

	tell("%s: %d\n", what, res);
	return res;
}

#define AT(x) (uint64_t)(uintptr_t)(x)
#define STEP(op, ...) step(#op, (struct io_uring_sqe){.opcode = IORING_OP_##op, __VA_ARGS__})
#define HERE .fd = AT_FDCWD, .addr = AT

/* ---- the steps ---- */

static void show(const char *name)
{
	struct statx x;
	struct stat st;
	char target[64];
	ssize_t n;

	memset(&x, 0, sizeof(x));
	if (STEP(STATX, .fd = AT_FDCWD, .addr = AT(name), .statx_flags = AT_SYMLINK_NOFOLLOW, .len = STATX_BASIC_STATS,
		 .addr2 = AT(&x)) < 0)
		return;
	tell("%s: mode %o uid %u gid %u nlink %u size %llu\n", name, x.stx_mode, x.stx_uid, x.stx_gid, x.stx_nlink,
	     S_ISDIR(x.stx_mode) ? 0ULL : (unsigned long long)x.stx_size);
	OK(lstat(name, &st)); /* of what the ring has made, too */
	tell("%s: mode %o uid %u gid %u\n", name, st.st_mode, st.st_uid, st.st_gid);
	n = readlink(name, target, sizeof(target));
	if (n > 0)
		tell("%s -> %.*s\n", name, (int)n, target);
}

static int open_(const char *name, int flags, unsigned mode)
{
	int res;

	tell("%s ", name);
	res = STEP(OPENAT, HERE(name), .open_flags = (uint32_t)flags, .len = mode);
	if (res >= 0 && run == by_ring)
		EXPECT_EQ(!!(fcntl(res, F_GETFD) & FD_CLOEXEC), !!(flags & O_CLOEXEC));
	return res;
}

static void close_(int fd)
{
	if (fd >= 0)
		STEP(CLOSE, .fd = fd);
}

static void mkdir_(const char *name, unsigned mode)
{
	tell("%s ", name);
	STEP(MKDIRAT, HERE(name), .len = mode);
	show(name);
}

static void unlink_(const char *name, int flags)
{
	tell("%s ", name);
	STEP(UNLINKAT, HERE(name), .unlink_flags = (uint32_t)flags);
}

static void rename_(const char *from, const char *to, unsigned flags)
{
	tell("%s %s ", from, to);
	STEP(RENAMEAT, HERE(from), .len = (uint32_t)AT_FDCWD, .addr2 = AT(to), .rename_flags = flags);
}

static void link_(int dfd, const char *from, const char *to, unsigned flags)
{
	tell("%s %s ", *from == '/' ? "a /proc link" : from, to);
	STEP(LINKAT, .fd = dfd, .addr = AT(from), .len = (uint32_t)AT_FDCWD, .addr2 = AT(to), .hardlink_flags = flags);
}

static void xattrs(const char *name, int fd, const char *attr)
{
	char value[32] = "";
	int n;

	tell("%s %s ", name, attr);
	STEP(GETXATTR, .addr3 = AT(name), .addr = AT(attr), .addr2 = AT(value), .len = sizeof(value));
	STEP(SETXATTR, .addr3 = AT(name), .addr = AT(attr), .addr2 = AT("one"), .len = 3);
	STEP(SETXATTR, .addr3 = AT(name), .addr = AT(attr), .addr2 = AT("two"), .len = 3, .xattr_flags = XATTR_CREATE);
	n = STEP(GETXATTR, .addr3 = AT(name), .addr = AT(attr), .addr2 = AT(value), .len = sizeof(value));
	tell("value %.*s\n", n > 0 ? n : 0, value);
	STEP(FSETXATTR, .fd = fd, .addr = AT(attr), .addr2 = AT("three"), .len = 5);
	n = STEP(FGETXATTR, .fd = fd, .addr = AT(attr), .addr2 = AT(value), .len = sizeof(value));
	tell("value %.*s\n", n > 0 ? n : 0, value);
	STEP(FGETXATTR, .fd = fd, .addr = AT(attr), .addr2 = AT(value), .len = 2);
}

static void hex(const unsigned char *value, int size)
{
	tell("value ");
	for (int i = 0; i < size; i++)
		tell("%02x", value[i]);
	tell(".\n");
}

static void blob(const char *name, const char *attr, const void *value, size_t size)
{
	unsigned char found[64];
	int n;

	tell("%s %s ", name, attr);
	STEP(SETXATTR, .addr3 = AT(name), .addr = AT(attr), .addr2 = AT(value), .len = (uint32_t)size);
	n = STEP(GETXATTR, .addr3 = AT(name), .addr = AT(attr), .addr2 = AT(found), .len = sizeof(found));
	hex(found, n);
	n = (int)getxattr(name, attr, found, sizeof(found)); /* of what the ring has set, too */
	hex(found, n);
}

/* Attributes with ids in them, which are those of a user namespace. */
static void attributes_of_ids(const char *name)
{
	static const struct {
		uint32_t version;
		struct {
			uint16_t tag, perm;
			uint32_t id;
		} entries[5];
	} acl = {2, {{1, 6, ~0U}, {2, 4, 1000}, {4, 4, ~0U}, {16, 6, ~0U}, {32, 0, ~0U}}};
	static const uint32_t capability[] = {0x02000001, 1 << 10, 0, 0, 0}; /* of VFS_CAP_REVISION_2, effective */

	blob(name, "system.posix_acl_access", &acl, sizeof(acl));
	blob(name, "security.capability", capability, sizeof(capability));
	show(name);
}

static void resolve(const char *name, uint64_t flags)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC, .resolve = flags};

	tell("%s %llu ", name, (unsigned long long)flags);
	close_(STEP(OPENAT2, HERE(name), .addr2 = AT(&how), .len = sizeof(how)));
}

static void names(void)
{
	static const unsigned masks[] = {0, 022, 0777};
	char name[32];
	int fd;

	for (unsigned i = 0; i < 3; i++) {
		umask(masks[i]);
		snprintf(name, sizeof(name), "dir%u", i);
		mkdir_(name, 02775);
		snprintf(name, sizeof(name), "file%u", i);
		close_(open_(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666));
		show(name);
	}
	umask(022);
	mkdir_("dir1", 0777);
	mkdir_("none/dir", 0777);
	fd = open_("file1", O_RDWR, 0);
	EXPECT_EQ(write(fd, "text", 4), 4);
	show("file1");
	xattrs("file1", fd, "user.uringfs");
	xattrs("file1", fd, "trusted.uringfs");
	xattrs("file1", fd, "security.uringfs");
	close_(fd);
	attributes_of_ids("file1");
	STEP(SYMLINKAT, .fd = AT_FDCWD, .addr = AT("file1"), .addr2 = AT("link"));
	STEP(SYMLINKAT, .fd = AT_FDCWD, .addr = AT("file1"), .addr2 = AT("link"));
	show("link");
	close_(open_("link", O_RDONLY, 0));
	close_(open_("link", O_RDONLY | O_NOFOLLOW, 0));
	link_(AT_FDCWD, "file1", "hard", 0);
	link_(AT_FDCWD, "link", "followed", AT_SYMLINK_FOLLOW);
	link_(AT_FDCWD, "link", "another", 0);
	show("file1");
	show("another");
	rename_("hard", "dir1/hard", 0);
	rename_("file1", "file0", RENAME_NOREPLACE);
	rename_("file1", "file0", RENAME_EXCHANGE);
	rename_("none", "some", 0);
	rename_("dir1", "dir1/dir", 0);
	show("file0");
	unlink_("dir1", AT_REMOVEDIR);
	unlink_("dir1", 0);
	unlink_("dir1/hard", 0);
	unlink_("dir1", AT_REMOVEDIR);
	show("dir1");
	fd = open_(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
	if (fd >= 0) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		link_(AT_FDCWD, name, "unnamed", AT_SYMLINK_FOLLOW);
	}
	close_(fd);
	show("unnamed");
	resolve("file0", RESOLVE_BENEATH);
	resolve("../plain", RESOLVE_BENEATH);
	resolve("../../../file0", RESOLVE_IN_ROOT);
	resolve("link", RESOLVE_NO_SYMLINKS);
	resolve("/etc/only-here", RESOLVE_NO_XDEV);
	resolve("/proc/self/status", RESOLVE_NO_XDEV);
}

/* What is there already, and whose: prepared by the test. */
static void rights(void)
{
	static const char *const given[] = {"../given/root", "../given/user", "../given/group", "../given/closed",
					    "../given/public"};
	static const char *const here[] = {"/etc/only-here",
					   "/etc/secret",
					   "/proc/1/environ",
					   "/proc/self/mem",
					   "/proc/kcore",
					   "/proc/sys/kernel/hostname",
					   "/sys/kernel",
					   "/dev/null",
					   "/proc/self/root/etc/only-here",
					   "/proc/thread-self/status"};

	for (unsigned i = 0; i < sizeof(given) / sizeof(*given); i++) {
		close_(open_(given[i], O_RDONLY, 0));
		close_(open_(given[i], O_RDWR, 0));
		close_(open_(given[i], O_RDONLY | O_NOATIME, 0));
		tell("%s ", given[i]);
		STEP(SETXATTR, .addr3 = AT(given[i]), .addr = AT("user.uringfs"), .addr2 = AT(""), .len = 0);
		link_(AT_FDCWD, given[i], "linked", 0); /* fs.protected_hardlinks */
		unlink_("linked", 0);
	}
	mkdir_("../given/sgid/dir", 0777);
	close_(open_("../given/sgid/file", O_CREAT | O_RDWR, 02775));
	show("../given/sgid/file");
	unlink_("../given/sgid/file", 0);
	unlink_("../given/sgid/dir", AT_REMOVEDIR);
	rename_("../given/sticky/root", "../given/sticky/moved", 0);
	rename_("../given/sticky/moved", "../given/sticky/root", 0);
	mkdir_("/etc/dir", 0777);
	unlink_("/etc/dir", AT_REMOVEDIR);
	mkdir_("/proc/dir", 0777);
	mkdir_("/sys/dir", 0777);
	for (unsigned i = 0; i < sizeof(here) / sizeof(*here); i++) {
		close_(open_(here[i], O_RDONLY, 0));
		close_(open_(here[i], O_WRONLY, 0));
	}
}

/* A directory of another file system, or of none, by its descriptor. */
static void descriptors(const char *dir)
{
	int fd = (int)OK(open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC));

	STEP(MKDIRAT, .fd = fd, .addr = AT("by-fd"), .len = 0755);
	STEP(RENAMEAT, .fd = fd, .addr = AT("by-fd"), .len = (uint32_t)AT_FDCWD, .addr2 = AT("moved"));
	STEP(UNLINKAT, HERE("moved"), .unlink_flags = AT_REMOVEDIR);
	STEP(UNLINKAT, .fd = fd, .addr = AT("by-fd"), .unlink_flags = AT_REMOVEDIR);
	STEP(OPENAT, .fd = fd, .addr = AT("../etc"), .open_flags = O_WRONLY);
	OK(close(fd));
	STEP(MKDIRAT, .fd = 999, .addr = AT("by-fd"), .len = 0755);
}

static void one_way(const char *dir, const char *subdir, run_fn way, char *text)
{
	run = way;
	at = text;
	end = text + sizeof(texts[0]);
	OK(chdir(dir));
	OK(mkdir(subdir, 0755));
	OK(chdir(subdir));
	names();
	rights();
	descriptors("/tmp");
	descriptors("/mnt/tmpfs");
}

/* The first line in which they differ. */
static void same(const char *dir)
{
	char *a = texts[0], *b = texts[1];

	while (*a || *b) {
		size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");

		if (n != m || memcmp(a, b, n))
			FAIL("%s: by system calls: %.*s\nthrough the ring: %.*s", dir, (int)n, a, (int)m, b);
		a += n + (a[n] != 0);
		b += m + (b[m] != 0);
	}
}

TEST(paths)
{
	char *dirs = strdup(getenv("DIRS"));

	ring_init(&ring, 8, 0);
	for (char *dir = strtok(dirs, " "); dir; dir = strtok(NULL, " ")) {
		one_way(dir, "plain", by_call, texts[0]);
		one_way(dir, "ring", by_ring, texts[1]);
		same(dir);
		note("%s\n%s", dir, texts[1]);
	}
}
