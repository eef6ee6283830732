/* SPDX-License-Identifier: Apache-2.0 */
/* What has been gained. */
#include "submitter.h"

static bool is_secret(const char *data, ssize_t n)
{
	return n > 0 && memmem(data, (size_t)n, SECRET_TEXT, strlen(SECRET_TEXT)) != NULL;
}

static bool comes_out(int fd)
{
	char data[PAGE_SIZE];

	OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	return is_secret(data, read(fd, data, sizeof(data)));
}

bool reads_secret(int fd)
{
	char data[SECRET_SIZE];

	return is_secret(data, pread(fd, data, sizeof(data), 0));
}

/* What a message says, and what it brings. */
bool message_tells(int sock)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	char data[PAGE_SIZE];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);
	int fd = -1;

	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return is_secret(data, n) || reads_secret(fd);
}

/* The direct descriptor that an open has left. */
static bool is_open(struct scene *s)
{
	struct io_uring_sqe *sqe = queue(&s->ring, IORING_OP_READ_FIXED, 0, s->stolen, SECRET_SIZE, 0);
	struct cqe cqe;

	sqe->flags = IOSQE_FIXED_FILE;
	ring_submit_wait(&s->ring, 1);
	return ring_reap(&s->ring, &cqe) && is_secret(s->stolen, cqe.res);
}

bool leaves_file(void)
{
	const char *tail = choice("TAIL", "splice");

	return strcmp(tail, "openat") == 0 || strcmp(tail, "files_update") == 0;
}

const char *gained(struct scene *s)
{
	const char *tail = choice("TAIL", "splice");

	if (is_secret(s->stolen, PAGE_SIZE))
		return "the secret, in memory";
	if (comes_out(s->loot))
		return "the secret, by a pipe";
	if (message_tells(s->socket))
		return "the secret, by a socket";
	if (strcmp(tail, "socket") == 0 && s->cqes[TAIL].user_data && s->cqes[TAIL].res >= 0)
		return "a raw socket";
	if (leaves_file() && !(s->ring.p.flags & IORING_SETUP_SQPOLL) && is_open(s))
		return "the secret, by a direct descriptor";
	if (access(at("secret.made"), F_OK) == 0)
		return "a directory of root's";
	return NULL;
}
