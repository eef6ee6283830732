/* SPDX-License-Identifier: Apache-2.0 */
/* Files whose read or write looks at who does it, and not only at who has opened them: whatever opens, by the ring
 * and by read(2) and write(2), which are to say the same. */
#include "harness.h"

#include <sched.h>

#define MOST 4096

struct file {
	const char *path;
	const char *words; /* to write; NULL: it is read */
};

/* Others' first; writes that an ordinary user has no right to, and some that it has. */
static const struct file files[] = {
	{"/proc/1/timerslack_ns", NULL},
	{"/proc/1/timerslack_ns", "50000"},
	{"/proc/1/wchan", NULL},
	{"/proc/1/autogroup", NULL},
	{"/proc/1/oom_score_adj", NULL},
	{"/proc/1/comm", NULL},
	{"/proc/1/attr/current", NULL},
	{"/proc/sys/kernel/ns_last_pid", NULL},
	{"/proc/sys/kernel/ns_last_pid", "10000"},
	{"/proc/sys/kernel/dmesg_restrict", "0"},
	{"/proc/keys", NULL},
	{"/proc/key-users", NULL},
	{"/proc/kallsyms", NULL},
	{"/proc/modules", NULL},
	{"/proc/self/autogroup", NULL},
	{"/proc/self/autogroup", "-20"},
	{"/proc/self/autogroup", "-1"},
	{"/proc/self/oom_score_adj", "-1000"},
	{"/proc/self/oom_score_adj", "-1"},
	{"/proc/self/oom_score_adj", "500"},
	{"/proc/self/oom_score_adj", "0"},
	{"/proc/self/oom_adj", "-17"},
	{"/proc/self/timerslack_ns", NULL},
	{"/proc/self/timerslack_ns", "60000"},
	{"/proc/self/uid_map", NULL},
	{"/proc/self/uid_map", "0 0 1"},
	{"/proc/self/gid_map", "0 0 1"},
	{"/proc/self/projid_map", "0 0 1"},
	{"/proc/self/setgroups", "allow"},
	{"/proc/self/timens_offsets", "monotonic 10 0"},
	{"/proc/self/loginuid", "0"},
	{"/proc/self/sessionid", NULL},
	{"/proc/self/attr/current", "x"},
	{"/proc/self/attr/exec", "x"},
	{"/proc/self/coredump_filter", "0x33"},
	{"/proc/self/comm", "procfs"},
	{"/proc/self/clear_refs", "9"},
	{"/proc/self/sched", "0"},
	{"/proc/self/make-it-fail", "0"},
	{"/proc/self/latency", "0"},
	{"/proc/self/pagemap", NULL},
	{"/proc/self/syscall", NULL},
	{"/proc/self/stack", NULL},
	{"/sys/kernel/profiling", NULL},
	{"/sys/kernel/notes", NULL},
	{"/dev/kmsg", NULL},
	{"/dev/mem", NULL},
	{"/dev/port", NULL},
};

static struct ring ring;

static int open_file(const struct file *file)
{
	return open(file->path, (file->words ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
}

static int natively(const struct file *file, char *data)
{
	int fd = open_file(file);
	ssize_t n;

	if (fd < 0)
		return -1000 - errno;
	n = file->words ? write(fd, file->words, strlen(file->words)) : read(fd, data, MOST);
	n = n < 0 ? -errno : n;
	close(fd);
	return (int)n;
}

static int by_ring(const struct file *file, char *data, unsigned flags)
{
	struct io_uring_sqe *sqe;
	struct cqe cqe;
	int fd = open_file(file);

	if (fd < 0)
		return -1000 - errno;
	sqe = ring_sqe(&ring);
	sqe->opcode = file->words ? IORING_OP_WRITE : IORING_OP_READ;
	sqe->flags = (uint8_t)flags;
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)(file->words ? file->words : data);
	sqe->len = file->words ? (uint32_t)strlen(file->words) : MOST;
	sqe->off = (uint64_t)-1;
	EXPECT_EQ(ring_submit_wait(&ring, 1), 1);
	EXPECT(ring_reap(&ring, &cqe));
	close(fd);
	return cqe.res;
}

/* What of it can be compared: an errno, the number of bytes taken, or whether there is anything but zeros, as what
 * is hidden is shown. */
static int outcome(const struct file *file, const char *data, int n)
{
	if (file->words || n < 0)
		return n;
	for (int i = 0; i < n; i++)
		if (!strchr("0 \n", data[i]))
			return 1;
	return 0;
}

static bool no_more(const struct file *file, unsigned flags)
{
	static char native[MOST], ours[MOST];
	int want = outcome(file, native, natively(file, native));
	int got = outcome(file, ours, by_ring(file, ours, flags));

	note("%s%s%s\t%d\t%d", file->path, file->words ? " <- " : "", file->words ? file->words : "", want, got);
	if (got == want || got < 0 || (!file->words && got == 0))
		return true;
	fprintf(stderr, "%s%s%s: %d natively, %d by the ring\n", file->path, file->words ? " <- " : "",
		file->words ? file->words : "", want, got);
	return false;
}

/* A worker of the kernel is not the thread that may do a thing to itself: less than natively is no failure here. */
static void compare_all(unsigned flags)
{
	bool all = true;

	ring_init(&ring, 8, 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		all &= no_more(&files[i], flags);
	EXPECT(all);
}

TEST(what_looks_at_current_credentials)
{
	compare_all(0);
}

TEST(what_looks_at_current_credentials_in_a_worker)
{
	compare_all(IOSQE_ASYNC);
}

/* proc/PID/stat hides addresses from who may not trace the process: fields 26 to 30 and 35. */
static void note_addresses(const char *data)
{
	const char *at = strrchr(data, ')');
	char field[64];
	int used;

	EXPECT(at != NULL);
	at++;
	for (int n = 3; sscanf(at, "%63s%n", field, &used) == 1; n++, at += used)
		if ((n >= 26 && n <= 30) || n == 35)
			note("field %d: %s", n,
			     strcmp(field, "0") == 0 || strcmp(field, "1") == 0 ? "hidden" : "shown");
}

TEST(addresses_of_others)
{
	static char data[MOST];
	const struct file file = {"/proc/1/stat", NULL};

	ring_init(&ring, 8, 0);
	EXPECT_GE(by_ring(&file, data, 0), 1);
	note_addresses(data);
	memset(data, 0, sizeof(data));
	EXPECT_GE(natively(&file, data), 1);
	note_addresses(data);
}

/* The map of a user namespace of one's own: more than oneself is for who has the right outside. */
static int map(const char *words, bool natively_)
{
	const struct file file = {"/proc/self/uid_map", words};
	pid_t pid = (pid_t)OK(fork());
	int status;

	if (pid == 0) {
		OK(unshare(CLONE_NEWUSER));
		ring_init(&ring, 8, 0);
		_exit(-(natively_ ? natively(&file, NULL) : by_ring(&file, NULL, 0)) & 0xff);
	}
	status = wait_child(pid);
	EXPECT(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST(the_map_of_a_user_namespace)
{
	char own[32], roots[] = "0 0 1", many[] = "0 0 65536";
	const char *each[] = {own, roots, many};

	snprintf(own, sizeof(own), "0 %u 1", getuid());
	for (int i = 0; i < 3; i++) {
		int want = map(each[i], true), got = map(each[i], false);

		note("%d: %d", i, want);
		EXPECT_EQ(got, want);
	}
}
