/*
 * words.h - for programs that do what their arguments say, one after the other, and are no tests themselves:
 * c-tests/command
 */
#ifndef WORDS_H
#define WORDS_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* tap.h's NEED() is for scenarios. */
#define MUST(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, #condition, strerror(errno)); \
			exit(99); \
		} \
	} while (0)

/* The strings that the kernel has laid out in a row; `words` are kept elsewhere. */
static inline void overwrite(char *first, char **words)
{
	char *end = first;

	for (char **entry = environ; *entry; entry++)
		end = *entry + strlen(*entry) + 1;
	for (; *words; words++)
		MUST((*words = strdup(*words)) != NULL);
	MUST(clearenv() == 0 && end > first);
	memset(first, 0, (size_t)(end - first));
	stpcpy(first, "a title");
}

#endif
