/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the caller's pages it may read and write: /proc/TID/maps, by PROCMAP_QUERY or as text. Failures are OSError with the
 * kernel's errno; the interpreter lock is released around every system call that may wait.
 */
#include "../native.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Linux 6.11, linux/fs.h */
struct uringfs_procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
_Static_assert(sizeof(struct uringfs_procmap_query) == 104, "struct procmap_query");
#define URINGFS_PROCMAP_QUERY _IOWR('f', 17, struct uringfs_procmap_query)
#define URINGFS_PROCMAP_QUERY_VMA_READABLE 0x01
#define URINGFS_PROCMAP_QUERY_VMA_WRITABLE 0x02

struct span {
	uint64_t at, end; /* [at, end): what is still to be found accessible */
	bool write;
};

/* at moves to the end of the mapping when that is accessible and holds at; false otherwise. */
static bool span_advance(struct span *span, uint64_t start, uint64_t end, bool accessible)
{
	if (!accessible || start > span->at || end <= span->at)
		return false;
	span->at = end < span->end ? end : span->end;
	return true;
}

/* 0, or an errno; ENOTTY: this kernel has no PROCMAP_QUERY. */
static int prefix_query(int fd, struct span *span)
{
	while (span->at < span->end) {
		struct uringfs_procmap_query q = {
			.size = sizeof(q),
			.query_flags = span->write ? URINGFS_PROCMAP_QUERY_VMA_WRITABLE
						   : URINGFS_PROCMAP_QUERY_VMA_READABLE,
			.query_addr = span->at,
		};

		if (ioctl(fd, URINGFS_PROCMAP_QUERY, &q) < 0) /* ENOENT: no such mapping here; ESRCH: no mm */
			return errno == ENOENT ? 0 : errno;
		if (!span_advance(span, q.vma_start, q.vma_end, true))
			return 0;
	}
	return 0;
}

/* fd stays open. */
static int prefix_text(int fd, struct span *span)
{
	FILE *maps = fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 0), "re");
	char *line = NULL;
	size_t cap = 0;
	int err = 0;

	if (!maps)
		return errno;
	rewind(maps);
	errno = 0;
	while (span->at < span->end && getline(&line, &cap, maps) >= 0) {
		unsigned long long start, end;
		char perms[5];

		if (sscanf(line, "%llx-%llx %4s", &start, &end, perms) != 3) {
			err = EIO;
			break;
		}
		if (end > span->at && !span_advance(span, start, end, span->write ? perms[1] == 'w' : perms[0] == 'r'))
			break;
	}
	if (ferror(maps))
		err = errno;
	free(line);
	fclose(maps);
	return err;
}

static int prefix_of(int fd, struct span *span, bool text)
{
	int err = text ? ENOTTY : prefix_query(fd, span);

	return err == ENOTTY ? prefix_text(fd, span) : err;
}

static bool get_span(PyObject *const *args, struct span *span)
{
	uint64_t addr, size;

	if (!get_addr(args[0], &addr) || !get_addr(args[1], &size))
		return false;
	span->at = addr;
	span->end = size > UINT64_MAX - addr ? UINT64_MAX : addr + size;
	return true;
}

static PyObject *prefix(const char *name, PyObject *const *args, Py_ssize_t nargs, bool write, bool text)
{
	struct span span = {.write = write};
	uint64_t start;
	char path[32];
	int tid, fd, err;

	if (!nargs_is(name, nargs, 3) || !get_int(args[0], ESRCH, &tid) || !get_span(args + 1, &span))
		return NULL;
	if (tid <= 0)
		return raise_errno(ESRCH);
	start = span.at;
	snprintf(path, sizeof(path), "/proc/%d/maps", tid);
	Py_BEGIN_ALLOW_THREADS
	fd = open(path, O_RDONLY | O_CLOEXEC);
	err = fd >= 0 ? 0 : errno == ENOENT ? ESRCH : errno;
	if (fd >= 0) {
		err = prefix_of(fd, &span, text);
		close(fd);
	}
	Py_END_ALLOW_THREADS
	return err ? raise_errno(err) : PyLong_FromUnsignedLongLong(span.at - start);
}

static PyObject *mapped_prefix(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	struct span span = {0};
	uint64_t start;
	int fd, write, err;

	if (!nargs_is("mapped_prefix", nargs, 4) || !get_int(args[0], EBADF, &fd) || !get_span(args + 1, &span))
		return NULL;
	write = PyObject_IsTrue(args[3]);
	if (write < 0)
		return NULL;
	span.write = write;
	start = span.at;
	Py_BEGIN_ALLOW_THREADS
	err = prefix_of(fd, &span, false);
	Py_END_ALLOW_THREADS
	return err ? raise_errno(err) : PyLong_FromUnsignedLongLong(span.at - start);
}

static PyObject *writable_prefix(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	return prefix("writable_prefix", args, nargs, true, false);
}

static PyObject *readable_prefix(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	return prefix("readable_prefix", args, nargs, false, false);
}

static PyObject *writable_prefix_text(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	return prefix("writable_prefix_text", args, nargs, true, true);
}

PyMethodDef maps_methods[] = {
	FASTCALL(readable_prefix, readable_prefix, "readable_prefix(tid, address, size) -> int"),
	FASTCALL(writable_prefix, writable_prefix, "writable_prefix(tid, address, size) -> int"),
	FASTCALL(mapped_prefix, mapped_prefix, "mapped_prefix(maps, address, size, write) -> int"),
	FASTCALL(writable_prefix_text, writable_prefix_text, "writable_prefix without PROCMAP_QUERY"),
	{NULL, NULL, 0, NULL},
};
