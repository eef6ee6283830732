/* SPDX-License-Identifier: Apache-2.0 */
/* The line of `uringfs run --trace` for a call of io_uring's, without libc. uringfs/fs/supervised/supervisor.py writes
 * the same under --mode notify: tests/unit/launcher/ compares the two. */
#ifndef URINGFS_TRACE_LINE_H
#define URINGFS_TRACE_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "numbers.h"

struct line {
	char text[256];
	size_t length;
};

static inline void put_text(struct line *l, const char *text)
{
	while (*text && l->length < sizeof(l->text))
		l->text[l->length++] = *text++;
}

static inline void put_number(struct line *l, uint64_t value, unsigned base)
{
	char digits[24], *at = digits + sizeof(digits);

	*--at = 0;
	do {
		*--at = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	if (base == 16)
		put_text(l, "0x");
	put_text(l, at);
}

static inline void put_signed(struct line *l, long value)
{
	if (value < 0)
		put_text(l, "-");
	put_number(l, value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
}

/* [TID] io_uring_enter(3, 1, 1, 0x1, 0x0, 8) = 1, with a newline */
static inline struct line trace_line(long tid, long nr, const long *a, long ret)
{
	struct line l = {.length = 0};

	put_text(&l, "[");
	put_signed(&l, tid);
	put_text(&l, nr == NR_SETUP   ? "] io_uring_setup("
		     : nr == NR_ENTER ? "] io_uring_enter("
				      : "] io_uring_register(");
	put_signed(&l, (int)a[0]);
	put_text(&l, ", ");
	put_number(&l, nr == NR_SETUP ? (uint64_t)a[1] : (uint32_t)a[1], nr == NR_SETUP ? 16 : 10);
	if (nr == NR_ENTER) {
		put_text(&l, ", ");
		put_number(&l, (uint32_t)a[2], 10);
		put_text(&l, ", ");
		put_number(&l, (uint32_t)a[3], 16);
		put_text(&l, ", ");
		put_number(&l, (uint64_t)a[4], 16);
		put_text(&l, ", ");
		put_number(&l, (uint64_t)a[5], 10);
	} else if (nr == NR_REGISTER) {
		put_text(&l, ", ");
		put_number(&l, (uint64_t)a[2], 16);
		put_text(&l, ", ");
		put_number(&l, (uint32_t)a[3], 10);
	}
	put_text(&l, ") = ");
	put_signed(&l, ret);
	put_text(&l, "\n");
	return l;
}

#endif
