/*
 * binds_sockets.c - somebody else binds sockets: each IP socket to $VRFBIND_TEST_BINDS_TO
 *
 * If it comes after the library in LD_PRELOAD, the library gets a socket that has a device already, as inside
 * `ip vrf exec` or in a systemd unit with BindNetworkInterface=. The system calls are instructions, since
 * libc's functions may jump back to the library.
 */
#define _GNU_SOURCE
#include "raw_syscall.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int socket(int domain, int type, int protocol)
{
	const char *device = getenv("VRFBIND_TEST_BINDS_TO");
	int (*next)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
	int fd, had;

	if (!device || (domain != AF_INET && domain != AF_INET6))
		return next(domain, type, protocol);
	fd = raw_socket(domain, type, protocol);
	had = errno;
	if (fd >= 0 && raw_call(SYS_setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, (long)device,
				(long)strlen(device), 0) < 0)
		abort();
	errno = had;
	return fd;
}
