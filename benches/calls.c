/*
 * calls [-o] [-n] [-f DESCRIPTORS] [-t THREADS] DEVICE KIND COUNT - makes COUNT calls for each byte on standard input
 *
 * and then prints how many microseconds one of them took. The pause in between does not count. KIND is
 *   socket    socket() of UDP, and close()
 *   bind      the same with a bind() to 127.0.0.1, port 0, or to the ADDRESS of `bind:ADDRESS`
 *   connect   socket() of TCP, connect() to a listener of its own, at an address likewise, and close(). It closes by
 *             a reset (SO_LINGER, one more system call), or the ports would be used up; connections are accepted in
 *             the pause
 *   unix      socket() of AF_UNIX, and close()
 *   option    setsockopt() of SO_KEEPALIVE, of a socket of its own
 *   getppid   the cheapest system call: it shows best what a seccomp filter adds to each
 *
 * Sockets have to be bound to DEVICE, '' for none, by whoever does that: the first one is looked at, so that nothing is
 * measured that does not do its work. With -o the program does it itself. With THREADS, as many make COUNT calls
 * each, at the same time. With -n it gives CAP_NET_RAW up. With DESCRIPTORS it has as many more, sockets of AF_UNIX, every
 * other one in an epoll, as the sockets of `connect` then are. If these are connected, their device is to be RULED, if that
 * variable is set: the first one is looked at as well.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <pthread.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *device, *kind;
static int binds_itself, count, listener = -1, epoll = -1;
static struct sockaddr_in address = { .sin_family = AF_INET };

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int new_socket(int type)
{
	int fd = socket(AF_INET, type, 0);

	if (fd < 0)
		die("calls: socket");
	if (binds_itself && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, strlen(device) + 1))
		die("calls: SO_BINDTODEVICE");
	return fd;
}

static void watch(int fd)
{
	struct epoll_event event = { .events = EPOLLRDHUP, .data.fd = fd };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("calls: epoll_ctl");
}

static void have_descriptors(int number)
{
	struct rlimit limit = { (rlim_t)number + 200, (rlim_t)number + 200 };

	if (setrlimit(RLIMIT_NOFILE, &limit))
		die("calls: RLIMIT_NOFILE");
	epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < number; i++) {
		int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

		if (fd < 0)
			die("calls: socket");
		if (i % 2)
			watch(fd);
	}
}

static void give_net_raw_up(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		die("calls: capget");
	data[0].effective &= ~(1u << CAP_NET_RAW);
	data[0].permitted &= ~(1u << CAP_NET_RAW);
	if (syscall(SYS_capset, &header, data))
		die("calls: capset");
}

static void call_socket(void)
{
	close(new_socket(SOCK_DGRAM));
}

static void call_bind(void)
{
	int fd = new_socket(SOCK_DGRAM);

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		die("calls: bind");
	close(fd);
}

static void call_connect(void)
{
	static const struct linger reset = { .l_onoff = 1 };
	int fd = new_socket(SOCK_STREAM);

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (epoll >= 0)
		watch(fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		die("calls: connect");
	close(fd);
}

static void call_unix(void)
{
	close(socket(AF_UNIX, SOCK_DGRAM, 0));
}

static void call_option(void)
{
	static const int on = 1;

	if (setsockopt(listener, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)))
		die("calls: SO_KEEPALIVE");
}

static void call_getppid(void)
{
	syscall(SYS_getppid);
}

static void (*call)(void);

static void *make_all(void *unused)
{
	for (int i = 0; i < count; i++)
		call();
	return unused;
}

static void listen_at_address(void)
{
	socklen_t length = sizeof(address);

	listener = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
	/* So many wait to be accepted: net.core.somaxconn, 4096 since Linux 5.4. */
	if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096) ||
	    getsockname(listener, (struct sockaddr *)&address, &length))
		die("calls: listener");
}

static void need_device(int fd, const char *expected)
{
	char found[IFNAMSIZ] = "";
	socklen_t length = sizeof(found);

	if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, found, &length))
		die("calls: SO_BINDTODEVICE");
	close(fd);
	if (strcmp(found, expected)) {
		fprintf(stderr, "calls: a socket is bound to '%s', not to '%s'\n", found, expected);
		exit(1);
	}
}

static void look_at_device(void)
{
	need_device(new_socket(SOCK_DGRAM), device);
}

static void look_at_rule(void)
{
	int fd = new_socket(SOCK_STREAM);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		die("calls: connect");
	need_device(fd, getenv("RULED"));
}

static void usage(void)
{
	fprintf(stderr, "usage: calls [-o] [-n] [-f DESCRIPTORS] [-t THREADS] DEVICE socket|bind[:ADDRESS]|connect[:ADDRESS]|unix|option|getppid COUNT\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*call)(void);
	} kinds[] = { { "socket", call_socket }, { "bind", call_bind }, { "connect", call_connect },
		      { "unix", call_unix }, { "option", call_option }, { "getppid", call_getppid } };
	int threads = 1, descriptors = 0, gives_up = 0, option;
	char *at;

	while ((option = getopt(argc, argv, "onf:t:")) != -1) {
		if (option == 'o')
			binds_itself = 1;
		else if (option == 'n')
			gives_up = 1;
		else if (option == 'f')
			descriptors = atoi(optarg);
		else if (option == 't')
			threads = atoi(optarg);
		else
			usage();
	}
	if (argc - optind != 3 || threads < 1)
		usage();
	device = argv[optind];
	kind = strtok(argv[optind + 1], ":");
	at = strtok(NULL, "");
	count = atoi(argv[optind + 2]);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kind, kinds[i].name) == 0)
			call = kinds[i].call;
	if (!call || inet_pton(AF_INET, at ? at : "127.0.0.1", &address.sin_addr) != 1)
		usage();

	look_at_device();
	if (call == call_connect || call == call_option)
		listen_at_address();
	if (gives_up)
		give_net_raw_up();
	if (call == call_connect && getenv("RULED"))
		look_at_rule();
	if (descriptors)
		have_descriptors(descriptors);
	while (getchar() != EOF) {
		pthread_t thread[threads];
		struct timespec start, end;

		clock_gettime(CLOCK_MONOTONIC, &start);
		for (int i = 1; i < threads; i++)
			if (pthread_create(&thread[i], NULL, make_all, NULL))
				die("calls: thread");
		make_all(NULL);
		for (int i = 1; i < threads; i++)
			pthread_join(thread[i], NULL);
		clock_gettime(CLOCK_MONOTONIC, &end);
		/* A reset may overtake what would have put the connection into the queue: not all have to be there. */
		for (int fd = 0; listener >= 0 && fd >= 0; close(fd))
			fd = accept(listener, NULL, NULL);
		printf("%.6f\n", ((end.tv_sec - start.tv_sec) * 1e6 + (end.tv_nsec - start.tv_nsec) / 1e3) /
		       count / threads);
		fflush(stdout);
	}
	return 0;
}
