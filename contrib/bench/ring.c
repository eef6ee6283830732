/* SPDX-License-Identifier: Apache-2.0 */
/* The backends: the kernel's io_uring (gVisor's too), a uringfs mount, the floor; and mapping a ring. */
#include <stdlib.h>
#include <sys/mman.h>

#include "bench.h"

static int kernel_open(struct ring *ring, const char *path)
{
	(void)path;
	ring->fd = -1; /* setup makes it */
	return 0;
}

static int kernel_setup(struct ring *ring, unsigned entries, struct io_uring_params *p)
{
	ring->fd = (int)syscall(SYS_io_uring_setup, entries, p);
	return ring->fd < 0 ? -1 : 0;
}

static int kernel_enter(struct ring *ring, unsigned to_submit, unsigned min_complete, unsigned flags)
{
	return (int)syscall(SYS_io_uring_enter, ring->fd, to_submit, min_complete, flags, NULL, 0);
}

static int kernel_reg(struct ring *ring, unsigned opcode, void *arg, unsigned nr_args)
{
	return (int)syscall(SYS_io_uring_register, ring->fd, opcode, arg, nr_args);
}

static int fs_open(struct ring *ring, const char *path)
{
	ring->fd = uringfs_open(path);
	return ring->fd < 0 ? -1 : 0;
}

static int fs_setup(struct ring *ring, unsigned entries, struct io_uring_params *p)
{
	return uringfs_setup(ring->fd, entries, p);
}

static int fs_enter(struct ring *ring, unsigned to_submit, unsigned min_complete, unsigned flags)
{
	return uringfs_enter(ring->fd, to_submit, min_complete, flags, NULL);
}

static int fs_reg(struct ring *ring, unsigned opcode, void *arg, unsigned nr_args)
{
	return uringfs_register(ring->fd, opcode, arg, nr_args);
}

static int floor_open(struct ring *ring, const char *path)
{
	ring->fd = open(path, O_RDWR | O_CLOEXEC);
	return ring->fd < 0 ? -1 : 0;
}

/* The bytes an enter is, to a daemon that only replies. */
static int floor_enter(struct ring *ring, unsigned to_submit, unsigned min_complete, unsigned flags)
{
	struct uringfs_enter m;

	memset(&m, 0, sizeof(m));
	m.hdr.cmd = URINGFS_CMD_ENTER;
	m.hdr.size = sizeof(m);
	m.to_submit = to_submit;
	m.min_complete = min_complete;
	m.flags = flags;
	return pwrite(ring->fd, &m, sizeof(m), URINGFS_OFF_CTL) == sizeof(m) ? 0 : -1;
}

/* A table. */
/* clang-format off */
const struct backend backends[] = {
	{"kernel",  kernel_open, kernel_setup, kernel_enter,       kernel_reg, 0},
	{"gvisor",  kernel_open, kernel_setup, kernel_enter,       kernel_reg, 1},
	{"uringfs", fs_open,     fs_setup,     fs_enter,           fs_reg,     0},
	{"lane",    fs_open,     fs_setup,     lane_backend_enter, lane_backend_reg, 0},
	{"floor",   floor_open,  NULL,         floor_enter,        NULL,       0},
	{NULL,      NULL,        NULL,         NULL,               NULL,       0},
};
/* clang-format on */

const struct backend *backend_find(const char *name)
{
	const struct backend *b;

	for (b = backends; b->name; b++)
		if (!strcmp(b->name, name))
			return b;
	return NULL;
}

static void *map(struct ring *ring, size_t size, off_t offset)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, offset);
}

/* 0, or -1 with errno; ring_close takes back whatever was reached. */
int ring_open(struct ring *ring, const struct backend *backend, const char *path, unsigned entries)
{
	struct io_uring_params p;
	unsigned *array, i;
	size_t cq_size;
	char *base;

	memset(ring, 0, sizeof(*ring));
	memset(&p, 0, sizeof(p));
	ring->backend = backend;
	ring->fd = -1;
	ring->entries = entries;
	if (backend->open(ring, path) < 0)
		return -1;
	if (!backend->setup)
		return 0;
	if (backend->setup(ring, entries, &p) < 0)
		return -1;
	if (!(p.features & IORING_FEAT_SINGLE_MMAP)) {
		errno = ENOTSUP;
		return -1;
	}
	ring->rings_size = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	if (cq_size > ring->rings_size)
		ring->rings_size = cq_size;
	ring->sqes_size = p.sq_entries * sizeof(struct io_uring_sqe);
	base = map(ring, ring->rings_size, IORING_OFF_SQ_RING);
	if (base == MAP_FAILED)
		return -1;
	ring->rings = base;
	ring->sqes = map(ring, ring->sqes_size, IORING_OFF_SQES);
	if (ring->sqes == MAP_FAILED) {
		ring->sqes = NULL;
		return -1;
	}
	ring->entries = p.sq_entries;
	ring->sq_mask = p.sq_entries - 1;
	ring->cq_mask = p.cq_entries - 1;
	ring->sq_tail = (unsigned *)(base + p.sq_off.tail);
	ring->cq_head = (unsigned *)(base + p.cq_off.head);
	ring->cq_tail = (unsigned *)(base + p.cq_off.tail);
	ring->cqes = (struct io_uring_cqe *)(base + p.cq_off.cqes);
	array = (unsigned *)(base + p.sq_off.array);
	for (i = 0; i < p.sq_entries; i++)
		array[i] = i;
	return 0;
}

void ring_close(struct ring *ring)
{
	if (ring->sqes)
		munmap(ring->sqes, ring->sqes_size);
	if (ring->rings)
		munmap(ring->rings, ring->rings_size);
	if (ring->fd >= 0)
		close(ring->fd);
}
