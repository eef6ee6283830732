/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on registered files and buffers: what each comes to; with "count", then how many of them the program's own
 * process has taken, as the ring's attribute says. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "probe_ring.h"

#define ENTRIES 8

static struct ring r;
static int file, pair[2];
static char memory[256];

/* On the file of an index, with the buffer of another */
static void request(const char *what, unsigned char opcode, int index, int buffer, const char *at, unsigned len)
{
	struct io_uring_sqe *sqe = queue(&r, opcode, index, 0);
	unsigned *head = word(&r, r.p.cq_off.head);

	sqe->flags = IOSQE_FIXED_FILE;
	sqe->addr = (unsigned long)at;
	sqe->len = len;
	sqe->buf_index = (unsigned short)buffer;
	CHECK(enter(&r, 1, 1) == 1);
	printf("%s: %d %.4s\n", what, cqe_at(&r, *head)->res, memory);
	++*head;
}

static void files(void)
{
	int fds[3] = {file, -1, pair[0]}, closed, second;
	struct io_uring_files_update up;

	request("no files", IORING_OP_READ, 0, 0, memory, 4);
	printf("%ld\n", registers(&r, IORING_REGISTER_FILES, fds, 3));
	request("file", IORING_OP_READ, 0, 0, memory, 4);
	request("empty", IORING_OP_READ, 1, 0, memory, 4);
	request("behind", IORING_OP_READ, 3, 0, memory, 4);
	request("socket", IORING_OP_SEND, 2, 0, memory, 4);
	closed = fds[0] = dup(file);
	second = fds[1] = open("/dev/zero", O_RDONLY);
	memset(&up, 0, sizeof(up));
	up.offset = 0;
	up.fds = (unsigned long)fds;
	printf("%ld\n", registers(&r, IORING_REGISTER_FILES_UPDATE, &up, 2));
	request("updated", IORING_OP_READ, 0, 0, memory + 1, 4);
	dup2(second, closed);
	request("of a descriptor that is another's", IORING_OP_READ, 0, 0, memory, 4);
	close(closed);
	request("of a descriptor that is closed", IORING_OP_READ, 0, 0, memory + 2, 4);
	request("device", IORING_OP_READ, 1, 0, memory, 4);
	fds[0] = file;
	printf("%ld\n", registers(&r, IORING_REGISTER_FILES_UPDATE, &up, 1));
}

/* READV_FIXED, WRITEV_FIXED */
static void vectors(void)
{
	struct iovec iov[2] = {{memory, 2}, {memory + 12, 4}};

	request("vector", 60, 0, 0, (char *)iov, 2);
	request("written vector", 61, 0, 0, (char *)iov, 2);
	iov[1].iov_len = 5;
	request("past the buffer's end", 60, 0, 0, (char *)iov, 2);
	iov[1].iov_len = 0;
	request("an empty one", 60, 0, 0, (char *)iov, 2);
}

static void buffers(void)
{
	struct iovec iov[2] = {{memory, 16}, {memory + 64, 16}};
	struct io_uring_rsrc_update2 up;

	request("no buffers", IORING_OP_READ_FIXED, 0, 0, memory, 4);
	printf("%ld\n", registers(&r, IORING_REGISTER_BUFFERS, iov, 2));
	request("buffer", IORING_OP_READ_FIXED, 0, 0, memory, 4);
	request("end of it", IORING_OP_READ_FIXED, 0, 0, memory + 12, 4);
	request("past its end", IORING_OP_READ_FIXED, 0, 0, memory + 13, 4);
	request("of another", IORING_OP_READ_FIXED, 0, 1, memory, 4);
	request("no such buffer", IORING_OP_READ_FIXED, 0, 2, memory, 4);
	request("written", IORING_OP_WRITE_FIXED, 0, 1, memory + 64, 4);
	vectors();
	iov[0].iov_base = memory + 128;
	memset(&up, 0, sizeof(up));
	up.offset = 1;
	up.data = (unsigned long)iov;
	up.nr = 1;
	printf("%ld\n", registers(&r, IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof(up)));
	request("the old place", IORING_OP_READ_FIXED, 0, 1, memory + 64, 4);
	request("the new place", IORING_OP_READ_FIXED, 0, 1, memory + 128, 4);
	printf("%ld\n", registers(&r, IORING_UNREGISTER_BUFFERS, NULL, 0));
	request("unregistered", IORING_OP_READ_FIXED, 0, 1, memory + 128, 4);
}

/* Who shares the ring by fork(2) has another memory, and uses the files all the same. */
static void in_a_child(void)
{
	int status;

	fflush(stdout);
	if (fork() == 0) {
		request("in a child", IORING_OP_READ, 0, 0, memory, 4);
		exit(0);
	}
	wait(&status);
	printf("%d\n", status);
}

int main(int argc, char **argv)
{
	char name[] = "/tmp/uringfs-fixed-XXXXXX";

	setvbuf(stdout, NULL, _IOFBF, 65536);
	file = mkstemp(name);
	unlink(name);
	if (pwrite(file, "0123456789", 10, 0) != 10 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 2;
	set_up_at(&r, ENTRIES, argc > 1 && strcmp(argv[1], "count") != 0 ? argv[1] : NULL);
	files();
	buffers();
	in_a_child();
	if (argc > 1)
		say_taken(&r, stderr);
	return 0;
}
