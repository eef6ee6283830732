/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: a process that has ring files mapped for writing on the daemon's behalf (memory/pagecache.py).
 *
 * The daemon must not have them mapped so itself. A process that ends unmaps, unmapping writes dirty pages back
 * (fs/fuse/file.c, fuse_vma_close()), and only behind that its descriptors are closed: a daemon that is killed would
 * wait for its own answer, unkillable, the connection kept alive by its own descriptor. A private mapping writes
 * nothing back, so the daemon reads through one of those, and stores into the keeper's with process_vm_writev(2). The
 * keeper has no descriptor of the connection: it ends when the daemon closes its end of a socket.
 */
#include "fusewire.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* With a descriptor: map it. Without one: unmap. */
struct keep {
	uint64_t address, offset, size;
};

struct kept {
	uint64_t address; /* 0: error is an errno */
	int32_t error;
};

static struct {
	pid_t pid;
	int sock;
} keeper = {.sock = -1};

static ssize_t message_send(int sock, void *data, size_t size, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cmsg;

	if (fd >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL);
}

static ssize_t message_receive(int sock, struct keep *keep, int *fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {keep, sizeof(*keep)};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	*fd = -1;
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(cmsg), sizeof(*fd));
	return n;
}

static struct kept keep_map(const struct keep *keep, int fd)
{
	struct kept kept = {0};
	void *at = mmap(NULL, keep->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)keep->offset);

	if (at == MAP_FAILED)
		kept.error = errno;
	else
		kept.address = (uint64_t)(uintptr_t)at;
	close(fd);
	return kept;
}

static void keeper_main(int sock)
{
	struct keep keep;
	struct kept kept;
	int fd;

	prctl(PR_SET_NAME, "uringfs-keeper", 0, 0, 0);
	helper_keep_only(&sock, 1);
	while (message_receive(sock, &keep, &fd) == sizeof(keep)) {
		memset(&kept, 0, sizeof(kept));
		if (fd >= 0)
			kept = keep_map(&keep, fd);
		else if (munmap((void *)(uintptr_t)keep.address, keep.size) < 0)
			kept.error = errno;
		message_send(sock, &kept, sizeof(kept), -1);
	}
	_exit(0);
}

/* Before the pager and the daemon's threads; fd is the connection's, which the keeper must not have. */
bool keeper_start(void)
{
	int socks[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
		return false;
	keeper.pid = fork();
	if (keeper.pid == 0) {
		close(socks[0]);
		helper_signals();
		keeper_main(socks[1]);
	}
	close(socks[1]);
	keeper.sock = socks[0];
	if (keeper.pid > 0)
		return true;
	keeper.pid = 0;
	keeper_stop(false);
	return false;
}

/* wait: somebody answers what it writes back. */
void keeper_stop(bool wait)
{
	if (keeper.sock >= 0)
		close(keeper.sock);
	keeper.sock = -1;
	if (keeper.pid && wait)
		waitpid(keeper.pid, NULL, 0);
	keeper.pid = 0;
}

/* One request, whose answer nobody else awaits. 0 with OSError set. */
static bool keeper_ask(struct keep *keep, int fd, struct kept *kept)
{
	ssize_t n;

	Py_BEGIN_ALLOW_THREADS
	n = message_send(keeper.sock, keep, sizeof(*keep), fd);
	if (n >= 0)
		n = recv(keeper.sock, kept, sizeof(*kept), 0);
	Py_END_ALLOW_THREADS
	if (n == sizeof(*kept) && !kept->error)
		return true;
	raise_errno(n == sizeof(*kept) ? kept->error : EIO);
	return false;
}

PyObject *keeper_map(PyObject *Py_UNUSED(m), PyObject *args)
{
	unsigned long long offset, size;
	struct keep keep = {0};
	struct kept kept;
	int fd;

	if (!PyArg_ParseTuple(args, "iKK:keeper_map", &fd, &offset, &size))
		return NULL;
	keep.offset = offset;
	keep.size = size;
	return keeper_ask(&keep, fd, &kept) ? PyLong_FromUnsignedLongLong(kept.address) : NULL;
}

PyObject *keeper_unmap(PyObject *Py_UNUSED(m), PyObject *args)
{
	unsigned long long address, size;
	struct keep keep = {0};
	struct kept kept;

	if (!PyArg_ParseTuple(args, "KK:keeper_unmap", &address, &size))
		return NULL;
	keep.address = address;
	keep.size = size;
	if (!keeper_ask(&keep, -1, &kept))
		return NULL;
	Py_RETURN_NONE;
}

PyObject *keeper_pid(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(arg))
{
	return PyLong_FromLong(keeper.pid);
}
