/* The launcher's table of ring descriptors, driven by lines on standard input: `register N` and `unregister N`, each with
 * N lines OFFSET RESV DATA, and `index I`. Rings 0 to 3 are rings, 4 is a file that is none, others are not open. A line
 * for each: the result, after `index` the ring, and after `register` the offsets as they are then. */
#include "../../../contrib/launcher/rings.c"

#include <stdio.h>
#include <sys/stat.h>

#define RINGS 5

static int fds[RINGS];

long trap_check_ring(int fd)
{
	if (fd == fds[RINGS - 1])
		return -EOPNOTSUPP;
	return fcntl(fd, F_GETFD, 0) < 0 ? -EBADF : 0;
}

long trap_copy_in(void *to, uintptr_t from, size_t size)
{
	memcpy(to, (const void *)from, size);
	return 0;
}

long trap_copy_out(uintptr_t to, const void *from, size_t size)
{
	memcpy((void *)to, from, size);
	return 0;
}

static long ring_of(long fd)
{
	struct stat one, other;

	if (fd < 0)
		return fd;
	fstat((int)fd, &one);
	for (long i = 0; i < RINGS; i++) {
		fstat(fds[i], &other);
		if (one.st_ino == other.st_ino)
			return i;
	}
	return -ENOENT;
}

static void call(const char *name, unsigned n)
{
	struct io_uring_rsrc_update updates[RINGFD_REG_MAX + 1];
	bool registers = name[0] == 'r';
	long data, ret;

	for (unsigned i = 0; i < n; i++) {
		if (scanf("%u %u %ld", &updates[i].offset, &updates[i].resv, &data) != 3)
			return;
		updates[i].data = (__u64)(registers && data < RINGS ? fds[data] : registers ? 1000 : data);
	}
	ret = registers ? trap_rings_register((uintptr_t)updates, n) : trap_rings_unregister((uintptr_t)updates, n);
	printf("%ld", ret);
	for (unsigned i = 0; registers && i < n; i++)
		printf(" %u", updates[i].offset);
	printf("\n");
}

int main(void)
{
	char name[16];
	unsigned n;

	for (int i = 0; i < RINGS; i++)
		fds[i] = memfd_create("ring", MFD_CLOEXEC);
	while (scanf("%15s %u", name, &n) == 2) {
		if (name[0] == 'i')
			printf("%ld\n", ring_of(trap_ring_of(n)));
		else
			call(name, n);
	}
	return 0;
}
