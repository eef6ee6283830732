/* What the launcher has in C and the daemon in Python: the filter's instructions as hexadecimal digits, how to ask for
 * it, and a line for each call on standard input: TID NR ARG0 ... ARG5 RESULT. */
#include "../../../contrib/launcher/filter.h"
#include "../../../contrib/launcher/line.h"

#include <stdio.h>

int main(void)
{
	const struct sock_filter code[] = IO_URING_FILTER(SECCOMP_RET_USER_NOTIF);
	unsigned long long a[6];
	long tid, nr, result;

	for (size_t i = 0; i < sizeof(code); i++)
		printf("%02x", ((const unsigned char *)code)[i]);
	printf("\n%lx %lx\n", PROBE_ARG, PROBE_ANSWER);
	while (scanf("%ld %ld %llu %llu %llu %llu %llu %llu %ld", &tid, &nr, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5],
		     &result) == 9) {
		long arguments[6];
		struct line line;

		for (int i = 0; i < 6; i++)
			arguments[i] = (long)a[i];
		line = trace_line(tid, nr, arguments, result);
		fwrite(line.text, 1, line.length, stdout);
	}
	return 0;
}
