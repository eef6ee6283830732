/* SPDX-License-Identifier: Apache-2.0 */
/* Programs whose io_uring_enter(2) stands in their own code, as liburing's and fio's does:
 *
 *   patch_probe CASE PATCHED     PATCHED: 1 if the launcher is to have put a jmp there at the end, else 0
 *
 * Exit status 0, or 1 with what was wrong. On the kernel as under the launcher. */
#include "../conformance/harness.h"

#include <execinfo.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <linux/time_types.h>

#define NOPS 4

/* int NAME(int fd, unsigned to_submit, unsigned min_complete, unsigned flags, const void *arg, size_t argsz) */
#define SITE(name, before)                                                                   \
	int name(int, unsigned, unsigned, unsigned, const void *, size_t);                   \
	extern unsigned char name##_site[];                                                  \
	__asm__(".text\n" before ".globl " #name "\n.type " #name ",@function\n" #name ":\n" \
		"	.cfi_startproc\n"                                                          \
		"	mov %ecx, %r10d\n" #name "_site:\n"                                  \
		"	.byte 0xb8, 0xaa, 0x01, 0x00, 0x00, 0x0f, 0x05\n"                          \
		"	ret\n"                                                                     \
		"	.cfi_endproc\n")

SITE(enter_a, "");
SITE(enter_crossing, ".balign 4096\n.skip 4096 - 6\n"); /* three bytes of the mov on either page */

static bool is_patched(const unsigned char *site)
{
	return *(const volatile unsigned char *)site == 0xe9;
}

static bool expected;
static void expect_patched(const unsigned char *site)
{
	EXPECT_EQ(is_patched(site), expected);
}

typedef int (*enter_fn)(int, unsigned, unsigned, unsigned, const void *, size_t);

static void nops(struct ring *r, enter_fn fn, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		for (unsigned j = 0; j < NOPS; j++)
			ring_nop(r, i * NOPS + j);
		ring_store_tail(r);
		EXPECT_EQ(fn(r->fd, NOPS, NOPS, GETEVENTS, NULL, 8), NOPS);
		for (unsigned j = 0; j < NOPS; j++)
			EXPECT_EQ(ring_wait(r).user_data, i * NOPS + j);
	}
}

static void some_nops(void)
{
	struct ring r;

	ring_init(&r, 8, 0);
	nops(&r, enter_a, 3);
	expect_patched(enter_a_site);
	nops(&r, enter_crossing, 3);
	expect_patched(enter_crossing_site);
	ring_close(&r);
}

/* ---- registers ---- */

struct registers {
	uint64_t general[11]; /* rbx rbp rdi rsi rdx r8 r9 r10 r12 r14 r15 */
	uint64_t red_zone[16];
	double vectors[16][2];
};
void with_registers(struct registers *in_and_out, enter_fn site);

/* Loads all, is in the site, stores all. The call is a jump there and back by hand, so that the red zone is in use: the
 * 7 bytes are here, too. */
extern unsigned char with_registers_site[];
#define RED(op, n) op(n, -128) op(n, -64) op(n, -8)
__asm__(".text\n.globl with_registers\n.type with_registers,@function\nwith_registers:\n"
	"	push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
	"	mov %rdi, %r13\n"
	"	mov 0(%r13), %rbx\n mov 8(%r13), %rbp\n mov 16(%r13), %rdi\n mov 24(%r13), %rsi\n"
	"	mov 32(%r13), %rdx\n mov 40(%r13), %r8\n mov 48(%r13), %r9\n mov 56(%r13), %r10\n"
	"	mov 64(%r13), %r12\n mov 72(%r13), %r14\n mov 80(%r13), %r15\n"
	"	.set at, 0\n	.rept 16\n"
	"	mov 88+8*at(%r13), %rax\n mov %rax, 8*at-128(%rsp)\n	.set at, at+1\n	.endr\n"
	"	movups 216(%r13), %xmm0\n movups 232(%r13), %xmm1\n movups 248(%r13), %xmm2\n movups 264(%r13), %xmm3\n"
	"	movups 280(%r13), %xmm4\n movups 296(%r13), %xmm5\n movups 312(%r13), %xmm6\n movups 328(%r13), %xmm7\n"
	"	movups 344(%r13), %xmm8\n movups 360(%r13), %xmm9\n movups 376(%r13), %xmm10\n movups 392(%r13), "
	"%xmm11\n"
	"	movups 408(%r13), %xmm12\n movups 424(%r13), %xmm13\n movups 440(%r13), %xmm14\n movups 456(%r13), "
	"%xmm15\n"
	"with_registers_site:\n"
	"	.byte 0xb8, 0xaa, 0x01, 0x00, 0x00, 0x0f, 0x05\n"
	"	mov %rbx, 0(%r13)\n mov %rbp, 8(%r13)\n mov %rdi, 16(%r13)\n mov %rsi, 24(%r13)\n"
	"	mov %rdx, 32(%r13)\n mov %r8, 40(%r13)\n mov %r9, 48(%r13)\n mov %r10, 56(%r13)\n"
	"	mov %r12, 64(%r13)\n mov %r14, 72(%r13)\n mov %r15, 80(%r13)\n"
	"	.set at, 0\n	.rept 16\n"
	"	mov 8*at-128(%rsp), %rbx\n mov %rbx, 88+8*at(%r13)\n	.set at, at+1\n	.endr\n"
	"	movups %xmm0, 216(%r13)\n movups %xmm1, 232(%r13)\n movups %xmm2, 248(%r13)\n movups %xmm3, 264(%r13)\n"
	"	movups %xmm4, 280(%r13)\n movups %xmm5, 296(%r13)\n movups %xmm6, 312(%r13)\n movups %xmm7, 328(%r13)\n"
	"	movups %xmm8, 344(%r13)\n movups %xmm9, 360(%r13)\n movups %xmm10, 376(%r13)\n movups %xmm11, "
	"392(%r13)\n"
	"	movups %xmm12, 408(%r13)\n movups %xmm13, 424(%r13)\n movups %xmm14, 440(%r13)\n movups %xmm15, "
	"456(%r13)\n"
	"	pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
	"	ret\n");

static void registers_and_red_zone(void)
{
	struct registers before, after;
	struct ring r;

	ring_init(&r, 8, 0);
	for (int turn = 0; turn < 4; turn++) {
		for (size_t i = 0; i < sizeof(before) / 8; i++)
			((uint64_t *)&before)[i] = 0x5100000000000000ULL + i * 0x10001 + (uint64_t)turn;
		before.general[2] = (uint64_t)r.fd;
		before.general[3] = before.general[4] = turn < 2; /* then what waits for nothing: a system call */
		before.general[5] = 0;
		before.general[6] = 8;
		before.general[7] = turn == 3 ? GETEVENTS : 0;
		ring_nop(&r, 1);
		ring_store_tail(&r);
		after = before;
		with_registers(&after, NULL);
		for (size_t i = 0; i < sizeof(before) / 8; i++)
			EXPECT_EQ(((uint64_t *)&after)[i], ((uint64_t *)&before)[i]);
		enter_a(r.fd, 8, 0, 0, NULL, 8);
		while (ring_ready(&r))
			ring_wait(&r);
	}
	expect_patched(with_registers_site);
	ring_close(&r);
}

/* ---- waits ---- */

static volatile sig_atomic_t alarms;
static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void waits_and_signals(void)
{
	struct __kernel_timespec ts = {0, 2000000};
	struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)&ts};
	struct itimerval soon = {.it_value = {0, 20000}};
	struct ring r;

	ring_init(&r, 8, 0);
	on_signal(SIGALRM, on_alarm, 0);
	nops(&r, enter_a, 2);
	for (int i = 0; i < 3; i++) {
		errno = 77;
		EXPECT_EQ(enter_a(r.fd, 0, 1, GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg)), -ETIME);
		EXPECT_EQ(errno, 77);
		OK(setitimer(ITIMER_REAL, &soon, NULL));
		EXPECT_EQ(enter_a(r.fd, 0, 1, GETEVENTS, NULL, 8), -EINTR);
		EXPECT_EQ(alarms, i + 1);
	}
	expect_patched(enter_a_site);
	ring_close(&r);
}

/* Some is the lane's, the rest the daemon's: one result. */
static void the_sum_of_both(void)
{
	int fds[2];
	struct ring r;

	OK(pipe(fds));
	ring_init(&r, 16, 0);
	for (unsigned turn = 0; turn < 4; turn++) {
		struct io_uring_sqe *s;
		bool ready = turn == 3;

		ring_nop(&r, 1);
		ring_nop(&r, 2);
		s = ring_sqe(&r);
		*s = (struct io_uring_sqe){.opcode = IORING_OP_READ,
					   .fd = fds[0],
					   .addr = (uintptr_t)&ready,
					   .len = 1,
					   .off = (uint64_t)-1,
					   .user_data = 3};
		ring_nop(&r, 4);
		ring_store_tail(&r);
		EXPECT_EQ(enter_a(r.fd, 4, 3, GETEVENTS, NULL, 8), 4);
		EXPECT_EQ(ring_ready(&r), 3);
		EXPECT_EQ(write(fds[1], "x", 1), 1);
		EXPECT_EQ(enter_a(r.fd, 0, 4, GETEVENTS, NULL, 8), 0);
		for (int i = 0; i < 4; i++)
			ring_wait(&r);
	}
	EXPECT_EQ(enter_a(r.fd, 1, 0, 0x10000, NULL, 8), -EINVAL);
	EXPECT_EQ(enter_a(-1, 1, 0, 0, NULL, 8), -EBADF);
	EXPECT_EQ(enter_a(fds[0], 1, 0, 0, NULL, 8), -EOPNOTSUPP);
	expect_patched(enter_a_site);
	ring_close(&r);
}

static sigjmp_buf out;
static void on_leave(int sig)
{
	(void)sig;
	siglongjmp(out, 1);
}

static void a_handler_leaves(void)
{
	struct itimerval often = {{0, 300}, {0, 300}}, never = {0};
	volatile unsigned left = 0;
	struct ring r;

	ring_init(&r, 8, 0);
	on_signal(SIGALRM, on_leave, 0);
	nops(&r, enter_a, 2);
	while (left < 300) {
		if (sigsetjmp(out, 1) == 0) {
			OK(setitimer(ITIMER_REAL, &often, NULL));
			for (;;) {
				enter_a(r.fd, 0, left % 2, GETEVENTS, NULL, 8);
				if (ring_queued(&r) == 0)
					ring_nop(&r, 1);
				ring_store_tail(&r);
				enter_a(r.fd, 1, 0, 0, NULL, 8);
				if (left % 2 == 0)
					ring_reap(&r, &(struct cqe){0});
			}
		}
		OK(setitimer(ITIMER_REAL, &never, NULL));
		left++;
		while (ring_reap(&r, &(struct cqe){0}))
			;
	}
	enter_a(r.fd, 8, 0, GETEVENTS, NULL, 8);
	while (ring_reap(&r, &(struct cqe){0}))
		;
	nops(&r, enter_a, 2);
	expect_patched(enter_a_site);
	ring_close(&r);
}

/* ---- on top of one another ---- */

static struct ring inner;
static volatile unsigned inside;

static void on_tick(int sig)
{
	int saved = errno;

	(void)sig;
	nops(&inner, enter_a, 1);
	inside++;
	errno = saved;
}

static void handlers_that_enter(void)
{
	struct itimerval often = {{0, 200}, {0, 200}}, never = {0};
	struct ring r;

	ring_init(&r, 8, 0);
	ring_init(&inner, 8, 0);
	on_signal(SIGALRM, on_tick, SA_RESTART);
	OK(setitimer(ITIMER_REAL, &often, NULL));
	while (inside < 500)
		nops(&r, enter_a, 10);
	OK(setitimer(ITIMER_REAL, &never, NULL));
	expect_patched(enter_a_site);
	ring_close(&r);
}

static void *in_thread(void *arg)
{
	struct ring r;

	ring_init(&r, 8, 0);
	pthread_barrier_wait(arg);
	nops(&r, enter_a, 3000);
	ring_close(&r);
	return NULL;
}

/* The place is patched while others execute it. */
static void threads(void)
{
	pthread_barrier_t barrier;
	pthread_t thread[6];

	pthread_barrier_init(&barrier, NULL, 6);
	for (int i = 0; i < 6; i++)
		EXPECT_EQ(pthread_create(&thread[i], NULL, in_thread, &barrier), 0);
	for (int i = 0; i < 6; i++)
		pthread_join(thread[i], NULL);
	expect_patched(enter_a_site);
}

static void a_fork(void)
{
	struct ring r;
	int status;
	pid_t pid;

	ring_init(&r, 8, 0);
	nops(&r, enter_a, 2);
	pid = (pid_t)OK(fork());
	if (!pid) {
		struct ring own;

		ring_init(&own, 8, 0);
		nops(&own, enter_a, 100);
		expect_patched(enter_a_site);
		exit(0);
	}
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	nops(&r, enter_a, 2);
	ring_close(&r);
}

/* What is written at run time is not touched. */
static void code_that_is_no_files(void)
{
	unsigned char *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	enter_fn here;
	struct ring r;

	EXPECT(code != MAP_FAILED);
	memcpy(code, (void *)(uintptr_t)enter_crossing, 16);
	memcpy(&here, &(void *){code}, sizeof(here));
	ring_init(&r, 8, 0);
	nops(&r, here, 3);
	EXPECT(!is_patched(code + (enter_crossing_site - (unsigned char *)(uintptr_t)enter_crossing)));
	code[PAGE - 1] = 1;
	ring_close(&r);
}

/* ---- syscall(3) ---- */

static int by_syscall(int fd, unsigned to_submit, unsigned min_complete, unsigned flags, const void *arg, size_t size)
{
	return (int)syscall(SYS_io_uring_enter, fd, to_submit, min_complete, flags, arg, size);
}

static void by_libc(void)
{
	struct ring r;
	int status;
	long pid;

	ring_init(&r, 8, 0);
	nops(&r, by_syscall, 3);
	errno = 0;
	EXPECT_EQ(by_syscall(-1, 1, 0, 0, NULL, 8), -1);
	EXPECT_EQ(errno, EBADF);
	EXPECT_EQ(syscall(SYS_getpid), getpid());
	EXPECT_EQ(syscall(100000), -1);
	EXPECT_EQ(errno, ENOSYS);
	EXPECT_EQ(syscall(SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0),
		  -1); /* six arguments, one on the stack */
	EXPECT_EQ(errno, EBADF);
	pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (!pid)
		_exit(7);
	EXPECT_EQ(waitpid((pid_t)pid, &status, 0), pid);
	EXPECT_EQ(WEXITSTATUS(status), 7);
	ring_close(&r);
}

/* ---- unwinding ---- */

static void *frames[64];
static int depth;
static void on_look(int sig)
{
	(void)sig;
	depth = backtrace(frames, 64);
}
__attribute__((noinline)) static void the_caller(void)
{
	struct itimerval soon = {.it_value = {0, 20000}};
	struct ring r;

	ring_init(&r, 8, 0);
	nops(&r, enter_a, 2);
	OK(setitimer(ITIMER_REAL, &soon, NULL));
	EXPECT_EQ(enter_a(r.fd, 0, 1, GETEVENTS, NULL, 8), -EINTR);
	ring_close(&r);
}

static void a_backtrace(void)
{
	bool seen = false;

	backtrace(frames, 1); /* it loads a library at first */
	on_signal(SIGALRM, on_look, 0);
	the_caller();
	for (int i = 0; i < depth; i++)
		seen = seen ||
		       (frames[i] >= (void *)(uintptr_t)the_caller && frames[i] < (void *)(uintptr_t)a_backtrace);
	EXPECT(seen);
	expect_patched(enter_a_site);
}

#define CASE(name) {#name, name}
static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	CASE(some_nops),
	CASE(registers_and_red_zone),
	CASE(waits_and_signals),
	CASE(the_sum_of_both),
	CASE(a_handler_leaves),
	CASE(handlers_that_enter),
	CASE(threads),
	CASE(a_fork),
	CASE(code_that_is_no_files),
	CASE(by_libc),
	CASE(a_backtrace),
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 3 && i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(cases[i].name, argv[1]) == 0) {
			expected = atoi(argv[2]);
			cases[i].run();
			puts("ok");
			return 0;
		}
	return 2;
}
