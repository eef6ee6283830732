/* SPDX-License-Identifier: Apache-2.0 */
/*
 * victim.h: what the attacked programs and their attackers agree upon.
 *
 * A victim has what is secret where its attacker can name it: a descriptor at VICTIM_FD, a page at VICTIM_PAGE
 * (real ones are found by trying). The attacker has harmless ones of its own there, before it becomes the victim.
 */
#ifndef VICTIM_H
#define VICTIM_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define VICTIM_FD 100
#define VICTIM_PAGE ((char *)0x200000000)
#define PAGE_SIZE 4096
/* In the page: */
#define SECRET_AT 0 /* the secret, or what the attacker has instead */
#define SECRET_SIZE 64
#define MESSAGE_AT 256 /* of the attacker alone: a message with VICTIM_FD in it, as struct message */
#define PATH_AT 1024   /* the path of the file with the secret */
#define MADE_AT 2048   /* that path and ".made", in a directory that is root's */
#define SPARE_AT 3072  /* zeros, for a request to store at */

/* Exit statuses of a victim; 0: nothing has happened to it. */
#define VICTIM_UNARMED 64 /* the file system is mounted nosuid, or the test's own fault */
#define VICTIM_CHANGED 65 /* somebody has written to its memory, or by its descriptor */

static inline void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	_exit(VICTIM_UNARMED);
}

/* The page, with those words in it. */
static inline char *held_page(const char *path)
{
	char *page = (char *)mmap(VICTIM_PAGE, PAGE_SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	must(page == VICTIM_PAGE, "mmap of the victim's page");
	snprintf(page + PATH_AT, 1024, "%s", path);
	snprintf(page + MADE_AT, 1024, "%s.made", path);
	return page;
}

/* That file at VICTIM_FD, for writing if it may, and its first bytes in the page. */
static inline char *hold(const char *path)
{
	char *page = held_page(path);
	int fd = open(path, O_RDWR);

	if (fd < 0)
		fd = open(path, O_RDONLY);
	must(fd >= 0, path);
	must(dup2(fd, VICTIM_FD) == VICTIM_FD, "dup2");
	close(fd);
	must(pread(VICTIM_FD, page + SECRET_AT, SECRET_SIZE, 0) > 0, "pread");
	return page;
}

/* Is the file still what it was? */
static inline int file_is_whole(const char *page)
{
	char now[SECRET_SIZE] = "";

	return pread(VICTIM_FD, now, SECRET_SIZE, 0) >= 0 && memcmp(now, page + SECRET_AT, SECRET_SIZE) == 0;
}

#endif
