/* SPDX-License-Identifier: Apache-2.0 */
/* rights SECRET: do the bits of this file count here? 0 if that opens. */
#include "victim.h"

int main(int argc, char **argv)
{
	return argc == 2 && open(argv[1], O_RDONLY) >= 0 ? 0 : 1;
}
