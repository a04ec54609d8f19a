/*
 * plain.so - the library's two hooks in their simplest form: C, dlsym, gcc -O2
 *
 * A yardstick for bench.sh, not for use: it sees neither libc's own sockets nor children that drop LD_PRELOAD.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int bind_to_vrf(int fd)
{
	const char *vrf = getenv("VRFBIND_VRF");

	return vrf ? setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, vrf, strlen(vrf) + 1) : 0;
}

int socket(int domain, int type, int protocol)
{
	static int (*real)(int, int, int);
	int fd;

	if (!real)
		real = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
	fd = real(domain, type, protocol);
	if (fd >= 0 && (domain == AF_INET || domain == AF_INET6) && bind_to_vrf(fd)) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
	static int (*real)(int, const struct sockaddr *, socklen_t);
	char device[IFNAMSIZ] = "";
	socklen_t size = sizeof(device);

	if (!real)
		real = (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind");
	if (address->sa_family != AF_UNIX && getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &size) == 0 &&
	    !*device && bind_to_vrf(fd))
		return -1;
	return real(fd, address, length);
}
