/* SPDX-License-Identifier: Apache-2.0 */
/* System calls and the ring of harness.h. */
#include "harness.h"

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
	     atomic_load(r->sq_tail), atomic_load(r->sq_mask), atomic_load(r->sq_entries), atomic_load(r->sq_flags),
	     atomic_load(r->sq_dropped));
	note("cq head=%u tail=%u mask=%u entries=%u overflow=%u", atomic_load(r->cq_head), atomic_load(r->cq_tail),
	     atomic_load(r->cq_mask), atomic_load(r->cq_entries), atomic_load(r->cq_overflow));
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

int run_later(struct ring *r, int fd, void *buf, size_t len, int fill_fd, const char *text)
{
	struct iovec iov = {buf, len};
	struct cqe cqe;

	ring_readv(r, fd, &iov, 1, 0, 9);
	EXPECT_EQ(ring_submit(r), 1);
	EXPECT_EQ(ring_ready(r), 0);
	if (text)
		EXPECT_EQ(OK(write(fill_fd, text, strlen(text))), strlen(text));
	else
		OK(close(fill_fd));
	cqe = ring_wait(r);
	note("later: user_data=%llu res=%d flags=%u", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
	return cqe.res;
}
