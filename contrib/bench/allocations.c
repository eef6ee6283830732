/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded by counts.py: counts what a process asks malloc(3) for, in the file that URINGFS_COUNTS names. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static uint64_t nowhere, *counted = &nowhere;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("URINGFS_COUNTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = fd >= 0 ? mmap(NULL, sizeof(*counted), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (at != MAP_FAILED)
		counted = at;
	if (fd >= 0)
		close(fd);
}

static void count(void)
{
	__atomic_fetch_add(counted, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t size)
{
	count();
	return __libc_malloc(size);
}

void *calloc(size_t many, size_t size)
{
	count();
	return __libc_calloc(many, size);
}

void *realloc(void *old, size_t size)
{
	count();
	return __libc_realloc(old, size);
}
