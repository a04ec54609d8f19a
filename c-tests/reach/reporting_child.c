/*
 * reporting_child.c - the program that other programs execute: reports the devices of its sockets
 * (child_report.h)
 *
 * With the argument "environ" it reports its environment instead: the strings as they are, each with its NUL.
 * With "silent" it reports nothing. With "scrubs" it executes itself without an environment, with "nobody" it
 * first gives up its user. Built once more as a static program, reporting_child-static.
 */
#include "child_report.h"
#include <stdlib.h>

enum { NOBODY = 65534 };

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "environ") == 0) {
		for (char **entry = environ; *entry; entry++)
			if (write(REPORT_FD, *entry, strlen(*entry) + 1) < 0)
				return 126;
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "scrubs") == 0) {
		execve("/proc/self/exe", (char *[]) { argv[0], NULL }, (char *[]) { NULL });
		return 126;
	}
	if (argc > 1 && strcmp(argv[1], "nobody") == 0) {
		if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
			return 126;
		argc = 1;
	}
	if (argc == 1)
		report_sockets(socket);
	return 0;
}
