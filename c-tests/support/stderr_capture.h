/* stderr_capture.h - captures what this process and its children write to stderr */
#ifndef STDERR_CAPTURE_H
#define STDERR_CAPTURE_H

#include "tap.h"
#include <fcntl.h>

static int capture_end = -1;

/* From now on a pipe is stderr. Children inherit it. `flags` as of pipe2(2). */
static inline void capture_stderr(int flags)
{
	int ends[2];

	NEED(pipe2(ends, O_CLOEXEC | flags) == 0);
	NEED(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
	close(ends[1]);
	/* A high number, out of the way of code that expects low ones. */
	capture_end = fcntl(ends[0], F_DUPFD_CLOEXEC, 150);
	close(ends[0]);
	NEED(capture_end >= 0 && fcntl(capture_end, F_SETFL, O_NONBLOCK) == 0);
}

/* All that has been written since the last time; valid until the next. */
static inline const char *captured_stderr(void)
{
	static char text[1 << 17];
	size_t length = 0;
	ssize_t more;

	while ((more = read(capture_end, text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)more;
	text[length] = '\0';
	return text;
}

/* Runs the phase with this descriptor, or none (-1), for stderr; 0 if it ran to its end. */
static inline int reexec_with_stderr(int fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		if (fd < 0)
			close(STDERR_FILENO);
		else
			NEED(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
		exec_phase(NULL, "with that stderr");
	}
	return wait_status(pid);
}

/* Runs the phase with each stderr that accepts nothing. */
static inline void reexec_with_useless_stderr(void)
{
	CONTEXT("closed");
	EQ(reexec_with_stderr(-1), 0);
	CONTEXT("/dev/full");
	EQ(reexec_with_stderr(open("/dev/full", O_WRONLY | O_CLOEXEC)), 0);
	CONTEXT("read-only");
	EQ(reexec_with_stderr(open("/dev/null", O_RDONLY | O_CLOEXEC)), 0);
}

/* Until the pipe or socket accepts nothing more. */
static inline void fill(int fd)
{
	static const char bytes[4096];
	int flags = fcntl(fd, F_GETFL);

	NEED(fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
	while (write(fd, bytes, sizeof(bytes)) > 0)
		;
	while (write(fd, bytes, 1) > 0)
		;
	NEED(errno == EAGAIN);
	NEED(fcntl(fd, F_SETFL, flags) == 0);
}

/* The number of lines in a text. */
static inline int lines_in(const char *text)
{
	int lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

#endif
