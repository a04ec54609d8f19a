/*
 * constructor_syscalls.c - a library that calls syscall(2) in its constructor, perhaps before anybody's
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int early_syscall_socket = -1, early_syscall_errno = -1;
long early_process;

__attribute__((constructor))
static void constructor(void)
{
	errno = 0;
	early_process = syscall(SYS_getpid);
	early_syscall_socket = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	early_syscall_errno = errno;
}
