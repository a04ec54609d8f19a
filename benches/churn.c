/*
 * churn DEVICE - creates sockets until SIGTERM, while DEVICE comes and goes
 *
 * Each one is checked: it has DEVICE, or a device that is gone by now (ENODEV), or it was not created (ENODEV);
 * everything else is outside. Prints at the end: how many were created, not created, gone, outside; open descriptors
 * and private dirty memory in kB, both after the first sockets were created and not created, and at the end.
 *
 * Between the two measurements of itself it allocates nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t is_over;
static long created, missing, gone, outside;

static void end(int signal)
{
	(void)signal;
	is_over = 1;
}

static void make(int family, int type, const char *device)
{
	char found[IFNAMSIZ] = "";
	socklen_t length = sizeof(found);
	int fd = socket(family, type, 0);

	if (fd < 0 && errno == ENODEV)
		missing++;
	else if (fd < 0)
		outside++;
	else if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, found, &length))
		*(errno == ENODEV ? &gone : &outside) += 1;
	else
		*(strcmp(found, device) == 0 ? &created : &outside) += 1;
	if (fd >= 0)
		close(fd);
}

static int descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) != -1;
	return count;
}

static int private_dirty(void)
{
	static char text[4096];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY);
	ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	char *line;

	close(fd);
	text[length > 0 ? length : 0] = '\0';
	line = strstr(text, "Private_Dirty:");
	return line ? atoi(line + strlen("Private_Dirty:")) : -1;
}

int main(int argc, char **argv)
{
	int descriptors_before = 0, dirty_before = 0, descriptors_after, dirty_after;

	if (argc != 2) {
		fprintf(stderr, "usage: churn DEVICE\n");
		return 2;
	}
	signal(SIGTERM, end);
	private_dirty();
	while (!is_over) {
		make(AF_INET, SOCK_STREAM, argv[1]);
		make(AF_INET, SOCK_DGRAM, argv[1]);
		make(AF_INET6, SOCK_STREAM, argv[1]);
		make(AF_INET6, SOCK_DGRAM, argv[1]);
		if (!dirty_before && created && missing) {
			descriptors_before = descriptors();
			dirty_before = private_dirty();
		}
		usleep(10000);
	}
	descriptors_after = descriptors();
	dirty_after = private_dirty();
	printf("%ld %ld %ld %ld %d %d %d %d\n", created, missing, gone, outside, descriptors_before, descriptors_after,
	       dirty_before, dirty_after);
	return 0;
}
