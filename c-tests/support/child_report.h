/*
 * child_report.h - how a process reports its sockets, whatever program it has become
 *
 * The observer keeps the reading end of a pipe, and all processes that it starts have the writing end as
 * descriptor REPORT_FD: neither environment nor arguments have to survive. A report is a line per socket: its
 * device, "none", or "errno N" for a socket that could not be created. Does not use tap.h, since plug-ins and
 * static programs include this too.
 *
 * If REPORT_FD is a socket instead, the observer wants to look at the reported socket too: then the line also
 * has the process and the descriptor, and the socket stays open until a byte comes back.
 */
#ifndef CHILD_REPORT_H
#define CHILD_REPORT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bound_device.h"
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REPORT_FD = 197 };

/* `text` has room for 40 bytes. */
static inline const char *device_in_words(int fd, char *text)
{
	char name[IFNAMSIZ];

	if (fd < 0 || bound_device(fd, name) < 0)
		snprintf(text, 40, "errno %d", errno);
	else
		snprintf(text, 40, "%s", *name ? name : "none");
	return text;
}

/* Reports a socket that a call has just returned. The descriptor is closed. */
static inline void report_socket(int fd)
{
	char text[40], line[80];
	struct stat kind;
	int length, is_looked_at = fd >= 0 && fstat(REPORT_FD, &kind) == 0 && S_ISSOCK(kind.st_mode);

	device_in_words(fd, text);
	if (is_looked_at)
		length = snprintf(line, sizeof(line), "%s %d %d\n", text, getpid(), fd);
	else
		length = snprintf(line, sizeof(line), "%s\n", text);
	if (write(REPORT_FD, line, (size_t)length) != length ||
	    (is_looked_at && read(REPORT_FD, text, 1) != 1))
		_exit(126);
	if (fd >= 0)
		close(fd);
}

/* Reports one socket of each family. */
static inline void report_sockets(int (*make)(int domain, int type, int protocol))
{
	report_socket(make(AF_INET, SOCK_DGRAM, 0));
	report_socket(make(AF_INET6, SOCK_STREAM, 0));
}

#endif
