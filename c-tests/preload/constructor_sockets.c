/*
 * constructor_sockets.c - a library that opens sockets in its constructor, before main() and perhaps
 * before the constructor of whoever hooks socket()
 */
#define _GNU_SOURCE
#include "raw_syscall.h"
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* From socket(), and from the kernel by hand, passed to bind(). -1 and the errno if it failed. */
int early_socket = -1, early_socket_errno;
int early_bound = -1, early_bound_errno;
int early_saw_environment, early_was_passed_environment;

__attribute__((constructor))
static void constructor(int count, char **arguments, char **environment)
{
	struct sockaddr_storage any = { .ss_family = AF_INET };

	(void)count;
	(void)arguments;
	early_saw_environment = getenv("LD_PRELOAD") != NULL;
	/* Not dereferenced: if nothing is passed, it is undefined. */
	early_was_passed_environment = environment == environ;
	errno = 0;
	early_socket = socket(AF_INET, SOCK_DGRAM, 0);
	early_socket_errno = errno;
	early_bound = raw_socket(AF_INET, SOCK_DGRAM, 0);
	errno = 0;
	(void)bind(early_bound, (struct sockaddr *)&any, sizeof(any));
	early_bound_errno = errno;
}
