/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch [-1] [-i SECONDS] RING: what is going on in a ring, at each change, until it is gone.
 *
 * A ring file read as text is its status: queues, counters, requests. -1: print it once. On a terminal
 * the screen is redrawn, elsewhere (a pipe, a log) only the lines that changed are printed.
 * Completions wake us at once; the rest (submissions that wait, what a client reaps) moves shared
 * memory only, which wakes nobody: -i says how often to look (default 0.5).
 */
#include "uringfs.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>

enum { MOST = 1 << 20 };

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "watch: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* One read of the whole text is one moment of the ring; a second read would be of another moment. */
static void look(int fd, char *text)
{
	ssize_t n;

	do
		n = pread(fd, text, MOST - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		die("read");
	text[n] = 0;
}

static void print_screen(const char *name, const char *text)
{
	time_t now = time(NULL);
	char clock[16];

	strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&now));
	printf("\033[H\033[J%s  %s\n\n%s", name, clock, text);
}

static bool has_line(const char *text, const char *line, size_t len)
{
	for (const char *at = text; (at = strstr(at, line)) != NULL; at++)
		if ((at == text || at[-1] == '\n') && at[len] == '\n')
			return true;
	return false;
}

/* Lines that were not there the last time. */
static void print_changes(char *before, char *text)
{
	for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		*end = 0;
		if (!has_line(before, line, (size_t)(end - line)))
			puts(line);
		*end = '\n';
	}
}

int main(int argc, char **argv)
{
	char *text = calloc(1, MOST), *before = calloc(1, MOST), *swap;
	struct epoll_event event = {.events = EPOLLIN | EPOLLET}; /* level: as long as CQEs lie there */
	bool once = false, screen = isatty(STDOUT_FILENO);
	double interval = 0.5;
	int fd, ep, opt;

	while ((opt = getopt(argc, argv, "1i:")) != -1) {
		if (opt == '1')
			once = true;
		else if (opt == 'i')
			interval = atof(optarg);
		else
			return 2;
	}
	if (argc - optind != 1 || !(interval > 0 && interval < 86400)) {
		fprintf(stderr, "usage: watch [-1] [-i SECONDS] RING\n");
		return 2;
	}
	if (!text || !before)
		die("memory");
	fd = open(argv[optind], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(argv[optind]);
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll");
	for (;;) {
		struct stat st;

		look(fd, text);
		if (once) {
			fputs(text, stdout);
			break;
		}
		if (strcmp(text, before) != 0) {
			if (screen)
				print_screen(argv[optind], text);
			else
				print_changes(before, text);
			fflush(stdout);
		}
		swap = before;
		before = text;
		text = swap;
		if (fstat(fd, &st) < 0)
			die("stat");
		if (st.st_nlink == 0) {
			puts("removed");
			break;
		}
		if (epoll_wait(ep, &event, 1, (int)(interval * 1000)) < 0 && errno != EINTR)
			die("epoll");
	}
	close(ep);
	close(fd);
	free(text);
	free(before);
	return 0;
}
