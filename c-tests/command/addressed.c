/*
 * addressed.c - gives sockets addresses and devices, and reports where they are then
 *
 * For the tests of rules, which start it in many ways. It knows nothing of the library. Each argument is an
 * action, in order; an action on a socket prints a line: the word, the errno's name if it fails, and the
 * device.
 *
 *   tcp udp tcp6 udp6 raw mptcp    creates a socket, to which the following words apply
 *   bind IP[%DEVICE] PORT    connect IP PORT     unspec: connect() to AF_UNSPEC
 *   device NAME      setsockopt(SO_BINDTODEVICE); "" for none
 *   index NAME       setsockopt(SO_BINDTOIFINDEX)
 *   send             a datagram to the peer
 *   nonblock         makes the socket non-blocking
 *   set              some options and flags; options: which of them it has
 *   dup              another descriptor of it
 *   epoll            it is registered in an epoll(7)
 *   nowhere          bind() and connect() with invalid pointers, and with lengths that are too short
 *   unix             connect() of a socket of AF_UNIX to the path "nothing"
 *   waits N          every N milliseconds a signal with a handler ends a connect() that waits; the first may be too early
 *   apart            what follows is in another thread; files: with descriptors of its own
 *   watch N          N fresh sockets are connected to 127.0.0.1, while another thread looks at their device all the time
 *   direct IP PORT   bind() and connect() by the instruction
 *   i386 IP PORT     bind() of i386, and socketcall() of bind, connect and setsockopt
 *   x32 IP PORT      connect() of x32
 *   unshare          a new network namespace, with lo up
 *   nobody           gives up root, without executing a program
 *   title            writes over its arguments and its environment, as setproctitle(3) does
 *   pause            prints "paused", and waits for a line on standard input
 *   run CMD...       executes CMD
 *
 * Built as it is, and once more as a static program, addressed-static.
 */
#include "bypass.h"
#include "words.h"
#include <arpa/inet.h>
#include <grp.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/time.h>

enum { BINDTOIFINDEX = 62 };

static const struct { const char *name; int family, type, protocol; } KINDS[] = {
	{ "tcp", AF_INET, SOCK_STREAM, 0 },   { "udp", AF_INET, SOCK_DGRAM, 0 },
	{ "tcp6", AF_INET6, SOCK_STREAM, 0 }, { "udp6", AF_INET6, SOCK_DGRAM, 0 },
	{ "raw", AF_INET, SOCK_RAW, IPPROTO_ICMP }, { "mptcp", AF_INET, SOCK_STREAM, IPPROTO_MPTCP },
};

static int fd = -1;

static const char *name_of_errno(void)
{
	static const struct { int number; const char *name; } NAMES[] = {
		{ EPERM, "EPERM" },   { EINVAL, "EINVAL" },	{ ENODEV, "ENODEV" },
		{ EFAULT, "EFAULT" }, { ENOSYS, "ENOSYS" },	{ EADDRNOTAVAIL, "EADDRNOTAVAIL" },
		{ EINTR, "EINTR" },   { ENOENT, "ENOENT" },	{ ECONNREFUSED, "ECONNREFUSED" },
		{ EACCES, "EACCES" }, { EADDRINUSE, "EADDRINUSE" }, { EINPROGRESS, "EINPROGRESS" },
		{ ENETUNREACH, "ENETUNREACH" },
	};

	for (size_t i = 0; i < sizeof(NAMES) / sizeof(*NAMES); i++)
		if (NAMES[i].number == errno)
			return NAMES[i].name;
	return strerror(errno);
}

static void say(const char *word, long result)
{
	char device[IFNAMSIZ];

	printf("%s", word);
	if (result < 0)
		printf(" %s", name_of_errno());
	if (fd >= 0) {
		MUST(bound_device(fd, device) == 0);
		printf(" %s", device[0] ? device : "unbound");
	}
	printf("\n");
}

static struct sockaddr_storage address;
static socklen_t address_length;

static struct sockaddr *address_of(const char *text, const char *port)
{
	char ip[64];
	const char *scope = strchr(text, '%');

	snprintf(ip, sizeof(ip), "%.*s", scope ? (int)(scope - text) : 63, text);
	memset(&address, 0, sizeof(address));
	if (strchr(ip, ':')) {
		struct sockaddr_in6 *inet6 = (struct sockaddr_in6 *)&address;

		inet6->sin6_family = AF_INET6;
		inet6->sin6_port = htons((uint16_t)atoi(port));
		inet6->sin6_scope_id = scope ? if_nametoindex(scope + 1) : 0;
		MUST(inet_pton(AF_INET6, ip, &inet6->sin6_addr) == 1);
		address_length = sizeof(*inet6);
	} else {
		struct sockaddr_in *inet = (struct sockaddr_in *)&address;

		inet->sin_family = AF_INET;
		inet->sin_port = htons((uint16_t)atoi(port));
		MUST(inet_pton(AF_INET, ip, &inet->sin_addr) == 1);
		address_length = sizeof(*inet);
	}
	return (struct sockaddr *)&address;
}

static int bind_to(const char *ip, const char *port)
{
	struct sockaddr *to = address_of(ip, port);

	return bind(fd, to, address_length);
}

static int connect_to(const char *ip, const char *port)
{
	struct sockaddr *to = address_of(ip, port);

	return connect(fd, to, address_length);
}

static void do_nowhere(void)
{
	struct sockaddr *nowhere = (struct sockaddr *)8;

	say("nowhere", bind(fd, nowhere, sizeof(struct sockaddr_in)));
	say("nowhere", connect(fd, nowhere, sizeof(struct sockaddr_in)));
	say("short", connect(fd, address_of("127.0.0.1", "9"), 2));
	say("negative", connect(fd, address_of("127.0.0.1", "9"), (socklen_t)-1));
}

static void say_unix(void)
{
	const struct sockaddr_un { sa_family_t family; char path[108]; } nothing = { AF_UNIX, "nothing" };
	int inet = fd;

	fd = -1;
	say("unix", connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&nothing, sizeof(nothing)));
	fd = inet;
}

static const struct { int level, option, value; } OPTIONS[] = {
	{ SOL_SOCKET, SO_REUSEADDR, 1 }, { SOL_SOCKET, SO_BROADCAST, 1 }, { SOL_SOCKET, SO_RCVBUF, 8192 },
	/* In this order: the kernel sets the priority by IP_TOS. */
	{ IPPROTO_IP, IP_TTL, 7 },	 { IPPROTO_IP, IP_TOS, 16 },	  { SOL_SOCKET, SO_PRIORITY, 3 },
};

static void set_options(void)
{
	for (size_t i = 0; i < sizeof(OPTIONS) / sizeof(*OPTIONS); i++)
		MUST(setsockopt(fd, OPTIONS[i].level, OPTIONS[i].option, &OPTIONS[i].value, sizeof(int)) == 0);
	MUST(fcntl(fd, F_SETFD, FD_CLOEXEC) == 0);
	MUST(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) == 0);
}

static void say_options(void)
{
	printf("options");
	for (size_t i = 0; i < sizeof(OPTIONS) / sizeof(*OPTIONS); i++) {
		int value = 0;
		socklen_t length = sizeof(value);

		MUST(getsockopt(fd, OPTIONS[i].level, OPTIONS[i].option, &value, &length) == 0);
		printf(" %d", value);
	}
	printf("%s%s\n", fcntl(fd, F_GETFD) & FD_CLOEXEC ? " cloexec" : "",
	       fcntl(fd, F_GETFL) & O_NONBLOCK ? " nonblock" : "");
}

static void nothing(int signal) { (void)signal; }

static void wait_for(const char *milliseconds)
{
	struct sigaction action = { .sa_handler = nothing };
	struct timeval every = { 0, 1000 * atoi(milliseconds) };
	struct itimerval after = { every, every };

	/* Without SA_RESTART. */
	MUST(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &after, NULL) == 0);
}

static volatile int watching;
static volatile long unbound, looks;

static void *watch(void *no_argument)
{
	char device[IFNAMSIZ];

	while (watching) {
		if (bound_device(fd, device) == 0 && !device[0])
			unbound++;
		looks++;
	}
	return no_argument;
}

static void say_watched(long count)
{
	pthread_t thread;
	long failed = 0;

	watching = 1;
	MUST(pthread_create(&thread, NULL, watch, NULL) == 0);
	while (looks == 0)
		sched_yield();
	for (long i = 0; i < count; i++) {
		int fresh = socket(AF_INET, SOCK_DGRAM, 0);

		MUST(fresh >= 0 && dup2(fresh, fd) == fd && close(fresh) == 0);
		failed += connect_to("127.0.0.1", "9") < 0;
	}
	watching = 0;
	pthread_join(thread, NULL);
	printf("watched %ld, unbound %ld, failed %ld\n", count, unbound, failed);
}

static void say_direct(const char *ip, const char *port)
{
	struct sockaddr *to = address_of(ip, port);

	say("bind", raw_call(SYS_bind, fd, (long)to, address_length, 0, 0, 0));
	say("connect", raw_call(SYS_connect, fd, (long)to, address_length, 0, 0, 0));
}

#ifdef __x86_64__
/* In memory that a pointer of i386 can name. */
static void say_i386(const char *ip, const char *port)
{
	struct low { struct sockaddr_in address; unsigned int arguments[3]; } *low;

	low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	MUST(low != MAP_FAILED);
	memcpy(&low->address, address_of(ip, port), sizeof(low->address));
	low->arguments[0] = (unsigned int)fd;
	low->arguments[1] = (unsigned int)(uintptr_t)&low->address;
	low->arguments[2] = sizeof(low->address);
	for (long call = 2; call <= 3; call++)
		say("socketcall", call_i386(102, call, (long)(uintptr_t)low->arguments, 0));
	say("socketcall", call_i386(102, 14, 0, 0));
	say("i386", call_i386(361, fd, low->arguments[1], low->arguments[2]));
}

static void say_x32(const char *ip, const char *port)
{
	struct sockaddr *to = address_of(ip, port);

	say("x32", syscall(0x40000000 | SYS_connect, fd, to, address_length));
}
#endif

static void new_network(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int any;

	MUST(unshare(CLONE_NEWNET) == 0);
	any = socket(AF_UNIX, SOCK_DGRAM, 0);
	MUST(ioctl(any, SIOCSIFFLAGS, &lo) == 0);
	close(any);
}

static char *first_argument;

static void *follow(void *words)
{
	for (char **word = words; *word; word++) {
		for (size_t i = 0; i < sizeof(KINDS) / sizeof(*KINDS); i++) {
			if (strcmp(*word, KINDS[i].name) != 0)
				continue;
			fd = socket(KINDS[i].family, KINDS[i].type | SOCK_CLOEXEC, KINDS[i].protocol);
			say(*word, fd);
		}
		if (strcmp(*word, "bind") == 0) {
			say(*word, bind_to(word[1], word[2]));
			word += 2;
		} else if (strcmp(*word, "connect") == 0) {
			say(*word, connect_to(word[1], word[2]));
			word += 2;
		} else if (strcmp(*word, "unspec") == 0) {
			const struct sockaddr unspec = { .sa_family = AF_UNSPEC };

			say(*word, connect(fd, &unspec, sizeof(unspec)));
		} else if (strcmp(*word, "device") == 0) {
			say(*word, setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, word[1], (socklen_t)strlen(word[1])));
			word++;
		} else if (strcmp(*word, "index") == 0) {
			unsigned int index = if_nametoindex(*++word);

			say("index", setsockopt(fd, SOL_SOCKET, BINDTOIFINDEX, &index, sizeof(index)));
		} else if (strcmp(*word, "send") == 0) {
			say(*word, send(fd, "x", 1, 0));
		} else if (strcmp(*word, "nonblock") == 0) {
			MUST(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) == 0);
		} else if (strcmp(*word, "set") == 0) {
			set_options();
		} else if (strcmp(*word, "options") == 0) {
			say_options();
		} else if (strcmp(*word, "dup") == 0) {
			MUST(dup(fd) >= 0);
		} else if (strcmp(*word, "epoll") == 0) {
			struct epoll_event event = { .events = EPOLLIN };

			MUST(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, fd, &event) == 0);
		} else if (strcmp(*word, "nowhere") == 0) {
			do_nowhere();
		} else if (strcmp(*word, "unix") == 0) {
			say_unix();
		} else if (strcmp(*word, "waits") == 0) {
			wait_for(*++word);
		} else if (strcmp(*word, "watch") == 0) {
			say_watched(atol(*++word));
		} else if (strcmp(*word, "direct") == 0) {
			say_direct(word[1], word[2]);
			word += 2;
#ifdef __x86_64__
		} else if (strcmp(*word, "i386") == 0) {
			say_i386(word[1], word[2]);
			word += 2;
		} else if (strcmp(*word, "x32") == 0) {
			say_x32(word[1], word[2]);
			word += 2;
#endif
		} else if (strcmp(*word, "apart") == 0) {
			pthread_t thread;

			MUST(pthread_create(&thread, NULL, follow, word + 1) == 0);
			pthread_join(thread, NULL);
			exit(0);
		} else if (strcmp(*word, "files") == 0) {
			MUST(unshare(CLONE_FILES) == 0);
		} else if (strcmp(*word, "unshare") == 0) {
			new_network();
		} else if (strcmp(*word, "nobody") == 0) {
			MUST(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
		} else if (strcmp(*word, "title") == 0) {
			overwrite(first_argument, word + 1);
		} else if (strcmp(*word, "pause") == 0) {
			printf("paused\n");
			MUST(getchar() != EOF);
		} else if (strcmp(*word, "run") == 0) {
			execvp(word[1], word + 1);
			exit(127);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	first_argument = argv[0];
	follow(argv + 1);
	return 0;
}
