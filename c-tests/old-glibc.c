/*
 * old-glibc - prints the device of a new socket, for a glibc older than the one it was built with
 *
 * Run by the harness through tests/old-glibc.sh. Linked without start files, because those of a current glibc want a
 * __libc_start_main of version 2.34; everything else that is called here is as old as x86_64. A glibc
 * that is linked dynamically has initialised itself before _start.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

__attribute__((force_align_arg_pointer)) void _start(void)
{
	char device[17] = "";
	socklen_t length = sizeof(device) - 1;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &length) < 0)
		_exit(1);
	device[strlen(device)] = '\n';
	_exit(write(STDOUT_FILENO, device, strlen(device)) < 0);
}
