/* SPDX-License-Identifier: Apache-2.0 */
/* The objects of a program: files, pipes, sockets, eventfds, a directory, memory; and their trace. */
#include "fuzz.h"

#include <dirent.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>

struct object objects[OBJ_NONE];
char *source, *arena, *hole;
static char directory[4096];
static uint64_t state;
static int ring_fd;

static uint64_t next(void)
{
	uint64_t z = (state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void rnd_seed(uint64_t seed, uint64_t step)
{
	state = seed * 1000003 + step;
	next();
	next();
}

uint32_t rnd(uint32_t n)
{
	return (uint32_t)((next() >> 16) % n);
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void make_files(int dir)
{
	for (int i = 0; i < FILES; i++) {
		char name[8];
		struct object *o = &objects[OBJ_FILE + i];
		size_t size = rnd(4) * 3000;

		snprintf(name, sizeof(name), "f%d", i);
		o->rfd = o->wfd = (int)OK(
			openat(dir, name, O_RDWR | O_CREAT | (i == OBJ_APPENDS ? O_APPEND : 0), 0600));
		EXPECT_EQ(write(o->rfd, source, size), size);
		OK(lseek(o->rfd, 0, SEEK_SET));
		if (i == OBJ_DIRECT)
			(void)fcntl(o->rfd, F_SETFL, O_DIRECT);
	}
}

static struct sockaddr_un listening;
static socklen_t listening_size = sizeof(listening);

static void make_listener(void)
{
	int fd = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));

	listening.sun_family = AF_UNIX;
	OK(bind(fd, (void *)&listening, sizeof(listening.sun_family))); /* a name of nobody else's */
	OK(listen(fd, 32));
	OK(getsockname(fd, (void *)&listening, &listening_size));
	objects[OBJ_LISTENER] = (struct object){.rfd = fd, .wfd = fd, .rslot = SLOT_LISTENER, .wslot = SLOT_LISTENER};
}

void world_connect(void)
{
	OK(connect((int)OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), (void *)&listening, listening_size));
}

static void make_streams(void)
{
	int two[2];

	for (int i = 0; i < PIPES; i++) {
		OK(pipe2(two, O_CLOEXEC));
		objects[OBJ_PIPE + i] = (struct object){.rfd = two[0], .wfd = two[1]};
	}
	for (int i = 0; i < SOCKS; i++) {
		OK(socketpair(AF_UNIX, i ? SOCK_SEQPACKET : SOCK_STREAM, 0, two));
		objects[OBJ_SOCK + i] = (struct object){.rfd = two[0], .wfd = two[1]};
	}
	for (int i = 0; i < EVENTS; i++) {
		int fd = (int)OK(eventfd(0, i ? EFD_SEMAPHORE : 0));

		objects[OBJ_EVENT + i] = (struct object){.rfd = fd, .wfd = fd};
	}
}

/* Objects in slots 2n and 2n + 1, then empty ones for requests to fill. */
static void register_all(struct ring *r)
{
	int table[SLOTS];
	struct iovec bufs[] = {{source, FIXED}, {arena, FIXED}};
	struct io_uring_file_index_range range = {.off = SLOTS_FIRST, .len = SLOTS - 2 - SLOTS_FIRST};

	for (int i = 0; i < SLOTS; i++)
		table[i] = -1;
	for (int i = 0; i < OBJ_GROUP; i++) {
		objects[i].rslot = 2 * i;
		objects[i].wslot = 2 * i + 1;
		table[2 * i] = objects[i].rfd;
		table[2 * i + 1] = objects[i].wfd;
	}
	EXPECT_LE(2 * OBJ_GROUP, SLOT_LISTENER);
	table[SLOT_LISTENER] = objects[OBJ_LISTENER].rfd;
	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_FILES, table, SLOTS), 0);
	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0), 0);
	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_BUFFERS, bufs, 2), 0);
}

/* ---- provided buffers ---- */

struct buf { /* struct io_uring_buf; the tail of a ring lies in its first one */
	uint64_t addr;
	uint32_t len;
	uint16_t bid, tail;
};

enum { BUFS = 8, INC = 2 /* IOU_PBUF_RING_INC */ };

static char *of_group(unsigned group, unsigned page)
{
	return arena + (ARENA_REGIONS + group * GROUP_PAGES + page) * PAGE;
}

static void provide(struct ring *r, unsigned group)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_PROVIDE_BUFFERS;
	sqe.fd = 3;
	sqe.addr = (uint64_t)(uintptr_t)of_group(group, 0);
	sqe.len = PAGE / 2;
	sqe.off = 1000;
	sqe.buf_group = (uint16_t)group;
	EXPECT_EQ(run_sqe(r, &sqe), 0);
}

static void provide_ring(struct ring *r, unsigned group)
{
	struct buf *br = (void *)map_pages(1, PROT_READ | PROT_WRITE);
	struct {
		uint64_t addr;
		uint32_t entries;
		uint16_t bgid, flags;
		uint64_t resv[3];
	} reg = {(uint64_t)(uintptr_t)br, BUFS, (uint16_t)group, group == GROUPS - 1 ? INC : 0, {0}};

	for (unsigned i = 0; i < BUFS; i++) {
		br[i].addr = (uint64_t)(uintptr_t)of_group(group, 0) + i * PAGE / 2;
		br[i].len = i % 3 ? PAGE / 2 : 100;
		br[i].bid = (uint16_t)(2000 + i);
	}
	br[0].tail = BUFS;
	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_PBUF_RING, &reg, 1), 0);
}

static void provide_all(struct ring *r)
{
	for (unsigned i = 0; i < GROUPS; i++)
		i + OBJ_GROUP < OBJ_BUF_RING ? provide(r, i) : provide_ring(r, i);
}

int world_buffers(unsigned group)
{
	uint32_t status[10] = {group};

	if (group + OBJ_GROUP < OBJ_BUF_RING)
		return 0;
	EXPECT_EQ(sys_register(ring_fd, IORING_REGISTER_PBUF_STATUS, status, 1), 0);
	return BUFS - (int)status[1];
}

void world_trace_rings(void)
{
	for (unsigned i = OBJ_BUF_RING - OBJ_GROUP; i < GROUPS; i++)
		say("buffer ring %u: %d left", i, world_buffers(i));
}

void world_make(uint64_t seed, struct ring *r)
{
	int dir;

	rnd_seed(seed, 1000);
	source = map_then_hole(SOURCE / PAGE);
	hole = map_then_hole(1) + PAGE;
	OK(mprotect(hole - PAGE, PAGE, PROT_READ));
	arena = map_then_hole(ARENA / PAGE);
	for (size_t i = 0; i < SOURCE; i++)
		source[i] = (char)pattern(i);
	snprintf(directory, sizeof(directory), "%s/uringfs-fuzz-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	EXPECT(mkdtemp(directory) != NULL);
	OK(chdir(directory)); /* AT_FDCWD is one of the hostile descriptors */
	ring_fd = r->fd;
	dir = (int)OK(open(directory, O_RDONLY | O_DIRECTORY));
	objects[OBJ_DIR].rfd = objects[OBJ_DIR].wfd = dir;
	make_files(dir);
	make_streams();
	make_listener();
	objects[OBJ_EPOLL].rfd = objects[OBJ_EPOLL].wfd = (int)OK(epoll_create1(0));
	register_all(r);
	provide_all(r);
}

bool world_ready(int obj)
{
	struct pollfd p = {.fd = objects[obj].rfd, .events = POLLIN};
	bool ready = OK(poll(&p, 1, 0)) == 1;

	if (!ready)
		objects[obj].writes = 0;
	return ready;
}

/* ---- the trace ---- */

static uint64_t checksum(const void *data, size_t size)
{
	uint64_t sum = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < size; i++)
		sum = (sum ^ ((const unsigned char *)data)[i]) * 0x100000001b3ULL;
	return sum;
}

static void trace_attribute(int fd, const char *name)
{
	char value[70000];
	ssize_t n = fgetxattr(fd, name, value, sizeof(value));

	if (n >= 0)
		say("%s: %zd bytes, sum %016llx", name, n, (unsigned long long)checksum(value, (size_t)n));
}

static void trace_file(int i)
{
	static char data[1 << 20] __attribute__((aligned(PAGE)));
	int fd = objects[OBJ_FILE + i].rfd;
	off_t at = lseek(fd, 0, SEEK_CUR);
	ssize_t n = OK(pread(fd, data, sizeof(data), 0));
	struct stat st;

	OK(fstat(fd, &st));
	trace_attribute(fd, "user.a");
	trace_attribute(fd, "user.b");
	say("file %d: size %lld position %lld sum %016llx", i, (long long)st.st_size, (long long)at,
	    (unsigned long long)checksum(data, (size_t)n));
}

static int not_dots(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static void trace_directory(void)
{
	struct dirent **names;
	int n = (int)OK(scandir(directory, &names, not_dots, alphasort));

	for (int i = 0; i < n; i++) {
		struct stat st;

		OK(fstatat(objects[OBJ_DIR].rfd, names[i]->d_name, &st, AT_SYMLINK_NOFOLLOW));
		say("name %s: mode %o links %u", names[i]->d_name, st.st_mode, (unsigned)st.st_nlink);
		free(names[i]);
	}
	free(names);
}

void world_trace(void)
{
	for (int i = 0; i < FILES; i++)
		trace_file(i);
	for (int i = OBJ_PIPE; i < OBJ_EVENT; i++) {
		int left = 0;

		OK(ioctl(objects[i].rfd, FIONREAD, &left));
		say("stream %d: %d bytes left", i, left);
	}
	for (int i = OBJ_EVENT; i < OBJ_GROUP; i++) {
		uint64_t value = 0;

		if (world_ready(i))
			OK(read(objects[i].rfd, &value, sizeof(value)));
		say("eventfd %d: %llu", i, (unsigned long long)value);
	}
	trace_directory();
	for (unsigned i = 0; i < ARENA / PAGE; i++)
		if (arena[i * PAGE] || memcmp(arena + i * PAGE, arena + i * PAGE + 1, PAGE - 1) != 0)
			say("arena %u: %016llx", i, (unsigned long long)checksum(arena + i * PAGE, PAGE));
}

void world_remove(void)
{
	struct dirent **names;
	int n = scandir(directory, &names, not_dots, alphasort);

	for (int i = 0; i < n; i++)
		if (unlinkat(objects[OBJ_DIR].rfd, names[i]->d_name, 0) == -1)
			unlinkat(objects[OBJ_DIR].rfd, names[i]->d_name, AT_REMOVEDIR);
	rmdir(directory);
}
