/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviours and the surroundings of harness.h. */
#include "harness.h"

#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>

#define DEADLINE_S 20

static struct test *tests, **last = &tests;

void test_register(struct test *t)
{
	*last = t;
	last = &t->next;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (struct test *t = tests; t; t = t->next)
			puts(t->name);
		return 0;
	}
	for (struct test *t = tests; argc == 2 && t; t = t->next) {
		if (strcmp(argv[1], t->name) != 0)
			continue;
		alarm(DEADLINE_S);
		t->run();
		return 0;
	}
	fprintf(stderr, "usage: %s --list | BEHAVIOUR\n", argv[0]);
	return 2;
}

void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	fflush(stdout);
	_exit(1);
}

void skip(const char *why)
{
	fprintf(stderr, "skipped: %s\n", why);
	exit(77);
}

long ok_(long ret, const char *what, const char *file, int line)
{
	if (ret == -1)
		fail(file, line, "%s: %s", what, strerror(errno));
	return ret;
}

/* ---- the surroundings ---- */

unsigned char pattern(size_t i)
{
	return (unsigned char)(i * 31 + i / 251 + 7);
}

bool is_pattern(const void *buf, size_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((const unsigned char *)buf)[i] != pattern(off + i))
			return false;
	return true;
}

void temporary(char path[TEMPORARY], const char *name)
{
	const char *where = getenv("TMPDIR");

	EXPECT_GE(TEMPORARY - 1, snprintf(path, TEMPORARY, "%s/%s-XXXXXX", where ? where : "/tmp", name));
}

int make_file(size_t size)
{
	char path[] = "/tmp/uringfs-conformance-XXXXXX";
	unsigned char *data = malloc(size + 1);
	int fd = (int)OK(mkstemp(path));

	OK(unlink(path));
	EXPECT(data != NULL);
	for (size_t i = 0; i < size; i++)
		data[i] = pattern(i);
	EXPECT_EQ(pwrite(fd, data, size, 0), size);
	free(data);
	return fd;
}

char *map_pages(unsigned n, int prot)
{
	void *at = mmap(NULL, n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT(at != MAP_FAILED);
	return at;
}

char *map_then_hole(unsigned pages)
{
	char *at = map_pages(pages + 1, PROT_READ | PROT_WRITE);

	OK(mprotect(at + pages * PAGE, PAGE, PROT_NONE)); /* not munmap: a ring might be mapped there */
	return at;
}

int wait_child(pid_t pid)
{
	int status = 0;

	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	return status;
}

void expect_child_ok(pid_t pid)
{
	int status = wait_child(pid);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		FAIL("the child's status is 0x%x", status);
}

pid_t gettid_(void)
{
	return (pid_t)syscall(SYS_gettid);
}

void until_waiting(pid_t pid, pid_t tid)
{
	const struct timespec pause = {0, 200000};
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	for (;;) {
		int fd = (int)OK(open(path, O_RDONLY | O_CLOEXEC));
		ssize_t n = OK(read(fd, line, sizeof(line) - 1));

		close(fd);
		line[n > 0 ? n : 0] = 0;
		if (line[0] >= '0' && line[0] <= '9') {
			long nr = strtol(line, NULL, 10);

			if (nr == SYS_io_uring_enter || nr == SYS_ppoll) /* on uringfs, under `uringfs run` too */
				return;
		}
		nanosleep(&pause, NULL);
	}
}

void on_signal(int sig, void (*handler)(int), int flags)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = handler;
	sa.sa_flags = flags;
	OK(sigaction(sig, &sa, NULL));
}
