/* SPDX-License-Identifier: Apache-2.0 */
/* harness.c: see harness.h. */
#include "harness.h"

#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>

#define DEADLINE_S 20

static struct test *tests, **last = &tests;

void test_register(struct test *t)
{
	*last = t;
	last = &t->next;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (struct test *t = tests; t; t = t->next)
			puts(t->name);
		return 0;
	}
	for (struct test *t = tests; argc == 2 && t; t = t->next) {
		if (strcmp(argv[1], t->name) != 0)
			continue;
		alarm(DEADLINE_S);
		t->run();
		return 0;
	}
	fprintf(stderr, "usage: %s --list | BEHAVIOUR\n", argv[0]);
	return 2;
}

void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	fflush(stdout);
	_exit(1);
}

void skip(const char *why)
{
	fprintf(stderr, "skipped: %s\n", why);
	exit(77);
}

long ok_(long ret, const char *what, const char *file, int line)
{
	if (ret == -1)
		fail(file, line, "%s: %s", what, strerror(errno));
	return ret;
}

/* ---- system calls ---- */

bool on_uringfs(void)
{
	return getenv("URINGFS_DIR") != NULL;
}

static int sys_ret(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

int sys_setup(unsigned entries, struct io_uring_params *p)
{
	char path[4096];
	int fd, ret;

	if (!on_uringfs())
		return sys_ret(syscall(SYS_io_uring_setup, entries, p));
	snprintf(path, sizeof(path), "%s/new", getenv("URINGFS_DIR"));
	fd = uringfs_open(path);
	if (fd < 0)
		return -errno;
	ret = sys_ret(uringfs_setup(fd, entries, p));
	if (ret < 0)
		close(fd);
	return ret < 0 ? ret : fd;
}

int sys_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags, const void *sig, size_t size)
{
	if (on_uringfs())
		return sys_ret(uringfs_enter2(fd, to_submit, min_complete, flags, sig, size));
	return sys_ret(syscall(SYS_io_uring_enter, fd, to_submit, min_complete, flags, sig, size));
}

int sys_register(int fd, unsigned opcode, const void *arg, unsigned nr_args)
{
	if (on_uringfs())
		return sys_ret(uringfs_register(fd, opcode, (void *)(uintptr_t)arg, nr_args));
	return sys_ret(syscall(SYS_io_uring_register, fd, opcode, arg, nr_args));
}

int enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags)
{
	return sys_enter(fd, to_submit, min_complete, flags, NULL, URINGFS_SIGSET_SIZE);
}

/* ---- a ring ---- */

void ring_init_params(struct ring *r, unsigned entries, const struct io_uring_params *p)
{
	memset(r, 0, sizeof(*r));
	r->p = *p;
	r->fd = sys_setup(entries, &r->p);
	if (r->fd == -EINVAL && !on_uringfs() && (p->flags & IORING_SETUP_NO_SQARRAY))
		skip("this kernel has no IORING_SETUP_NO_SQARRAY");
	if (r->fd < 0)
		FAIL("setup of %u entries, flags 0x%x: %s", entries, p->flags, strerror(-r->fd));
	ring_map(r, MAP_SHARED | MAP_POPULATE);
}

void ring_init(struct ring *r, unsigned entries, unsigned flags)
{
	struct io_uring_params p;

	memset(&p, 0, sizeof(p));
	p.flags = flags;
	ring_init_params(r, entries, &p);
}

static void *map_ring(int fd, size_t size, int flags, off_t off)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, off);

	if (at == MAP_FAILED)
		FAIL("mmap of %zu bytes at 0x%llx: %s", size, (long long)off, strerror(errno));
	return at;
}

/* The CQ lies in the same mapping; mmap.c has the clients that map it on its own. */
void ring_map(struct ring *r, int mmap_flags)
{
	const struct io_sqring_offsets *sq = &r->p.sq_off;
	const struct io_cqring_offsets *cq = &r->p.cq_off;
	size_t sq_size = sq->array + r->p.sq_entries * sizeof(uint32_t);

	r->cq_size = cq->cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->rings_size = sq_size > r->cq_size ? sq_size : r->cq_size;
	r->sqes_size = r->p.sq_entries * sizeof(struct io_uring_sqe);
	r->rings = map_ring(r->fd, r->rings_size, mmap_flags, IORING_OFF_SQ_RING);
	r->cq_map = r->rings;
	r->sqes = map_ring(r->fd, r->sqes_size, mmap_flags, IORING_OFF_SQES);
	r->sq_head = (void *)(r->rings + sq->head);
	r->sq_tail = (void *)(r->rings + sq->tail);
	r->sq_flags = (void *)(r->rings + sq->flags);
	r->sq_dropped = (void *)(r->rings + sq->dropped);
	r->sq_mask = (void *)(r->rings + sq->ring_mask);
	r->sq_entries = (void *)(r->rings + sq->ring_entries);
	r->cq_head = (void *)(r->rings + cq->head);
	r->cq_tail = (void *)(r->rings + cq->tail);
	r->cq_overflow = (void *)(r->rings + cq->overflow);
	r->cq_mask = (void *)(r->rings + cq->ring_mask);
	r->cq_entries = (void *)(r->rings + cq->ring_entries);
	r->cqes = (void *)(r->rings + cq->cqes);
	r->array = r->p.flags & IORING_SETUP_NO_SQARRAY ? NULL : (void *)(r->rings + sq->array);
	r->tail = atomic_load(r->sq_tail);
}

void ring_unmap(struct ring *r)
{
	OK(munmap(r->rings, r->rings_size));
	OK(munmap(r->sqes, r->sqes_size));
}

void ring_close(struct ring *r)
{
	ring_unmap(r);
	OK(close(r->fd));
	r->fd = -1;
}

struct io_uring_sqe *ring_sqe(struct ring *r)
{
	uint32_t head = atomic_load_explicit(r->sq_head, memory_order_acquire);
	uint32_t slot = r->tail & (r->p.sq_entries - 1);
	uint32_t index = slot;

	if (r->tail - head >= r->p.sq_entries)
		return NULL;
	if (r->array) {
		index = r->p.sq_entries - 1 - slot;
		r->array[slot] = index;
	}
	r->tail++;
	return memset(&r->sqes[index], 0, sizeof(struct io_uring_sqe));
}

static struct io_uring_sqe *must_sqe(struct ring *r)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	if (!sqe)
		FAIL("the SQ is full: tail %u", r->tail);
	return sqe;
}

void ring_nop(struct ring *r, uint64_t user_data)
{
	struct io_uring_sqe *sqe = must_sqe(r);

	sqe->opcode = IORING_OP_NOP;
	sqe->fd = -1;
	sqe->user_data = user_data;
}

void ring_readv(struct ring *r, int fd, const void *iov, unsigned n, uint64_t off, uint64_t user_data)
{
	struct io_uring_sqe *sqe = must_sqe(r);

	sqe->opcode = IORING_OP_READV;
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)iov;
	sqe->len = n;
	sqe->off = off;
	sqe->user_data = user_data;
}

void ring_store_tail(struct ring *r)
{
	atomic_store_explicit(r->sq_tail, r->tail, memory_order_release);
}

unsigned ring_queued(struct ring *r)
{
	return r->tail - atomic_load_explicit(r->sq_head, memory_order_acquire);
}

int ring_submit(struct ring *r)
{
	ring_store_tail(r);
	return enter(r->fd, ring_queued(r), 0, 0);
}

int ring_submit_wait(struct ring *r, unsigned min_complete)
{
	ring_store_tail(r);
	return enter(r->fd, ring_queued(r), min_complete, GETEVENTS);
}

unsigned ring_ready(struct ring *r)
{
	return atomic_load_explicit(r->cq_tail, memory_order_acquire) - atomic_load(r->cq_head);
}

bool ring_peek(struct ring *r, struct cqe *cqe)
{
	uint32_t head = atomic_load_explicit(r->cq_head, memory_order_relaxed);

	if (head == atomic_load_explicit(r->cq_tail, memory_order_acquire))
		return false;
	memcpy(cqe, &r->cqes[head & (r->p.cq_entries - 1)], sizeof(*cqe));
	return true;
}

bool ring_reap(struct ring *r, struct cqe *cqe)
{
	if (!ring_peek(r, cqe))
		return false;
	atomic_fetch_add_explicit(r->cq_head, 1, memory_order_release);
	return true;
}

struct cqe ring_wait(struct ring *r)
{
	struct cqe cqe;

	while (!ring_reap(r, &cqe)) {
		int ret = enter(r->fd, 0, 1, GETEVENTS);

		if (ret < 0)
			FAIL("waiting for a CQE: %s", strerror(-ret));
	}
	return cqe;
}

void ring_note_words(struct ring *r)
{
	note("sq head=%u tail=%u mask=%u entries=%u flags=%u dropped=%u", atomic_load(r->sq_head),
	     atomic_load(r->sq_tail), atomic_load(r->sq_mask), atomic_load(r->sq_entries),
	     atomic_load(r->sq_flags), atomic_load(r->sq_dropped));
	note("cq head=%u tail=%u mask=%u entries=%u overflow=%u", atomic_load(r->cq_head),
	     atomic_load(r->cq_tail), atomic_load(r->cq_mask), atomic_load(r->cq_entries),
	     atomic_load(r->cq_overflow));
}

int run_sqe(struct ring *r, const struct io_uring_sqe *sqe)
{
	struct cqe cqe;
	int ret;

	memcpy(must_sqe(r), sqe, sizeof(*sqe));
	ret = ring_submit_wait(r, 1);
	EXPECT_EQ(ret, 1);
	EXPECT_EQ(ring_ready(r), 1);
	EXPECT(ring_reap(r, &cqe));
	EXPECT_EQ(cqe.user_data, sqe->user_data);
	note("op=%u res=%d flags=%u", sqe->opcode, cqe.res, cqe.flags);
	return cqe.res;
}

int run_readv(struct ring *r, int fd, const void *iov, unsigned n, uint64_t off)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_READV;
	sqe.fd = fd;
	sqe.addr = (uint64_t)(uintptr_t)iov;
	sqe.len = n;
	sqe.off = off;
	sqe.user_data = 0xfeedfacecafe0000ULL + r->tail;
	return run_sqe(r, &sqe);
}

int run_read(struct ring *r, int fd, void *buf, size_t len, uint64_t off)
{
	struct iovec iov = {buf, len};

	return run_readv(r, fd, &iov, 1, off);
}

/* ---- the surroundings ---- */

unsigned char pattern(size_t i)
{
	return (unsigned char)(i * 31 + i / 251 + 7);
}

bool is_pattern(const void *buf, size_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((const unsigned char *)buf)[i] != pattern(off + i))
			return false;
	return true;
}

int make_file(size_t size)
{
	char path[] = "/tmp/uringfs-conformance-XXXXXX";
	unsigned char *data = malloc(size + 1);
	int fd = (int)OK(mkstemp(path));

	OK(unlink(path));
	EXPECT(data != NULL);
	for (size_t i = 0; i < size; i++)
		data[i] = pattern(i);
	EXPECT_EQ(pwrite(fd, data, size, 0), size);
	free(data);
	return fd;
}

char *map_pages(unsigned n, int prot)
{
	void *at = mmap(NULL, n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT(at != MAP_FAILED);
	return at;
}

char *map_then_hole(unsigned pages)
{
	char *at = map_pages(pages + 1, PROT_READ | PROT_WRITE);

	OK(mprotect(at + pages * PAGE, PAGE, PROT_NONE)); /* not munmap: a ring might be mapped there */
	return at;
}

int wait_child(pid_t pid)
{
	int status = 0;

	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	return status;
}

void expect_child_ok(pid_t pid)
{
	int status = wait_child(pid);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		FAIL("the child's status is 0x%x", status);
}

pid_t gettid_(void)
{
	return (pid_t)syscall(SYS_gettid);
}

void until_waiting(pid_t pid, pid_t tid)
{
	const struct timespec pause = {0, 200000};
	long want = on_uringfs() ? SYS_ppoll : SYS_io_uring_enter;
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	for (;;) {
		int fd = (int)OK(open(path, O_RDONLY | O_CLOEXEC));
		ssize_t n = OK(read(fd, line, sizeof(line) - 1));

		close(fd);
		line[n > 0 ? n : 0] = 0;
		if (line[0] >= '0' && line[0] <= '9' && strtol(line, NULL, 10) == want)
			return;
		nanosleep(&pause, NULL);
	}
}

void on_signal(int sig, void (*handler)(int), int flags)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = handler;
	sa.sa_flags = flags;
	OK(sigaction(sig, &sa, NULL));
}
