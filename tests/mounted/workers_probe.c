/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that perform requests in the program, and the program's rights: what is printed is the same on the kernel. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <linux/capability.h>

#include "probe_ring.h"

#define ENTRIES 64
#define NOBODY 65534
static struct ring r;
static int file;
static char *data;
static long last; /* result that was reaped */

/* All that come: the sum of their results; -1 if one has failed. */
static long reap(unsigned count)
{
	unsigned *head = word(&r, r.p.cq_off.head);
	long sum = 0;

	while (*word(&r, r.p.cq_off.tail) - *head < count) {
		long ret = enter(&r, 0, count);

		CHECK(ret >= 0 || ret == -EINTR);
	}
	for (; count; count--, ++*head) {
		long res = cqe_at(&r, *head)->res;

		sum = sum < 0 || res < 0 ? -1 : sum + res;
		last = res;
	}
	return sum;
}

static void sync_often(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		queue(&r, IORING_OP_FSYNC, file, 0);
	CHECK(enter(&r, count, 0) == (long)count);
}

/* Threads that are not the program's own, by the name of their kind; those of them with another user. */
static unsigned workers(uid_t user, unsigned *of_others)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *d;
	unsigned count = 0;

	*of_others = 0;
	while ((d = readdir(tasks))) {
		char path[300], comm[32] = "", line[256];
		unsigned uid = user;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", d->d_name);
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f)) {
			sscanf(line, "Name: %31s", comm);
			sscanf(line, "Uid: %*u %u", &uid);
		}
		if (f)
			fclose(f);
		if (strncmp(comm, "iou-wrk-", 8) != 0)
			continue;
		count++;
		*of_others += uid != user;
	}
	closedir(tasks);
	return count;
}

static unsigned count_workers(void)
{
	unsigned others;

	return workers(geteuid(), &others);
}

/* ---- */

/* The daemon performs what comes while it has the ring's lane: so more than once. */
static void some(void)
{
	unsigned count = 0;

	for (int i = 0; i < 100 && !count; i++) {
		sync_often(8);
		CHECK(reap(8) == 0);
		count = count_workers();
	}
	printf("workers %d\n", count > 0);
}

/* Requests that were under way have the rights that they were submitted with; the next have those of now. */
static void user(int by_libc)
{
	unsigned others;

	sync_often(16);
	CHECK((by_libc ? setresuid(NOBODY, NOBODY, NOBODY) : syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY)) == 0);
	if (getenv("URINGFS_TRAP_MOUNT")) /* the kernel's threads may go on, but cannot be told what to do */
		CHECK(workers(NOBODY, &others) == 0);
	printf("before %ld\n", reap(16));
	sync_often(8);
	printf("after %ld\n", reap(8));
	workers(NOBODY, &others);
	printf("others %u\n", getenv("URINGFS_TRAP_MOUNT") ? others : 0);
}

static void capabilities(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2];

	memset(none, 0, sizeof(none));
	sync_often(16);
	CHECK(syscall(SYS_capset, &h, none) == 0);
	if (getenv("URINGFS_TRAP_MOUNT"))
		CHECK(count_workers() == 0);
	printf("%ld\n", reap(16));
	some();
}

static void landlock(void)
{
	struct landlock_ruleset_attr attr = {.handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE};
	int ruleset;

	some();
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	CHECK(ruleset >= 0 || errno == ENOSYS || errno == EOPNOTSUPP);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (ruleset >= 0)
		CHECK(syscall(SYS_landlock_restrict_self, ruleset, 0) == 0);
	if (getenv("URINGFS_TRAP_MOUNT"))
		CHECK(count_workers() == 0);
	some();
}

/* A process of one thread may have a user namespace of its own; idle workers are none that count. */
static void namespaces(void)
{
	some();
	printf("unshare %d\n", getenv("URINGFS_TRAP_MOUNT") ? unshare(CLONE_NEWUSER) : 0);
	some();
}

static void most_at_once(void)
{
	unsigned count = 0;

	for (int i = 0; i < 20; i++) {
		unsigned now;

		sync_often(32);
		now = count_workers();
		count = now > count ? now : count;
		CHECK(reap(32) == 0);
	}
	printf("more than one %d\n", count > 1);
}

/* IORING_REGISTER_IOWQ_MAX_WORKERS, as long as there are none */
static void most(void)
{
	unsigned counts[2] = {1, 0};

	CHECK(registers(&r, IORING_REGISTER_IOWQ_MAX_WORKERS, counts, 2) == 0);
	most_at_once();
}

/* The CPUs that this thread's workers may run on: the same for all of them. "": it has none. */
static void find_cpus(char *cpus, size_t size)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *d;
	char mine[16];

	snprintf(mine, sizeof(mine), "iou-wrk-%d", (int)syscall(SYS_gettid));
	cpus[0] = 0;
	while ((d = readdir(tasks))) {
		char path[300], comm[32] = "", line[256], list[128] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", d->d_name);
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f)) {
			sscanf(line, "Name: %31s", comm);
			sscanf(line, "Cpus_allowed_list: %127s", list);
		}
		if (f)
			fclose(f);
		if (strcmp(comm, mine) != 0)
			continue;
		CHECK(!cpus[0] || !strcmp(cpus, list));
		snprintf(cpus, size, "%s", list);
	}
	closedir(tasks);
}

static void work_and_show_cpus(const char *what)
{
	char cpus[128] = "";

	for (int i = 0; i < 100 && !cpus[0]; i++) {
		sync_often(8);
		CHECK(reap(8) == 0);
		find_cpus(cpus, sizeof(cpus));
	}
	printf("%s %s\n", what, cpus);
}

/* What a thread asks for counts for its own workers, as long as it does not take it back. */
static void *places(void *word)
{
	const char *what = word;
	unsigned char first = 1;

	if (what) {
		queue(&r, IORING_OP_NOP, -1, 0); /* a thread that has submitted nothing has no workers to speak of */
		CHECK(enter(&r, 1, 1) == 1 && reap(1) == 0);
		CHECK(registers(&r, IORING_REGISTER_IOWQ_AFF, &first, 1) == 0);
		if (!strcmp(what, "back"))
			CHECK(registers(&r, IORING_UNREGISTER_IOWQ_AFF, NULL, 0) == 0);
	}
	work_and_show_cpus(what ? what : "not asked");
	return NULL;
}

static void in_a_thread(void *(*life)(void *), void *what)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, life, what) == 0);
	CHECK(pthread_join(t, NULL) == 0);
}

static void affinity(void)
{
	char asked[] = "asked", back[] = "back";

	in_a_thread(places, asked);
	in_a_thread(places, NULL);
	in_a_thread(places, back);
	in_a_thread(places, NULL);
}

/* A limit is told all threads that use the ring, those that come later, too. */
static void *bounded(void *unused)
{
	most_at_once();
	return unused;
}

static void limits(void)
{
	unsigned counts[2] = {1, 0};

	CHECK(registers(&r, IORING_REGISTER_IOWQ_MAX_WORKERS, counts, 2) == 0);
	in_a_thread(bounded, NULL);
}

static void forks(void)
{
	int status;

	some();
	fflush(stdout);
	if (fork() == 0) {
		printf("child %u\n", count_workers());
		close(r.fd);
		set_up(&r, ENTRIES, 0);
		some();
		fflush(stdout);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	some();
}

static void *thread(void *unused)
{
	some();
	return unused;
}

static void threads(void)
{
	for (int i = 0; i < 100; i++) {
		pthread_t t;

		CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
		CHECK(pthread_join(t, NULL) == 0);
	}
}

/* No thread is to be had */
static void limit(void)
{
	const struct rlimit none = {0, 0};

	CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0 && setrlimit(RLIMIT_NPROC, &none) == 0);
	sync_often(8);
	printf("%ld\n", reap(8));
}

static void direct_reads(void)
{
	memset(data, 0x7f, 32 * 4096);
	for (unsigned i = 0; i < 32; i++) {
		struct io_uring_sqe *sqe = queue(&r, IORING_OP_READ, file, 0);

		sqe->addr = (unsigned long)data + i * 4096;
		sqe->len = 4096;
		sqe->off = i * 4096;
	}
}

static void direct_end(const char *what)
{
	printf("%s %ld\n", what, reap(32));
	for (unsigned i = 0; i < 32 * 4096; i += 4096)
		CHECK(data[i] == (char)(i / 4096));
}

static void direct_write(unsigned char byte, unsigned block)
{
	struct io_uring_sqe *sqe = queue(&r, IORING_OP_WRITE, file, 0);

	memset(data + byte * 4096, byte, 4096);
	sqe->addr = (unsigned long)data + byte * 4096;
	sqe->len = 4096;
	sqe->off = block * 4096;
}

/* The file's blocks turned round, and back */
static void direct_writes(void)
{
	for (int turned = 1; turned >= 0; turned--) {
		for (unsigned char n = 0; n < 32; n++)
			direct_write(n, turned ? 31u - n : n);
		CHECK(enter(&r, 32, turned ? 32 : 0) == 32);
		printf("written %ld\n", reap(32));
		for (unsigned n = 0; n < 32; n++)
			CHECK(pread(file, data, 4096, n * 4096) == 4096 && data[0] == (char)(turned ? 31 - n : n));
	}
}

static volatile sig_atomic_t too_far;

static void count_too_far(int unused)
{
	(void)unused;
	too_far++;
}

/* Behind RLIMIT_FSIZE */
static void write_too_far(void)
{
	const struct rlimit here = {32 * 4096, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};

	CHECK(signal(SIGXFSZ, count_too_far) != SIG_ERR && setrlimit(RLIMIT_FSIZE, &here) == 0);
	direct_write(0, 32);
	CHECK(enter(&r, 1, 1) == 1);
	printf("too far %ld, signals %d\n", reap(1), (int)too_far);
	CHECK(setrlimit(RLIMIT_FSIZE, &none) == 0);
}

static void direct(void)
{
	direct_writes();
	write_too_far();
	direct_reads();
	CHECK(enter(&r, 32, 32) == 32);
	direct_end("at once");
	direct_reads();
	for (int i = 0; i < 32; i++)
		CHECK(enter(&r, 1, 0) == 1);
	for (unsigned i = 1; i <= 32; i++)
		CHECK(enter(&r, 0, i) == 0);
	direct_end("one by one");
}

static void *wait_for_32(void *unused)
{
	while (*word(&r, r.p.cq_off.tail) - *word(&r, r.p.cq_off.head) < 32)
		CHECK(enter(&r, 0, 32) >= 0);
	return unused;
}

/* Completions that who submitted does not call for */
static void left_alone(void)
{
	struct pollfd readable = {r.fd, POLLIN, 0};
	pthread_t t;

	for (int i = 0; i < 8; i++) {
		direct_reads();
		CHECK(enter(&r, 32, 0) == 32);
		if (i % 4 == 1 && !(r.p.flags & IORING_SETUP_DEFER_TASKRUN))
			CHECK(poll(&readable, 1, -1) == 1);
		if (i % 4 == 2 && !(r.p.flags & IORING_SETUP_SINGLE_ISSUER)) {
			CHECK(pthread_create(&t, NULL, wait_for_32, NULL) == 0);
			CHECK(pthread_join(t, NULL) == 0);
		}
		while (i % 4 != 3 && !(r.p.flags & IORING_SETUP_DEFER_TASKRUN) &&
		       *(volatile unsigned *)word(&r, r.p.cq_off.tail) - *word(&r, r.p.cq_off.head) < 32)
			sched_yield();
		direct_end("left alone");
	}
}

/* Neither a child nor other rights change what is in flight. */
static void direct_meanwhile(void)
{
	int status;

	direct_reads();
	CHECK(enter(&r, 32, 0) == 32);
	fflush(stdout);
	if (fork() == 0) {
		close(r.fd);
		set_up(&r, ENTRIES, 0);
		direct();
		fflush(stdout);
		_exit(0);
	}
	direct_end("forked");
	CHECK(wait(&status) > 0 && status == 0);
	direct_reads();
	CHECK(enter(&r, 32, 0) == 32);
	CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
	direct_end("before");
	direct();
}

/* Of writes to one place the last is what is there. */
static void ordered(void)
{
	for (unsigned i = 0; i < 100; i++) {
		for (unsigned char n = 0; n < 31; n++)
			direct_write(n, n % 3);
		CHECK(enter(&r, 31, 31) == 31 && reap(31) == 31 * 4096);
		CHECK(pread(file, data + 31 * 4096, 4096, 0) == 4096 && data[31 * 4096] == 30);
		CHECK(pread(file, data + 31 * 4096, 4096, 4096) == 4096 && data[31 * 4096] == 28);
	}
	puts("in order");
}

static void execs(char *self)
{
	sync_often(16);
	CHECK(execl(self, self, "nothing", "/dev/null", NULL) == 0);
}

/* With signals blocked the child sets its ids, which is trapped by then. */
static void spawns(void)
{
	char *argv[] = {"true", NULL}, *envp[] = {NULL};
	posix_spawnattr_t attr;
	int status = -1;
	pid_t pid;

	some();
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_RESETIDS);
	CHECK(posix_spawnp(&pid, "true", NULL, &attr, argv, envp) == 0 && waitpid(pid, &status, 0) == pid);
	printf("status %d\n", status);
}

/* A FIFO that nobody opens for writing, by a name that is in no cache: an exec does not wait for it. */
static void stuck(char *self)
{
	struct io_uring_sqe *sqe = queue(&r, IORING_OP_OPENAT, AT_FDCWD, 0);
	char directory[] = "/tmp/workers-XXXXXX", path[64];

	CHECK(mkdtemp(directory));
	CHECK(chdir(directory) == 0 && mkfifo("fifo", 0600) == 0);
	snprintf(path, sizeof(path), "/proc/self/cwd/fifo");
	sqe->addr = (unsigned long)path;
	CHECK(enter(&r, 1, 0) == 1);
	for (int i = 0; i < 1000 && !count_workers(); i++)
		sched_yield();
	CHECK(unlink("fifo") == 0 && rmdir(directory) == 0);
	CHECK(execl(self, self, "nothing", "/dev/null", NULL) == 0);
}

/* More iovecs than are kept for a worker: the descriptor stays the program's, though it is high up. */
static void high(void)
{
	struct iovec iovecs[16];
	struct io_uring_sqe *sqe;

	CHECK(dup2(file, 1000) == 1000);
	for (unsigned i = 0; i < 16; i++)
		iovecs[i] = (struct iovec){data + i * 4096, 4096};
	for (unsigned i = 0; i < 4; i++) {
		sqe = queue(&r, IORING_OP_READV, 1000, 0);
		sqe->addr = (unsigned long)iovecs;
		sqe->len = 16;
		CHECK(enter(&r, 1, 1) == 1 && reap(1) == 16 * 4096);
		CHECK(fcntl(1000, F_GETFD) == 0);
	}
	puts("done");
}

/* One that is queued behind a worker that is stuck, or all of that kind, gets ECANCELED: what the cancelling says, and
 * how many there were of three. */
static bool cancel_behind(const char *fifo, unsigned flags, long answer, unsigned canceled)
{
	unsigned *head = word(&r, r.p.cq_off.head), count = 0;
	long said = -1, opened = -1;
	struct io_uring_sqe *sqe;
	int writer;

	sqe = queue(&r, IORING_OP_OPENAT, AT_FDCWD, 1);
	sqe->addr = (unsigned long)fifo;
	sqe->flags = IOSQE_ASYNC;
	CHECK(enter(&r, 1, 0) == 1);
	for (unsigned i = 0; i < 3; i++)
		queue(&r, IORING_OP_FSYNC, file, i < 2 ? 2 : 3);
	CHECK(enter(&r, 3, 0) == 3);
	sqe = queue(&r, IORING_OP_ASYNC_CANCEL, -1, 4);
	sqe->addr = 2;
	sqe->cancel_flags = flags;
	CHECK(enter(&r, 1, 0) == 1);
	writer = open(fifo, O_WRONLY);
	while (*word(&r, r.p.cq_off.tail) - *head < 5)
		CHECK(enter(&r, 0, 5) >= 0);
	for (unsigned i = 0; i < 5; i++, ++*head) {
		const struct io_uring_cqe *cqe = cqe_at(&r, *head);

		said = cqe->user_data == 4 ? cqe->res : said;
		opened = cqe->user_data == 1 ? cqe->res : opened;
		count += cqe->res == -ECANCELED;
	}
	CHECK(writer >= 0 && opened >= 0 && close(writer) == 0 && close((int)opened) == 0);
	return said == answer && count == canceled;
}

/* The daemon performs what comes while it has the ring's lane: so more than once. */
static bool cancel_some(const char *fifo, unsigned flags, long answer, unsigned canceled)
{
	for (int i = 0; i < 100; i++)
		if (cancel_behind(fifo, flags, answer, canceled))
			return true;
	return false;
}

static void cancels(void)
{
	char directory[] = "/tmp/workers-XXXXXX";
	const char *fifo = "/proc/self/cwd/fifo"; /* a name that is in no cache: what opens it is not looked at first */
	unsigned counts[2] = {1, 0};

	CHECK(mkdtemp(directory) && chdir(directory) == 0 && mkfifo("fifo", 0600) == 0);
	CHECK(registers(&r, IORING_REGISTER_IOWQ_MAX_WORKERS, counts, 2) == 0);
	printf("one %d\n", cancel_some(fifo, 0, 0, 1));
	printf("all %d\n", cancel_some(fifo, IORING_ASYNC_CANCEL_ALL, 1, 2));
	CHECK(unlink("fifo") == 0 && rmdir(directory) == 0);
}

static void submit_for_ever(void)
{
	for (unsigned n = 0;; n++) {
		for (unsigned i = 0; i < 8; i++) {
			struct io_uring_sqe *sqe = queue(&r, n % 2 ? IORING_OP_READ : IORING_OP_FSYNC, file, 0);

			if (n % 2) {
				sqe->addr = (unsigned long)data + i * 4096;
				sqe->len = 4096;
			}
		}
		CHECK(enter(&r, 8, 0) == 8 && reap(8) >= 0);
	}
}

/* Whoever shares the ring of a process that is killed finds a CQE for each request that was taken. */
static void killed(void)
{
	for (unsigned i = 0; i < 40; i++) {
		const struct timespec then = {0, 1000000 + 37000 * i};
		pid_t child;

		set_up(&r, ENTRIES, 0);
		child = fork();
		if (!child)
			submit_for_ever();
		while (!*(volatile unsigned *)word(&r, r.p.cq_off.tail))
			sched_yield();
		nanosleep(&then, NULL);
		CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
		while (*(volatile unsigned *)word(&r, r.p.cq_off.tail) !=
		       *(volatile unsigned *)word(&r, r.p.sq_off.head))
			CHECK(syscall(SYS_io_uring_enter, r.fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0) == 0);
		close(r.fd);
	}
	puts("none is lost");
}

static void handler(int sig)
{
	(void)sig;
}

/* A signal ends the wait; the requests go on. */
static void signals(void)
{
	struct sigaction sa = {.sa_handler = handler};
	const struct itimerval soon = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
	long ret;

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	for (int i = 0; i < 200; i++) {
		queue(&r, IORING_OP_FSYNC, file, 0);
		do
			ret = enter(&r, 1, 1);
		while (ret == -EINTR);
		CHECK(ret == 1 && reap(1) == 0);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	puts("done");
}

/* Memory that ends before a transfer does: none of it counts, by whomever it is performed. */
static void fault(void)
{
	const unsigned sizes[] = {24 * 4096, 0xffffffffU};

	CHECK(munmap(data + 16 * 4096, 16 * 4096) == 0);
	for (unsigned i = 0; i < 8; i++) {
		struct io_uring_sqe *sqe = queue(&r, i & 1 ? IORING_OP_WRITE : IORING_OP_READ, file, 0);

		sqe->addr = (unsigned long)data;
		sqe->len = sizes[i >> 1 & 1];
		sqe->flags = i & 4 ? IOSQE_ASYNC : 0;
		CHECK(enter(&r, 1, 1) == 1);
		reap(1);
		printf("%u: %ld\n", i, last);
	}
	for (unsigned i = 0; i < 2; i++) { /* out of line, and not there; nothing at all, RWF_ATOMIC */
		struct io_uring_sqe *sqe = queue(&r, IORING_OP_WRITE, file, 0);

		sqe->addr = (unsigned long)data + 17 * 4096 + 1;
		sqe->len = i ? 0 : 4096;
		sqe->rw_flags = i ? 0x40 : 0;
		CHECK(enter(&r, 1, 1) == 1);
		reap(1);
		printf("%u: %ld\n", 8 + i, last);
	}
}

static void open_file(const char *path)
{
	file = open(path, O_RDWR | O_DIRECT);
	CHECK(file >= 0);
	data = mmap(NULL, 32 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(data != MAP_FAILED);
	for (unsigned i = 0; i < 32; i++)
		memset(data + i * 4096, (int)i, 4096);
	CHECK(pwrite(file, data, 32 * 4096, 0) == 32 * 4096);
	memset(data, 0xff, 32 * 4096);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (argc < 3)
		return 2;
	if (!strcmp(mode, "nothing")) {
		printf("threads %u\n", count_workers());
		return 0;
	}
	open_file(argv[2]);
	set_up(&r, ENTRIES, argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 0);
	if (!strcmp(mode, "some"))
		some();
	else if (!strcmp(mode, "libc"))
		user(1);
	else if (!strcmp(mode, "raw"))
		user(0);
	else if (!strcmp(mode, "capabilities"))
		capabilities();
	else if (!strcmp(mode, "landlock"))
		landlock();
	else if (!strcmp(mode, "namespaces"))
		namespaces();
	else if (!strcmp(mode, "most"))
		most();
	else if (!strcmp(mode, "cancels"))
		cancels();
	else if (!strcmp(mode, "limits"))
		limits();
	else if (!strcmp(mode, "affinity"))
		affinity();
	else if (!strcmp(mode, "forks"))
		forks();
	else if (!strcmp(mode, "threads"))
		threads();
	else if (!strcmp(mode, "limit"))
		limit();
	else if (!strcmp(mode, "direct"))
		direct();
	else if (!strcmp(mode, "fault"))
		fault();
	else if (!strcmp(mode, "left-alone"))
		left_alone();
	else if (!strcmp(mode, "direct-meanwhile"))
		direct_meanwhile();
	else if (!strcmp(mode, "ordered"))
		ordered();
	else if (!strcmp(mode, "signals"))
		signals();
	else if (!strcmp(mode, "high"))
		high();
	else if (!strcmp(mode, "killed"))
		killed();
	else if (!strcmp(mode, "stuck"))
		stuck(argv[0]);
	else if (!strcmp(mode, "spawns"))
		spawns();
	else if (!strcmp(mode, "execs"))
		execs(argv[0]);
	else
		return 2;
	return 0;
}
