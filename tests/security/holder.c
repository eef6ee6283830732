/* SPDX-License-Identifier: Apache-2.0 */
/* holder SECRET READY GO: a victim that holds a secret, says so, waits, and looks whether it is
 * what it was. */
#include "victim.h"

int main(int argc, char **argv)
{
	static char before[PAGE_SIZE];
	char *page, byte = '.';
	int go;

	must(argc == 4, "usage: holder SECRET READY GO");
	page = hold(argv[1]);
	memcpy(before, page, PAGE_SIZE);
	go = atoi(argv[3]);
	must(write(atoi(argv[2]), &byte, 1) == 1, "ready");
	while (read(go, &byte, 1) > 0) {
	}
	return memcmp(before, page, PAGE_SIZE) || !file_is_whole(before) ? VICTIM_CHANGED : 0;
}
