/* SPDX-License-Identifier: Apache-2.0 */
/* The filter, the handler of SIGSYS, and how both come into a program. */
#include "trap.h"

#include "filter.h"
#include "line.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <ucontext.h>

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

#if defined(__x86_64__)
#define RETURN_REGISTER(uc) ((uc)->uc_mcontext.gregs[REG_RAX])
#define ARGUMENTS(uc)                                                                                          \
	{(uc)->uc_mcontext.gregs[REG_RDI], (uc)->uc_mcontext.gregs[REG_RSI], (uc)->uc_mcontext.gregs[REG_RDX], \
	 (uc)->uc_mcontext.gregs[REG_R10], (uc)->uc_mcontext.gregs[REG_R8],  (uc)->uc_mcontext.gregs[REG_R9]}
#else
#define RETURN_REGISTER(uc) ((uc)->uc_mcontext.regs[0])
#define ARGUMENTS(uc)                                                                                       \
	{(long)(uc)->uc_mcontext.regs[0], (long)(uc)->uc_mcontext.regs[1], (long)(uc)->uc_mcontext.regs[2], \
	 (long)(uc)->uc_mcontext.regs[3], (long)(uc)->uc_mcontext.regs[4], (long)(uc)->uc_mcontext.regs[5]}
#endif

struct trap_state trap_state;
const char *const trap_options[TRAP_OPTIONS] = {TRAP_ENV_TRACE, TRAP_ENV_NO_LANE, TRAP_ENV_NO_PATCH,
						TRAP_ENV_NO_WORKERS};

/* One write(2) a line, so that threads do not mix. */
static void trace(long nr, const long *a, long ret)
{
	struct line l = trace_line(RAW(SYS_gettid), nr, a, ret);

	RAW(SYS_write, 2, l.text, l.length);
}

/* ---- the handler ---- */

static long enter(const long *a, const uint64_t *mask)
{
	struct trap_enter e = {(uint32_t)a[0],
			       (uint32_t)a[1],
			       (uint32_t)a[2],
			       (uint32_t)a[3],
			       (uintptr_t)a[4],
			       (size_t)a[5],
			       0,
			       NULL,
			       0,
			       false,
			       false,
			       0,
			       0,
			       0,
			       0,
			       false,
			       false};

	return trap_enter(&e, mask);
}

/* mask: of the interrupted call. What may wait runs with it, as if the handler had not blocked anything. */
static long call(long nr, const long *a, const uint64_t *mask)
{
	long ret;

	if (nr == NR_ENTER && a[5] == PROBE_ARG && (int)a[0] == -1)
		return PROBE_ANSWER;
	if (nr != NR_ENTER)
		trap_set_mask(mask);
	if (nr == NR_SETUP)
		ret = trap_setup((uint32_t)a[0], (uintptr_t)a[1]);
	else if (nr == NR_ENTER)
		ret = enter(a, mask);
	else
		ret = trap_register((uint32_t)a[0], (uint32_t)a[1], (uintptr_t)a[2], (uint32_t)a[3]);
	if (trap_state.trace)
		trace(nr, a, ret);
	return ret;
}

/* rights.c */
static bool is_rights(const siginfo_t *info, ucontext_t *uc)
{
	const long a[6] = ARGUMENTS(uc);

	if (info->si_code != SYS_SECCOMP || info->si_arch != TRAP_ARCH || !trap_is_rights(info->si_syscall, a))
		return false;
	RETURN_REGISTER(uc) = trap_rights(info->si_syscall, a);
	return true;
}

/* Begins with all signals blocked but SIGSYS (SA_NODEFER), for the lane's sake; whatever waits has the mask of the
 * interrupted call. On the caller's stack, because other handlers may run on top of a wait. */
static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	int saved;

	/* A worker, which has no errno, is to leave the call that it is in (workers.c). */
	if (info->si_code == SI_QUEUE && info->si_value.sival_ptr == &trap_state)
		return;
	saved = errno;
	if (info->si_code == SYS_SECCOMP && info->si_arch == TRAP_ARCH && info->si_syscall >= NR_SETUP &&
	    info->si_syscall <= NR_REGISTER) {
		const long a[6] = ARGUMENTS(uc);
		uint64_t mask;

		memcpy(&mask, &uc->uc_sigmask, sizeof(mask));
		if (info->si_syscall == NR_ENTER)
			trap_patch((uintptr_t)info->si_call_addr);
		RETURN_REGISTER(uc) = call(info->si_syscall, a, &mask);
	} else if (!is_rights(info, uc)) {
		trap_set_mask((const uint64_t *)(const void *)&uc->uc_sigmask);
		trap_forward(sig, info, context);
	}
	errno = saved;
}

/* ---- installation ---- */

struct kernel_sigaction {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
#if defined(__x86_64__)
	void (*restorer)(void);
#endif
	uint64_t mask;
};

#if defined(__x86_64__)
#define KERNEL_SA_RESTORER 0x04000000UL
/* These very bytes: unwinders know a signal frame by them. */
void trap_restorer(void);
__asm__(".text\n.hidden trap_restorer\n.type trap_restorer,@function\n.byte 0x90\n"
	"trap_restorer:\n\tmovq $15, %rax\n\tsyscall\n");
#endif

static void take_sigsys(void)
{
	struct kernel_sigaction sa;
	uint64_t bit = TRAP_SIGSYS_BIT;

	memset(&sa, 0, sizeof(sa));
	sa.handler = on_sigsys;
	sa.flags = SA_SIGINFO | SA_NODEFER;
	sa.mask = ~bit;
#if defined(__x86_64__)
	sa.flags |= KERNEL_SA_RESTORER;
	sa.restorer = trap_restorer;
#endif
	RAW(SYS_rt_sigaction, TRAP_SIGNAL, &sa, 0, sizeof(bit));
	RAW(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, 0, sizeof(bit));
}

static long install_filter(void)
{
	struct sock_filter code[] = IO_URING_FILTER(SECCOMP_RET_TRAP);
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
	long ret = RAW(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);

	if (ret != -EACCES)
		return ret;
	/* Not privileged: then only with no_new_privs. */
	RAW(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return RAW(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

static const char *find(char **envp, const char *name)
{
	size_t length = strlen(name);

	for (; envp && *envp; envp++)
		if (strncmp(*envp, name, length) == 0)
			return *envp;
	return NULL;
}

static void fail(const char *what, long error)
{
	struct line l = {.length = 0};

	put_text(&l, "uringfs run: ");
	put_text(&l, what);
	put_text(&l, ": errno ");
	put_signed(&l, -error);
	put_text(&l, "\n");
	RAW(SYS_write, 2, l.text, l.length);
	RAW(SYS_exit_group, 125);
}

/* A copy: the program may do to its environment what it likes. Never freed. */
static const char *keep(const char *text)
{
	static char kept[3 * 4096];
	static size_t used;
	size_t size = strlen(text) + 1;
	char *at = kept + used;

	if (size > sizeof(kept) - used)
		return NULL;
	memcpy(at, text, size);
	used += size;
	return at;
}

/* The first of LD_PRELOAD, where `uringfs run` puts us. */
static void keep_library(const char *preload)
{
	size_t length = strcspn(preload, ": ");
	const char *kept = length < 4096 ? keep(preload) : NULL;

	trap_state.library = kept;
	trap_state.library_length = kept ? length : 0;
}

static void keep_options(char **envp)
{
	for (int i = 0; i < TRAP_OPTIONS; i++) {
		const char *entry = find(envp, trap_options[i]);

		trap_state.options[i] = entry ? keep(entry) : NULL;
	}
	trap_state.trace = trap_state.options[TRAP_OPTION_TRACE];
	trap_state.no_lane = trap_state.options[TRAP_OPTION_NO_LANE];
	trap_state.no_patch = trap_state.options[TRAP_OPTION_NO_PATCH];
	trap_state.no_workers = trap_state.options[TRAP_OPTION_NO_WORKERS];
}

/* It preloads libraries of its own, and is no place for a SIGSYS that a system call of the program's brings. */
static bool under_valgrind(const char *preload)
{
	for (; preload && *preload; preload++)
		if (strncmp(preload, "vgpreload_", sizeof("vgpreload_") - 1) == 0)
			return true;
	return false;
}

/* -z initfirst: before any other constructor, which might use io_uring or threads. glibc passes main's
 * arguments, musl has environ set by then. */
__attribute__((constructor)) static void begin(int argc, char **argv, char **arguments_environ)
{
	char **envp = environ ? environ : arguments_environ;
	const char *mount = find(envp, TRAP_ENV_MOUNT), *preload = find(envp, TRAP_ENV_PRELOAD);
	size_t length;
	long ret;

	(void)argc;
	(void)argv;
	if (trap_state.active)
		return;
	if (!mount) {
		trap_say_no_variable(preload);
		return;
	}
	trap_remember_stderr();
	if (under_valgrind(preload)) {
		trap_say_valgrind();
		return;
	}
	trap_state.mount_entry = keep(mount);
	keep_options(envp);
	if (preload)
		keep_library(preload + strlen(TRAP_ENV_PRELOAD));
	mount += strlen(TRAP_ENV_MOUNT);
	length = strlen(mount);
	if (!trap_state.mount_entry || length + sizeof("/new") > sizeof(trap_state.new_path))
		fail("URINGFS_TRAP_MOUNT or LD_PRELOAD is too long", -ENAMETOOLONG);
	memcpy(trap_state.new_path, mount, length);
	memcpy(trap_state.new_path + length, "/new", sizeof("/new"));
	trap_state.mount_length = length;
	trap_mount_device(mount);
	take_sigsys();
	/* An exec keeps the filter; a second one would cost every system call something. */
	if (RAW(SYS_io_uring_enter, -1, 0, 0, 0xffffffff, 0, PROBE_ARG) != PROBE_ANSWER) {
		ret = install_filter();
		if (ret != 0)
			fail("this machine refuses a seccomp filter", ret);
	}
	trap_state.active = true;
}
