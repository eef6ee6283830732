/* SPDX-License-Identifier: Apache-2.0 */
/* The shared words of the lane, and their order. Part of core.h. */
#ifndef URINGFS_LANE_WORDS_H
#define URINGFS_LANE_WORDS_H

/* Of a constant size: never a call, which in the launcher would be a loop over bytes (-fno-builtin). */
#define LANE_COPY(to, from, size) __builtin_memcpy(to, from, size)
#define LANE_CLEAR(at, size) __builtin_memset(at, 0, size)

static inline uint32_t lane_load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void lane_store(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* A word of struct io_rings */
static inline uint32_t lane_word(const char *rings, size_t offset)
{
	return lane_load((const uint32_t *)(const void *)(rings + offset));
}

static inline void lane_set_word(char *rings, size_t offset, uint32_t value)
{
	lane_store((uint32_t *)(void *)(rings + offset), value);
}

/* Everything stored before is seen before anything is loaded behind. x86 has it in each locked instruction;
 * the thread sanitizer knows no fences. */
static inline void lane_fence_behind_rmw(void)
{
#if defined(__x86_64__) || defined(__SANITIZE_THREAD__)
	__asm__ volatile("" : : : "memory");
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* All that is taken is done, and this is the tail: in one store. */
static inline void lane_posted(struct lane_pass *p)
{
	__atomic_store_n(&p->lane->page->posted, p->tail | (uint64_t)p->head << 32, __ATOMIC_RELEASE);
}

static inline uint64_t lane_now_posted(const struct lane *lane)
{
	return __atomic_load_n(&lane->page->posted, __ATOMIC_ACQUIRE);
}

#endif
