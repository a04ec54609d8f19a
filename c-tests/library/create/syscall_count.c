/*
 * syscall_count.c - the library's cost in system calls, counted by a tracer
 *
 * A child does one thing between two system calls that nothing else makes (close(-1)); its parent records, by
 * ptrace(2), the calls in between. They are compared as text, so that an added one, a missing one and a
 * changed order all show.
 */
#include "device.h"
#include "bypass.h"
#include "traced.h"
#include <stddef.h>

static const struct { long number; const char *name; } NAMES[] = {
	{ SYS_socket, "socket" }, { SYS_bind, "bind" }, { SYS_connect, "connect" },
	{ SYS_listen, "listen" }, { SYS_setsockopt, "setsockopt" },
	{ SYS_getsockopt, "getsockopt" }, { SYS_close, "close" },
	{ SYS_rt_sigprocmask, "rt_sigprocmask" },
};

static void append_name(char *calls, size_t size, long number)
{
	size_t length = strlen(calls);

	for (size_t i = 0; i < sizeof(NAMES) / sizeof(*NAMES); i++)
		if (NAMES[i].number == number) {
			snprintf(calls + length, size - length, "%s%s", length ? " " : "",
				 NAMES[i].name);
			return;
		}
	snprintf(calls + length, size - length, "%snumber %ld", length ? " " : "", number);
}

/* The system calls that `act` makes, e.g. "socket setsockopt". */
static const char *calls_of(void (*act)(void))
{
	static char calls[400];
	bool between = false;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		NEED(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
		raise(SIGSTOP);
		syscall(SYS_close, -1);
		act();
		syscall(SYS_close, -1);
		_exit(0);
	}
	*calls = '\0';
	NEED(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	NEED(ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(long)PTRACE_O_TRACESYSGOOD) == 0);
	while (WIFSTOPPED(status)) {
		struct __ptrace_syscall_info info = where_it_stands(pid);
		long signal = WSTOPSIG(status);

		/* These two stops are for us; any other signal is the child's. */
		if (signal == SIGSTOP || signal == (SIGTRAP | 0x80))
			signal = 0;
		if (info.op == CALLS && info.entry.nr == SYS_close && (int)info.entry.args[0] == -1)
			between = !between;
		else if (info.op == CALLS && between)
			append_name(calls, sizeof(calls), (long)info.entry.nr);
		NEED(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)signal) == 0);
		NEED(waitpid(pid, &status, 0) == pid);
	}
	EQ(status, 0);
	return calls;
}

static int domain, type, fd;
static struct sockaddr_storage address __attribute__((aligned(4096)));
static socklen_t length;

static void opens(void)
{
	socket(domain, type, 0);
}

static void binds(void)
{
	bind(fd, (struct sockaddr *)&address, length);
}

static void connects(void)
{
	connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static void listens(void)
{
	listen(fd, 1);
}

static void sets_an_option(void)
{
	static const int YES = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &YES, sizeof(YES));
	setsockopt(fd, IPPROTO_IP, SO_BINDTODEVICE, &YES, sizeof(YES));
}

static void names_a_device(void)
{
	setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, setting("VRFBIND_TEST_DEVICE"), 2);
}

static const char *under(const char *yes, const char *no)
{
	return world == PRELOADED ? yes : no;
}

static void creations(void)
{
	static const int TYPES[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_DGRAM | SOCK_CLOEXEC };

	for (int d = 0; d < 2; d++)
		for (int t = 0; t < 3; t++) {
			domain = FAMILIES[d];
			type = TYPES[t];
			CONTEXT("family %d, type %#x", domain, type);
			STR(calls_of(opens), under("socket setsockopt", "socket"));
		}
}

static void asks_for_a_number(void)
{
	syscall(SYS_socket, domain, type, 0);
}

static int (*socket_of_libc)(int, int, int);

static void opens_in_libc(void)
{
	socket_of_libc(domain, type, 0);
}

static void creations_past_the_export(void)
{
	domain = AF_INET;
	type = SOCK_STREAM;
	STR(calls_of(asks_for_a_number), under("socket setsockopt", "socket"));
	socket_of_libc = (int (*)(int, int, int))libc_own("socket");
	STR(calls_of(opens_in_libc), under("socket setsockopt", "socket"));
}

/* The call goes through our export, the other preload's, and libc's own function, which jumps to us. */
static void creations_through_another(void)
{
	if (!phase) {
		preload(NULL, beside("counts_calls.so"));
		EQ(reexec("another preload behind the library"), 0);
		return;
	}
	domain = AF_INET;
	type = SOCK_STREAM;
	STR(calls_of(opens), under("socket setsockopt getsockopt", "socket"));
}

static void other_creations(void)
{
	static const int DOMAINS[] = { AF_UNIX, AF_NETLINK };

	for (int d = 0; d < 2; d++) {
		domain = DOMAINS[d];
		type = SOCK_DGRAM;
		CONTEXT("family %d", domain);
		STR(calls_of(opens), "socket");
	}
}

static void failed_creations(void)
{
	domain = AF_INET;
	type = 9;
	CONTEXT("refused by the kernel");
	STR(calls_of(opens), "socket");
	type = SOCK_DGRAM;
	CONTEXT("without the device");
	STR(calls_of(opens), under("socket setsockopt close", "socket"));
}

static void on_a_device(void)
{
	fd = raw_socket(AF_INET, SOCK_STREAM, 0);
	NEED(fd >= 0 && set_device(fd, setting("VRFBIND_TEST_DEVICE")) == 0);
	address.ss_family = AF_INET;
	length = sizeof(struct sockaddr_in);
	STR(calls_of(binds), under("getsockopt bind", "bind"));
	/*
	 * So many bytes may be an IPv6 address, which is read: first the library asks whether it can be read.
	 */
	length = sizeof(address);
	STR(calls_of(binds), under("getsockopt rt_sigprocmask bind", "bind"));
	STR(calls_of(connects), under("getsockopt connect", "connect"));
	STR(calls_of(listens), under("getsockopt listen", "listen"));
	STR(calls_of(sets_an_option), "setsockopt setsockopt");
}

static void inert(void)
{
	domain = AF_INET;
	type = SOCK_STREAM;
	STR(calls_of(opens), "socket");
	fd = raw_socket(AF_INET, SOCK_STREAM, 0);
	address.ss_family = AF_INET;
	STR(calls_of(binds), "bind");
	STR(calls_of(connects), "connect");
	STR(calls_of(listens), "listen");
	STR(calls_of(names_a_device), "setsockopt");
}

static const struct scenario SCENARIOS[] = {
	{ "socket() of an IP family makes one system call more, setsockopt", creations },
	{ "so do libc's own socket() and syscall(SYS_socket)", creations_past_the_export },
	{ "a call that passes through the library twice binds once", creations_through_another },
	{ "socket() of another family makes none", other_creations },
	{ "a socket() that fails closes what it has opened, and nothing more", failed_creations,
	  .vrf = "no-such-device" },
	{ "bind(), connect() and listen() of a socket that has a device ask for it once",
	  on_a_device },
	{ "an inert library adds nothing", inert, .vrf = "default" },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
