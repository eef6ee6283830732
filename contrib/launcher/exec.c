/* SPDX-License-Identifier: Apache-2.0 */
/* The filter outlives an exec, so a program without this library would die of its first io_uring call:
 * every environment that goes to an exec gets our entries back where they are missing. On the caller's
 * stack: this may be the child of a vfork. */
#include "trap.h"

#include <alloca.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma weak dlsym

#define REAL(name)                     \
	static __typeof__(name) *real; \
	if (!real)                     \
	real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static bool starts(const char *entry, const char *name)
{
	return strncmp(entry, name, strlen(name)) == 0;
}

/* Is the library itself among the words of an LD_PRELOAD? */
static bool preloads(const char *list)
{
	size_t length = trap_state.library_length;

	for (;;) {
		size_t word = strcspn(list, ": ");

		if (word == length && memcmp(list, trap_state.library, length) == 0)
			return true;
		if (!list[word])
			return false;
		list += word + 1;
	}
}

struct plan {
	size_t count;	     /* entries of the new environment, at most */
	size_t preload_size; /* bytes of an LD_PRELOAD of ours before the program's, 0: not needed */
	const char *preload; /* the program's */
};

/* Of trap_options; -1: none */
static int option_of(const char *entry)
{
	for (int i = 0; i < TRAP_OPTIONS; i++)
		if (starts(entry, trap_options[i]))
			return i;
	return -1;
}

/* False: nothing to do. */
static bool plan(char *const *envp, struct plan *p)
{
	bool mount = false, loads = false;
	int wanted = 0, found = 0;

	memset(p, 0, sizeof(*p));
	p->count = 3 + TRAP_OPTIONS;
	p->preload = "";
	if (!trap_state.active || !trap_state.library)
		return false;
	for (; envp && *envp; envp++, p->count++) {
		mount = mount || strcmp(*envp, trap_state.mount_entry) == 0;
		if (option_of(*envp) >= 0)
			found |= 1 << option_of(*envp);
		if (starts(*envp, TRAP_ENV_PRELOAD)) {
			p->preload = *envp + strlen(TRAP_ENV_PRELOAD);
			loads = preloads(p->preload);
		}
	}
	if (!loads)
		p->preload_size = strlen(TRAP_ENV_PRELOAD) + trap_state.library_length + 1 + strlen(p->preload) + 1;
	for (int i = 0; i < TRAP_OPTIONS; i++)
		wanted |= trap_state.options[i] ? 1 << i : 0;
	return !mount || !loads || wanted & ~found;
}

static char **fill(const struct plan *p, char *const *envp, char **to, char *preload)
{
	char **at = to;

	for (; envp && *envp; envp++)
		if (!starts(*envp, TRAP_ENV_MOUNT) && option_of(*envp) < 0 &&
		    !(preload && starts(*envp, TRAP_ENV_PRELOAD)))
			*at++ = *envp;
	*at++ = (char *)(uintptr_t)trap_state.mount_entry;
	for (int i = 0; i < TRAP_OPTIONS; i++)
		if (trap_state.options[i])
			*at++ = (char *)(uintptr_t)trap_state.options[i];
	if (preload) {
		size_t name = strlen(TRAP_ENV_PRELOAD), length = trap_state.library_length;

		memcpy(preload, TRAP_ENV_PRELOAD, name);
		memcpy(preload + name, trap_state.library, length);
		preload[name + length] = *p->preload ? ':' : 0;
		memcpy(preload + name + length + 1, p->preload, strlen(p->preload) + 1);
		*at++ = preload;
	}
	*at = NULL;
	return to;
}

/* A macro: alloca() lasts as long as its caller. Not among the arguments of a call. */
#define ENVIRONMENT(envp)                                                                \
	__extension__({                                                                  \
		struct plan p_;                                                          \
		plan(envp, &p_) ? fill(&p_, envp, alloca(p_.count * sizeof(char *)),     \
				       p_.preload_size ? alloca(p_.preload_size) : NULL) \
				: (char **)(uintptr_t)(envp);                            \
	})

/* io_uring_task_cancel(): what workers have under way is done before the program is another. */
#define FINISHED(call)              \
	__extension__({             \
		int ret_;           \
		trap_no_workers();  \
		ret_ = (int)(call); \
		trap_workers_may(); \
		ret_;               \
	})

TRAP_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	char **with_us = ENVIRONMENT(envp);

	trap_look_at(AT_FDCWD, path);
	return FINISHED(raw_errno(RAW(SYS_execve, path, argv, with_us)));
}

TRAP_EXPORT int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
	char **with_us = ENVIRONMENT(envp);

	trap_look_at(fd, path);
	return FINISHED(raw_errno(RAW(SYS_execveat, fd, path, argv, with_us, flags)));
}

TRAP_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	char **with_us = ENVIRONMENT(envp);
	REAL(fexecve);
	return FINISHED(real(fd, argv, with_us));
}

TRAP_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	char **with_us = ENVIRONMENT(envp);
	REAL(execvpe);
	trap_look_for(file, environ);
	return FINISHED(real(file, argv, with_us));
}

TRAP_EXPORT int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

TRAP_EXPORT int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

/* execl(path, "a", "b", NULL): the words behind the first, as argv */
#define WORDS(argv, first, ap)                            \
	do {                                              \
		size_t n_ = 1;                            \
		va_list count_;                           \
		va_copy(count_, ap);                      \
		while (va_arg(count_, char *))            \
			n_++;                             \
		va_end(count_);                           \
		argv = alloca((n_ + 1) * sizeof(char *)); \
		argv[0] = (char *)(uintptr_t)(first);     \
		for (size_t i_ = 1; i_ <= n_; i_++)       \
			argv[i_] = va_arg(ap, char *);    \
	} while (0)

TRAP_EXPORT int execl(const char *path, const char *first, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, first);
	WORDS(argv, first, ap);
	va_end(ap);
	return execve(path, argv, environ);
}

TRAP_EXPORT int execlp(const char *file, const char *first, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, first);
	WORDS(argv, first, ap);
	va_end(ap);
	return execvpe(file, argv, environ);
}

TRAP_EXPORT int execle(const char *path, const char *first, ...)
{
	char **argv, **envp;
	va_list ap;

	va_start(ap, first);
	WORDS(argv, first, ap);
	envp = va_arg(ap, char **);
	va_end(ap);
	return execve(path, argv, envp);
}

/* The child of posix_spawn(3) has SIGSYS blocked when it resets its ids, which may be trapped by now (rights.c): not where
 * they are what they are reset to. */
static const posix_spawnattr_t *without_resetids(const posix_spawnattr_t *attr, posix_spawnattr_t *copy)
{
	short flags = 0;

	if (!attr || posix_spawnattr_getflags(attr, &flags) != 0 || !(flags & POSIX_SPAWN_RESETIDS) ||
	    RAW(SYS_getuid) != RAW(SYS_geteuid) || RAW(SYS_getgid) != RAW(SYS_getegid))
		return attr;
	memcpy(copy, attr, sizeof(*copy));
	posix_spawnattr_setflags(copy, (short)(flags & ~POSIX_SPAWN_RESETIDS));
	return copy;
}

TRAP_EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
			    const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	char **with_us = ENVIRONMENT(envp);
	posix_spawnattr_t copy;
	REAL(posix_spawn);
	trap_look_at(AT_FDCWD, path);
	return real(pid, path, actions, without_resetids(attr, &copy), argv, with_us);
}

TRAP_EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			     const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	char **with_us = ENVIRONMENT(envp);
	posix_spawnattr_t copy;
	REAL(posix_spawnp);
	trap_look_for(file, environ);
	return real(pid, file, actions, without_resetids(attr, &copy), argv, with_us);
}

/* What these execute gets the program's environment, from within libc: ours is put in its place meanwhile. */
#define LENT(call)                                                     \
	__extension__({                                                \
		char **own_ = environ, **with_us_ = ENVIRONMENT(own_); \
		environ = with_us_;                                    \
		__typeof__(call) ret_ = call;                          \
		if (environ == with_us_)                               \
			environ = own_;                                \
		ret_;                                                  \
	})

TRAP_EXPORT int system(const char *command)
{
	REAL(system);
	return LENT(real(command));
}

TRAP_EXPORT FILE *popen(const char *command, const char *type)
{
	REAL(popen);
	return LENT(real(command, type));
}
