/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets with raw addresses and raw control messages, which Python's socket module has not, and without
 * touching O_NONBLOCK: connect(2) and accept(2) know no MSG_DONTWAIT, so a timer's signal ends their wait.
 */
#include "../native.h"

#include <linux/sockios.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define MAX_CONTROL 65536
#define PATIENCE_NS 1000000 /* that connect and accept may wait */

/* ---- a wait that ends ---- */

static void wake(int sig)
{
	(void)sig; /* without SA_RESTART: EINTR is its work */
}

static int wake_signal(void)
{
	static bool installed;

	if (!installed) {
		struct sigaction sa = {.sa_handler = wake};

		sigemptyset(&sa.sa_mask);
		if (sigaction(SIGRTMAX, &sa, NULL) < 0)
			return -1;
		installed = true;
	}
	return SIGRTMAX;
}

static int start_timer(timer_t *timer)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = wake_signal()};
	/* again and again: the first may come before the wait begins */
	struct itimerspec every = {{0, PATIENCE_NS}, {0, PATIENCE_NS}};
	sigset_t set;

	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMAX);
	if (event.sigev_signo < 0 || pthread_sigmask(SIG_UNBLOCK, &set, NULL) ||
	    timer_create(CLOCK_MONOTONIC, &event, timer) < 0)
		return -1;
	return timer_settime(*timer, 0, &every, NULL);
}

static PyObject *sock_connect(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	Py_buffer addr;
	timer_t timer;
	int fd, ret = -1, err = 0;

	if (!nargs_is("sock_connect", nargs, 2) || !get_int(args[0], EBADF, &fd) ||
	    PyObject_GetBuffer(args[1], &addr, PyBUF_SIMPLE) < 0)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	if (start_timer(&timer) < 0) {
		err = errno;
	} else {
		ret = connect(fd, addr.buf, (socklen_t)addr.len);
		err = ret < 0 ? errno : 0;
		timer_delete(timer);
	}
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&addr);
	if (ret < 0)
		return raise_errno(err == EINTR ? EINPROGRESS : err);
	Py_RETURN_NONE;
}

static PyObject *sock_accept(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t nargs)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	timer_t timer;
	int fd, flags, ret = -1, err = 0;

	if (!nargs_is("sock_accept", nargs, 2) || !get_int(args[0], EBADF, &fd) || !get_int(args[1], EINVAL, &flags))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	if (start_timer(&timer) < 0) {
		err = errno;
	} else {
		ret = accept4(fd, (struct sockaddr *)&addr, &len, flags | SOCK_CLOEXEC);
		err = ret < 0 ? errno : 0;
		timer_delete(timer);
	}
	Py_END_ALLOW_THREADS
	if (ret < 0)
		return raise_errno(err == EINTR ? EAGAIN : err);
	if (len > sizeof(addr))
		len = sizeof(addr);
	return Py_BuildValue("iy#", ret, (char *)&addr, (Py_ssize_t)len);
}

/* ---- messages ---- */

static PyObject *sock_sendmsg(PyObject *Py_UNUSED(m), PyObject *args)
{
	Py_buffer data, name = {0}, control = {0};
	struct iovec iov;
	struct msghdr msg = {0};
	unsigned int flags;
	ssize_t n;
	int fd, err;

	if (!PyArg_ParseTuple(args, "iy*z*y*I:sock_sendmsg", &fd, &data, &name, &control, &flags))
		return NULL;
	iov = (struct iovec){data.buf, (size_t)data.len};
	msg.msg_name = name.buf;
	msg.msg_namelen = (socklen_t)name.len;
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control.len ? control.buf : NULL;
	msg.msg_controllen = (size_t)control.len;
	Py_BEGIN_ALLOW_THREADS
	n = sendmsg(fd, &msg, (int)(flags | MSG_DONTWAIT | MSG_NOSIGNAL));
	err = errno;
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&data);
	if (name.obj)
		PyBuffer_Release(&name);
	PyBuffer_Release(&control);
	return n < 0 ? raise_errno(err) : PyLong_FromSsize_t(n);
}

static PyObject *sock_recvmsg(PyObject *Py_UNUSED(m), PyObject *args)
{
	struct sockaddr_storage name;
	struct iovec iov;
	struct msghdr msg = {0};
	Py_buffer data;
	PyObject *result = NULL;
	Py_ssize_t room;
	unsigned int flags;
	ssize_t n;
	char *control;
	int fd, wants_name, err;
	bool begun;

	if (!PyArg_ParseTuple(args, "iw*pnI:sock_recvmsg", &fd, &data, &wants_name, &room, &flags))
		return NULL;
	room = room < 0 ? 0 : room > MAX_CONTROL ? MAX_CONTROL : room;
	control = PyMem_Calloc(1, (size_t)room + 1);
	if (!control) {
		PyBuffer_Release(&data);
		return PyErr_NoMemory();
	}
	iov = (struct iovec){data.buf, (size_t)data.len};
	msg.msg_name = wants_name ? &name : NULL;
	msg.msg_namelen = wants_name ? sizeof(name) : 0;
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = room ? control : NULL;
	msg.msg_controllen = (size_t)room;
	Py_BEGIN_ALLOW_THREADS
	begun = patience_begin();
	n = recvmsg(fd, &msg, (int)(flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
	err = errno;
	patience_end(begun);
	Py_END_ALLOW_THREADS
	if (n < 0) {
		raise_errno(err);
	} else {
		size_t len = msg.msg_namelen < sizeof(name) ? msg.msg_namelen : sizeof(name);

		result = Py_BuildValue("niy#y#I", n, (int)msg.msg_namelen, (char *)&name,
				       (Py_ssize_t)(wants_name ? len : 0), control, (Py_ssize_t)msg.msg_controllen,
				       (unsigned int)msg.msg_flags);
	}
	PyMem_Free(control);
	PyBuffer_Release(&data);
	return result;
}

/* ---- the rest ---- */

static PyObject *sock_socket(PyObject *Py_UNUSED(m), PyObject *args)
{
	int domain, type, protocol, fd;

	if (!PyArg_ParseTuple(args, "iii:sock_socket", &domain, &type, &protocol))
		return NULL;
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	return fd < 0 ? raise_errno(errno) : PyLong_FromLong(fd);
}

static PyObject *sock_kind(PyObject *Py_UNUSED(m), PyObject *arg)
{
	static const int names[] = {SO_DOMAIN, SO_TYPE, SO_PROTOCOL};
	int fd, kind[3];

	if (!get_int(arg, EBADF, &fd))
		return NULL;
	for (int i = 0; i < 3; i++) {
		socklen_t len = sizeof(int);

		if (getsockopt(fd, SOL_SOCKET, names[i], &kind[i], &len) < 0)
			return raise_errno(errno);
	}
	return Py_BuildValue("iii", kind[0], kind[1], kind[2]);
}

static PyObject *sock_bind(PyObject *Py_UNUSED(m), PyObject *args)
{
	Py_buffer addr;
	int fd, ret, err;

	if (!PyArg_ParseTuple(args, "iy*:sock_bind", &fd, &addr))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	ret = bind(fd, addr.buf, (socklen_t)addr.len);
	err = errno;
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&addr);
	if (ret < 0)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *sock_queue(PyObject *Py_UNUSED(m), PyObject *args)
{
	int fd, out, count = 0;

	if (!PyArg_ParseTuple(args, "ip:sock_queue", &fd, &out))
		return NULL;
	if (ioctl(fd, out ? SIOCOUTQ : SIOCINQ, &count) < 0)
		return raise_errno(errno);
	return PyLong_FromLong(count);
}

static PyObject *sock_getsockopt(PyObject *Py_UNUSED(m), PyObject *args)
{
	Py_buffer value;
	PyObject *result;
	int fd, level, name, size, ret, err;
	socklen_t len;
	char *room;

	if (!PyArg_ParseTuple(args, "iiiy*i:sock_getsockopt", &fd, &level, &name, &value, &size))
		return NULL;
	room = PyMem_Calloc(1, (size_t)value.len + 1);
	if (!room) {
		PyBuffer_Release(&value);
		return PyErr_NoMemory();
	}
	memcpy(room, value.buf, (size_t)value.len);
	len = size > value.len ? (socklen_t)value.len : (socklen_t)size; /* a negative one is the kernel's to refuse */
	Py_BEGIN_ALLOW_THREADS
	ret = getsockopt(fd, level, name, room, &len);
	err = errno;
	Py_END_ALLOW_THREADS
	result = ret < 0 ? raise_errno(err) : Py_BuildValue("iy#", (int)len, room, value.len);
	PyMem_Free(room);
	PyBuffer_Release(&value);
	return result;
}

static PyObject *sock_setsockopt(PyObject *Py_UNUSED(m), PyObject *args)
{
	Py_buffer value;
	int fd, level, name, size, ret, err;

	if (!PyArg_ParseTuple(args, "iiiy*i:sock_setsockopt", &fd, &level, &name, &value, &size))
		return NULL;
	if (size > value.len)
		size = (int)value.len;
	Py_BEGIN_ALLOW_THREADS
	ret = setsockopt(fd, level, name, value.buf, (socklen_t)size);
	err = errno;
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&value);
	if (ret < 0)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *sock_simple(PyObject *args, const char *format, int (*call)(int, int))
{
	int fd, arg, ret, err;

	if (!PyArg_ParseTuple(args, format, &fd, &arg))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	ret = call(fd, arg);
	err = errno;
	Py_END_ALLOW_THREADS
	if (ret < 0)
		return raise_errno(err);
	Py_RETURN_NONE;
}

static PyObject *sock_listen(PyObject *Py_UNUSED(m), PyObject *args)
{
	return sock_simple(args, "ii:sock_listen", listen);
}

static PyObject *sock_shutdown(PyObject *Py_UNUSED(m), PyObject *args)
{
	return sock_simple(args, "ii:sock_shutdown", shutdown);
}

#define FAST(name, doc) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, PyDoc_STR(doc)}
#define ARGS(name, doc) {#name, name, METH_VARARGS, PyDoc_STR(doc)}

PyMethodDef socket_methods[] = {
	FAST(sock_connect, "sock_connect(fd, address)"),
	FAST(sock_accept, "sock_accept(fd, flags) -> (fd, address)"),
	ARGS(sock_sendmsg, "sock_sendmsg(fd, data, name, control, flags) -> int"),
	ARGS(sock_recvmsg, "sock_recvmsg(fd, buffer, wants_name, room, flags)"),
	ARGS(sock_socket, "sock_socket(domain, type, protocol) -> fd"),
	{"sock_kind", sock_kind, METH_O, PyDoc_STR("sock_kind(fd) -> (domain, type, protocol)")},
	ARGS(sock_bind, "sock_bind(fd, address)"),
	ARGS(sock_listen, "sock_listen(fd, backlog)"),
	ARGS(sock_shutdown, "sock_shutdown(fd, how)"),
	ARGS(sock_queue, "sock_queue(fd, out) -> int"),
	ARGS(sock_getsockopt, "sock_getsockopt(fd, level, name, value, size) -> (size, value)"),
	ARGS(sock_setsockopt, "sock_setsockopt(fd, level, name, value, size)"),
	{NULL, NULL, 0, NULL},
};
