/*
 * clobbers_errno.c - a preload whose functions work, and leave something else in errno
 *
 * POSIX allows that. A library that calls them while it stands in for another function must not let
 * it show.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static long spoiled(long result)
{
	if (result != -1)
		errno = EXDEV;
	return result;
}

int close(int fd)
{
	return (int)spoiled(syscall(SYS_close, fd));
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	return (int)spoiled(syscall(SYS_setsockopt, fd, level, name, value, length));
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	return (int)spoiled(syscall(SYS_getsockopt, fd, level, name, value, length));
}
