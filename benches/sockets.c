/*
 * sockets FAMILY COUNT [THREADS] - makes COUNT sockets of a family, one after the other, and closes each
 *
 * FAMILY is inet, inet6 or unix. With THREADS, as many threads do so at the same time, COUNT each.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int family, count;

static void *make(void *unused)
{
	for (int i = count; i > 0; i--) {
		int fd = socket(family, SOCK_DGRAM, 0);

		if (fd < 0) {
			perror("sockets: socket");
			exit(1);
		}
		close(fd);
	}
	return unused;
}

int main(int argc, char **argv)
{
	int threads = argc == 4 ? atoi(argv[3]) : 1;
	pthread_t thread[threads > 0 ? threads : 1];

	family = argc < 3 || argc > 4 || threads < 1 ? -1 :
		 strcmp(argv[1], "inet") == 0 ? AF_INET :
		 strcmp(argv[1], "inet6") == 0 ? AF_INET6 :
		 strcmp(argv[1], "unix") == 0 ? AF_UNIX : -1;
	if (family == -1) {
		fprintf(stderr, "usage: sockets inet|inet6|unix COUNT [THREADS]\n");
		return 2;
	}
	count = atoi(argv[2]);
	for (int i = 1; i < threads; i++) {
		if (pthread_create(&thread[i], NULL, make, NULL)) {
			fprintf(stderr, "sockets: cannot make a thread\n");
			return 1;
		}
	}
	make(NULL);
	for (int i = 1; i < threads; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
