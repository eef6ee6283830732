/* SPDX-License-Identifier: Apache-2.0 */
/* Buffer rings, and requests that take buffers of them. */
#ifndef PBUFRING_H
#define PBUFRING_H

#include "pbuf.h"

#define MMAP 1 /* IOU_PBUF_RING_MMAP */
#define INC 2  /* IOU_PBUF_RING_INC */
#define ENTRIES 4
#define PBUF_RING(bgid) (0x80000000LL | (off_t)(bgid) << 16) /* IORING_OFF_PBUF_RING, _SHIFT */

struct buf {
	uint64_t addr;
	uint32_t len;
	uint16_t bid, tail;
};

struct reg {
	uint64_t addr;
	uint32_t entries;
	uint16_t bgid, flags;
	uint64_t resv[3];
};

struct status {
	uint32_t bgid, head, resv[8];
};

static inline int add_ring(struct ring *r, void *at, unsigned entries, unsigned bgid, unsigned flags)
{
	struct reg reg = {(uint64_t)(uintptr_t)at, entries, (uint16_t)bgid, (uint16_t)flags, {0}};

	return sys_register(r->fd, IORING_REGISTER_PBUF_RING, &reg, 1);
}

static inline int remove_ring(struct ring *r, unsigned bgid)
{
	struct reg reg = {0, 0, (uint16_t)bgid, 0, {0}};

	return sys_register(r->fd, IORING_UNREGISTER_PBUF_RING, &reg, 1);
}

/* In memory of our own, or, with MMAP, of the ring's */
static inline struct buf *buf_ring(struct ring *r, unsigned bgid, unsigned flags)
{
	struct buf *br = flags & MMAP ? NULL : (void *)map_pages(1, PROT_READ | PROT_WRITE);

	EXPECT_EQ(add_ring(r, br, ENTRIES, bgid, flags), 0);
	if (flags & MMAP) {
		br = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, PBUF_RING(bgid));
		EXPECT(br != MAP_FAILED);
	}
	return br;
}

static inline void add(struct buf *br, void *addr, uint32_t len, unsigned bid)
{
	uint16_t tail = __atomic_load_n(&br[0].tail, __ATOMIC_RELAXED);
	struct buf *b = &br[tail & (ENTRIES - 1)];

	b->addr = (uint64_t)(uintptr_t)addr;
	b->len = len;
	b->bid = (uint16_t)bid;
	__atomic_store_n(&br[0].tail, (uint16_t)(tail + 1), __ATOMIC_RELEASE);
}

static inline int head_of(struct ring *r, unsigned bgid)
{
	struct status status;
	int ret;

	memset(&status, 0, sizeof(status));
	status.bgid = bgid;
	ret = sys_register(r->fd, IORING_REGISTER_PBUF_STATUS, &status, 1);
	return ret < 0 ? ret : (int)status.head;
}

#endif
