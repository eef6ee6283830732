/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that submit a receive and wait for it, and what may come in between: what is printed is the same on the kernel. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "probe_ring.h"

#define ENTRIES 8
#define DATA 77
static struct ring r;
static int pair[2];
static char byte;
static unsigned setup_flags;
static pid_t waiter; /* the thread that waits */

static void receive(void)
{
	struct io_uring_sqe *sqe = queue(&r, IORING_OP_RECV, pair[0], DATA);

	sqe->addr = (unsigned long)&byte;
	sqe->len = 1;
}

/* All CQEs that are there: user_data and result */
static void print_cqes(struct ring *at)
{
	unsigned *head = word(at, at->p.cq_off.head);

	while (*head != __atomic_load_n(word(at, at->p.cq_off.tail), __ATOMIC_ACQUIRE)) {
		printf("%llu: %d\n", (unsigned long long)cqe_at(at, *head)->user_data, cqe_at(at, *head)->res);
		__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	}
}

/* A receive, and a wait for that many CQEs */
static void wait_for(unsigned count)
{
	receive();
	printf("entered: %ld\n", enter(&r, 1, count));
	print_cqes(&r);
}

static void send_one(void)
{
	CHECK(send(pair[1], "x", 1, 0) == 1);
}

static void finish(void)
{
	send_one();
	printf("then: %ld\n", enter(&r, 0, 1));
	print_cqes(&r);
}

/* The waiter sleeps in its call, which is poll(2) where it is not the kernel's. */
static void until_it_sleeps(void)
{
	char path[64], text[256];
	long number;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)waiter);
	do {
		fd = open(path, O_RDONLY);
		CHECK(fd >= 0);
		text[read(fd, text, sizeof(text) - 1)] = 0;
		close(fd);
		number = strncmp(text, "running", 7) == 0 ? -1 : strtol(text, NULL, 10);
	} while (number != SYS_io_uring_enter && number != SYS_ppoll);
}

static void *beside(void *call)
{
	until_it_sleeps();
	((void (*)(void))call)();
	return NULL;
}

/* wait_for(count), and call() by another thread meanwhile */
static void wait_beside(unsigned count, void (*call)(void))
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, beside, (void *)call) == 0);
	wait_for(count);
	pthread_join(thread, NULL);
}

/* ---- what the other thread does ---- */

static void shut(void)
{
	CHECK(shutdown(pair[0], SHUT_RDWR) == 0 && close(pair[0]) == 0);
}

static void submit_nop(void)
{
	queue(&r, IORING_OP_NOP, -1, 1);
	CHECK(enter(&r, 1, 0) == 1);
}

static void submit_nop_and_send(void)
{
	submit_nop();
	send_one();
}

/* Until there is something to cancel */
static void cancel(void)
{
	int res;

	do {
		unsigned tail = __atomic_load_n(word(&r, r.p.cq_off.tail), __ATOMIC_ACQUIRE);
		struct io_uring_sqe *sqe;

		sqe = queue(&r, IORING_OP_ASYNC_CANCEL, -1, 0);
		sqe->addr = DATA;
		sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
		CHECK(enter(&r, 1, 0) == 1);
		res = __atomic_load_n(word(&r, r.p.cq_off.tail), __ATOMIC_ACQUIRE) == tail ? 0 : cqe_at(&r, tail)->res;
	} while (res == -ENOENT);
}

static void sync_cancel(void)
{
	struct io_uring_sync_cancel_reg reg = {.addr = DATA, .fd = -1, .timeout = {-1, -1}};
	long ret;

	do
		ret = registers(&r, IORING_REGISTER_SYNC_CANCEL, &reg, 1);
	while (ret < 0 && errno == ENOENT);
	CHECK(ret == 0);
}

static void message(void)
{
	struct io_uring_sqe *sqe;
	struct ring other;

	set_up(&other, ENTRIES, 0);
	sqe = queue(&other, IORING_OP_MSG_RING, r.fd, 3);
	sqe->off = 5;
	sqe->len = 6;
	CHECK(enter(&other, 1, 1) == 1);
	close(other.fd);
}

static void by_a_child(void)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (!child) {
		submit_nop();
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void by_a_child_and_send(void)
{
	by_a_child();
	send_one();
}

static void close_it(void)
{
	CHECK(close(pair[0]) == 0);
}

/* What the number is from now on is of no matter: the request has its file. */
static void replace_it(void)
{
	int ends[2];

	CHECK(pipe(ends) == 0 && dup2(ends[0], pair[0]) == pair[0]);
	send_one();
}

static void close_and_submit(void)
{
	close_it();
	submit_nop_and_send();
}

static void close_all(void)
{
	closefrom(pair[1] > r.fd ? pair[1] + 1 : r.fd + 1);
	submit_nop_and_send();
}

/* ---- what the waiter does ---- */

static sigjmp_buf out;
static volatile sig_atomic_t leaves;

static volatile sig_atomic_t forks, closes;
static pid_t child_of_handler;

static void handler(int sig)
{
	struct itimerval none = {{0, 0}, {0, 0}};

	(void)sig;
	setitimer(ITIMER_REAL, &none, NULL);
	if (closes)
		close(pair[0]);
	if (forks)
		child_of_handler = fork();
	if (leaves)
		siglongjmp(out, 1);
}

static void alarm_soon(void)
{
	struct itimerval soon = {{0, 20000}, {0, 20000}};

	signal(SIGALRM, handler);
	CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
}

static void interrupted(void)
{
	alarm_soon();
	wait_for(1);
	finish();
}

/* The daemon finds the file that was closed. */
static void interrupted_and_closed(void)
{
	closes = 1;
	interrupted();
}

/* The child leaves the call, too: what is submitted is its parent's. */
static void forked(void)
{
	int status;

	forks = 1;
	alarm_soon();
	receive();
	CHECK(enter(&r, 1, 1) == 1);
	if (!child_of_handler)
		_exit(*word(&r, r.p.cq_off.tail) != 0);
	CHECK(waitpid(child_of_handler, &status, 0) == child_of_handler && status == 0);
	finish();
}

static void left(void)
{
	leaves = 1;
	if (!sigsetjmp(out, 1)) {
		alarm_soon();
		receive();
		enter(&r, 1, 1);
	}
	finish();
}

static void timed(void)
{
	struct __kernel_timespec ts = {0, 20000000};
	struct io_uring_getevents_arg arg = {.ts = (unsigned long)&ts};

	receive();
	printf("entered: %ld\n", syscall(SYS_io_uring_enter, r.fd, 1, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
					 &arg, sizeof(arg)));
	print_cqes(&r);
	finish();
}

static void pipes(void)
{
	struct io_uring_sqe *sqe;
	int ends[2];

	CHECK(pipe(ends) == 0);
	pair[1] = ends[1];
	for (int i = 0; i < 2; i++) {
		pid_t child = fork();

		CHECK(child >= 0);
		if (!child) {
			_exit(write(ends[1], "y", 1) != 1);
		}
		sqe = queue(&r, IORING_OP_READ, ends[0], DATA);
		sqe->addr = (unsigned long)&byte;
		sqe->len = 1;
		sqe->off = i ? (unsigned long)-1 : 0;
		printf("entered: %ld\n", enter(&r, 1, 1));
		print_cqes(&r);
		CHECK(waitpid(child, NULL, 0) == child && byte == 'y');
	}
	close(ends[1]);
	sqe = queue(&r, IORING_OP_READ, ends[0], DATA);
	sqe->addr = (unsigned long)&byte;
	sqe->len = 1;
	printf("entered: %ld\n", enter(&r, 1, 1));
	print_cqes(&r);
}

/* A send in front, as clients do it */
static void asks(void)
{
	struct io_uring_sqe *sqe = queue(&r, IORING_OP_SEND, pair[0], 4);

	sqe->addr = (unsigned long)"q";
	sqe->len = 1;
	receive();
	send_one();
	printf("entered: %ld\n", enter(&r, 2, 2));
	print_cqes(&r);
}

/* ---- a process that is killed ---- */

#define ROUNDS 60

static void receive_for_ever(unsigned *done)
{
	for (unsigned n = 0;; n++) {
		struct io_uring_sqe *sqe = queue(&r, IORING_OP_RECV, pair[0], n);

		sqe->addr = (unsigned long)&byte;
		sqe->len = 1;
		CHECK(enter(&r, 1, n + 1) == 1);
		__atomic_store_n(done, n + 1, __ATOMIC_RELEASE);
	}
}

/* Each has its CQE, once and in their order; one may have been cancelled. */
static void count_them(unsigned count)
{
	unsigned cancelled = 0;

	for (unsigned i = 0; i < count; i++) {
		CHECK(cqe_at(&r, i)->user_data == i);
		CHECK(cqe_at(&r, i)->res == 1 || cqe_at(&r, i)->res == -ECANCELED);
		cancelled += cqe_at(&r, i)->res != 1;
	}
	CHECK(cancelled <= 1);
}

/* What it has queued and not submitted is submitted now, and completes. */
static void finish_its(void)
{
	unsigned *head = word(&r, r.p.sq_off.head), *tail = word(&r, r.p.cq_off.tail);
	unsigned queued = *word(&r, r.p.sq_off.tail);

	while (__atomic_load_n(head, __ATOMIC_ACQUIRE) != queued)
		CHECK(enter(&r, 1, 0) >= 0);
	if (__atomic_load_n(tail, __ATOMIC_ACQUIRE) != queued)
		send_one();
	while (__atomic_load_n(tail, __ATOMIC_ACQUIRE) != queued)
		CHECK(enter(&r, 0, queued) == 0);
	count_them(queued);
}

/* Whoever shares its ring finds that, and the ring as usable as ever. Not on the kernel, which keeps the last request. */
static void killed(void)
{
	unsigned *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (unsigned i = 0; i < ROUNDS; i++) {
		const struct timespec then = {0, 1000 + 3000 * i};
		unsigned sent = i % 5;
		pid_t child;

		*done = 0;
		set_up(&r, ENTRIES, setup_flags);
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
		child = fork();
		CHECK(child >= 0);
		if (!child)
			receive_for_ever(done);
		for (unsigned j = 0; j < sent; j++) {
			send_one();
			while (i % 2 && __atomic_load_n(done, __ATOMIC_ACQUIRE) == j)
				sched_yield();
		}
		nanosleep(&then, NULL);
		CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
		finish_its();
		*word(&r, r.p.cq_off.head) = *word(&r, r.p.cq_off.tail);
		queue(&r, IORING_OP_NOP, -1, 9);
		CHECK(enter(&r, 1, 1) == 1);
		close(r.fd);
		close(pair[0]);
		close(pair[1]);
	}
	puts("each once");
}

static const struct mode {
	const char *name;
	unsigned count;
	void (*beside)(void);
	void (*alone)(void);
	void (*then)(void);
} modes[] = {
	{"received", 1, send_one, NULL, NULL},
	{"shut", 1, shut, NULL, NULL},
	{"replaced", 1, replace_it, NULL, NULL},
	{"closed_and_nop", 2, close_and_submit, NULL, NULL},
	{"closed_all", 2, close_all, NULL, NULL},
	{"submitted", 2, submit_nop_and_send, NULL, NULL},
	{"nop", 1, submit_nop, NULL, finish},
	{"cancelled", 1, cancel, NULL, NULL},
	{"sync_cancelled", 1, sync_cancel, NULL, NULL},
	{"message", 1, message, NULL, finish},
	{"child", 1, by_a_child, NULL, finish},
	{"child_and_data", 2, by_a_child_and_send, NULL, NULL},
	{"interrupted", 0, NULL, interrupted, NULL},
	{"interrupted_and_closed", 0, NULL, interrupted_and_closed, NULL},
	{"forked", 0, NULL, forked, NULL},
	{"killed", 0, NULL, killed, NULL},
	{"left", 0, NULL, left, NULL},
	{"timed", 0, NULL, timed, NULL},
	{"pipes", 0, NULL, pipes, NULL},
	{"asks", 0, NULL, asks, NULL},
};

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	setup_flags = (unsigned)strtoul(argv[2], NULL, 0);
	waiter = (pid_t)syscall(SYS_gettid);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	set_up(&r, ENTRIES, setup_flags);
	for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (strcmp(argv[1], modes[i].name))
			continue;
		if (modes[i].beside)
			wait_beside(modes[i].count, modes[i].beside);
		else
			modes[i].alone();
		if (modes[i].then)
			modes[i].then();
		return 0;
	}
	return 2;
}
