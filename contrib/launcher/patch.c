/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring_enter(2) without the trap, which is most of what a small call costs: where a program's code says
 *
 *	mov $426,%eax; syscall		b8 aa 01 00 00 0f 05
 *
 * the mov becomes a jmp to a stub of ours, at the first SIGSYS from there; the syscall stays where it is for whoever jumps
 * to it. And syscall(3) itself is ours, for those who call that. What the lane cannot do all of is a system call from the
 * stub, with the trap behind it, as without. gVisor's systrap patches so, too (pkg/sentry/platform/systrap/usertrap).
 *
 * The page with the code is replaced by a copy in one mremap(2): a thread that executes it meanwhile finds the old or the
 * new, and at the place itself one instruction of the same length. Where memory may not become executable, or the code is
 * no file's, the trap remains.
 *
 * The library is compiled without vector instructions: whoever inlines a system call may have anything in their registers.
 */
#include "trap.h"

#if defined(__x86_64__)

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE ((uintptr_t)4096)
#define SITES 64
#define JUMP 5 /* bytes of the mov, and of the jmp */
#define TRIES 1024
#define TRY_EVERY (PAGE * 256)

/* ---- the stub ---- */

/* What trap_stub has on its stack. */
struct patched {
	int64_t taken;	    /* also the result */
	uint64_t to_submit; /* what is left of it */
	uint64_t rbp, r10, r9, r8, rdx, rsi, rdi, ret;
};

/* True: that was all of the call. False: a system call is to go on with p->to_submit. */
__attribute__((used)) bool trap_patched(struct patched *p)
{
	struct trap_enter e = {(uint32_t)p->rdi,
			       (uint32_t)p->rsi,
			       (uint32_t)p->rdx,
			       (uint32_t)p->r10,
			       p->r8,
			       p->r9,
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
	uint64_t mask;
	bool whole;

	if (!trap_state.active || trap_state.trace || trap_state.no_patch)
		return false; /* p->to_submit is all */
	/* As in the handler of SIGSYS: no other comes in between, nor leaves with siglongjmp. */
	mask = trap_block();
	whole = trap_enter_lane(&e, &mask);
	trap_set_mask(&mask);
	p->to_submit = e.to_submit;
	p->taken = trap_taken(&e);
	return whole;
}

/* Begins with the stack below the caller's red zone and %rcx where it returns to; keeps what a system call keeps, but for
 * the flags of arithmetic. */
void trap_stub(void);
__asm__(".text\n.hidden trap_stub\n.type trap_stub,@function\n"
	"trap_stub:\n"
	"	.cfi_startproc\n"
	"	.cfi_def_cfa %rsp, 128\n"
	"	.cfi_register %rip, %rcx\n"
	"	pushq %rcx\n"
	"	.cfi_def_cfa_offset 136\n"
	"	.cfi_offset %rip, -136\n"
	"	pushq %rdi\n"
	"	pushq %rsi\n"
	"	pushq %rdx\n"
	"	pushq %r8\n"
	"	pushq %r9\n"
	"	pushq %r10\n"
	"	pushq %rbp\n"
	"	pushq %rsi\n"
	"	pushq $0\n"
	"	.cfi_def_cfa_offset 208\n"
	"	.cfi_offset %rbp, -192\n"
	"	movq %rsp, %rbp\n"
	"	.cfi_def_cfa_register %rbp\n"
	"	andq $-16, %rsp\n"
	"	movq %rbp, %rdi\n"
	"	call trap_patched\n"
	"	testb %al, %al\n"
	"	jnz 1f\n"
	"	movq 24(%rbp), %r10\n"
	"	movq 32(%rbp), %r9\n"
	"	movq 40(%rbp), %r8\n"
	"	movq 48(%rbp), %rdx\n"
	"	movq 8(%rbp), %rsi\n"
	"	movq 64(%rbp), %rdi\n"
	"	movl $426, %eax\n"
	"	nop\n" /* it is no place to be patched */
	"	syscall\n"
	"	movq %rax, %rsi\n"
	"	movq (%rbp), %rdi\n"
	"	call trap_lane_sum\n"
	"	movq %rax, (%rbp)\n"
	"1:	movq (%rbp), %rax\n"
	"	leaq 16(%rbp), %rsp\n"
	"	.cfi_def_cfa %rsp, 192\n"
	"	popq %rbp\n"
	"	.cfi_restore %rbp\n"
	"	popq %r10\n"
	"	popq %r9\n"
	"	popq %r8\n"
	"	popq %rdx\n"
	"	popq %rsi\n"
	"	popq %rdi\n"
	"	.cfi_def_cfa_offset 136\n"
	"	popq %rcx\n"
	"	.cfi_def_cfa_offset 128\n"
	"	.cfi_register %rip, %rcx\n"
	"	leaq 128(%rsp), %rsp\n"
	"	.cfi_def_cfa_offset 0\n"
	"	jmp *%rcx\n"
	"	.cfi_endproc\n"
	"	.size trap_stub, . - trap_stub\n");

/* Not C: a clone(2) by syscall(3) returns twice, perhaps on another stack. */
__asm__(".text\n.globl syscall\n.type syscall,@function\n"
	"syscall:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	movq %rdi, %rax\n"
	"	movq %rsi, %rdi\n"
	"	movq %rdx, %rsi\n"
	"	movq %rcx, %rdx\n"
	"	movq %r8, %r10\n"
	"	movq %r9, %r8\n"
	"	movq 8(%rsp), %r9\n"
	"	cmpq $426, %rax\n"
	"	je 2f\n"
	"	syscall\n"
	"1:	cmpq $-4095, %rax\n"
	"	jae 3f\n"
	"	ret\n"
	"2:	leaq -128(%rsp), %rsp\n"
	"	.cfi_adjust_cfa_offset 128\n"
	"	leaq 1b(%rip), %rcx\n"
	"	jmp trap_stub\n"
	"	.cfi_adjust_cfa_offset -128\n"
	"3:	movq %rax, %rdi\n"
	"	jmp trap_errno\n"
	"	.cfi_endproc\n"
	"	.size syscall, . - syscall\n");

__attribute__((used)) long trap_errno(long ret)
{
	return raw_errno(ret);
}

/* ---- the places ---- */

static const uint8_t pattern[] = {0xb8, 0xaa, 0x01, 0x00, 0x00, 0x0f, 0x05};

/* A line of /proc/self/maps, read so far: the ends of its range, and whether it is r-xp of a file. */
struct mapping {
	uintptr_t from, to;
	bool code;
};

static uintptr_t hexadecimal(const char **at)
{
	uintptr_t value = 0;

	for (;; (*at)++) {
		char c = **at;

		if (c >= '0' && c <= '9')
			value = value << 4 | (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uintptr_t)(c - 'a' + 10);
		else
			return value;
	}
}

/* from-to rwxp offset major:minor inode ... */
static struct mapping mapping_of(const char *line)
{
	struct mapping m;

	m.from = hexadecimal(&line);
	line++;
	m.to = hexadecimal(&line);
	m.code = strncmp(line, " r-xp ", 6) == 0;
	line += 6;
	hexadecimal(&line);
	line++;
	m.code = m.code && strncmp(line, "00:00 ", 6) != 0;
	return m;
}

/* Code that a file holds, and nobody writes: not what a compiler at run time makes. */
static bool is_code_of_a_file(uintptr_t from, uintptr_t to)
{
	char text[1024];
	size_t have = 0;
	bool found = false;
	long fd = RAW(SYS_open, "/proc/self/maps", O_RDONLY | O_CLOEXEC), n;

	while (fd >= 0 && !found && (n = RAW(SYS_read, fd, text + have, sizeof(text) - 1 - have)) > 0) {
		char *line = text, *end;

		text[have += (size_t)n] = 0;
		for (; !found && (end = strchr(line, '\n')); line = end + 1) {
			struct mapping m = mapping_of(line);

			found = m.from <= from && to <= m.to && m.code;
		}
		have -= (size_t)(line - text);
		if (have == sizeof(text) - 1)
			have = 0; /* a name this long: its line's beginning has been seen */
		for (size_t i = 0; i < have; i++)
			text[i] = line[i];
	}
	if (fd >= 0)
		RAW(SYS_close, fd);
	return found;
}

/* A page in reach of a jmp from there: -2 GiB to 2 GiB. NULL: there is none. */
static uint8_t *page_near(uintptr_t site)
{
	for (uintptr_t i = 1; i < 2 * TRIES; i++) {
		uintptr_t by = i / 2 * TRY_EVERY, at = (site & ~(PAGE - 1)) + (i % 2 ? by : -by);
		long got = RAW(SYS_mmap, at, PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1);

		if (RAW_IS_ERROR(got))
			continue;
		if ((uintptr_t)got == at)
			return (uint8_t *)at;
		RAW(SYS_munmap, got, PAGE); /* before Linux 4.17 a wish */
	}
	return NULL;
}

static void put_relative(uint8_t *at, uintptr_t target)
{
	int32_t relative = (int32_t)(target - ((uintptr_t)at + 4));

	memcpy(at, &relative, sizeof(relative));
}

/* Puts %rsp below the red zone and into %rcx where it goes on, and jumps to trap_stub. */
static uint8_t *make_stub(uintptr_t site)
{
	static const uint8_t code[] = {
		0x48, 0x8d, 0x64, 0x24, 0x80,	    /* lea -0x80(%rsp),%rsp */
		0x48, 0x8d, 0x0d, 0,	0,    0, 0, /* lea site+7(%rip),%rcx */
		0xff, 0x25, 0,	  0,	0,    0,    /* jmp *page(%rip) */
	};
	uint8_t *page = page_near(site), *at;
	uintptr_t target = (uintptr_t)trap_stub;

	if (!page)
		return NULL;
	at = page + 16;
	memcpy(page, &target, sizeof(target));
	memcpy(at, code, sizeof(code));
	put_relative(at + 8, site + sizeof(pattern));
	put_relative(at + 14, (uintptr_t)page);
	if (RAW(SYS_mprotect, page, PAGE, PROT_READ | PROT_EXEC) == 0)
		return at;
	RAW(SYS_munmap, page, PAGE);
	return NULL;
}

/* The pages from..to, with a jmp to the stub at the site. False: they are as they were. */
static bool replace(uintptr_t from, uintptr_t to, uintptr_t site, const uint8_t *stub)
{
	size_t size = to - from;
	long copy = RAW(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint8_t *at;

	if (RAW_IS_ERROR(copy))
		return false;
	memcpy((void *)copy, (const void *)from, size);
	at = (uint8_t *)copy + (site - from);
	*at = 0xe9; /* jmp */
	put_relative(at + 1, (uintptr_t)stub - site + (uintptr_t)at);
	if (RAW(SYS_mprotect, copy, size, PROT_READ | PROT_EXEC) == 0 &&
	    !RAW_IS_ERROR(RAW(SYS_mremap, copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, from)))
		return true;
	RAW(SYS_munmap, copy, size);
	return false;
}

static void patch(uintptr_t site)
{
	uintptr_t from = site & ~(PAGE - 1), to = (site + JUMP - 1 + PAGE) & ~(PAGE - 1);
	uint8_t *stub;

	if (!is_code_of_a_file(from, to))
		return;
	stub = make_stub(site);
	if (stub && !replace(from, to, site, stub))
		RAW(SYS_munmap, (uintptr_t)stub & ~(PAGE - 1), PAGE);
}

/* After a SIGSYS of io_uring_enter(2): next is the instruction behind the syscall. Signals are blocked. */
void trap_patch(uintptr_t next)
{
	static uintptr_t sites[SITES]; /* that have been tried */
	static int busy;
	uintptr_t site = next - sizeof(pattern);
	uint8_t code[sizeof(pattern)];
	unsigned i = 0;

	if (trap_state.no_patch || trap_state.no_lane || trap_state.trace)
		return;
	while (i < SITES && sites[i] && sites[i] != site)
		i++;
	if (i == SITES || sites[i] == site || __atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE))
		return;
	if (!sites[i]) {
		sites[i] = site;
		if (trap_copy_in(code, site, sizeof(code)) == 0 && memcmp(code, pattern, sizeof(code)) == 0)
			patch(site);
	}
	__atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
}

#else

void trap_patch(uintptr_t next)
{
	(void)next;
}

#endif
