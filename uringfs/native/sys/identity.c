/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a thread is: whether it still is the program that it was (ExecWatch), its capabilities and user
 * namespace, and a thread of ours acting with another's credentials (act_as, act_own). Nothing here knows of
 * rings or FUSE. Failures are OSError with the kernel's errno.
 */
#include "../native.h"

#include <linux/capability.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef NGROUPS_MAX
#define NGROUPS_MAX 65536
#endif

/* ---- ExecWatch ---- */

/*
 * A perf event that counts nothing. The kernel removes it when its thread executes another program
 * (perf_event_remove_on_exec(), called by begin_new_exec() before the new credentials are taken and long
 * before the new program runs) or exits; a removed event is EPOLLHUP (perf_poll()). The ring buffer is what
 * perf_poll() looks at before that: without one every event is EPOLLHUP.
 */
typedef struct {
	PyObject_HEAD
	int fd;
	void *ring;
} ExecWatch;

static PyObject *watch_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_DUMMY,
		.disabled = 1,
		.exclude_kernel = 1,
		.remove_on_exec = 1,
	};
	ExecWatch *watch;
	void *ring;
	int tid, fd;

	if (!PyArg_ParseTuple(args, "i:ExecWatch", &tid))
		return NULL;
	if (tid <= 0) /* 0 would be ourselves */
		return raise_errno(ESRCH);
	fd = (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return raise_errno(errno);
	ring = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED) {
		int err = errno;

		close(fd);
		return raise_errno(err);
	}
	watch = (ExecWatch *)type->tp_alloc(type, 0);
	if (!watch) {
		munmap(ring, (size_t)sysconf(_SC_PAGESIZE));
		close(fd);
		return NULL;
	}
	watch->fd = fd;
	watch->ring = ring;
	return (PyObject *)watch;
}

static void watch_dealloc(ExecWatch *watch)
{
	munmap(watch->ring, (size_t)sysconf(_SC_PAGESIZE));
	close(watch->fd);
	Py_TYPE(watch)->tp_free((PyObject *)watch);
}

static PyObject *watch_ended(ExecWatch *watch, PyObject *Py_UNUSED(none))
{
	struct pollfd poll_fd = {.fd = watch->fd};

	if (poll_now(&poll_fd) < 0)
		return raise_errno(errno);
	return PyBool_FromLong(poll_fd.revents);
}

static PyObject *watch_fileno(ExecWatch *watch, PyObject *Py_UNUSED(none))
{
	return PyLong_FromLong(watch->fd);
}

static PyMethodDef watch_methods[] = {
	{"ended", (PyCFunction)watch_ended, METH_NOARGS, "ended() -> bool"},
	{"fileno", (PyCFunction)watch_fileno, METH_NOARGS, "fileno() -> int: readable once it has ended"},
	{NULL, NULL, 0, NULL},
};

static PyTypeObject watch_type = {
	/* clang-format off: a macro with its own comma */
	PyVarObject_HEAD_INIT(NULL, 0)
		/* clang-format on */
		.tp_name = "uringfs.native._native.ExecWatch",
	.tp_doc = "ExecWatch(tid): whether a thread has executed another program, or is gone",
	.tp_basicsize = sizeof(ExecWatch),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_new = watch_new,
	.tp_dealloc = (destructor)watch_dealloc,
	.tp_methods = watch_methods,
};

/* ---- capabilities ---- */

static int get_capabilities(int tid, struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, tid};

	return (int)syscall(SYS_capget, &header, data);
}

/* Of this thread. */
static int set_effective(uint64_t effective)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	if (get_capabilities(0, data) < 0)
		return -1;
	data[0].effective = data[0].permitted & (uint32_t)effective;
	data[1].effective = data[1].permitted & (uint32_t)(effective >> 32);
	return (int)syscall(SYS_capset, &header, data);
}

static PyObject *capabilities(PyObject *Py_UNUSED(m), PyObject *arg)
{
	struct __user_cap_data_struct data[2];
	int tid;

	if (!get_int(arg, ESRCH, &tid))
		return NULL;
	if (get_capabilities(tid, data) < 0)
		return raise_errno(errno);
	return PyLong_FromUnsignedLongLong(data[0].effective | (uint64_t)data[1].effective << 32);
}

static PyObject *user_namespace(PyObject *Py_UNUSED(m), PyObject *arg)
{
	char path[40], link[40];
	unsigned long inode;
	ssize_t size;
	int tid;

	if (!get_int(arg, ESRCH, &tid))
		return NULL;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", tid);
	size = readlink(path, link, sizeof(link) - 1);
	if (size < 0)
		return raise_errno(errno == ENOENT ? ESRCH : errno);
	link[size] = '\0';
	if (sscanf(link, "user:[%lu]", &inode) != 1)
		return raise_errno(EIO);
	return PyLong_FromUnsignedLong(inode);
}

/* ---- act_as, act_own ---- */

#define NGROUPS_HELD 1024 /* compared, at most */

#define SETUID_BIT (1ULL << CAP_SETUID)

/* What a thread of ours is when it acts for nobody. */
static struct {
	uid_t euid;
	gid_t egid;
	gid_t groups[NGROUPS_MAX];
	int ngroups;
	bool switches; /* we may take other ids at all */
	uid_t unused;  /* the largest that our user namespace has: nobody's */
} own;

/* 4294967294 in the initial user namespace; 0 where nothing can be read. */
static uid_t largest_uid(void)
{
	FILE *map = fopen("/proc/self/uid_map", "re");
	unsigned int first, count, largest = 0;

	while (map && fscanf(map, "%u %*u %u", &first, &count) == 2)
		if (count && first + (count - 1) > largest)
			largest = first + (count - 1);
	if (map)
		fclose(map);
	return largest;
}

static void remember_own(void)
{
	struct __user_cap_data_struct data[2] = {{0}};

	own.unused = largest_uid();
	own.euid = geteuid();
	own.egid = getegid();
	own.ngroups = getgroups(NGROUPS_MAX, own.groups);
	own.switches = own.euid == 0 && get_capabilities(0, data) == 0 && data[0].permitted & (1U << CAP_SETUID) &&
		       data[0].permitted & (1U << CAP_SETGID);
}

/* This thread's. Where a user namespace denies setgroups(2), or does not know them by number, they may be right
 * already: nobody there has come by any others. */
static int set_groups(int count, const gid_t *groups)
{
	gid_t has[NGROUPS_HELD];
	int err;

	if (syscall(SYS_setgroups, count, groups) == 0)
		return 0;
	err = errno;
	if ((err == EPERM || err == EINVAL) && count <= NGROUPS_HELD && syscall(SYS_getgroups, count, has) == count &&
	    syscall(SYS_getgroups, 0, NULL) == count && memcmp(has, groups, (size_t)count * sizeof(*has)) == 0)
		return 0;
	errno = err;
	return -1;
}

/* Back. 0, or -1 with errno. */
static int be_own(void)
{
	if (!own.switches)
		return set_effective(~0ULL);
	/* An effective user that becomes root has all that is permitted (cap_task_fix_setuid()); one that
	 * was root all the time has not. */
	if (syscall(SYS_setresuid, -1, own.euid, -1) < 0 || set_effective(~0ULL) < 0 ||
	    syscall(SYS_setresgid, -1, own.egid, -1) < 0 || set_groups(own.ngroups, own.groups) < 0)
		return -1;
	return 0;
}

/*
 * The raw system calls: they change this thread alone. The effective user, too, for who owns a user namespace
 * has every capability in it (cap_capable()), and that is often root; it becomes nobody's, not the caller's,
 * who could change the priority of a thread of his (set_one_prio_perm()). A caller that is root stays root.
 */
static int be_other(uid_t uid, gid_t gid, int ngroups, const gid_t *groups, uint64_t effective, bool foreign)
{
	if (!own.switches)
		return set_effective(effective);
	if (set_groups(ngroups, groups) < 0 || syscall(SYS_setresgid, -1, gid, -1) < 0)
		return -1;
	if (uid != own.euid || foreign) {
		/* Nobody, where there is one but ourselves and the caller */
		uid_t unused = own.unused == uid ? own.unused - 1 : own.unused;

		if (unused == own.euid) {
			errno = EINVAL;
			return -1;
		}
		if (syscall(SYS_setresuid, -1, unused, -1) < 0 || set_effective(SETUID_BIT) < 0)
			return -1;
		syscall(SYS_setfsuid, uid);
		if ((uid_t)syscall(SYS_setfsuid, -1) != uid) { /* it does not fail: it is asked */
			errno = EPERM;
			return -1;
		}
	}
	return set_effective(effective);
}

static PyObject *act_as(PyObject *Py_UNUSED(m), PyObject *args)
{
	unsigned int uid, gid;
	unsigned long long effective;
	Py_buffer groups;
	int foreign, err = 0;

	if (!PyArg_ParseTuple(args, "IIy*Kp:act_as", &uid, &gid, &groups, &effective, &foreign))
		return NULL;
	if (be_other(uid, gid, (int)(groups.len / (Py_ssize_t)sizeof(gid_t)), groups.buf, effective, foreign) < 0) {
		err = errno;
		if (be_own() < 0)
			abort();
	}
	PyBuffer_Release(&groups);
	if (err)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *act_own(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none))
{
	if (be_own() < 0)
		abort(); /* a thread of ours must never keep a client's rights, nor the daemon go on without its own */
	Py_RETURN_NONE;
}

PyMethodDef identity_methods[] = {
	{"capabilities", capabilities, METH_O, "capabilities(tid) -> int"},
	{"user_namespace", user_namespace, METH_O, "user_namespace(tid) -> int"},
	{"act_as", act_as, METH_VARARGS, "act_as(uid, gid, groups, capabilities, foreign)"},
	{"act_own", act_own, METH_NOARGS, "act_own()"},
	{NULL, NULL, 0, NULL},
};

int identity_add_types(PyObject *module)
{
	remember_own();
	if (PyType_Ready(&watch_type) < 0)
		return -1;
	Py_INCREF(&watch_type);
	if (PyModule_AddObject(module, "ExecWatch", (PyObject *)&watch_type) < 0) {
		Py_DECREF(&watch_type);
		return -1;
	}
	return 0;
}
