/* SPDX-License-Identifier: Apache-2.0 */
/* Rights that a program drops by a system call of another architecture, which nobody expects. Starts as root. */
#include "scene.h"

#define OPENS 8
#define ROUNDS 100
#define I386_SETUID32 213
#define X32_SYSCALL_BIT 0x40000000

static unsigned opened(struct ring *r)
{
	unsigned count = 0;
	struct cqe cqe;

	for (unsigned i = 0; i < OPENS; i++)
		queue(r, IORING_OP_OPENAT, AT_FDCWD, at("secret"), 0, 0)->flags = IOSQE_ASYNC;
	EXPECT_EQ(ring_submit_wait(r, OPENS), OPENS);
	for (unsigned i = 0; i < OPENS; i++) {
		EXPECT(ring_reap(r, &cqe));
		count += cqe.res >= 0;
	}
	return count;
}

static long by_i386(int user)
{
#if defined(__x86_64__)
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(I386_SETUID32), "b"(user) : "memory");
	return ret;
#else
	return setuid((uid_t)user);
#endif
}

/* Not there (ENOSYS) with most kernels: CONFIG_X86_X32_ABI, and syscall.x32=y */
static long by_x32(int user)
{
#if defined(__x86_64__)
	return syscall(X32_SYSCALL_BIT | SYS_setuid, user) < 0 ? -errno : 0;
#else
	return setuid((uid_t)user);
#endif
}

static long become_user(int user)
{
	return strcmp(choice("BY", "i386"), "x32") == 0 ? by_x32(user) : by_i386(user);
}

TEST(what_is_asynchronous_has_the_rights_of_now)
{
	struct ring r;
	long ret;

	ring_init(&r, 16, 0);
	EXPECT_EQ(opened(&r), OPENS);
	ret = become_user(54321);
	EXPECT(ret == 0 || (ret == -ENOSYS && geteuid() == 0));
	for (unsigned i = 0; i < ROUNDS; i++)
		EXPECT_EQ(opened(&r), ret == 0 ? 0 : OPENS);
	ring_close(&r);
}
