/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvlog LOG put KEY=VALUE...: append records to a log; "stored KEY" means that the record is on the disk.
 * kvlog LOG get: print the records.
 *
 * A program to be broken: it is right as long as nothing goes wrong. Four bugs wait for that; test_kvlog.py finds each
 * of them, docs/examples.md tells how. With -DFIXED they are mended.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH = 8, WRITE = 0, SYNC = 1 };

struct log {
	struct io_uring ring;
	int fd, event;
	off_t end;
	const char *name;
};

static _Noreturn void die(const char *what, int error)
{
	fprintf(stderr, "kvlog: %s: %s\n", what, strerror(error));
	exit(1);
}

/* Only one thread submits: Linux 6.0 and later save some work if they know. */
static void open_ring(struct log *log)
{
	int res = io_uring_queue_init(DEPTH, &log->ring, IORING_SETUP_SINGLE_ISSUER);

#ifdef FIXED /* an older kernel knows no such flag, and needs none */
	if (res == -EINVAL)
		res = io_uring_queue_init(DEPTH, &log->ring, 0);
#endif
	if (res < 0)
		die("io_uring", -res);
	log->event = eventfd(0, EFD_CLOEXEC);
	if (log->event < 0)
		die("eventfd", errno);
	res = io_uring_register_eventfd(&log->ring, log->event);
	if (res < 0)
		die("register eventfd", -res);
}

static void open_log(struct log *log, int flags)
{
	struct stat st;

	log->fd = open(log->name, flags | O_CLOEXEC, 0644);
	if (log->fd < 0 || fstat(log->fd, &st) < 0)
		die(log->name, errno);
	log->end = st.st_size;
}

/* Which request it was, whose result is noted. */
static unsigned reap(struct log *log, const struct io_uring_cqe *cqe, int *results)
{
	unsigned which = (unsigned)cqe->user_data;

	results[which] = cqe->res;
	io_uring_cq_advance(&log->ring, 1);
	return which;
}

#ifdef FIXED
/* The enter in which io_uring_wait_cqe() waits brings what found the CQ full, too. */
static unsigned next(struct log *log, int *results)
{
	struct io_uring_cqe *cqe;
	int res = io_uring_wait_cqe(&log->ring, &cqe);

	if (res < 0)
		die("wait", -res);
	return reap(log, cqe, results);
}
#else
/* Bug: nobody asks for completions that found the CQ full (IORING_SQ_CQ_OVERFLOW). */
static unsigned next(struct log *log, int *results)
{
	for (;;) {
		struct io_uring_cqe *cqe;
		uint64_t count;
		unsigned head;

		io_uring_for_each_cqe(&log->ring, head, cqe) return reap(log, cqe, results);
		if (read(log->event, &count, sizeof(count)) < 0 && errno != EINTR)
			die("eventfd", errno);
	}
}
#endif

/* Write and sync in one submission; results by user_data. The sync comes last, so its completion does, too. */
static void write_and_sync(struct log *log, const char *data, size_t len, int *results)
{
	struct io_uring_sqe *write = io_uring_get_sqe(&log->ring), *sync = io_uring_get_sqe(&log->ring);
	int res;

	io_uring_prep_write(write, log->fd, data, (unsigned)len, (uint64_t)log->end);
	write->user_data = WRITE;
	io_uring_prep_fsync(sync, log->fd, IORING_FSYNC_DATASYNC);
	sync->user_data = SYNC;
#ifdef FIXED
	write->flags |= IOSQE_IO_LINK;
#else
	sync->flags |= IOSQE_IO_LINK; /* bug: IOSQE_IO_LINK is about the request that comes next */
#endif
	res = io_uring_submit(&log->ring);
	if (res < 0)
		die("submit", -res);
	while (next(log, results) != SYNC)
		;
}

static void append(struct log *log, const char *data, size_t len)
{
	int results[2] = {(int)len, 0};

	write_and_sync(log, data, len, results);
#ifdef FIXED /* a short write ends the chain: the sync is canceled, the rest comes in a chain of its own */
	while (results[WRITE] >= 0 && (size_t)results[WRITE] < len) {
		if (results[WRITE] == 0)
			die("write", ENOSPC);
		log->end += results[WRITE];
		data += results[WRITE];
		len -= (size_t)results[WRITE];
		write_and_sync(log, data, len, results);
	}
#endif
	if (results[WRITE] < 0)
		die("write", -results[WRITE]);
	if (results[SYNC] < 0)
		die("sync", -results[SYNC]);
	log->end += (off_t)len; /* bug, without the loop: how much was written? */
}

static void put(struct log *log, const char *pair)
{
	size_t room = strlen(pair) + 16;
	char *record = malloc(room); /* as long as the process: it may be on its way to the disk */

	if (!record)
		die("memory", ENOMEM);
	append(log, record, (size_t)snprintf(record, room, "%zu %s\n", strlen(pair), pair));
	printf("stored %.*s\n", (int)strcspn(pair, "="), pair);
	fflush(stdout);
}

/* Each record says how long it is. */
static void get(struct log *log)
{
	FILE *in = fdopen(log->fd, "r");
	char *line = NULL, *pair;
	size_t room = 0;
	ssize_t n;

	if (!in)
		die(log->name, errno);
	while ((n = getline(&line, &room, in)) > 0) {
		size_t len = strtoul(line, &pair, 10);

		if (*pair != ' ' || line[n - 1] != '\n' || len != (size_t)(line + n - pair) - 2) {
			fprintf(stderr, "kvlog: %s: a record is damaged\n", log->name);
			exit(1);
		}
		fputs(pair + 1, stdout);
	}
	free(line);
	fclose(in);
}

int main(int argc, char **argv)
{
	struct log log = {0};

	if (argc < 3 || (strcmp(argv[2], "put") != 0 && strcmp(argv[2], "get") != 0)) {
		fprintf(stderr, "usage: kvlog LOG put KEY=VALUE... | kvlog LOG get\n");
		return 2;
	}
	log.name = argv[1];
	if (strcmp(argv[2], "get") == 0) {
		open_log(&log, O_RDONLY);
		get(&log);
		return 0;
	}
	open_log(&log, O_WRONLY | O_CREAT);
	open_ring(&log);
	for (int i = 3; i < argc; i++)
		put(&log, argv[i]);
	io_uring_queue_exit(&log.ring);
	close(log.fd);
	return 0;
}
