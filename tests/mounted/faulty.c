/* SPDX-License-Identifier: Apache-2.0 */
/* faulty FILE STEP...: requests one by one, each with what came of it. With -DCONTROL by control writes on the
 * ring $RING, else by io_uring's own system calls. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifdef CONTROL
#include "../../contrib/uringfs.h"

static int setup(unsigned entries, struct io_uring_params *p)
{
	int fd = uringfs_open(getenv("RING")), res;

	if (fd < 0)
		return fd;
	res = uringfs_setup(fd, entries, p);
	return res < 0 ? -errno : fd;
}

static int enter(int fd, unsigned submit, unsigned min, unsigned flags)
{
	int res = uringfs_enter(fd, submit, min, flags, NULL);

	return res < 0 ? -errno : res;
}

static int no_eventfd(int fd)
{
	return uringfs_register(fd, IORING_UNREGISTER_EVENTFD, NULL, 0) < 0 ? -errno : 0;
}
#else
static int setup(unsigned entries, struct io_uring_params *p)
{
	int res = (int)syscall(__NR_io_uring_setup, entries, p);

	return res < 0 ? -errno : res;
}

static int enter(int fd, unsigned submit, unsigned min, unsigned flags)
{
	int res = (int)syscall(__NR_io_uring_enter, fd, submit, min, flags, NULL, 8);

	return res < 0 ? -errno : res;
}

static int no_eventfd(int fd)
{
	return syscall(__NR_io_uring_register, fd, IORING_UNREGISTER_EVENTFD, NULL, 0) < 0 ? -errno : 0;
}
#endif

static int ring, file;
static char *rings;
static struct io_uring_sqe *sqes;
static struct io_uring_params p;
static char data[4096];

static unsigned *word(unsigned offset)
{
	return (unsigned *)(rings + offset);
}
static unsigned load(unsigned offset)
{
	return __atomic_load_n(word(offset), __ATOMIC_ACQUIRE);
}

static struct io_uring_sqe *queue(unsigned char opcode, int fd, uint64_t user_data)
{
	unsigned tail = load(p.sq_off.tail), index = tail & (p.sq_entries - 1);
	struct io_uring_sqe *sqe = &sqes[index];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->fd = fd;
	sqe->user_data = user_data;
	*word(p.sq_off.array + 4 * index) = index;
	return sqe;
}

static void push(void)
{
	__atomic_store_n(word(p.sq_off.tail), load(p.sq_off.tail) + 1, __ATOMIC_RELEASE);
}

static int reap(struct io_uring_cqe *cqe)
{
	unsigned head = load(p.cq_off.head);

	if (head == load(p.cq_off.tail))
		return 0;
	*cqe = ((struct io_uring_cqe *)(rings + p.cq_off.cqes))[head & (p.cq_entries - 1)];
	__atomic_store_n(word(p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return 1;
}

static void go(unsigned count, unsigned wait)
{
	int res = enter(ring, count, wait, IORING_ENTER_GETEVENTS);

	if (res < 0 || (unsigned)res != count)
		printf("enter %d\n", res);
}

static void show_all(void)
{
	struct io_uring_cqe cqe;

	while (reap(&cqe))
		printf("%llu:%d%s ", (unsigned long long)cqe.user_data, cqe.res,
		       cqe.flags & IORING_CQE_F_MORE ? "+" : "");
	printf("\n");
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void transfer(unsigned char opcode, unsigned len, unsigned off)
{
	struct io_uring_sqe *sqe = queue(opcode, file, 1);

	sqe->addr = len ? (uintptr_t)data : 0;
	sqe->len = len;
	sqe->off = off;
	push();
	go(1, 1);
	show_all();
}

static void nops(unsigned count, int show)
{
	for (unsigned i = 0; i < count; i++) {
		queue(IORING_OP_NOP, -1, i + 1);
		push();
	}
	if (!show) { /* without a wait: what is there, then a wait */
		printf("enter %d, ", enter(ring, count, 0, 0));
		printf("ready %u, overflowed %d, lost %u\n", load(p.cq_off.tail) - load(p.cq_off.head),
		       !!(load(p.sq_off.flags) & IORING_SQ_CQ_OVERFLOW), load(p.cq_off.overflow));
		go(0, 0);
	} else
		go(count, count);
	show_all();
}

static void cancel(void)
{
	int fds[2];

	if (pipe(fds))
		exit(3);
	queue(IORING_OP_POLL_ADD, fds[0], 1)->poll32_events = POLLIN;
	push();
	go(1, 0);
	queue(IORING_OP_ASYNC_CANCEL, -1, 2)->addr = 1;
	push();
	go(1, 1);
	if (write(fds[1], "x", 1) != 1)
		exit(3);
	if (load(p.cq_off.tail) - load(p.cq_off.head) < 2)
		go(0, 2);
	show_all();
}

static void multishot(unsigned events)
{
	int fds[2];
	struct io_uring_sqe *sqe;

	if (pipe(fds))
		exit(3);
	sqe = queue(IORING_OP_POLL_ADD, fds[0], 1);
	sqe->poll32_events = POLLIN;
	sqe->len = IORING_POLL_ADD_MULTI;
	push();
	go(1, 0);
	while (events--) {
		if (write(fds[1], "x", 1) != 1)
			exit(3);
		go(0, 1);
		show_all();
	}
}

/* NOPs in one chain. */
static void linked(unsigned n)
{
	for (unsigned i = 1; i <= n; i++) {
		queue(IORING_OP_NOP, -1, i)->flags = i < n ? IOSQE_IO_LINK : 0;
		push();
	}
	go(n, n);
	show_all();
}

/* One byte to a socket of ours with an abstract name. */
static void send_one(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int to = socket(AF_UNIX, SOCK_DGRAM, 0), from = socket(AF_UNIX, SOCK_DGRAM, 0);
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				    (size_t)sprintf(name.sun_path, "%cfaulty-%d", 0, (int)getpid()));
	struct io_uring_sqe *sqe;

	if (bind(to, (struct sockaddr *)&name, len) || connect(from, (struct sockaddr *)&name, len))
		exit(3);
	sqe = queue(IORING_OP_SEND, from, 1);
	sqe->addr = (uintptr_t)data;
	sqe->len = 1;
	push();
	go(1, 1);
	show_all();
}

static void buffers(void)
{
	struct io_uring_sqe *sqe = queue(IORING_OP_PROVIDE_BUFFERS, 1, 1);

	sqe->addr = (uintptr_t)data;
	sqe->len = 64;
	push();
	sqe = queue(IORING_OP_READ, file, 2);
	sqe->len = 16;
	sqe->flags = IOSQE_BUFFER_SELECT;
	push();
	go(2, 2);
	show_all();
}

static void caught(int number)
{
	printf("signal %d\n", number);
}

static void step(const char *word)
{
	uint64_t start = now();
	unsigned a = 0, b = 0;

	if (sscanf(word, "write:%u:%u", &a, &b))
		transfer(IORING_OP_WRITE, a, b);
	else if (sscanf(word, "read:%u:%u", &a, &b)) {
		transfer(IORING_OP_READ, a, b);
		printf("%.*s\n", (int)a, data);
	} else if (!strcmp(word, "fsync"))
		transfer(IORING_OP_FSYNC, 0, 0);
	else if (sscanf(word, "nops:%u", &a))
		nops(a, 1);
	else if (sscanf(word, "quiet:%u", &a))
		nops(a, 0);
	else if (!strcmp(word, "cancel"))
		cancel();
	else if (sscanf(word, "multishot:%u", &a))
		multishot(a);
	else if (sscanf(word, "linked:%u", &a))
		linked(a);
	else if (!strcmp(word, "send"))
		send_one();
	else if (!strcmp(word, "buffers"))
		buffers();
	else if (!strcmp(word, "register"))
		printf("register %d\n", no_eventfd(ring));
	else if (sscanf(word, "slow:%u", &a)) { /* NOPs that take so many ms at least */
		nops(1, 1);
		printf("%s\n", now() - start >= a ? "slow" : "quick");
	} else
		exit(3);
}

int main(int argc, char **argv)
{
	setbuf(stdout, NULL);
	signal(SIGUSR1, caught);
	memset(data, 'B', sizeof(data));
	file = argc > 1 ? open(argv[1], O_RDWR) : -1;
	if (file < 0)
		return 3;
	ring = setup(16, &p);
	if (ring < 0) {
		printf("setup %d\n", ring);
		return 0;
	}
	rings = mmap(NULL, p.sq_off.array + 4 * p.sq_entries, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		     IORING_OFF_SQ_RING);
	sqes = mmap(NULL, p.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (rings == MAP_FAILED || (void *)sqes == MAP_FAILED)
		return 3;
	for (int i = 2; i < argc; i++)
		step(argv[i]);
	return 0;
}
