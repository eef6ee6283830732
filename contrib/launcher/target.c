/* SPDX-License-Identifier: Apache-2.0 */
/* What is about to be executed, where nothing can be preloaded into it: a static program, or one that is setuid or
 * setgid. The filter stays, so its first io_uring call ends it with SIGSYS, without a word of its own. It is told
 * beforehand, if the program looks as if it made one. On the caller's stack: this may be the child of a vfork. */
#include "trap.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/vfs.h>

#define AT_EMPTY_PATH_ 0x1000
#define PART 8192
#define NOSUID 2 /* ST_NOSUID */
#define S_ISUID_ 04000
#define S_ISGID_ 02010 /* with the group's right to execute */

static long read_at(int fd, void *to, size_t size, uint64_t at)
{
	return RAW(SYS_pread64, fd, to, size, at);
}

/* A 64-bit program without an interpreter. */
static bool is_static(int fd)
{
	Elf64_Ehdr head;
	Elf64_Phdr segment;

	if (read_at(fd, &head, sizeof(head), 0) != sizeof(head) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
	    head.e_ident[EI_CLASS] != ELFCLASS64)
		return false;
	for (unsigned i = 0; i < head.e_phnum; i++) {
		if (read_at(fd, &segment, sizeof(segment), head.e_phoff + i * (uint64_t)head.e_phentsize) !=
			    sizeof(segment) ||
		    segment.p_type == PT_INTERP)
			return false;
	}
	return head.e_phnum > 0;
}

/* An exec of it changes the user or group: then the linker takes no LD_PRELOAD (AT_SECURE). */
static bool changes_ids(int fd)
{
	struct statfs fs;
	struct statx st;

	if (RAW(SYS_statx, fd, "", AT_EMPTY_PATH_, STATX_MODE | STATX_UID | STATX_GID, &st) < 0 ||
	    !(st.stx_mode & (S_ISUID_ | S_ISGID_)))
		return false;
	if (RAW(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		return false;
	if (RAW(SYS_fstatfs, fd, &fs) == 0 && fs.f_flags & NOSUID)
		return false;
	return (st.stx_mode & S_ISUID_ && st.stx_uid != (uint32_t)RAW(SYS_geteuid)) ||
	       ((st.stx_mode & S_ISGID_) == S_ISGID_ && st.stx_gid != (uint32_t)RAW(SYS_getegid));
}

/* The name of the library, or io_uring_setup's number in the register of a system call, or of syscall(3). */
static bool looks_like_it(const char *at)
{
#if defined(__x86_64__)
	if (memcmp(at + 1, "\xa9\x01\0\0", 4) == 0) /* mov $425,%eax or %edi */
		return true;
#else
	if (memcmp(at + 1, "\x35\x80", 2) == 0 && (at[3] == '\xd2' || at[3] == '\x52')) /* mov x8, w8, x0 or w0,#425 */
		return true;
#endif
	return memcmp(at, "liburing", 8) == 0;
}

static bool may_be_it(char first)
{
#if defined(__x86_64__)
	return first == '\xb8' || first == '\xbf' || first == 'l';
#else
	return first == '\x28' || first == '\x20' || first == 'l';
#endif
}

static bool uses_io_uring(int fd)
{
	char part[PART + 8]; /* the end of one is the beginning of the next */
	uint64_t at = 0;
	long n;

	while ((n = read_at(fd, part, sizeof(part), at)) >= 8) {
		for (long i = 0; i + 8 <= n; i++)
			if (may_be_it(part[i]) && looks_like_it(part + i))
				return true;
		at += (uint64_t)n - 7;
	}
	return false;
}

static void say_of(int fd, const char *path)
{
	if ((is_static(fd) || changes_ids(fd)) && uses_io_uring(fd))
		trap_say_deadly(path);
}

void trap_look_at(int directory, const char *path)
{
	long fd = trap_state.active ? RAW(SYS_openat, directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0) : -1;

	if (fd >= 0) {
		say_of((int)fd, path);
		RAW(SYS_close, fd);
	}
}

/* A name that is looked for in PATH, which has an entry `PATH=...`. */
void trap_look_for(const char *file, char *const *envp)
{
	size_t length = strlen(file), part;
	const char *list = "/bin:/usr/bin";
	char path[4096];

	if (strchr(file, '/')) {
		trap_look_at(AT_FDCWD, file);
		return;
	}
	for (; envp && *envp; envp++)
		if (strncmp(*envp, "PATH=", 5) == 0)
			list = *envp + 5;
	for (;; list += part + 1) {
		part = strcspn(list, ":");
		if (part + length + 2 <= sizeof(path)) {
			memcpy(path, list, part);
			path[part] = '/';
			memcpy(path + part + (part > 0), file, length + 1);
			if (RAW(SYS_faccessat, AT_FDCWD, path, X_OK) == 0) {
				trap_look_at(AT_FDCWD, path);
				return;
			}
		}
		if (!list[part])
			return;
	}
}
