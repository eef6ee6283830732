/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers: threads of the program's that perform what may block, as the kernel's iou-wrk threads do. Each thread that
 * submits has a pool of its own, whose workers it has cloned itself: they have its credentials, its filters, its
 * namespaces, and are ended before it changes any of these (rights.c).
 *
 * They are threads of the kernel's alone: no libc knows them, and they have no thread-local storage but their
 * submitter's, which they do not touch. So nothing that they call may set errno.
 */
#include "workers.h"

#include "../lane/madvise.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#pragma weak dlsym

#define STACK (32 * 1024UL)
#define GUARD 4096UL
#define POOLS 64
#define THREADS (LANE_WORKERS + 1) /* one takes events: lane/aio.h */
#define GONE_LOOKS 10000	   /* its id may be another thread's by then */
#define ALL_SIGNALS (~(uint64_t)0)

struct worker {
	int tid;     /* the kernel clears it when the thread has ended ... */
	int last;    /* ... and this is whose id it was */
	char *stack; /* its lowest byte is that of the guard */
	struct trap_pool *pool;
};

struct trap_pool {
	struct lane_pool pool;
	int owner;	/* the thread whose rights they have; if that has ended, another may take the pool */
	uint32_t fresh; /* jobs that no worker was told of yet */
	struct trap_cpus cpus;
	struct lane_aio aio;
	struct worker workers[THREADS];
};

/* Of one process: wiped in a child by fork. A child by vfork sees it, but has another id. */
static struct table {
	int pid;
	struct trap_pool *pools[POOLS];
} *table;

/* A new thread's is NULL, so what one finds here is its own; but for threads that share another's storage. */
static __thread __attribute__((tls_model("initial-exec"))) struct {
	struct trap_pool *pool;
	int place;
	uint32_t most;	/* IORING_REGISTER_IOWQ_MAX_WORKERS; 0: not asked for ... */
	uint32_t limit; /* ... and its number */
	struct trap_cpus cpus;
} own;

static int refused; /* there are none in this program */

static long map(size_t size)
{
	return RAW(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

/* ---- descriptors of jobs ---- */

#define KEPT 4096
#define KEPT_FROM 960

/* Bit n: number KEPT_FROM + n is one of ours. A child by fork closes what it got of them. */
static uint64_t kept[KEPT / 64];
static int kept_from = KEPT_FROM;
static int kept_by; /* this process; 0: nothing has been kept */

/* Those of this process, at most `room`: how many. */
unsigned trap_files_kept(int *fds, unsigned room)
{
	unsigned n = 0;

	if (!kept_by || kept_by != RAW(SYS_getpid))
		return 0;
	for (int i = 0; i < KEPT && n < room; i++)
		if (__atomic_load_n(&kept[i / 64], __ATOMIC_RELAXED) & 1ULL << i % 64)
			fds[n++] = kept_from + i;
	return n;
}

static void close_kept_in_child(void)
{
	for (int i = 0; i < KEPT; i++)
		if (kept[i / 64] & 1ULL << i % 64)
			RAW(SYS_close, kept_from + i);
	memset(kept, 0, sizeof(kept));
	kept_by = (int)RAW(SYS_getpid);
}

long trap_keep_file(struct lane_job *job, int fd)
{
	long copy = RAW(SYS_fcntl, fd, F_DUPFD_CLOEXEC, kept_from);

	(void)job;
	if (copy >= kept_from + KEPT) {
		RAW(SYS_close, copy);
		return -EMFILE;
	}
	if (copy >= 0)
		__atomic_fetch_or(&kept[(copy - kept_from) / 64], 1ULL << (copy - kept_from) % 64, __ATOMIC_RELAXED);
	return copy;
}

/* Not the program's own: of a job that has come to nothing before its file was kept, or in a child by fork. */
void trap_drop_file(int fd)
{
	unsigned at = (unsigned)(fd - kept_from);
	uint64_t bit = 1ULL << at % 64;

	if (fd >= kept_from && __atomic_fetch_and(&kept[at / 64], ~bit, __ATOMIC_RELAXED) & bit)
		RAW(SYS_close, fd);
}

/* ---- threads ---- */

/* clone(2) of a thread that calls run(arg) on that stack, and ends. */
static long start_thread(unsigned long flags, char *top, int *tid, void (*run)(void *), void *arg)
{
	void **stack = (void **)(void *)top - 2;
	long ret;

	stack[0] = (void *)run;
	stack[1] = arg;
#if defined(__x86_64__)
	register int *r10 __asm__("r10") = tid;
	register long r8 __asm__("r8") = 0;

	__asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\txor %%ebp, %%ebp\n\tpop %%rax\n\tpop %%rdi\n\t"
			 "call *%%rax\n\tmov $60, %%eax\n\txor %%edi, %%edi\n\tsyscall\n\tud2\n1:"
			 : "=a"(ret)
			 : "a"(SYS_clone), "D"(flags), "S"(stack), "d"(tid), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
#else
	register long x8 __asm__("x8") = SYS_clone;
	register long x0 __asm__("x0") = (long)flags;
	register void *x1 __asm__("x1") = stack;
	register int *x2 __asm__("x2") = tid;
	register long x3 __asm__("x3") = 0;
	register int *x4 __asm__("x4") = tid;

	__asm__ volatile("svc 0\n\tcbnz x0, 1f\n\tmov x29, xzr\n\tldp x1, x0, [sp], #16\n\tblr x1\n\t"
			 "mov x8, #93\n\tmov x0, xzr\n\tsvc 0\n1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
			 : "memory");
	ret = x0;
#endif
	return ret;
}

/* As create_worker_thread() and io_sq_thread() do: of the submitter. kind: eight letters */
void trap_name_thread(const char *kind, int owner)
{
	char name[16], digits[10];
	int n = 0, at = 8;

	memcpy(name, kind, 8);
	do
		digits[n++] = (char)('0' + owner % 10);
	while ((owner /= 10) && n < 10);
	while (n && at < 15)
		name[at++] = digits[--n];
	name[at] = 0;
	RAW(SYS_prctl, PR_SET_NAME, name);
}

/* set_cpus_allowed_ptr(): of these CPUs those that its submitter has, if there are such. */
static void place_it(struct trap_pool *p)
{
	struct trap_cpus cpus;
	uint64_t mine[TRAP_CPUS / 64] = {0}, both = 0;

	lane_pool_lock(&p->pool);
	cpus = p->cpus;
	lane_pool_unlock(&p->pool);
	if (!cpus.asked || RAW(SYS_sched_getaffinity, 0, sizeof(mine), mine) < 0)
		return;
	for (unsigned i = 0; i < TRAP_CPUS / 64; i++)
		both |= mine[i] &= cpus.set[i];
	RAW(SYS_sched_setaffinity, 0, sizeof(mine), both ? mine : cpus.set);
}

/* io_init_new_worker() */
static void begin_thread(const struct worker *w)
{
	trap_block(); /* but SIGSYS: interrupt_workers() */
	place_it(w->pool);
	trap_name_thread("iou-wrk-", w->pool->owner);
}

static void work(void *arg)
{
	struct worker *w = arg;

	begin_thread(w);
	lane_pool_work(&w->pool->pool);
}

char *trap_stack(char **stack)
{
	long at;

	if (!*stack) {
		at = map(GUARD + STACK);
		if (RAW_IS_ERROR(at))
			return NULL;
		RAW(SYS_mprotect, at, GUARD, PROT_NONE);
		*stack = (char *)at;
	}
	return *stack + GUARD + STACK;
}

/* Its handler (trap.c) does nothing. */
void trap_interrupt_thread(int tid)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_code = SI_QUEUE;
	info.si_value.sival_ptr = &trap_state;
	if (tid > 0)
		RAW(SYS_rt_tgsigqueueinfo, RAW(SYS_getpid), tid, TRAP_SIGNAL, &info);
}

static void interrupt_workers(struct lane_pool *pool)
{
	struct trap_pool *p = (struct trap_pool *)(void *)pool;

	for (unsigned i = 0; i < THREADS; i++)
		trap_interrupt_thread(__atomic_load_n(&p->workers[i].tid, __ATOMIC_ACQUIRE));
}

static void watch(void *arg)
{
	struct worker *w = arg;

	begin_thread(w);
	lane_aio_watch(&w->pool->aio);
}

/* create_io_thread()'s flags */
long trap_start_thread(char *top, int *tid, void (*run)(void *), void *arg)
{
	const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
				    CLONE_IO | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;

	return start_thread(flags, top, tid, run, arg);
}

static bool start_in_pool(struct trap_pool *p, void (*life)(void *))
{
	struct worker *w = p->workers;
	uint64_t old;
	long ret;

	while (w < p->workers + THREADS && !lane_pool_take_place(&w->tid))
		w++;
	if (w == p->workers + THREADS)
		return false;
	if (!trap_stack(&w->stack)) {
		__atomic_store_n(&w->tid, 0, __ATOMIC_RELEASE);
		return false;
	}
	w->pool = p;
	old = trap_swap_mask(ALL_SIGNALS);
	ret = trap_start_thread(trap_stack(&w->stack), &w->tid, life, w);
	if (ret <= 0)
		__atomic_store_n(&w->tid, 0, __ATOMIC_RELEASE);
	w->last = ret > 0 ? (int)ret : 0;
	trap_set_mask(&old);
	return ret > 0;
}

static bool start_worker(struct lane_pool *pool)
{
	return start_in_pool((struct trap_pool *)(void *)pool, work);
}

static bool start_watcher(struct lane_aio *aio)
{
	return start_in_pool((struct trap_pool *)(void *)aio->pool, watch);
}

/* ---- pools ---- */

static struct table *find_table(void)
{
	struct table *t = __atomic_load_n(&table, __ATOMIC_ACQUIRE), *none = NULL;
	long at;

	if (t && t->pid)
		return t->pid == RAW(SYS_getpid) ? t : NULL;
	if (t) { /* a fork's */
		t->pid = (int)RAW(SYS_getpid);
		return t;
	}
	at = map(sizeof(*t));
	if (RAW_IS_ERROR(at))
		return NULL;
	t = (struct table *)at;
	t->pid = (int)RAW(SYS_getpid);
	if (RAW(SYS_madvise, at, sizeof(*t), MADV_WIPEONFORK) == 0 &&
	    __atomic_compare_exchange_n(&table, &none, t, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return t;
	RAW(SYS_munmap, at, sizeof(*t));
	return none;
}

/* Of a thread that has ended, and so have its workers: it is this thread's now. */
static bool inherit(struct trap_pool *p, int pid)
{
	int owner = __atomic_load_n(&p->owner, __ATOMIC_ACQUIRE);

	if (RAW(SYS_tgkill, pid, owner, 0) != -ESRCH || lane_load(&p->pool.alive))
		return false;
	return __atomic_compare_exchange_n(&p->owner, &owner, (int)RAW(SYS_gettid), false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static struct trap_pool *new_pool(void)
{
	long at = map(sizeof(struct trap_pool));
	struct trap_pool *p = (struct trap_pool *)at;

	if (RAW_IS_ERROR(at))
		return NULL;
	RAW(SYS_madvise, at, sizeof(*p), MADV_DONTFORK);
	p->owner = (int)RAW(SYS_gettid);
	p->pool.idle_ns = LANE_IDLE_NS;
	p->pool.start = start_worker;
	p->pool.interrupt = interrupt_workers;
	p->aio.pool = &p->pool;
	p->aio.start = start_watcher;
	return p;
}

/* io_init_wq_offload(): bounded workers */
static uint32_t workers_at_most(void)
{
	uint64_t cpus[16] = {0};
	uint32_t count = 0;
	long size = RAW(SYS_sched_getaffinity, 0, sizeof(cpus), cpus);

	for (long i = 0; i < size / 8 && i < 16; i++)
		for (; cpus[i]; cpus[i] &= cpus[i] - 1)
			count++;
	count = count ? 4 * count : 4;
	return count < LANE_WORKERS ? count : LANE_WORKERS;
}

static void configure_pool(struct trap_pool *p, uint32_t most, const struct trap_cpus *cpus)
{
	most = most ? most : workers_at_most();
	lane_pool_lock(&p->pool);
	p->pool.max = most < LANE_WORKERS ? most : LANE_WORKERS;
	p->cpus = *cpus;
	lane_pool_unlock(&p->pool);
}

static struct trap_pool *take_place(struct table *t, int place)
{
	struct trap_pool *p = __atomic_load_n(&t->pools[place], __ATOMIC_ACQUIRE), *made;

	if (p)
		return inherit(p, t->pid) ? p : NULL;
	made = new_pool();
	if (!made || __atomic_compare_exchange_n(&t->pools[place], &p, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return made;
	RAW(SYS_munmap, made, sizeof(*made));
	return NULL;
}

/* Descriptors can be kept: a child by fork closes what it has got of them. */
bool trap_may_keep_files(void)
{
	static int (*at_fork)(void (*)(void), void (*)(void), void (*)(void), void *);
	static int state; /* 0: not asked yet; 1; -1: no */
	struct rlimit limit = {0, 0};

	if (state)
		return state > 0;
	state = -1;
	at_fork = (__typeof__(at_fork))dlsym(RTLD_DEFAULT, "__register_atfork");
	if (!at_fork || at_fork(NULL, NULL, close_kept_in_child, NULL) != 0)
		return false;
	RAW(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &limit);
	if (limit.rlim_cur < KEPT_FROM + 64)
		kept_from = limit.rlim_cur > 64 ? (int)limit.rlim_cur - 64 : 0;
	kept_by = (int)RAW(SYS_getpid);
	state = 1;
	return true;
}

/* Not where a filter of the program's sends a SIGSYS, which a worker has no handler for; and of another libc it is not
 * known where its set*id() have SIGSYS blocked. */
bool trap_may_have_threads(void)
{
	static bool guarded;

	if (refused || trap_state.no_workers || trap_wants_sigsys())
		return false;
	if (guarded)
		return true;
	refused = 1;
	if (!trap_may_keep_files() || !trap_guard_rights())
		return false;
	guarded = true;
	refused = 0;
	return true;
}

/* This thread's, or NULL. */
static struct trap_pool *own_pool(void)
{
	struct table *t = table;

	if (!own.pool || !t || __atomic_load_n(&t->pools[own.place], __ATOMIC_ACQUIRE) != own.pool)
		return NULL;
	return own.pool->owner == RAW(SYS_gettid) ? own.pool : NULL;
}

static void configure(void)
{
	struct trap_pool *p = own_pool();

	if (p)
		configure_pool(p, own.most, &own.cpus);
}

/* io_wq_max_workers(), of this thread: more that there are already end when they are idle. Each call has a number: returns
 * the new one. */
uint32_t trap_limit_workers(uint32_t most)
{
	static uint32_t limits;

	own.limit = __atomic_add_fetch(&limits, 1, __ATOMIC_RELAXED);
	own.most = most;
	configure();
	return own.limit;
}

/* io_wq_cpu_affinity(), of this thread: those that there are already stay where they are, and end when they are idle. */
void trap_place_workers(const struct trap_cpus *cpus)
{
	own.cpus = *cpus;
	configure();
}

/* Of a thread that has no storage of its own, and keeps it by hand */
struct trap_pool *trap_new_pool(int *place)
{
	static const struct trap_cpus anywhere;
	struct table *t = find_table();
	struct trap_pool *p = NULL;

	for (*place = 0; t && *place < POOLS; ++*place) {
		p = take_place(t, *place);
		if (p)
			break;
	}
	if (p)
		configure_pool(p, 0, &anywhere);
	return p;
}

/* This thread's; NULL: it can have none */
struct trap_pool *trap_find_pool(void)
{
	struct trap_pool *p = own_pool();

	if (p)
		return trap_state.no_workers ? NULL : p;
	p = trap_may_have_threads() ? trap_new_pool(&own.place) : NULL;
	own.pool = p;
	if (p)
		configure_pool(p, own.most, &own.cpus);
	return p;
}

/* io_register_iowq_max_workers() tells all threads that use the ring: each finds it out here. */
struct trap_pool *trap_find_pool_within(uint32_t most, uint32_t limit)
{
	if ((int32_t)(limit - own.limit) > 0) {
		own.most = most;
		own.limit = limit;
		configure();
	}
	return trap_find_pool();
}

/* ---- jobs ---- */

/* All are taken: who has pushed them tells the workers before he takes part. */
int trap_new_job(struct trap_pool *p, struct lane_job **job)
{
	int ret = p ? lane_pool_job(&p->pool, job) : -ENOSYS;

	if (ret == -EAGAIN)
		trap_work(p, false);
	return ret;
}

void trap_queue(struct lane_job *job)
{
	struct trap_pool *p = (struct trap_pool *)(void *)job->pool;

	if (lane_aio_add(&p->aio, job))
		return;
	lane_pool_push(job);
	p->fresh++;
}

void trap_end_job(struct lane_job *job)
{
	trap_drop_file(job->done.fd);
	lane_pool_free(job);
}

/* The pass is over: workers may begin, but for one job, if this thread helps. False: there was none for it. */
bool trap_work(struct trap_pool *p, bool help)
{
	struct lane_job *job;
	uint32_t fresh;

	if (!p)
		return false;
	lane_aio_submit(&p->aio);
	fresh = p->fresh;
	p->fresh = 0;
	if (fresh > help)
		lane_pool_go(&p->pool, fresh - help);
	job = help ? lane_pool_pop(&p->pool) : NULL;
	if (job)
		lane_perform(job);
	return job;
}

/* ---- requests without a worker ---- */

struct trap_pool *trap_busy_pool(void)
{
	struct table *t = table;

	if (!own.pool || !t || __atomic_load_n(&t->pools[own.place], __ATOMIC_ACQUIRE) != own.pool)
		return NULL;
	return lane_load(&own.pool->pool.taken) ? own_pool() : NULL;
}

void trap_reap_direct(struct trap_pool *p)
{
	if (p && lane_look_at(&p->aio.in_flight))
		lane_aio_reap(&p->aio);
}

void trap_leave_direct(struct trap_pool *p, bool eager)
{
	if (p)
		lane_aio_leave(&p->aio, eager);
}

long trap_wait_direct(struct trap_pool *p, uint32_t count, int64_t left_ns, const uint64_t *mask)
{
	return p ? lane_aio_wait(&p->aio, count, left_ns, mask) : -EAGAIN;
}

/* ---- the end ---- */

/* Not only that it does nothing any more: the process has one thread less. */
static void wait_for(struct worker *w, int pid)
{
	int tid, looks = GONE_LOOKS;

	while ((tid = __atomic_load_n(&w->tid, __ATOMIC_ACQUIRE)))
		RAW(SYS_futex, &w->tid, FUTEX_WAIT, tid, NULL);
	while (w->last && looks-- && RAW(SYS_tgkill, pid, w->last, 0) == 0)
		RAW(SYS_sched_yield);
	w->last = 0;
}

/* What is queued is done, and no worker of this process is left when it returns. Until trap_workers_may() nobody starts
 * any. */
void trap_no_workers(void)
{
	struct table *t = table;

	if (!t || t->pid != RAW(SYS_getpid))
		return;
	for (int i = 0; i < POOLS; i++) {
		struct trap_pool *p = __atomic_load_n(&t->pools[i], __ATOMIC_ACQUIRE);

		if (!p)
			continue;
		lane_pool_end(&p->pool);
		for (unsigned j = 0; j < THREADS; j++)
			wait_for(&p->workers[j], t->pid);
	}
}

void trap_workers_may(void)
{
	struct table *t = table;

	if (!t || t->pid != RAW(SYS_getpid))
		return;
	for (int i = 0; i < POOLS; i++) {
		struct trap_pool *p = __atomic_load_n(&t->pools[i], __ATOMIC_ACQUIRE);

		if (p && p->pool.ending)
			lane_pool_begin(&p->pool);
	}
}
