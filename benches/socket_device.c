/*
 * socket_device [again] - creates a UDP socket and prints its device
 *
 * Prints the device's name; "no device"; "a device that is gone"; or "no socket: " and the error. With `again` it then
 * reads a line from standard input and does it once more, in the same process.
 *
 * compare.sh runs it in different worlds, also linked statically.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void print_birth(void)
{
	char device[IFNAMSIZ] = "";
	socklen_t length = sizeof(device);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0)
		printf("no socket: %s\n", strerror(errno));
	else if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &length) == 0)
		puts(*device ? device : "no device");
	else if (errno == ENODEV)
		puts("a device that is gone");
	else
		printf("a socket that does not say: %s\n", strerror(errno));
	fflush(stdout);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	char line[16];

	print_birth();
	if (argc == 2 && strcmp(argv[1], "again") == 0 && fgets(line, sizeof(line), stdin))
		print_birth();
	return 0;
}
