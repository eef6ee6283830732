/* SPDX-License-Identifier: Apache-2.0 */
/* Registered files and buffers, as this process has registered them itself: docs/lane.md, "Files and buffers". Part of
 * core.h. A list is written by who makes the register call, and read with the lane, at the same time maybe. */
#ifndef URINGFS_LANE_FIXED_H
#define URINGFS_LANE_FIXED_H

#include "raw.h"

#define LANE_SLOTS 256u /* of more, these are known */
#define LANE_LISTED (1ULL << 32)

/* A file: its descriptor + 1 and its O_* << 32; its inode; its device. A buffer: its length; its address. 0: empty. */
struct lane_slot {
	uint64_t word[3];
};

struct lane_list {
	uint32_t turn;	/* odd: it is being written */
	uint32_t nr;	/* of its slots in use */
	uint64_t stamp; /* LANE_LISTED and the count of changes behind which it is right; 0: void */
	struct lane_slot slots[LANE_SLOTS];
};

struct lane_fixed {
	struct lane_list files, buffers;
};

static inline uint64_t lane_stamp(const uint32_t *count)
{
	return LANE_LISTED | __atomic_load_n(count, __ATOMIC_ACQUIRE);
}

/* What is registered at an index. False: that is not known. */
static inline bool lane_find_slot(const struct lane_list *list, const uint32_t *count, uint32_t index,
				  struct lane_slot *slot)
{
	uint32_t turn = __atomic_load_n(&list->turn, __ATOMIC_ACQUIRE);

	if (turn & 1 || __atomic_load_n(&list->stamp, __ATOMIC_ACQUIRE) != lane_stamp(count) ||
	    index >= __atomic_load_n(&list->nr, __ATOMIC_ACQUIRE))
		return false;
	for (unsigned i = 0; i < 3; i++)
		slot->word[i] = __atomic_load_n(&list->slots[index].word[i], __ATOMIC_ACQUIRE);
	return slot->word[0] && __atomic_load_n(&list->turn, __ATOMIC_RELAXED) == turn;
}

static inline void lane_put_slot(struct lane_list *list, uint32_t index, const struct lane_slot *slot)
{
	for (unsigned i = 0; i < 3; i++)
		__atomic_store_n(&list->slots[index].word[i], slot->word[i], __ATOMIC_RELEASE);
}

/* ---- what a register call has changed ---- */

struct lane_change {
	bool files;
	bool whole; /* all that there is now */
	uint32_t first, nr;
	uint64_t data; /* descriptors, or iovecs; 0: empty slots */
};

static inline long lane_fetch(void *to, uint64_t from, size_t size)
{
	struct iovec here, there;

	here.iov_base = to;
	there.iov_base = (void *)(uintptr_t)from;
	here.iov_len = there.iov_len = size;
	return RAW(SYS_process_vm_readv, RAW(SYS_gettid), &here, 1, &there, 1, 0) == (long)size ? 0 : -EFAULT;
}

static inline bool lane_changes_files(unsigned opcode)
{
	return opcode == IORING_REGISTER_FILES || opcode == IORING_REGISTER_FILES2 ||
	       opcode == IORING_REGISTER_FILES_UPDATE || opcode == IORING_REGISTER_FILES_UPDATE2;
}

static inline bool lane_changes_buffers(unsigned opcode)
{
	return opcode == IORING_REGISTER_BUFFERS || opcode == IORING_REGISTER_BUFFERS2 ||
	       opcode == IORING_REGISTER_BUFFERS_UPDATE;
}

/* io_register_rsrc(), io_register_files_update(), io_register_rsrc_update(): of a call that has succeeded. */
static inline bool lane_change_of(unsigned opcode, uint64_t arg, uint32_t nr_args, long ret, struct lane_change *c)
{
	struct io_uring_rsrc_register all;
	struct io_uring_rsrc_update2 some;

	LANE_CLEAR(c, sizeof(*c));
	c->files = lane_changes_files(opcode);
	c->whole = opcode == IORING_REGISTER_FILES || opcode == IORING_REGISTER_BUFFERS ||
		   opcode == IORING_REGISTER_FILES2 || opcode == IORING_REGISTER_BUFFERS2;
	c->data = arg;
	c->nr = nr_args;
	if (opcode == IORING_REGISTER_FILES || opcode == IORING_REGISTER_BUFFERS)
		return true;
	if (c->whole) {
		if (lane_fetch(&all, arg, sizeof(all)) < 0)
			return false;
		c->data = all.data;
		c->nr = all.nr;
		return true;
	}
	if (lane_fetch(&some, arg, offsetof(struct io_uring_rsrc_update2, tags)) < 0)
		return false;
	c->data = some.data;
	c->first = some.offset;
	c->nr = (uint32_t)ret;
	return true;
}

/* A file whose descriptor tells, as long as the daemon keeps it, whether it is still that one: its inode is no other's.
 * Its mode; 0: it does not, or there is none. */
static inline uint32_t lane_identify(int fd, struct lane_slot *slot, struct stat *st)
{
	long flags = RAW(SYS_fcntl, fd, F_GETFL);

	if (flags < 0 || RAW(SYS_fstat, fd, st) < 0)
		return 0;
	slot->word[0] = (uint64_t)((uint32_t)fd + 1) | (uint64_t)(uint32_t)flags << 32;
	slot->word[1] = st->st_ino;
	slot->word[2] = st->st_dev;
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode) || S_ISSOCK(st->st_mode) || S_ISFIFO(st->st_mode))
		return st->st_mode;
	return 0;
}

/* A descriptor that is none, or tells nothing, is not known. */
static inline void lane_slot_of_file(uint64_t from, struct lane_slot *slot, bool *skipped)
{
	int32_t fd = -1;
	struct stat st;

	if (lane_fetch(&fd, from, sizeof(fd)) < 0 || fd < 0 || !lane_identify(fd, slot, &st))
		LANE_CLEAR(slot, sizeof(*slot));
	*skipped = fd == IORING_REGISTER_FILES_SKIP;
}

static inline void lane_slot_of_buffer(uint64_t from, struct lane_slot *slot)
{
	struct iovec iov;

	if (lane_fetch(&iov, from, sizeof(iov)) < 0 || !iov.iov_base)
		return;
	slot->word[0] = iov.iov_len;
	slot->word[1] = (uintptr_t)iov.iov_base;
}

/* Slot i of the change. False: it is as it was. */
static inline bool lane_slot_of(const struct lane_change *c, uint32_t i, struct lane_slot *slot)
{
	bool skipped = false;

	LANE_CLEAR(slot, sizeof(*slot));
	if (c->data && c->files)
		lane_slot_of_file(c->data + i * sizeof(int32_t), slot, &skipped);
	else if (c->data)
		lane_slot_of_buffer(c->data + i * sizeof(struct iovec), slot);
	return !skipped;
}

static inline void lane_apply(struct lane_list *list, const struct lane_change *c)
{
	struct lane_slot slot;

	for (uint32_t i = 0; i < c->nr && c->first + i < LANE_SLOTS; i++)
		if (lane_slot_of(c, i, &slot))
			lane_put_slot(list, c->first + i, &slot);
	if (c->whole)
		__atomic_store_n(&list->nr, c->nr < LANE_SLOTS ? c->nr : LANE_SLOTS, __ATOMIC_RELEASE);
}

/* The call has succeeded. before: the stamp in front of it. Of two threads that register, neither has a list. */
static inline void lane_relist(struct lane_list *list, const uint32_t *count, uint64_t before,
			       const struct lane_change *c)
{
	uint32_t turn = __atomic_load_n(&list->turn, __ATOMIC_ACQUIRE);
	uint64_t behind = LANE_LISTED | (uint32_t)(before + 1), old;

	if (turn & 1 ||
	    !__atomic_compare_exchange_n(&list->turn, &turn, turn + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return;
	old = __atomic_exchange_n(&list->stamp, 0, __ATOMIC_ACQ_REL);
	if (lane_stamp(count) == behind && (c->whole || old == before)) {
		lane_apply(list, c);
		__atomic_store_n(&list->stamp, behind, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&list->turn, turn + 2, __ATOMIC_RELEASE);
}

static inline void lane_forget(struct lane_fixed *fixed)
{
	__atomic_store_n(&fixed->files.stamp, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&fixed->buffers.stamp, 0, __ATOMIC_RELEASE);
}

#endif
