/* SPDX-License-Identifier: Apache-2.0 */
/* System calls without libc: not a cancellation point, no errno, safe in a signal handler and on any thread. */
#ifndef URINGFS_RAW_H
#define URINGFS_RAW_H

/* -errno on failure. */
static inline long raw_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
#else
#error "x86-64 and aarch64 only"
#endif
}

/* -errno, not an address or a number. */
#define RAW_IS_ERROR(ret) ((ret) < 0 && (ret) > -4096)

#define RAW_SEVENTH(a, b, c, d, e, f, g, ...) a, b, c, d, e, f, g
#define RAW_CAST(a, b, c, d, e, f, g) \
	raw_syscall((long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f), (long)(g))
#define RAW_CALL(...) RAW_CAST(__VA_ARGS__)
#define RAW(...) RAW_CALL(RAW_SEVENTH(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0))

#endif
