/*
 * counts_calls.c - another preload that hooks the calls: it counts them, and passes them on
 *
 * Its constructor records how many calls came before it, which tells a test in which order constructors run
 * (facts/ld_so.c).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>

/* socket, bind, connect, listen */
unsigned int counted_calls[4], counted_before_constructor;

__attribute__((constructor))
static void constructor(void)
{
	counted_before_constructor = counted_calls[0];
}

int socket(int domain, int type, int protocol)
{
	int (*next)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");

	counted_calls[0]++;
	return next(domain, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
	int (*next)(int, const struct sockaddr *, socklen_t) =
		(int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind");

	counted_calls[1]++;
	return next(fd, address, length);
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
	int (*next)(int, const struct sockaddr *, socklen_t) =
		(int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");

	counted_calls[2]++;
	return next(fd, address, length);
}

int listen(int fd, int backlog)
{
	int (*next)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "listen");

	counted_calls[3]++;
	return next(fd, backlog);
}
