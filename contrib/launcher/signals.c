/* SPDX-License-Identifier: Apache-2.0 */
/* SIGSYS stays ours and unblocked: libc's functions that change a mask or a disposition, interposed. What a
 * program does to SIGSYS itself is remembered, told back to it, and obeyed for a SIGSYS that is not ours. */
#include "trap.h"

#include <dlfcn.h>
#include <signal.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>

#pragma weak dlsym

#define REAL(name)                     \
	static __typeof__(name) *real; \
	if (!real)                     \
	real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* What the program asked for; zeros are SIG_DFL. */
static struct sigaction wanted;

static const sigset_t *without_sigsys(const sigset_t *set, sigset_t *copy)
{
	if (!set || !trap_state.active)
		return set;
	memcpy(copy, set, sizeof(*copy));
	sigdelset(copy, TRAP_SIGNAL);
	return copy;
}

TRAP_EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction copy;
	REAL(sigaction);

	if (!trap_state.active)
		return real(sig, act, old);
	if (sig == TRAP_SIGNAL) {
		copy = wanted;
		if (act)
			wanted = *act;
		if (old)
			*old = copy;
		return 0;
	}
	if (act) {
		copy = *act;
		sigdelset(&copy.sa_mask, TRAP_SIGNAL);
		act = &copy;
	}
	return real(sig, act, old);
}

static sighandler_t set_handler(int sig, sighandler_t handler, int flags)
{
	struct sigaction act, old;

	memset(&act, 0, sizeof(act));
	act.sa_handler = handler;
	act.sa_flags = flags;
	return sigaction(sig, &act, &old) < 0 ? SIG_ERR : old.sa_handler;
}

/* BSD's meaning of signal(), which is libc's. siginterrupt() is not seen, so only SIGSYS comes here. */
TRAP_EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
	REAL(signal);
	return sig == TRAP_SIGNAL && trap_state.active ? set_handler(sig, handler, SA_RESTART) : real(sig, handler);
}

TRAP_EXPORT sighandler_t sysv_signal(int sig, sighandler_t handler)
{
	REAL(sysv_signal);
	return sig == TRAP_SIGNAL && trap_state.active ? set_handler(sig, handler, (int)SA_RESETHAND | SA_NODEFER)
						       : real(sig, handler);
}

TRAP_EXPORT sighandler_t __sysv_signal(int sig, sighandler_t handler)
{
	return sysv_signal(sig, handler);
}

TRAP_EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t copy;
	REAL(sigprocmask);
	return real(how, how == SIG_UNBLOCK ? set : without_sigsys(set, &copy), old);
}

TRAP_EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t copy;
	REAL(pthread_sigmask);
	return real(how, how == SIG_UNBLOCK ? set : without_sigsys(set, &copy), old);
}

TRAP_EXPORT int sigsuspend(const sigset_t *set)
{
	sigset_t copy;
	REAL(sigsuspend);
	return real(without_sigsys(set, &copy));
}

TRAP_EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *set)
{
	sigset_t copy;
	REAL(ppoll);
	return real(fds, n, timeout, without_sigsys(set, &copy));
}

TRAP_EXPORT int pselect(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout, const sigset_t *set)
{
	sigset_t copy;
	REAL(pselect);
	return real(n, r, w, e, timeout, without_sigsys(set, &copy));
}

TRAP_EXPORT int epoll_pwait(int fd, struct epoll_event *events, int n, int timeout, const sigset_t *set)
{
	sigset_t copy;
	REAL(epoll_pwait);
	return real(fd, events, n, timeout, without_sigsys(set, &copy));
}

bool trap_wants_sigsys(void)
{
	return wanted.sa_handler != SIG_DFL && wanted.sa_handler != SIG_IGN;
}

/* Default: die of it as one does without us. */
static void die(void)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} none;

	memset(&none, 0, sizeof(none));
	RAW(SYS_rt_sigaction, TRAP_SIGNAL, &none, 0, sizeof(none.mask));
	RAW(SYS_tgkill, RAW(SYS_getpid), RAW(SYS_gettid), TRAP_SIGNAL);
}

void trap_forward(int sig, void *info_, void *context)
{
	const siginfo_t *info = info_;
	struct sigaction to = wanted;
	uint64_t mask, old;

	/* force_sig(): what a filter traps cannot be ignored */
	if (to.sa_handler == SIG_DFL || (to.sa_handler == SIG_IGN && info->si_code > 0)) {
		die();
		return;
	}
	if (to.sa_handler == SIG_IGN)
		return;
	if (to.sa_flags & (int)SA_RESETHAND)
		wanted.sa_handler = SIG_DFL;
	memcpy(&mask, &to.sa_mask, sizeof(mask));
	mask &= ~TRAP_SIGSYS_BIT;
	RAW(SYS_rt_sigprocmask, SIG_BLOCK, &mask, &old, sizeof(mask));
	if (to.sa_flags & SA_SIGINFO)
		to.sa_sigaction(sig, info_, context);
	else
		to.sa_handler(sig);
	trap_set_mask(&old);
}
