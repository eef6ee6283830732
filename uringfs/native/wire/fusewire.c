/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fusewire: what pyfuse3 does not reach. The functions marked HOOK have libfuse's names. This module is
 * loaded with RTLD_GLOBAL before pyfuse3, so the dynamic linker gives pyfuse3 ours, and ours call
 * libfuse's. They see every message on the FUSE descriptor (custom I/O, libfuse >= 3.14) and write the
 * replies libfuse has no words for.
 *
 * fuse_session_mount() rather than fuse_session_new() is the way in: its signature is the same in every
 * libfuse 3, and only then the descriptor exists.
 *
 * Everything below is called by pyfuse3's one thread with the interpreter lock held, except wire_writev,
 * which notifications call from anywhere; it only reads what fuse_session_mount() and the INIT set.
 */
#include "fusewire.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#if FUSE_VERSION < FUSE_MAKE_VERSION(3, 14)
#error "libfuse 3.14 or newer is needed (fuse_session_custom_io)"
#endif

#define HOOK __attribute__((visibility("default")))

/* older headers lack them */
#define WIRE_ASYNC_DIO (1u << 15)	 /* FUSE_ASYNC_DIO */
#define WIRE_INIT_EXT (1u << 30)	 /* FUSE_INIT_EXT */
#define WIRE_FOPEN_PASSTHROUGH (1u << 7) /* FOPEN_PASSTHROUGH */
#define WIRE_FOPEN_NOFLUSH (1u << 5)
#define WIRE_FOPEN_PARALLEL_DIRECT_WRITES (1u << 6)

struct wire_init_in {
	uint32_t major, minor, max_readahead, flags, flags2;
};

struct wire_init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth, unused[6];
};
_Static_assert(sizeof(struct wire_init_out) == 64, "struct fuse_init_out");

struct wire_open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};
_Static_assert(sizeof(struct wire_open_out) == 16, "struct fuse_open_out");
_Static_assert(sizeof(struct fuse_entry_out) == 128, "struct fuse_entry_out");

/* A file of ours: read and write come to us, mmap goes to the backing memfd, writes run in parallel, and
 * close(2) sends no FLUSH. FOPEN_PASSTHROUGH tolerates no other flag beside these (fs/fuse/iomode.c). */
#define WIRE_OPEN_FLAGS \
	(FOPEN_DIRECT_IO | WIRE_FOPEN_NOFLUSH | WIRE_FOPEN_PARALLEL_DIRECT_WRITES | WIRE_FOPEN_PASSTHROUGH)

struct wire wire;
bool passthrough_wanted;

/* ---- messages ---- */

/* Remember what the handlers will ask for. Returns false when the message ends here. */
static bool message_seen(const char *buf, size_t size)
{
	const struct fuse_in_header *in = (const void *)buf;
	const char *arg = buf + sizeof(*in);
	size_t arg_size;

	if (size < sizeof(*in))
		return true;
	arg_size = size - sizeof(*in);
	if (in->opcode == FUSE_INTERRUPT) {
		/* Not for libfuse: it keeps those it cannot match, and answers them later. The kernel sends
		 * them after the request itself was read, so whoever waits for that request is known by now
		 * (or has answered: then the interrupt is void). */
		if (arg_size >= sizeof(struct fuse_interrupt_in))
			interrupts_add(((const struct fuse_interrupt_in *)(const void *)arg)->unique);
		return false;
	}
	wire.unique = in->unique;
	wire.opcode = in->opcode;
	wire.uid = in->uid;
	wire.gid = in->gid;
	wire.tid = in->pid;
	wire.detail = 0;
	if (in->opcode == FUSE_POLL && arg_size >= sizeof(struct fuse_poll_in)) {
		wire.detail = ((const struct fuse_poll_in *)(const void *)arg)->events;
	} else if (in->opcode == FUSE_GETATTR && arg_size >= sizeof(struct fuse_getattr_in)) {
		wire.detail = ((const struct fuse_getattr_in *)(const void *)arg)->getattr_flags;
	} else if (in->opcode == FUSE_INIT) {
		const struct wire_init_in *init = (const void *)arg;

		wire.init_unique = in->unique;
		wire.offered = arg_size >= sizeof(*init) && (init->flags & WIRE_INIT_EXT) ? init->flags2 : 0;
	}
	return true;
}

/* read(2) of a message, if there is one */
ssize_t wire_next(void *buf, size_t size)
{
	ssize_t n = wire.paged ? pager_take(wire.fd, buf, size) : read(wire.fd, buf, size);

	if (n < 0 && errno == EAGAIN)
		wire.emptied++;
	return n;
}

static ssize_t wire_read(int Py_UNUSED(fd), void *buf, size_t size, void *Py_UNUSED(userdata))
{
	ssize_t n = wire_next(buf, size);

	shortcut_enter();
	for (;;) {
		if (n < 0) {
			if (errno == EAGAIN) /* withdrawn, or the shortcut has none; pyfuse3's loop dies of EAGAIN */
				errno = EINTR;
			return n;
		}
		if (!message_seen(buf, (size_t)n))
			break;
		if (!shortcut_answers(wire.fd, buf, (size_t)n))
			return n;
		n = shortcut_read(buf, size);
	}
	errno = EINTR; /* nothing to dispatch; the descriptor stays readable if there is more */
	return -1;
}

static void init_reply_edit(struct wire_init_out *out, size_t size)
{
	out->flags &= ~(uint32_t)FUSE_ATOMIC_O_TRUNC; /* no open with O_TRUNC reaches the memfd */
	/* Whoever writes waits for the answer, io_submit(2) too (fuse_direct_IO()): a control write is performed in the
	 * name of its thread, which must not execute another program meanwhile. */
	out->flags &= ~WIRE_ASYNC_DIO;
	if (size < sizeof(*out) || (out->flags & FUSE_WRITEBACK_CACHE))
		return;
	wire.granted = wire.offered & (wire.paged	    ? WIRE_DIRECT_IO_ALLOW_MMAP
				       : passthrough_wanted ? WIRE_PASSTHROUGH
							    : 0);
	if (!wire.granted)
		return;
	out->flags |= WIRE_INIT_EXT;
	out->flags2 |= wire.granted;
	if (wire.granted & WIRE_PASSTHROUGH)
		out->max_stack_depth = 1;
	if (wire.paged && out->max_write > PAGER_MOST)
		out->max_write = PAGER_MOST;
	if (wire.paged && out->max_pages > PAGER_MOST / 4096)
		out->max_pages = PAGER_MOST / 4096;
}

/* ENOENT: of a RELEASE that the pager has answered. */
static ssize_t reply(const struct iovec *iov, int count)
{
	ssize_t n = writev(wire.fd, iov, count);

	if (n < 0 && errno == ENOENT && wire.paged && count == 1)
		return (ssize_t)iov[0].iov_len;
	return n;
}

static ssize_t wire_writev(int Py_UNUSED(fd), struct iovec *iov, int count, void *Py_UNUSED(userdata))
{
	const struct fuse_out_header *head = iov[0].iov_base;

	if (wire.init_unique && head->unique == wire.init_unique) {
		wire.init_unique = 0;
		if (!head->error && count == 2 && iov[1].iov_len >= offsetof(struct wire_init_out, max_background) &&
		    iov[1].iov_len <= sizeof(struct wire_init_out)) {
			struct wire_init_out out = {0};
			struct iovec edited[2] = {iov[0], {&out, iov[1].iov_len}};

			memcpy(&out, iov[1].iov_base, iov[1].iov_len);
			init_reply_edit(&out, iov[1].iov_len);
			return writev(wire.fd, edited, 2);
		}
	}
	return reply(iov, count);
}

static const struct fuse_custom_io wire_io = {.read = wire_read, .writev = wire_writev};

/* ---- hooks ---- */

static void *real(const char *name)
{
	void *func = dlsym(RTLD_NEXT, name);

	if (!func)
		Py_FatalError("uringfs: libfuse3 lacks a function that pyfuse3 has linked");
	return func;
}

static void session_forget(struct fuse_session *se)
{
	if (wire.session != se)
		return;
	if (wire.paged) {
		fuse_session_custom_io(se, &wire_io, wire.fd); /* it is the descriptor that libfuse closes */
		pager_stop();
	}
	memset(&wire, 0, sizeof(wire));
}

/* The descriptor that is readable when there is a message. -1 with the pager wanted and impossible. */
static int session_begin(int fd)
{
	int ready = fd;

	if (shadow_wanted >= 0)
		ready = pager_start(fd);
	wire.fd = fd;
	wire.paged = ready >= 0 && ready != fd;
	return ready;
}

HOOK int fuse_session_mount(struct fuse_session *se, const char *mountpoint)
{
	int (*next)(struct fuse_session *, const char *) = real("fuse_session_mount");
	int fd, ready, flags, ret = next(se, mountpoint);

	if (ret != 0)
		return ret;
	memset(&wire, 0, sizeof(wire));
	interrupts_clear();
	fd = fuse_session_fd(se);
	/* non-blocking: a request withdrawn between poll and read must not stop the whole daemon */
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
		return 0;
	ready = session_begin(fd);
	if (ready >= 0 && fuse_session_custom_io(se, &wire_io, ready) == 0)
		wire.session = se;
	return 0;
}

HOOK void fuse_session_unmount(struct fuse_session *se)
{
	void (*next)(struct fuse_session *) = real("fuse_session_unmount");

	session_forget(se); /* the descriptor is closed now, and its number may be another file's soon */
	next(se);
}

HOOK void fuse_session_destroy(struct fuse_session *se)
{
	void (*next)(struct fuse_session *) = real("fuse_session_destroy");

	session_forget(se);
	next(se);
}

static struct wire_open_out open_out(const struct fuse_file_info *fi)
{
	return (struct wire_open_out){
		.fh = fi->fh,
		.open_flags = WIRE_OPEN_FLAGS,
		.backing_id = (int32_t)(uint32_t)fi->fh,
	};
}

HOOK int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	int (*next)(fuse_req_t, const struct fuse_file_info *) = real("fuse_reply_open");
	struct fuse_file_info stock = *fi;
	struct wire_open_out out;

	if (!(uint32_t)fi->fh) {
		stock.noflush = wire.paged;
		return next(req, &stock);
	}
	out = open_out(fi);
	return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

static void put_timeout(double t, uint64_t *sec, uint32_t *nsec)
{
	if (!(t > 0)) {
		*sec = 0;
		*nsec = 0;
	} else if (t >= (double)UINT64_MAX) {
		*sec = UINT64_MAX;
		*nsec = 0;
	} else {
		*sec = (uint64_t)t;
		*nsec = (uint32_t)((t - (double)*sec) * 1e9);
	}
}

static void put_attr(struct fuse_attr *attr, const struct stat *st)
{
	attr->ino = st->st_ino;
	attr->size = (uint64_t)st->st_size;
	attr->blocks = (uint64_t)st->st_blocks;
	attr->atime = (uint64_t)st->st_atim.tv_sec;
	attr->mtime = (uint64_t)st->st_mtim.tv_sec;
	attr->ctime = (uint64_t)st->st_ctim.tv_sec;
	attr->atimensec = (uint32_t)st->st_atim.tv_nsec;
	attr->mtimensec = (uint32_t)st->st_mtim.tv_nsec;
	attr->ctimensec = (uint32_t)st->st_ctim.tv_nsec;
	attr->mode = st->st_mode;
	attr->nlink = (uint32_t)st->st_nlink;
	attr->uid = st->st_uid;
	attr->gid = st->st_gid;
	attr->rdev = (uint32_t)st->st_rdev;
	attr->blksize = (uint32_t)st->st_blksize;
}

HOOK int fuse_reply_create(fuse_req_t req, const struct fuse_entry_param *e, const struct fuse_file_info *fi)
{
	int (*next)(fuse_req_t, const struct fuse_entry_param *,
		    const struct fuse_file_info *) = real("fuse_reply_create");
	struct fuse_file_info stock = *fi;
	struct {
		struct fuse_entry_out entry;
		struct wire_open_out open;
	} out;

	if (!(uint32_t)fi->fh) {
		stock.noflush = wire.paged;
		return next(req, e, &stock);
	}
	memset(&out, 0, sizeof(out));
	out.entry.nodeid = e->ino;
	out.entry.generation = e->generation;
	put_timeout(e->entry_timeout, &out.entry.entry_valid, &out.entry.entry_valid_nsec);
	put_timeout(e->attr_timeout, &out.entry.attr_valid, &out.entry.attr_valid_nsec);
	put_attr(&out.entry.attr, &e->attr);
	out.open = open_out(fi);
	return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}
