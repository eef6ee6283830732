/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.c: what a container can do with io_uring. Static, so it runs in any root filesystem.
 *
 *   probe kernel              the kernel's io_uring_setup(2): "kernel=ok" or the errno's name
 *   probe ring RING FILE      a ring of uringfs, step by step; FILE, of more than 12 bytes, is read through it
 *   probe wait RING           READV on stdin, which waits; then what it read
 *
 * Prints name=value lines for the test to check; exit status 1 and one line on stderr where a call fails.
 */
#include "uringfs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

typedef _Atomic uint32_t shared_u32;

static struct {
	int fd;
	shared_u32 *sq_tail, *cq_head, *cq_tail;
	uint32_t *array, sq_mask, cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static void die(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *map(size_t size, off_t offset)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, offset);

	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

static void open_ring(const char *path)
{
	struct io_uring_params p = {0};
	char *rings;

	ring.fd = uringfs_open(path);
	if (ring.fd < 0)
		die(path);
	if (uringfs_setup(ring.fd, 8, &p) < 0)
		die("setup");
	if (!(p.features & IORING_FEAT_SINGLE_MMAP)) {
		errno = ENOTSUP;
		die("IORING_FEAT_SINGLE_MMAP");
	}
	rings = map(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_SQ_RING);
	ring.sqes = map(p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	ring.sq_tail = (shared_u32 *)(rings + p.sq_off.tail);
	ring.cq_head = (shared_u32 *)(rings + p.cq_off.head);
	ring.cq_tail = (shared_u32 *)(rings + p.cq_off.tail);
	ring.array = (uint32_t *)(rings + p.sq_off.array);
	ring.sq_mask = *(uint32_t *)(rings + p.sq_off.ring_mask);
	ring.cq_mask = *(uint32_t *)(rings + p.cq_off.ring_mask);
	ring.cqes = (struct io_uring_cqe *)(rings + p.cq_off.cqes);
	printf("entries=%u,%u\n", p.sq_entries, p.cq_entries);
}

/* Slots from the end of the array: its index is not its position. */
static void queue(int opcode, int fd, const void *addr, unsigned len, uint64_t user_data)
{
	uint32_t tail = atomic_load_explicit(ring.sq_tail, memory_order_relaxed);
	uint32_t slot = ring.sq_mask - (tail & ring.sq_mask);
	struct io_uring_sqe *sqe = &ring.sqes[slot];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = (uint8_t)opcode;
	sqe->fd = fd;
	sqe->off = (uint64_t)-1; /* the current position */
	sqe->addr = (uint64_t)(uintptr_t)addr;
	sqe->len = len;
	sqe->user_data = user_data;
	ring.array[tail & ring.sq_mask] = slot;
	atomic_store_explicit(ring.sq_tail, tail + 1, memory_order_release);
}

static int reap(uint64_t user_data)
{
	uint32_t head = atomic_load_explicit(ring.cq_head, memory_order_relaxed);
	struct io_uring_cqe *cqe = &ring.cqes[head & ring.cq_mask];
	int res = cqe->res;

	if (head == atomic_load_explicit(ring.cq_tail, memory_order_acquire)) {
		errno = ENODATA;
		die("no completion");
	}
	if (cqe->user_data != user_data) {
		errno = EBADMSG;
		die("another request's completion");
	}
	atomic_store_explicit(ring.cq_head, head + 1, memory_order_release);
	return res;
}

static void enter(unsigned to_submit, unsigned min_complete)
{
	if (uringfs_enter(ring.fd, to_submit, min_complete, IORING_ENTER_GETEVENTS, NULL) != (int)to_submit)
		die("enter");
}

static int request(int opcode, int fd, const void *addr, unsigned len, uint64_t user_data)
{
	queue(opcode, fd, addr, len, user_data);
	enter(1, 1);
	return reap(user_data);
}

/* Into three places of this process's memory at once: stack, heap, a mapping of its own. */
static void readv_file(const char *path)
{
	char stack[7], *heap = malloc(5), text[64];
	char *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov[3] = {{stack, sizeof(stack)}, {heap, 5}, {mapped, 40}};
	int fd = open(path, O_RDONLY | O_CLOEXEC), res;

	if (fd < 0 || !heap || mapped == MAP_FAILED)
		die(path);
	res = request(IORING_OP_READV, fd, iov, 3, 2);
	if (res < 12) {
		errno = res < 0 ? -res : EIO;
		die("READV of a file");
	}
	memcpy(text, stack, 7);
	memcpy(text + 7, heap, 5);
	memcpy(text + 12, mapped, (size_t)res - 12);
	printf("file=%.*s\n", (int)strcspn(text, "\n"), text);
	printf("position=%ld of %d\n", (long)lseek(fd, 0, SEEK_CUR), res);
	printf("eof=%d\n", request(IORING_OP_READV, fd, iov, 3, 3));
	close(fd);
}

static int go[2], data[2];

static int answer_when_told(void)
{
	char byte;

	return read(go[0], &byte, 1) == 1 && write(data[1], "written by a child", 18) == 18 ? 0 : 1;
}

static void *thread_body(void *unused)
{
	(void)unused;
	if (read(go[0], &(char){0}, 1) != 1 || write(data[1], "written by a thread", 19) != 19)
		die("thread");
	return NULL;
}

/* READV on an empty pipe is submitted first; whoever fills it is told afterwards. */
static void readv_pipe(const char *name)
{
	char text[64];
	struct iovec iov = {text, sizeof(text)};
	int res;

	queue(IORING_OP_READV, data[0], &iov, 1, 4);
	enter(1, 0);
	if (atomic_load(ring.cq_head) != atomic_load(ring.cq_tail)) {
		errno = EBADMSG;
		die("a completion before there is data");
	}
	if (write(go[1], "x", 1) != 1)
		die("write");
	enter(0, 1);
	res = reap(4);
	printf("%s=%.*s\n", name, res < 0 ? 0 : res, text);
}

static void pipes(void)
{
	pthread_t thread;
	int status = -1;
	pid_t pid;

	if (pipe(go) < 0 || pipe(data) < 0)
		die("pipe");
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(answer_when_told());
	readv_pipe("child");
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("child");
	if (pthread_create(&thread, NULL, thread_body, NULL) != 0)
		die("pthread_create");
	readv_pipe("thread");
	pthread_join(thread, NULL);
}

/* What procfs says about the reader, read through the ring. */
static void own_pid(void)
{
	char text[2048];
	struct iovec iov = {text, sizeof(text) - 1};
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC), res;
	const char *line;

	if (fd < 0)
		die("/proc/self/status");
	res = request(IORING_OP_READV, fd, &iov, 1, 5);
	text[res < 0 ? 0 : res] = 0;
	line = strstr(text, "\nPid:\t");
	printf("pid=%d,%d\n", getpid(), line ? atoi(line + 6) : -1);
	close(fd);
}

static int probe_kernel(void)
{
	struct io_uring_params p = {0};
	long fd = syscall(SYS_io_uring_setup, 1, &p);

	if (fd >= 0)
		puts("kernel=ok");
	else if (errno == ENOSYS || errno == EPERM)
		printf("kernel=%s\n", errno == ENOSYS ? "ENOSYS" : "EPERM");
	else
		die("io_uring_setup");
	return 0;
}

static int probe_ring(const char *path, const char *file)
{
	struct iovec iov = {(void *)8, 16};
	int zero;

	open_ring(path);
	printf("uid=%d\n", (int)getuid());
	printf("nop=%d\n", request(IORING_OP_NOP, -1, NULL, 0, 1));
	readv_file(file);
	pipes();
	own_pid();
	printf("ebadf=%d\n", request(IORING_OP_READV, 900, &iov, 1, 6));
	zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	printf("efault=%d\n", request(IORING_OP_READV, zero, &iov, 1, 7));
	puts("done=1");
	return 0;
}

static int probe_wait(const char *path)
{
	char text[64];
	struct iovec iov = {text, sizeof(text)};
	int res;

	open_ring(path);
	fflush(stdout);
	res = request(IORING_OP_READV, 0, &iov, 1, 1);
	printf("stdin=%.*s\n", res < 0 ? 0 : (int)strcspn(text, "\n"), text);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "kernel"))
		return probe_kernel();
	if (argc == 4 && !strcmp(argv[1], "ring"))
		return probe_ring(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "wait"))
		return probe_wait(argv[2]);
	fputs("usage: probe kernel | ring RING FILE | wait RING\n", stderr);
	return 2;
}
