/*
 * sockets FAMILY COUNT - makes COUNT sockets of a family, one after the other, and closes each
 *
 * FAMILY is inet, inet6 or unix. Something for strace(1) to count the system calls of.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int family = argc != 3 ? -1 :
		     strcmp(argv[1], "inet") == 0 ? AF_INET :
		     strcmp(argv[1], "inet6") == 0 ? AF_INET6 :
		     strcmp(argv[1], "unix") == 0 ? AF_UNIX : -1;

	if (family == -1) {
		fprintf(stderr, "usage: sockets inet|inet6|unix COUNT\n");
		return 2;
	}
	for (int i = atoi(argv[2]); i > 0; i--) {
		int fd = socket(family, SOCK_DGRAM, 0);

		if (fd < 0) {
			perror("sockets: socket");
			return 1;
		}
		close(fd);
	}
	return 0;
}
