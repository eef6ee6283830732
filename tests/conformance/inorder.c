/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of one submission, without links, that the kernel completes inline or serialises by inode: they take
 * effect in their order. Requests that wait for one file: the last armed comes first. */
#include "net.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#define ROUNDS 20
#define MANY 6
#define OP_EPOLL_CTL 29
#define OP_OPENAT 18
#define OP_CLOSE 19
#define OP_SOCKET 45
#define AT_THE_POSITION (~0ULL)

static void submit_all(struct ring *r, struct io_uring_sqe *sqes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		sqes[i].user_data = i + 1;
		push(r, sqes[i]);
	}
	EXPECT_EQ(ring_submit(r), n);
}

/* Their results by user_data, which is their number. */
static void results(struct ring *r, int *res, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct cqe cqe = ring_wait(r);

		EXPECT(cqe.user_data >= 1 && cqe.user_data <= n);
		res[cqe.user_data - 1] = cqe.res;
	}
}

static void run_all(struct ring *r, struct io_uring_sqe *sqes, int *res, unsigned n)
{
	submit_all(r, sqes, n);
	results(r, res, n);
}

/* ---- one file ---- */

static struct io_uring_sqe control(int epoll, int op, int fd, const struct epoll_event *event)
{
	struct io_uring_sqe sqe = sqe_of(OP_EPOLL_CTL, epoll, event, (unsigned)op);

	sqe.off = (uint64_t)fd;
	return sqe;
}

TEST(an_epoll_instance)
{
	struct epoll_event first = {EPOLLIN, {.u64 = 1}}, second = {EPOLLIN, {.u64 = 2}}, got;
	int epoll = (int)OK(epoll_create1(0)), fd = (int)OK(eventfd(1, 0)), res[4];
	struct ring r;

	ring_init(&r, 8, 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct io_uring_sqe sqes[4] = {
			control(epoll, EPOLL_CTL_ADD, fd, &first), control(epoll, EPOLL_CTL_MOD, fd, &second),
			control(epoll, EPOLL_CTL_DEL, fd, NULL), control(epoll, EPOLL_CTL_ADD, fd, &second)};

		run_all(&r, sqes, res, 4);
		for (int j = 0; j < 4; j++)
			EXPECT_EQ(res[j], 0);
		EXPECT_EQ(epoll_wait(epoll, &got, 1, 0), 1);
		EXPECT_EQ(got.data.u64, 2);
		OK(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL));
	}
	note("in order");
}

TEST(writes_to_one_place)
{
	struct io_uring_sqe sqes[16];
	char bytes[16], got;
	int fd = make_file(1), res[16];
	struct ring r;

	ring_init(&r, 16, 0);
	for (int i = 0; i < ROUNDS; i++) {
		for (int j = 0; j < 16; j++) {
			bytes[j] = (char)('a' + j);
			sqes[j] = sqe_of(IORING_OP_WRITE, fd, &bytes[j], 1);
		}
		run_all(&r, sqes, res, 16);
		EXPECT_EQ(pread(fd, &got, 1, 0), 1);
		EXPECT_EQ(got, 'p');
	}
	note("the last wins");
}

static void appended(int flags, uint64_t off)
{
	struct io_uring_sqe sqes[16];
	char bytes[16], got[17] = "";
	int fd = make_file(0), res[16];
	struct ring r;

	ring_init(&r, 16, 0);
	OK(fcntl(fd, F_SETFL, flags));
	for (int i = 0; i < ROUNDS; i++) {
		OK(ftruncate(fd, 0));
		OK(lseek(fd, 0, SEEK_SET));
		for (int j = 0; j < 16; j++) {
			bytes[j] = (char)('a' + j);
			sqes[j] = sqe_of(IORING_OP_WRITE, fd, &bytes[j], 1);
			sqes[j].off = off;
		}
		run_all(&r, sqes, res, 16);
		EXPECT_EQ(pread(fd, got, 16, 0), 16);
		EXPECT_EQ(strcmp(got, "abcdefghijklmnop"), 0);
	}
	note("in order");
}

TEST(writes_that_append)
{
	appended(O_APPEND, 0);
}

TEST(writes_at_the_position)
{
	appended(0, AT_THE_POSITION);
}

TEST(bind_and_listen)
{
	struct sockaddr_in a = loopback();
	int res[2];
	struct ring r;

	ring_init(&r, 8, 0);
	for (int i = 0; i < ROUNDS; i++) {
		int fd = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
		struct io_uring_sqe sqes[2] = {sqe_of(OP_BIND, fd, &a, 0), sqe_of(OP_LISTEN, fd, NULL, 4)};
		struct sockaddr_in bound;
		socklen_t len = sizeof(bound);

		sqes[0].off = sizeof(a);
		run_all(&r, sqes, res, 2);
		EXPECT_EQ(res[0], 0);
		EXPECT_EQ(res[1], 0);
		OK(getsockname(fd, (struct sockaddr *)&bound, &len));
		EXPECT_EQ(bound.sin_addr.s_addr, a.sin_addr.s_addr);
		OK(close(fd));
	}
	note("in order");
}

TEST(connect_and_send)
{
	struct sockaddr_in a;
	int to = udp_socket(&a), res[2];
	char got[8];
	struct ring r;

	ring_init(&r, 8, 0);
	for (int i = 0; i < ROUNDS; i++) {
		int fd = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
		struct io_uring_sqe sqes[2] = {sqe_of(IORING_OP_CONNECT, fd, &a, 0),
					       sqe_of(IORING_OP_SEND, fd, "abc", 3)};

		sqes[0].off = sizeof(a);
		run_all(&r, sqes, res, 2);
		EXPECT_EQ(res[0], 0);
		EXPECT_EQ(res[1], 3);
		EXPECT_EQ(recv(to, got, sizeof(got), 0), 3);
		OK(close(fd));
	}
	note("in order");
}

/* ---- the caller's descriptors ---- */

static struct io_uring_sqe opening(const char *path)
{
	struct io_uring_sqe sqe = sqe_of(OP_OPENAT, AT_FDCWD, path, 0);

	sqe.open_flags = O_RDONLY;
	return sqe;
}

static struct io_uring_sqe making(void)
{
	struct io_uring_sqe sqe = sqe_of(OP_SOCKET, AF_UNIX, NULL, 0);

	sqe.off = SOCK_STREAM;
	return sqe;
}

static void rising(struct ring *r, struct io_uring_sqe sqe, unsigned slots)
{
	struct io_uring_sqe sqes[MANY];
	int res[MANY];

	OK(close((int)OK(open("/etc/passwd", O_RDONLY)))); /* what is cached is opened inline */
	for (int i = 0; i < ROUNDS; i++) {
		for (int j = 0; j < MANY; j++) {
			sqes[j] = sqe;
			if (slots)
				sqes[j].file_index = FILE_INDEX_ALLOC;
		}
		run_all(r, sqes, res, MANY);
		for (int j = 0; j < MANY; j++)
			EXPECT(j ? res[j] > res[j - 1] : res[j] >= 0);
		if (slots) {
			EXPECT_EQ(sys_register(r->fd, IORING_UNREGISTER_FILES, NULL, 0), 0);
			sparse_files(r, slots);
			continue;
		}
		for (int j = 0; j < MANY; j++)
			OK(close(res[j]));
	}
	note("their numbers rise");
}

TEST(numbers_of_openat)
{
	struct ring r;

	ring_init(&r, 8, 0);
	rising(&r, opening("/etc/passwd"), 0);
}

TEST(numbers_of_socket)
{
	struct ring r;

	ring_init(&r, 8, 0);
	rising(&r, making(), 0);
}

TEST(slots_of_openat)
{
	struct ring r;

	ring_init(&r, 8, 0);
	sparse_files(&r, 8);
	rising(&r, opening("/etc/passwd"), 8);
}

TEST(slots_of_socket)
{
	struct ring r;

	ring_init(&r, 8, 0);
	sparse_files(&r, 8);
	rising(&r, making(), 8);
}

TEST(close_frees_the_number_for_openat)
{
	int res[2];
	struct ring r;

	ring_init(&r, 8, 0);
	for (int i = 0; i < ROUNDS; i++) {
		int fd = (int)OK(dup(0));
		struct io_uring_sqe sqes[2] = {sqe_of(OP_CLOSE, fd, NULL, 0), opening("/etc/passwd")};

		run_all(&r, sqes, res, 2);
		EXPECT_EQ(res[0], 0);
		EXPECT_EQ(res[1], fd);
		OK(close(fd));
	}
	note("the same number");
}

/* ---- direct descriptors, used at once ---- */

/* A mount that somebody makes meanwhile, anywhere, is enough for LOOKUP_CACHED to fail: then it is opened by io-wq. */
TEST(a_slot_is_opened_read_and_closed)
{
	int res[3], fd = make_file(64), disturbed = 0;
	char path[64], got[64];
	struct ring r;

	ring_init(&r, 8, 0);
	sparse_files(&r, 4);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	OK(close((int)OK(open(path, O_RDONLY))));
	for (int i = 0; i < ROUNDS; i++) {
		struct io_uring_sqe sqes[3] = {opening("/etc/passwd"), sqe_of(IORING_OP_READ, 1, got, 4),
					       sqe_of(OP_CLOSE, 0, NULL, 0)};

		sqes[0].file_index = 2;
		sqes[1].flags = IOSQE_FIXED_FILE;
		sqes[2].file_index = 2;
		run_all(&r, sqes, res, 3);
		EXPECT_EQ(res[0], 0);
		if (res[1] == -EBADF && disturbed++ < ROUNDS / 2)
			continue;
		EXPECT_EQ(res[1], 4);
		EXPECT_EQ(memcmp(got, "root", 4), 0);
		EXPECT_EQ(res[2], 0);
	}
	note("in order");
}

TEST(a_slot_is_made_bound_and_listened_at)
{
	struct sockaddr_in a = loopback();
	int res[3];
	struct ring r;

	ring_init(&r, 8, 0);
	sparse_files(&r, 4);
	for (int i = 0; i < ROUNDS; i++) {
		struct io_uring_sqe sqes[3] = {making(), sqe_of(OP_BIND, 1, &a, 0), sqe_of(OP_LISTEN, 1, NULL, 4)};

		sqes[0].fd = AF_INET;
		sqes[0].file_index = 2;
		sqes[1].off = sizeof(a);
		sqes[1].flags = sqes[2].flags = IOSQE_FIXED_FILE;
		run_all(&r, sqes, res, 3);
		for (int j = 0; j < 3; j++)
			EXPECT_EQ(res[j], 0);
	}
	note("in order");
}

/* ---- several that wait for one file ---- */

static void note_order(struct ring *r, unsigned n)
{
	char text[64] = "";

	for (unsigned i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " %llu",
			 (unsigned long long)ring_wait(r).user_data);
	note("complete:%s", text);
}

static void armed(struct io_uring_sqe sqe, int to, unsigned n, unsigned flags)
{
	struct io_uring_sqe sqes[MANY];
	struct ring r;

	ring_init(&r, 8, flags);
	for (unsigned i = 0; i < n; i++) {
		sqes[i] = sqe;
		sqes[i].addr += sqe.opcode == IORING_OP_POLL_ADD ? 0 : i;
	}
	for (int i = 0; i < ROUNDS; i++) {
		submit_all(&r, sqes, n);
		EXPECT_EQ(ring_ready(&r), 0);
		EXPECT_EQ(write(to, "0123456789", n), n);
		note_order(&r, n);
		if (sqe.opcode == IORING_OP_POLL_ADD) {
			char gone[16];

			EXPECT_EQ(read(sqe.fd, gone, n), n);
		} else {
			note("%.*s", (int)n, (char *)(uintptr_t)sqe.addr);
		}
	}
}

TEST(armed_reads_of_a_pipe)
{
	char got[16];
	int fds[2];

	OK(pipe(fds));
	armed(sqe_of(IORING_OP_READ, fds[0], got, 1), fds[1], 4, 0);
}

TEST(armed_receives)
{
	char got[16];
	int sv[2];

	pair(SOCK_STREAM, sv);
	armed(sqe_of(IORING_OP_RECV, sv[1], got, 1), sv[0], 4, 0);
}

TEST(armed_polls)
{
	struct io_uring_sqe sqe;
	int fds[2];

	OK(pipe(fds));
	sqe = sqe_of(IORING_OP_POLL_ADD, fds[0], NULL, 0);
	sqe.poll32_events = POLLIN;
	armed(sqe, fds[1], 4, 0);
}

TEST(armed_reads_of_a_pipe_of_a_deferring_ring)
{
	char got[16];
	int fds[2];

	OK(pipe(fds));
	armed(sqe_of(IORING_OP_READ, fds[0], got, 1), fds[1], 4,
	      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
}
