/* SPDX-License-Identifier: Apache-2.0 */
/* What of <string.h> the library needs, for itself alone: in a program with a sanitizer libc's are interceptors, which
 * are not ready yet when the constructor runs. Compiled so that no compiler makes a call of itself of them. */
#include "trap.h"

#include <string.h>

/* x86 has instructions for these that are as quick as any loop, and need no vector registers (patch.c). */
#if defined(__x86_64__)
void *memcpy(void *to, const void *from, size_t size)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t size)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(byte) : "memory");
	return to;
}
#else
void *memcpy(void *to, const void *from, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memset(void *to, int byte, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((char *)to)[i] = (char)byte;
	return to;
}
#endif

int memcmp(const void *a, const void *b, size_t size)
{
	const unsigned char *x = a, *y = b;

	for (; size > 0; size--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *text)
{
	const char *at = text;

	while (*at)
		at++;
	return (size_t)(at - text);
}

int strncmp(const char *a, const char *b, size_t size)
{
	for (; size > 0; size--, a++, b++)
		if (*a != *b || !*a)
			return (unsigned char)*a - (unsigned char)*b;
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

/* In parentheses, since libc may have a macro of this name (glibc 2.43). */
char *(strchr)(const char *text, int c)
{
	for (; *text != (char)c; text++)
		if (!*text)
			return NULL;
	return (char *)(uintptr_t)text;
}

size_t strcspn(const char *text, const char *reject)
{
	const char *at = text;

	while (*at && !strchr(reject, *at))
		at++;
	return (size_t)(at - text);
}
