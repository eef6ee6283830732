/* SPDX-License-Identifier: Apache-2.0 */
/* copier SECRET N: a victim that holds a secret, reads its input, where the attacker knows, and writes the first N
 * bytes of it to its standard error output, as su(1) of a cat does. It says
 * when it has, and ends with its input. Status: the errno of that. */
#include "victim.h"

#include <errno.h>

int main(int argc, char **argv)
{
	char *page, byte;
	int status;

	must(argc == 3, "usage: copier SECRET N");
	page = hold(argv[1]);
	must(read(STDIN_FILENO, page + SPARE_AT, PAGE_SIZE - SPARE_AT) >= 0, "read");
	status = write(STDERR_FILENO, page + SPARE_AT, (size_t)atoi(argv[2])) < 0 ? errno : 0;
	must(write(STDOUT_FILENO, ".", 1) == 1, "write");
	while (read(STDIN_FILENO, &byte, 1) > 0) {
	}
	return status;
}
