/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a request, by its descriptor or its index among those registered: what a pass knows of it. Part of core.h. */
#ifndef URINGFS_LANE_DESCRIPTORS_H
#define URINGFS_LANE_DESCRIPTORS_H

#include <fcntl.h>
#include <sys/stat.h>

static inline struct lane_file *lane_seen_file(struct lane_pass *p, int fd, uint32_t fixed)
{
	for (unsigned i = 0; i < p->nr_files; i++)
		if (p->files[i].fixed == fixed && (fixed || p->files[i].fd == fd))
			return &p->files[i];
	return NULL;
}

/* Of a request without IOSQE_FIXED_FILE */
static inline int lane_fd_of(const struct lane_pass *p, const struct io_uring_sqe *sqe)
{
	return p->alias && p->alias_at == p->head - 1 ? p->alias - 1 : sqe->fd;
}

static inline long lane_look_at_file(struct lane_pass *p, const struct io_uring_sqe *sqe, struct lane_file *file)
{
	struct lane *l = p->lane;

	if (sqe->flags & IOSQE_FIXED_FILE) {
		file->fixed = (uint32_t)sqe->fd + 1;
		return l->host->fixed_file(l, (uint32_t)sqe->fd, file);
	}
	file->fixed = 0;
	file->fd = lane_fd_of(p, sqe);
	file->flags = file->fd < 0 ? -EBADF : (int)l->host->file_flags(l, file->fd);
	file->mode = 0;
	return file->flags == -EAGAIN ? -EAGAIN : 0;
}

/* io_file_get_normal(), io_file_get_fixed(): 0, or what the request ends with; -EAGAIN: it is the daemon's. */
static inline long lane_get_file(struct lane_pass *p, const struct io_uring_sqe *sqe, struct lane_file **found)
{
	uint32_t fixed = sqe->flags & IOSQE_FIXED_FILE ? (uint32_t)sqe->fd + 1 : 0;
	struct lane_file *file;

	if (sqe->flags & IOSQE_FIXED_FILE && !fixed)
		return -EAGAIN;
	file = lane_seen_file(p, sqe->fd, fixed);
	if (!file) {
		struct lane_file fresh;

		fresh.id = 0;
		if (lane_look_at_file(p, sqe, &fresh) < 0)
			return -EAGAIN;
		file = &p->files[p->nr_files < LANE_FILES ? p->nr_files++ : 0];
		*file = fresh;
	}
	*found = file;
	return file->flags < 0 || file->flags & O_PATH ? -EBADF : 0;
}

/* S_IFMT, or LANE_MODE_RING */
static inline uint32_t lane_file_type(struct lane_pass *p, struct lane_file *file)
{
	if (!file->mode) {
		long mode = p->lane->host->file_mode(p->lane, file->fd);

		file->mode = mode < 0 ? LANE_MODE_RING : (uint32_t)mode;
	}
	return file->mode == LANE_MODE_RING ? LANE_MODE_RING : file->mode & S_IFMT;
}

#endif
