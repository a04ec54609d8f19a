/*
 * clients up|ask PREFIX FIRST LAST - plays a client in each of the network namespaces PREFIX1, PREFIX2, ...
 *
 * In one process, because a process for each would take too long on a slow machine.
 *
 * up: takes eth0 down, which removes its advertised addresses, and brings it up with 10.10.1.2/24.
 *
 * ask: asks 10.10.1.1 for the address of app.test, four times a second. The client's own dnsmasq answers
 * 10.99.N/256.N%256, and another one answers something else; the advertisements of its own radvd give it an address in
 * 2001:db8:N::/64, N in hexadecimal. When every client has heard both, prints how many have, and how many answers were
 * somebody else's. Exit status: 0; 1 if a client has not heard both in 300 seconds, or one heard somebody else.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 300 };

static struct pollfd *polls;
static int *namespaces, *has_prefix, *has_answer, wrong;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* An IPv4 address of eth0 or, by SIOCSIFNETMASK, its mask. */
static void set(int fd, unsigned long request, const char *address)
{
	struct ifreq r = { .ifr_name = "eth0" };
	struct sockaddr_in a = { .sin_family = AF_INET };

	inet_pton(AF_INET, address, &a.sin_addr);
	memcpy(&r.ifr_addr, &a, sizeof(a));
	if (ioctl(fd, request, &r))
		die("clients: address of eth0");
}

/* Enters a client's namespace, and returns a UDP socket there. */
static int enter(const char *prefix, int number, int at)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s%d", prefix, number);
	namespaces[at] = open(path, O_RDONLY | O_CLOEXEC);
	if (namespaces[at] < 0 || setns(namespaces[at], CLONE_NEWNET))
		die(path);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("clients: socket");
	return fd;
}

static void bring_up(int fd)
{
	struct ifreq flags = { .ifr_name = "eth0" };

	if (ioctl(fd, SIOCSIFFLAGS, &flags))
		die("clients: eth0 down");
	set(fd, SIOCSIFADDR, "10.10.1.2");
	set(fd, SIOCSIFNETMASK, "255.255.255.0");
	flags.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &flags))
		die("clients: eth0 up");
}

/* The address that the kernel has made of an advertised prefix: "20010db80000NNNN...". */
static void look_for_prefix(int number, int at)
{
	char line[256];
	FILE *addresses;
	unsigned found;

	if (setns(namespaces[at], CLONE_NEWNET) || !(addresses = fopen("/proc/thread-self/net/if_inet6", "re")))
		die("clients: if_inet6");
	while (fgets(line, sizeof(line), addresses)) {
		if (sscanf(line, "20010db8%4x", &found) != 1)
			continue;
		if ((int)found == number)
			has_prefix[at] = 1;
		else
			wrong++;
	}
	fclose(addresses);
}

static void listen_to(int number, int at)
{
	unsigned char answer[512];
	ssize_t length = recv(polls[at].fd, answer, sizeof(answer), 0);

	/* Not there yet: port unreachable. The address is at the end; what has none has no answer. */
	if (length < 12 || answer[7] == 0)
		return;
	if (answer[length - 4] == 10 && answer[length - 3] == 99 && answer[length - 2] == number / 256 &&
	    answer[length - 1] == number % 256)
		has_answer[at] = 1;
	else
		wrong++;
}

int main(int argc, char **argv)
{
	static const unsigned char question[] = "\0\1\1\0\0\1\0\0\0\0\0\0\3app\4test\0\0\1\0\1";
	struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(53) };
	int up = argc == 5 && strcmp(argv[1], "up") == 0, known = up || (argc == 5 && strcmp(argv[1], "ask") == 0);
	int first = known ? atoi(argv[3]) : 0, count = known ? atoi(argv[4]) - first + 1 : 0, missing = count;
	long end = now_ms() + PATIENCE * 1000, next = 0;

	if (first < 1 || count < 1) {
		fprintf(stderr, "usage: clients up|ask PREFIX FIRST LAST\n");
		return 2;
	}
	polls = calloc(count, sizeof(*polls));
	namespaces = calloc(count, sizeof(int));
	has_prefix = calloc(count, sizeof(int));
	has_answer = calloc(count, sizeof(int));
	inet_pton(AF_INET, "10.10.1.1", &server.sin_addr);
	for (int i = 0; i < count; i++) {
		polls[i] = (struct pollfd){ .fd = enter(argv[2], first + i, i), .events = POLLIN };
		if (up)
			bring_up(polls[i].fd);
		else if (connect(polls[i].fd, (struct sockaddr *)&server, sizeof(server)))
			die("clients: connect");
	}
	if (up)
		return 0;

	while (missing && now_ms() < end) {
		int news = poll(polls, count, 50);

		for (int i = 0; news > 0 && i < count; i++)
			if (polls[i].revents)
				listen_to(first + i, i);
		if (now_ms() < next)
			continue;
		next = now_ms() + 250;
		missing = 0;
		for (int i = 0; i < count; i++) {
			if (!has_answer[i])
				(void)!send(polls[i].fd, question, sizeof(question) - 1, 0);
			if (!has_prefix[i])
				look_for_prefix(first + i, i);
			missing += !has_answer[i] || !has_prefix[i];
		}
	}
	for (int i = 0; i < count; i++)
		if (!has_answer[i] || !has_prefix[i])
			fprintf(stderr, "clients: %d has heard %s\n", first + i,
				has_answer[i] ? "dnsmasq only" : has_prefix[i] ? "radvd only" : "nothing");
	printf("%d %d\n", count - missing, wrong);
	return missing || wrong;
}
