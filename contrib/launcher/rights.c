/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request runs with the rights that its submitter had when it submitted it, so a worker, which has those of the moment
 * it was cloned, must not outlive them. Before the first one is started, a filter of our own traps every call that
 * changes credentials, capabilities, filters, Landlock, namespaces or a thread's table of descriptors; the handler
 * ends all workers, which first do what is queued, and then makes the call.
 *
 * The handler's own call has a word in its sixth argument, which none of these calls has: so it passes.
 */
#include "trap.h"

#include <linux/audit.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#define PASS 0x5572696e67465350ULL
#define PROBE_ARG 0x5572696e674654L
#define PROBE_ANSWER 0x55524e47L

#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446
#endif
#ifndef SYS_lsm_set_self_attr
#define SYS_lsm_set_self_attr 460
#endif
#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47
#endif

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

static const unsigned short always[] = {
	SYS_setuid,
	SYS_setgid,
	SYS_setreuid,
	SYS_setregid,
	SYS_setgroups,
	SYS_setresuid,
	SYS_setresgid,
	SYS_setfsuid,
	SYS_setfsgid,
	SYS_capset,
	SYS_landlock_restrict_self,
	SYS_lsm_set_self_attr,
	SYS_unshare,
	SYS_setns,
	SYS_seccomp,
	SYS_chroot,
	SYS_pivot_root,
};

/* Of some calls only those with this first argument */
static const struct {
	unsigned short nr, first;
} some[] = {
	{SYS_prctl, PR_SET_KEEPCAPS},
	{SYS_prctl, PR_SET_SECCOMP},
	{SYS_prctl, PR_CAPBSET_DROP},
	{SYS_prctl, PR_SET_SECUREBITS},
	{SYS_prctl, PR_SET_NO_NEW_PRIVS},
	{SYS_prctl, PR_CAP_AMBIENT},
	{SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING},
};

#define ALWAYS (sizeof(always) / sizeof(always[0]))
#define SOME (sizeof(some) / sizeof(some[0]))

/* The same by `int $0x80`, of i386: whoever makes one in a process that has had workers is killed by it. */
#if defined(__x86_64__)
#define OTHER_ARCH AUDIT_ARCH_I386
static const unsigned short others[] = {
	23,
	46,
	70,
	71,
	81,
	138,
	139,
	164,
	170, /* of 16 bits: setuid, setgid, setreuid ... */
	203,
	204,
	206,
	208,
	210,
	213,
	214,
	215,
	216, /* of 32 bits: the same */
	185,
	310,
	346,
	354,
	61,
	217,
	SYS_landlock_restrict_self,
	SYS_lsm_set_self_attr,
};
#define OTHERS (sizeof(others) / sizeof(others[0]))
#define X32 0x40000000u /* __X32_SYSCALL_BIT */
#endif

/* ---- the filter ---- */

struct code {
	struct sock_filter at[192];
	unsigned short length;
};

static void put(struct code *c, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	const struct sock_filter insn = BPF_JUMP(code, k, jt, jf);

	c->at[c->length++] = insn;
}

static void load(struct code *c, size_t offset)
{
	put(c, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void answer(struct code *c, uint32_t action)
{
	put(c, BPF_RET | BPF_K, action, 0, 0);
}

/* Unless it has the word that lets it pass */
static void trap_it(struct code *c)
{
	const size_t word = offsetof(struct seccomp_data, args[5]);

	load(c, word);
	put(c, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)PASS, 0, 2);
	load(c, word + 4);
	put(c, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(PASS >> 32), 1, 0);
	answer(c, SECCOMP_RET_TRAP);
	answer(c, SECCOMP_RET_ALLOW);
}

static void trap_with_first(struct code *c, unsigned i)
{
	put(c, BPF_JMP | BPF_JEQ | BPF_K, some[i].nr, 0, 9);
	load(c, offsetof(struct seccomp_data, args[0]));
	put(c, BPF_JMP | BPF_JEQ | BPF_K, some[i].first, 0, 6);
	trap_it(c);
	load(c, offsetof(struct seccomp_data, nr));
}

/* close_range(2): with CLOSE_RANGE_UNSHARE, its third argument */
static void trap_unsharing(struct code *c)
{
	put(c, BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 9);
	load(c, offsetof(struct seccomp_data, args[2]));
	put(c, BPF_JMP | BPF_JSET | BPF_K, CLOSE_RANGE_UNSHARE, 0, 6);
	trap_it(c);
	load(c, offsetof(struct seccomp_data, nr));
}

/* Numbers of another architecture are other calls; those of x32 are the native ones and a bit. */
static void sort_by_architecture(struct code *c)
{
	load(c, offsetof(struct seccomp_data, arch));
#if defined(OTHER_ARCH)
	put(c, BPF_JMP | BPF_JEQ | BPF_K, ARCH, OTHERS + 5, 0);
	put(c, BPF_JMP | BPF_JEQ | BPF_K, OTHER_ARCH, 0, OTHERS + 3);
	load(c, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < OTHERS; i++)
		put(c, BPF_JMP | BPF_JEQ | BPF_K, others[i], (uint8_t)(OTHERS - i), 0);
	answer(c, SECCOMP_RET_ALLOW);
	answer(c, SECCOMP_RET_TRAP); /* the handler knows none of these */
#else
	put(c, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
#endif
	answer(c, SECCOMP_RET_ALLOW);
	load(c, offsetof(struct seccomp_data, nr));
#if defined(X32)
	put(c, BPF_ALU | BPF_AND | BPF_K, ~X32, 0, 0);
#endif
}

/* What is never trapped the kernel allows without running this
 * (seccomp_cache_prepare()). */
static long install(void)
{
	struct code c = {.length = 0};
	struct sock_fprog program;

	sort_by_architecture(&c);
	for (unsigned i = 0; i < ALWAYS; i++)
		put(&c, BPF_JMP | BPF_JEQ | BPF_K, always[i], (uint8_t)(ALWAYS - i), 0);
	put(&c, BPF_JMP | BPF_JA, 6, 0, 0);
	trap_it(&c);
	for (unsigned i = 0; i < SOME; i++)
		trap_with_first(&c, i);
	trap_unsharing(&c);
	answer(&c, SECCOMP_RET_ALLOW);
	program.len = c.length;
	program.filter = c.at;
	return RAW(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

/* An exec keeps it, so it may be there already. */
static bool is_guarded(void)
{
	return RAW(SYS_prctl, PR_CAPBSET_DROP, -1, 0, 0, PROBE_ARG, 0) == PROBE_ANSWER;
}

bool trap_guard_rights(void)
{
	return is_guarded() || (install() == 0 && is_guarded());
}

/* ---- the handler ---- */

bool trap_is_rights(long nr, const long *a)
{
	for (unsigned i = 0; i < ALWAYS; i++)
		if (nr == always[i])
			return true;
	for (unsigned i = 0; i < SOME; i++)
		if (nr == some[i].nr && (unsigned)a[0] == some[i].first)
			return true;
	return nr == SYS_close_range && a[2] & CLOSE_RANGE_UNSHARE;
}

/* A filter of the program's own may trap what workers do, and they have no handler. */
static bool is_filter(long nr, const long *a)
{
	return nr == SYS_prctl ? a[0] == PR_SET_SECCOMP : nr == SYS_seccomp && a[0] != SECCOMP_GET_ACTION_AVAIL;
}

long trap_rights(long nr, const long *a)
{
	long ret;

	if (nr == SYS_prctl && a[4] == PROBE_ARG)
		return PROBE_ANSWER;
	trap_no_pollers();
	trap_no_workers();
	trap_no_sleepers();
	ret = RAW(nr, a[0], a[1], a[2], a[3], a[4], (long)PASS);
	if (ret >= 0 && is_filter(nr, a))
		trap_state.no_workers = true;
	trap_sleepers_may();
	trap_workers_may();
	trap_pollers_may();
	return ret;
}
