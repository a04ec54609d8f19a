/*
 * child_report.h - how a process says what became of its sockets, whatever it has become
 *
 * The one who asks keeps the reading end of a pipe, and everybody that it starts has the writing end
 * as descriptor REPORT_FD: no environment and no argument has to survive for that. An answer is a line
 * per socket: its device, "none", or "errno N" for one that was not to be had. Knows no tap.h, for
 * plug-ins and static programs answer too.
 *
 * Where REPORT_FD is a socket instead, the one who asks wants to look at the socket too: then the line goes
 * on with the process and the descriptor, and the socket stays open until a byte comes back.
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

/* Of a socket that a call has just returned. The descriptor is closed. */
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

/* Of one socket of each family. */
static inline void report_sockets(int (*make)(int domain, int type, int protocol))
{
	report_socket(make(AF_INET, SOCK_DGRAM, 0));
	report_socket(make(AF_INET6, SOCK_STREAM, 0));
}

#endif
