/* SPDX-License-Identifier: Apache-2.0 */
/* gen.h: what the makers of requests share. Each fills a zeroed SQE; false: what it needs is not free. */
#ifndef GEN_H
#define GEN_H

#include "fuzz.h"

#ifndef RWF_APPEND
#define RWF_APPEND 0x10
#endif
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define NO_GROUP 77
#define OP_READ_MULTISHOT 49
#define RECV_MULTISHOT (1U << 1)
#define BUNDLE (1U << 4)
#define OPCODES 63 /* of the oracle, but for those of 128 bytes */

/* Headers and vectors that a request points to must stay; a program makes few. */
void *keep(size_t size);
/* One of n objects from first on, or -1: all are in use. */
int take(struct making *m, int first, int n);
void set_file(struct io_uring_sqe *s, int obj, bool write_end);
/* Some memory, in one piece or several. */
void set_buffers(struct io_uring_sqe *s, char *at, unsigned len);
struct msghdr *message(char *at, unsigned len);
char *from(unsigned len);

static inline uint64_t address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

typedef bool generator(struct io_uring_sqe *s, struct making *m);
/* gen_file.c */
generator gen_file_place, gen_file_rw, gen_file_direct, gen_file_misc, gen_xattr;
/* gen_stream.c */
generator gen_stream_write, gen_stream_read, gen_event, gen_poll, gen_buffers, gen_splice, gen_epoll, gen_socket;
/* gen_name.c */
generator gen_path, gen_slot, gen_slot_inline, gen_slot_socket;
/* hostile.c */
generator gen_noise;
void spoil(struct io_uring_sqe *s, const struct making *m);

#endif
