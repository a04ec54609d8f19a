/*
 * stderr_capture.h - what is written to stderr, by this process and its children
 */
#ifndef STDERR_CAPTURE_H
#define STDERR_CAPTURE_H

#include "tap.h"
#include <fcntl.h>

static int heard_end = -1;

/* From now on a pipe is stderr. Children inherit it. `flags` as of pipe2(2). */
static inline void hear(int flags)
{
	int ends[2];

	NEED(pipe2(ends, O_CLOEXEC | flags) == 0);
	NEED(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
	close(ends[1]);
	/* Out of the way of those who count on low numbers. */
	heard_end = fcntl(ends[0], F_DUPFD_CLOEXEC, 150);
	close(ends[0]);
	NEED(heard_end >= 0 && fcntl(heard_end, F_SETFL, O_NONBLOCK) == 0);
}

/* All that has been written since the last time; valid until the next. */
static inline const char *heard(void)
{
	static char text[1 << 17];
	size_t length = 0;
	ssize_t more;

	while ((more = read(heard_end, text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)more;
	text[length] = '\0';
	return text;
}

/* Runs the part with this descriptor, or none (-1), for stderr; 0 if it ran to its end. */
static inline int with_stderr(int fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		if (fd < 0)
			close(STDERR_FILENO);
		else
			NEED(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
		become(NULL, "with that stderr");
	}
	return ending_of(pid);
}

/* How many lines there are in a text. */
static inline int lines_in(const char *text)
{
	int lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

#endif
