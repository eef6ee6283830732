/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of somebody who wants what the victim has: the environment's TAIL. */
#include "submitter.h"

char *stolen;

struct io_uring_sqe *queue(struct ring *r, unsigned opcode, int fd, const void *addr, unsigned len, uint64_t off)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	EXPECT(sqe != NULL);
	sqe->opcode = (uint8_t)opcode;
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)addr;
	sqe->len = len;
	sqe->off = off;
	return sqe;
}

static void set(struct io_uring_sqe *sqe, unsigned opcode, int fd, unsigned at_page, unsigned len)
{
	sqe->opcode = (uint8_t)opcode;
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)(VICTIM_PAGE + at_page);
	sqe->len = len;
}

/* Into memory of the attacker */
static void read_fixed(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_READ_FIXED, VICTIM_FD, 0, SECRET_SIZE);
	sqe->addr = (uint64_t)(uintptr_t)stolen;
}

/* The victim's descriptor into its memory: it is changed */
static void read_own(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_READ, VICTIM_FD, SPARE_AT, SECRET_SIZE);
}

/* The attacker's bytes into the victim's memory */
static void inject(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_READ, BAIT_FD, SPARE_AT, 8);
	sqe->off = (uint64_t)-1;
}

/* What is there is gone */
static void forget_memory(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_MADVISE, -1, 0, PAGE_SIZE);
	sqe->fadvise_advice = MADV_DONTNEED;
}

static void write_memory(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_WRITE, LOOT_FD, SECRET_AT, SECRET_SIZE);
	sqe->off = (uint64_t)-1;
}

static void send_memory(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_SEND, SOCKET_FD, SECRET_AT, SECRET_SIZE);
}

static void splice_file(struct io_uring_sqe *sqe)
{
	sqe->opcode = IORING_OP_SPLICE;
	sqe->splice_fd_in = VICTIM_FD;
	sqe->splice_off_in = 0;
	sqe->fd = LOOT_FD;
	sqe->off = (uint64_t)-1;
	sqe->len = SECRET_SIZE;
}

/* The attacker's bytes into the victim's file */
static void write_file(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_WRITE_FIXED, VICTIM_FD, 0, 8);
	sqe->addr = (uint64_t)(uintptr_t)stolen;
}

static void truncate_file(struct io_uring_sqe *sqe)
{
	sqe->opcode = 55; /* IORING_OP_FTRUNCATE */
	sqe->fd = VICTIM_FD;
	sqe->off = 1;
}

/* Requests of these read a number in the attacker's memory, which a sibling keeps. It lies where the victim has
 * memory, too: whoever asks whether there is any must not be content with that. */
struct message {
	int32_t number;
	struct iovec iov;
	struct msghdr msg;
	union {
		struct cmsghdr header;
		char buf[CMSG_SPACE(sizeof(int))];
	} rights;
};
#define MESSAGE ((struct message *)(VICTIM_PAGE + MESSAGE_AT))

void put_message(void)
{
	struct message *m = MESSAGE;

	m->number = VICTIM_FD;
	m->iov = (struct iovec){m, sizeof(m->number)};
	m->msg = (struct msghdr){
		.msg_iov = &m->iov, .msg_iovlen = 1, .msg_control = &m->rights, .msg_controllen = sizeof(m->rights)};
	m->rights.header = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&m->rights.header), &m->number, sizeof(m->number));
}

static void send_descriptor(struct io_uring_sqe *sqe)
{
	sqe->opcode = IORING_OP_SENDMSG;
	sqe->fd = SOCKET_FD;
	sqe->addr = (uint64_t)(uintptr_t)&MESSAGE->msg;
	sqe->len = 1;
}

static void register_file(struct io_uring_sqe *sqe)
{
	sqe->opcode = IORING_OP_FILES_UPDATE;
	sqe->fd = -1;
	sqe->addr = (uint64_t)(uintptr_t)&MESSAGE->number;
	sqe->len = 1;
}

static void open_path(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_OPENAT, AT_FDCWD, PATH_AT, 0);
	sqe->open_flags = O_RDONLY;
	sqe->file_index = 1;
}

static void make_directory(struct io_uring_sqe *sqe)
{
	set(sqe, IORING_OP_MKDIRAT, AT_FDCWD, MADE_AT, 0777);
}

static void raw_socket(struct io_uring_sqe *sqe)
{
	sqe->opcode = IORING_OP_SOCKET;
	sqe->fd = AF_PACKET;
	sqe->off = SOCK_RAW;
	sqe->file_index = 1;
}

static const struct attack {
	const char *name;
	void (*queue)(struct io_uring_sqe *sqe);
} attacks[] = {
	{"read_fixed", read_fixed},
	{"read", read_own},
	{"inject", inject},
	{"madvise", forget_memory},
	{"write", write_memory},
	{"send", send_memory},
	{"splice", splice_file},
	{"write_file", write_file},
	{"ftruncate", truncate_file},
	{"sendmsg", send_descriptor},
	{"files_update", register_file},
	{"openat", open_path},
	{"mkdirat", make_directory},
	{"socket", raw_socket},
};

static const struct attack *attack_of(const char *name)
{
	for (size_t i = 0; i < sizeof(attacks) / sizeof(*attacks); i++)
		if (strcmp(attacks[i].name, name) == 0)
			return &attacks[i];
	FAIL("no such attack: %s", name);
}

struct io_uring_sqe *queue_attack(struct ring *r)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	EXPECT(sqe != NULL);
	attack_of(choice("TAIL", "splice"))->queue(sqe);
	sqe->user_data = TAIL;
	return sqe;
}
