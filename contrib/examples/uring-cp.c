/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring-cp [-v] [-r RING] SRC DST: copy a file; the reads go through a ring, 32 x 64 KiB at a time.
 *
 * RING: default $URINGFS_DIR/new, then /mnt/uring/new: a fresh ring of one's own.
 *
 * What to take from here: requests complete in any order, so each carries its own state (struct chunk,
 * found again by user_data); a read may be short, and the rest is asked for again; the size of SRC is
 * not trusted: the copy ends where a read finds the end.
 */
#include "uringfs.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum { DEPTH = 32, CHUNK = 64 * 1024 };

typedef _Atomic uint32_t shared_u32;

struct ring {
	int fd;
	unsigned sq_mask, cq_mask;
	shared_u32 *sq_tail, *cq_head, *cq_tail;
	uint32_t *sq_array;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	char *map;
	size_t map_size, sqes_size;
	unsigned queued; /* SQEs behind the tail, not submitted yet */
};

/* One piece of the file, being read. */
struct chunk {
	char *buf;
	struct iovec iov; /* stays put while the request is queued; after the submission it may change */
	off_t off;	  /* in the file */
	size_t len, done;
	bool busy;
};

struct copy {
	struct ring ring;
	struct chunk chunks[DEPTH];
	int src, dst;
	unsigned depth;
	bool stream; /* SRC has no offsets (a pipe): one read at a time, at the current position */
	bool eof;
	off_t next; /* where the next chunk starts */
	unsigned busy;
	unsigned long long bytes, reads, enters;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "uring-cp: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *map(int fd, size_t size, off_t off)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, off);

	if (at == MAP_FAILED)
		die("mmap of the ring");
	return at;
}

static void ring_open(struct ring *r, const char *path)
{
	struct io_uring_params p = {0};
	size_t sq_size, cq_size;

	r->fd = uringfs_open(path);
	if (r->fd < 0)
		die(path);
	if (uringfs_setup(r->fd, DEPTH, &p) < 0)
		die("setup of the ring");
	sq_size = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
	cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	r->map_size = sq_size > cq_size ? sq_size : cq_size;
	r->map = map(r->fd, r->map_size, IORING_OFF_SQ_RING);
	r->sqes_size = p.sq_entries * sizeof(struct io_uring_sqe);
	r->sqes = map(r->fd, r->sqes_size, IORING_OFF_SQES);
	r->sq_mask = p.sq_entries - 1;
	r->cq_mask = p.cq_entries - 1;
	r->sq_tail = (shared_u32 *)(void *)(r->map + p.sq_off.tail);
	r->sq_array = (uint32_t *)(void *)(r->map + p.sq_off.array);
	r->cq_head = (shared_u32 *)(void *)(r->map + p.cq_off.head);
	r->cq_tail = (shared_u32 *)(void *)(r->map + p.cq_off.tail);
	r->cqes = (struct io_uring_cqe *)(void *)(r->map + p.cq_off.cqes);
}

static void ring_close(struct ring *r)
{
	munmap(r->sqes, r->sqes_size);
	munmap(r->map, r->map_size);
	close(r->fd);
}

/* Queue the rest of a chunk. There is always a free SQE: never more chunks than entries, and every
 * enter takes all that is queued. */
static void queue_read(struct copy *c, unsigned index)
{
	struct chunk *k = &c->chunks[index];
	struct ring *r = &c->ring;
	uint32_t tail = atomic_load_explicit(r->sq_tail, memory_order_relaxed);
	uint32_t slot = tail & r->sq_mask;
	struct io_uring_sqe *sqe = &r->sqes[slot];

	k->iov.iov_base = k->buf + k->done;
	k->iov.iov_len = k->len - k->done;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READV;
	sqe->fd = c->src;
	sqe->addr = (uint64_t)(uintptr_t)&k->iov;
	sqe->len = 1;
	sqe->off = c->stream ? (uint64_t)-1 : (uint64_t)(k->off + (off_t)k->done);
	sqe->user_data = index;
	r->sq_array[slot] = slot;
	atomic_store_explicit(r->sq_tail, tail + 1, memory_order_release);
	r->queued++;
	c->reads++;
}

static void write_chunk(struct copy *c, const struct chunk *k)
{
	size_t written = 0;

	while (written < k->done) {
		ssize_t n = pwrite(c->dst, k->buf + written, k->done - written, k->off + (off_t)written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die("write");
		written += (size_t)n;
	}
	c->bytes += k->done;
}

static void start_chunks(struct copy *c)
{
	for (unsigned i = 0; i < c->depth && !c->eof; i++) {
		struct chunk *k = &c->chunks[i];

		if (k->busy)
			continue;
		k->busy = true;
		k->off = c->next;
		k->len = CHUNK;
		k->done = 0;
		c->next += CHUNK;
		c->busy++;
		queue_read(c, i);
	}
}

static void finish_chunk(struct copy *c, struct chunk *k)
{
	write_chunk(c, k);
	if (c->stream)
		c->next = k->off + (off_t)k->done;
	k->busy = false;
	c->busy--;
}

/* One completion: res is what read(2) would have returned, or -errno. */
static void completed(struct copy *c, unsigned index, int res)
{
	struct chunk *k = &c->chunks[index];

	if (res == -EINTR || res == -EAGAIN) {
		queue_read(c, index);
		return;
	}
	if (res < 0) {
		errno = -res;
		die("read");
	}
	k->done += (size_t)res;
	if (res == 0)
		c->eof = true; /* chunks further on will find the same, and write nothing */
	if (res == 0 || k->done == k->len || c->stream)
		finish_chunk(c, k);
	else
		queue_read(c, index);
}

/* Submit what is queued, wait for at least one completion, take all there are. */
static void turn(struct copy *c)
{
	struct ring *r = &c->ring;
	int n = uringfs_enter(r->fd, r->queued, 1, IORING_ENTER_GETEVENTS, NULL);
	uint32_t head;

	if (n < 0 && errno != EINTR)
		die("enter");
	if (n > 0)
		r->queued -= (unsigned)n;
	c->enters++;
	head = atomic_load_explicit(r->cq_head, memory_order_relaxed);
	while (head != atomic_load_explicit(r->cq_tail, memory_order_acquire)) {
		const struct io_uring_cqe *cqe = &r->cqes[head & r->cq_mask];
		unsigned index = (unsigned)cqe->user_data;
		int res = cqe->res;

		/* the slot is free before the next request is queued: the CQ cannot overflow */
		atomic_store_explicit(r->cq_head, ++head, memory_order_release);
		completed(c, index, res);
	}
}

static void open_files(struct copy *c, const char *src, const char *dst)
{
	struct stat a, b;

	c->src = open(src, O_RDONLY | O_CLOEXEC);
	if (c->src < 0 || fstat(c->src, &a) < 0)
		die(src);
	if (S_ISDIR(a.st_mode)) {
		errno = EISDIR;
		die(src);
	}
	if (stat(dst, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino) {
		errno = EEXIST;
		die("SRC and DST are the same file");
	}
	c->dst = open(dst, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, a.st_mode & 0777);
	if (c->dst < 0)
		die(dst);
	c->stream = lseek(c->src, 0, SEEK_CUR) < 0;
	c->depth = c->stream ? 1 : DEPTH;
}

int main(int argc, char **argv)
{
	static struct copy c;
	const char *dir = getenv("URINGFS_DIR");
	char ring[4096];
	char *buffers;
	bool verbose = false;
	int opt;

	snprintf(ring, sizeof(ring), "%s/new", dir ? dir : "/mnt/uring");
	while ((opt = getopt(argc, argv, "vr:")) != -1) {
		if (opt == 'v')
			verbose = true;
		else if (opt == 'r')
			snprintf(ring, sizeof(ring), "%s", optarg);
		else
			return 2;
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: uring-cp [-v] [-r RING] SRC DST\n");
		return 2;
	}
	buffers = malloc((size_t)DEPTH * CHUNK);
	if (!buffers)
		die("buffers");
	for (unsigned i = 0; i < DEPTH; i++)
		c.chunks[i].buf = buffers + (size_t)i * CHUNK;
	ring_open(&c.ring, ring); /* first: without a ring DST stays as it is */
	open_files(&c, argv[optind], argv[optind + 1]);
	for (start_chunks(&c); c.busy; start_chunks(&c))
		turn(&c);
	if (close(c.dst) < 0)
		die(argv[optind + 1]);
	if (verbose)
		printf("%llu bytes, %llu reads, %llu enters\n", c.bytes, c.reads, c.enters);
	close(c.src);
	ring_close(&c.ring);
	free(buffers);
	return 0;
}
