/* SPDX-License-Identifier: Apache-2.0 */
/* not_a_ring open PATH: uringfs_open(); setup PATH: uringfs_setup() on what open(2) gives. The errno, or 0. */
#include "uringfs.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct io_uring_params p;
	int fd;

	if (argc != 3)
		return 2;
	memset(&p, 0, sizeof(p));
	if (strcmp(argv[1], "open") == 0) {
		fd = uringfs_open(argv[2]);
		printf("%d\n", fd < 0 ? errno : 0);
		return 0;
	}
	fd = open(argv[2], O_RDWR);
	if (fd < 0)
		return 1;
	printf("%d\n", uringfs_setup(fd, 8, &p) < 0 ? errno : 0);
	return 0;
}
