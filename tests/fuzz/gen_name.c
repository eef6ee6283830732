/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that take names, and those that fill slots of the file table. */
#include "gen.h"

#include <linux/openat2.h>
#include <linux/stat.h>
#include <netinet/in.h>
#include <sys/un.h>

#define OP_BIND 56
#define OP_LISTEN 57
#define OP_PIPE 62

static const char *name(void)
{
	static const char *const names[] = {"n0", "n1", "n2", "n0/n1", "missing/n", "", "f9"};

	return names[rnd(7)];
}

static void set_how(struct io_uring_sqe *s)
{
	struct open_how *how = keep(sizeof(*how) + 8);

	how->flags = s->open_flags;
	how->mode = how->flags & O_CREAT ? 0600 : PICK(0, 0, 0600);
	how->resolve = PICK(0, 0, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, 0x100);
	s->open_flags = 0;
	s->addr2 = address(how);
	s->len = (uint32_t)PICK(sizeof(*how), sizeof(*how), sizeof(*how) + 8, 8, 0);
}

bool gen_path(struct io_uring_sqe *s, struct making *m)
{
	if (take(m, OBJ_DIR, 1) < 0)
		return false;
	s->opcode = (uint8_t)PICK(IORING_OP_MKDIRAT, IORING_OP_UNLINKAT, IORING_OP_RENAMEAT, IORING_OP_SYMLINKAT,
				  IORING_OP_LINKAT, IORING_OP_STATX, IORING_OP_OPENAT, IORING_OP_OPENAT2);
	s->fd = objects[OBJ_DIR].rfd;
	s->addr = address(name());
	switch (s->opcode) {
	case IORING_OP_MKDIRAT: s->len = 0700; break;
	case IORING_OP_UNLINKAT: s->unlink_flags = (uint32_t)PICK(0, AT_REMOVEDIR, 1); break;
	case IORING_OP_SYMLINKAT: s->addr2 = address(name()); break;
	case IORING_OP_RENAMEAT:
	case IORING_OP_LINKAT:
		s->addr2 = address(name());
		s->len = (uint32_t)s->fd;
		s->hardlink_flags = (uint32_t)PICK(0, 0, 1, 0x4000);
		break;
	case IORING_OP_STATX:
		s->addr2 = address(keep(sizeof(struct statx)));
		s->len = (uint32_t)PICK(STATX_BASIC_STATS, 0, STATX__RESERVED);
		s->statx_flags = (uint32_t)PICK(0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, 1);
		break;
	default:
		if (take(m, OBJ_SLOTS, 1) < 0)
			return false;
		s->open_flags = (uint32_t)PICK(O_RDWR | O_CREAT, O_RDONLY, O_RDONLY | O_DIRECTORY);
		s->len = 0600;
		if (s->opcode == IORING_OP_OPENAT2)
			set_how(s);
		s->file_index = 1 + SLOTS_FIRST + rnd(6);
	}
	return true;
}

bool gen_slot(struct io_uring_sqe *s, struct making *m)
{
	if (take(m, OBJ_SLOTS, 1) < 0)
		return false;
	s->opcode = (uint8_t)PICK(IORING_OP_CLOSE, IORING_OP_SOCKET, IORING_OP_FILES_UPDATE, OP_PIPE);
	s->file_index = 1 + SLOTS_FIRST + rnd(6);
	if (s->opcode == IORING_OP_SOCKET) {
		s->fd = (int)PICK(AF_UNIX, AF_INET, 99);
		s->off = PICK(SOCK_STREAM, SOCK_DGRAM, 77);
	} else if (s->opcode == OP_PIPE) {
		s->addr = address(keep(8));
		s->file_index = 1 + SLOTS_FIRST + rnd(5);
		s->rw_flags = (int)PICK(0, O_NONBLOCK, O_CLOEXEC, O_DIRECT, 1);
	} else if (s->opcode == IORING_OP_FILES_UPDATE) {
		int *fds = keep(2 * sizeof(int));

		fds[0] = (int)PICK(objects[OBJ_DIR].rfd, (uint64_t)-1, 9999);
		fds[1] = (int)PICK(objects[OBJ_DIR].rfd, (uint64_t)-1, (uint64_t)-2);
		s->file_index = 0;
		s->fd = 0;
		s->addr = address(fds);
		s->len = rnd(3);
		s->off = SLOTS_FIRST + rnd(6);
	}
	return true;
}

/* What io-wq has no part in. */
bool gen_slot_inline(struct io_uring_sqe *s, struct making *m)
{
	if (rnd(3))
		return gen_slot(s, m);
	if (!gen_slot_socket(s, m))
		return false;
	s->opcode = OP_LISTEN;
	s->len = rnd(3);
	s->addr = s->addr2 = 0;
	return true;
}

/* Of whatever is in a slot: a socket, often. No path and no port that others know. */
bool gen_slot_socket(struct io_uring_sqe *s, struct making *m)
{
	struct sockaddr_in *in = keep(sizeof(*in));
	struct sockaddr_un *un = keep(sizeof(*un));

	if (take(m, OBJ_SLOTS, 1) < 0)
		return false;
	s->opcode = (uint8_t)PICK(OP_BIND, OP_LISTEN, IORING_OP_CONNECT, IORING_OP_SHUTDOWN);
	s->fd = SLOTS_FIRST + (int)rnd(6);
	s->flags = IOSQE_FIXED_FILE;
	in->sin_family = (sa_family_t)PICK(AF_INET, AF_INET, AF_UNIX, 99);
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	un->sun_family = AF_UNIX;
	strcpy(un->sun_path, "missing/socket");
	switch (s->opcode) {
	case OP_LISTEN: s->len = (uint32_t)PICK(0, 1, UINT32_MAX); break;
	case IORING_OP_SHUTDOWN: s->len = rnd(4); break;
	default:
		s->addr = ONE_IN(3) ? address(un) : address(in);
		s->addr2 = PICK(sizeof(*in), sizeof(*in), sizeof(*un), 2, 0, 200, UINT32_MAX);
		if (s->opcode == IORING_OP_CONNECT && s->addr == address(in))
			in->sin_port = htons(1);
	}
	return true;
}
