/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_REGISTER_RING_FDS. In the kernel each thread has a table of its own, which neither fork nor exec
 * hands on, and an entry keeps the ring though its descriptor is closed: here by a duplicate high up. */
#include "trap.h"
#include "wire.h"

#include <stdatomic.h>

#define RINGFD_REG_MAX 16 /* IO_RINGFD_REG_MAX */
#define THREADS 256
#define HIGH_FD 960

/* fd[i]: the duplicate + 1, 0 is free. Only its own thread touches an entry; of dead ones, who sweeps. */
static struct owner {
	_Atomic int tid;
	uint32_t lent; /* bit i: fd[i] is the program's own descriptor, there was no number for another */
	int fd[RINGFD_REG_MAX];
} owners[THREADS];
static _Atomic int sweeping, process; /* whose threads these are */

static void drop(struct owner *o, uint32_t index)
{
	if (o->fd[index] && !(o->lent & 1u << index))
		RAW(SYS_close, o->fd[index] - 1);
	o->lent &= ~(1u << index);
	o->fd[index] = 0;
}

static struct owner *owner_of(int tid)
{
	for (int i = 0; i < THREADS; i++)
		if (atomic_load_explicit(&owners[i].tid, memory_order_relaxed) == tid)
			return &owners[i];
	return NULL;
}

/* Threads that have ended, or of which this process is a fork. */
static void sweep(void)
{
	int pid = (int)RAW(SYS_getpid);

	if (atomic_exchange(&sweeping, 1))
		return;
	for (int i = 0; i < THREADS; i++) {
		int tid = atomic_load(&owners[i].tid);

		if (!tid || RAW(SYS_tgkill, pid, tid, 0) != -ESRCH)
			continue;
		for (uint32_t j = 0; j < RINGFD_REG_MAX; j++)
			drop(&owners[i], j);
		atomic_store(&owners[i].tid, 0);
	}
	atomic_store(&sweeping, 0);
}

static struct owner *own(void)
{
	int tid = (int)RAW(SYS_gettid);
	struct owner *o = owner_of(tid);

	if (o)
		return o;
	sweep();
	atomic_store(&process, (int)RAW(SYS_getpid));
	for (int i = 0; i < THREADS; i++) {
		int none = 0;

		if (atomic_compare_exchange_strong(&owners[i].tid, &none, tid))
			return &owners[i];
	}
	return NULL;
}

/* The descriptor behind an index, or -errno as io_uring_enter(2): EINVAL in a thread that has neither set up a ring nor
 * registered one, which in the kernel is one without io_uring_task. */
long trap_ring_of(uint32_t index)
{
	struct owner *o;

	if (index >= RINGFD_REG_MAX)
		return -EINVAL;
	o = owner_of((int)RAW(SYS_gettid));
	if (!o)
		return -EINVAL;
	return o->fd[index] ? o->fd[index] - 1 : -EBADF;
}

void trap_rings_begin(void)
{
	own();
}

/* Where it is in nobody's way */
long trap_duplicate(int fd)
{
	struct rlimit limit = {0, 0};
	long from = HIGH_FD, ret;

	RAW(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &limit);
	if (limit.rlim_cur < HIGH_FD + 64)
		from = limit.rlim_cur > 64 ? (long)limit.rlim_cur - 64 : 0;
	ret = RAW(SYS_fcntl, fd, F_DUPFD_CLOEXEC, from);
	return ret < 0 ? RAW(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0) : ret;
}

/* Where the program has no number left: one beyond its limit */
static long duplicate_beyond(int fd)
{
	struct uringfs_numbers numbers;
	long copy = -EMFILE;

	memset(&numbers, 0, sizeof(numbers));
	if (uringfs_more_numbers(&numbers) == 0)
		copy = RAW(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
	uringfs_fewer_numbers(&numbers);
	return copy;
}

/* It must not fail for want of a number: then it is the program's own, as long as that is open. */
static void keep(struct owner *o, uint32_t index, int fd)
{
	long copy = trap_duplicate(fd);

	if (copy == -EMFILE)
		copy = duplicate_beyond(fd);
	if (copy < 0)
		o->lent |= 1u << index;
	o->fd[index] = (int)(copy < 0 ? fd : copy) + 1;
}

/* io_ring_add_registered_fd(): the first free index of first..last-1 */
long trap_ring_add(int fd, uint32_t first, uint32_t last)
{
	struct owner *o;
	long ret = trap_check_ring(fd);

	if (ret < 0)
		return ret;
	o = own();
	if (!o)
		return -ENOMEM;
	for (; first < last; first++) {
		if (o->fd[first])
			continue;
		keep(o, first, fd);
		return first;
	}
	return -EBUSY;
}

/* io_ringfd_register() */
long trap_rings_register(uintptr_t arg, uint32_t nr_args)
{
	long ret = 0;
	uint32_t i;

	if (!nr_args || nr_args > RINGFD_REG_MAX)
		return -EINVAL;
	if (!own()) /* __io_uring_add_tctx_node(): whatever becomes of the rest */
		return -ENOMEM;
	for (i = 0; i < nr_args; i++) {
		struct io_uring_rsrc_update reg;
		uint32_t first = 0, last = RINGFD_REG_MAX;

		ret = trap_copy_in(&reg, arg + i * sizeof(reg), sizeof(reg));
		if (ret < 0)
			break;
		ret = -EINVAL;
		if (reg.resv)
			break;
		if (reg.offset != UINT32_MAX) {
			if (reg.offset >= RINGFD_REG_MAX)
				break;
			first = reg.offset;
			last = first + 1;
		}
		ret = trap_ring_add((int)reg.data, first, last);
		if (ret < 0)
			break;
		reg.offset = (uint32_t)ret;
		ret = trap_copy_out(arg + i * sizeof(reg), &reg, sizeof(reg));
		if (ret < 0) {
			drop(own(), reg.offset);
			break;
		}
	}
	return i ? (long)i : ret;
}

/* Descriptors of the threads of this process, at most `room`: how many. */
unsigned trap_rings_kept(int *fds, unsigned room)
{
	unsigned n = 0;

	if (atomic_load(&process) != RAW(SYS_getpid))
		return 0;
	for (int i = 0; i < THREADS; i++)
		for (int j = 0; j < RINGFD_REG_MAX && atomic_load(&owners[i].tid); j++)
			if (owners[i].fd[j] && !(owners[i].lent & 1u << j) && n < room)
				fds[n++] = owners[i].fd[j] - 1;
	return n;
}

/* io_ringfd_unregister() */
long trap_rings_unregister(uintptr_t arg, uint32_t nr_args)
{
	struct owner *o = owner_of((int)RAW(SYS_gettid));
	long ret = 0;
	uint32_t i;

	if (!nr_args || nr_args > RINGFD_REG_MAX)
		return -EINVAL;
	if (!o)
		return 0;
	for (i = 0; i < nr_args; i++) {
		struct io_uring_rsrc_update reg;

		ret = trap_copy_in(&reg, arg + i * sizeof(reg), sizeof(reg));
		if (ret < 0)
			break;
		ret = -EINVAL;
		if (reg.resv || reg.data || reg.offset >= RINGFD_REG_MAX)
			break;
		drop(o, reg.offset);
	}
	return i ? (long)i : ret;
}
