/* SPDX-License-Identifier: Apache-2.0 */
/* What a user has to be told, once, on the standard error output: that io_uring is not what was asked for. */
#include "trap.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>

#define AT_STATX_DONT_SYNC_ 0x4000
#define AT_EMPTY_PATH_ 0x1000

static struct statx stderr_was;

static long stat_stderr(struct statx *st)
{
	return RAW(SYS_statx, 2, "", AT_EMPTY_PATH_ | AT_STATX_DONT_SYNC_, STATX_INO | STATX_TYPE, st);
}

void trap_remember_stderr(void)
{
	if (stat_stderr(&stderr_was) < 0)
		stderr_was.stx_mask = 0;
}

/* The program may have closed it, and 2 be a file of its own by now. */
static bool stderr_is_the_same(void)
{
	struct statx now;

	return stderr_was.stx_mask && stat_stderr(&now) == 0 && now.stx_ino == stderr_was.stx_ino &&
	       now.stx_dev_major == stderr_was.stx_dev_major && now.stx_dev_minor == stderr_was.stx_dev_minor;
}

/* One writev(2), so that processes do not mix. */
static void say(const char *first, const char *second, const char *third)
{
	struct iovec words[] = {
		{(void *)(uintptr_t)first, strlen(first)},
		{(void *)(uintptr_t)second, strlen(second)},
		{(void *)(uintptr_t)third, strlen(third)},
	};

	if (stderr_is_the_same())
		RAW(SYS_writev, 2, words, 3);
}

/* Is it the first of the text, up to its 0? *at: how much of it has been seen; SIZE_MAX: another entry. */
static bool matches(const char *entry, size_t *at, char next)
{
	if (*at != SIZE_MAX && entry[*at] == next) {
		if (!next)
			return true;
		++*at;
	} else {
		*at = next ? SIZE_MAX : 0;
	}
	return false;
}

/* The process that started this one has the same entry in its environment: so it has said it. */
static bool parent_has(const char *entry)
{
	char path[] = "/proc/4294967295/environ", digits[12], *digit = digits, part[1024];
	unsigned parent = (unsigned)RAW(SYS_getppid);
	char *to = path + sizeof("/proc/") - 1;
	bool found = false;
	size_t at = 0;
	long fd, n;

	do
		*digit++ = (char)('0' + parent % 10);
	while (parent /= 10);
	while (digit > digits)
		*to++ = *--digit;
	memcpy(to, "/environ", sizeof("/environ"));
	fd = RAW(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	while (fd >= 0 && !found && (n = RAW(SYS_read, fd, part, sizeof(part))) > 0)
		for (long i = 0; i < n && !found; i++)
			found = matches(entry, &at, part[i]);
	if (fd >= 0)
		RAW(SYS_close, fd);
	return found;
}

/* preload: the entry LD_PRELOAD=..., or NULL */
void trap_say_no_variable(const char *preload)
{
	trap_remember_stderr();
	if (!preload || !parent_has(preload))
		say("uringfs: the trap library is preloaded, but ", "URINGFS_TRAP_MOUNT is not set",
		    ": io_uring is the kernel's\n");
}

void trap_say_no_mount(void)
{
	static _Atomic bool said;
	char mount[sizeof(trap_state.new_path)];

	if (atomic_exchange(&said, true))
		return;
	memcpy(mount, trap_state.new_path, trap_state.mount_length);
	mount[trap_state.mount_length] = 0;
	say("uringfs: no ring filesystem is mounted at ", mount,
	    " (URINGFS_TRAP_MOUNT): io_uring_setup answers ENOSYS\n");
}

void trap_say_valgrind(void)
{
	say("uringfs: under valgrind nothing is trapped", ": uringfs run --mode notify", "\n");
}

void trap_say_deadly(const char *path)
{
	say("uringfs: nothing can be preloaded into ", path,
	    " (static, setuid or setgid): its first io_uring call ends it with SIGSYS; uringfs run --mode notify\n");
}
