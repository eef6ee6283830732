/* SPDX-License-Identifier: Apache-2.0 */
/* deputy TEXT: a victim that complains about its argument, as passwd(1) does. Status: the errno of that. */
#include "victim.h"

#include <errno.h>

int main(int argc, char **argv)
{
	must(argc == 2, "usage: deputy TEXT");
	return write(STDERR_FILENO, argv[1], strlen(argv[1])) < 0 ? errno : 0;
}
