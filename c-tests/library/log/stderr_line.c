/*
 * stderr_line.c - the one line that the library prints, and what printing must not cost
 *
 * If VRFBIND_VRF is not the name of a device, a line on stderr reports it at load. The program must not
 * suffer from it: it does not wait for a reader, is not killed by a reader that has gone, and nothing is
 * printed into a connection that happens to be descriptor 2. After load nothing is printed at all.
 */
#include "device.h"
#include "stderr_capture.h"

#define INVALID "two words"

static void sockets_are_refused(void)
{
	for (int i = 0; i < 2; i++)
		if (world == PRELOADED)
			FAILS(socket(FAMILIES[i], SOCK_STREAM, 0), EINVAL);
		else
			STR(device_of((int)WORKS(socket(FAMILIES[i], SOCK_STREAM, 0))), "");
}

/* What the phase prints on stderr. */
static const char *printed(void)
{
	static char text[1000];
	int pipes[2];
	ssize_t length;

	NEED(pipe2(pipes, O_CLOEXEC | O_NONBLOCK) == 0);
	EQ(reexec_with_stderr(pipes[1]), 0);
	length = read(pipes[0], text, sizeof(text) - 1);
	text[length > 0 ? length : 0] = '\0';
	close(pipes[0]);
	close(pipes[1]);
	return text;
}

static void one_line(void)
{
	const char *text;

	if (phase) {
		sockets_are_refused();
		return;
	}
	text = printed();
	if (world == BASELINE) {
		STR(text, "");
		return;
	}
	CONTEXT("%s", text);
	TRUE(strncmp(text, "vrfbind: ", 9) == 0);
	TRUE(strstr(text, "VRFBIND_VRF") != NULL);
	TRUE(strstr(text, INVALID) != NULL);
	TRUE(strchr(text, '\n') == text + strlen(text) - 1);
}

/* A terminal may show the line: only harmless characters of the variable are printed. */
static void long_and_ugly(void)
{
	char value[5000];
	const char *text;

	if (phase)
		return;
	memset(value, '\033', sizeof(value));
	value[sizeof(value) - 1] = '\0';
	setenv("VRFBIND_VRF", value, 1);
	text = printed();
	EQ(strlen(text) > 0, world == PRELOADED);
	TRUE(strlen(text) < 400);
	TRUE(strchr(text, '\033') == NULL);
}

static void silence(void)
{
	static const char *const VALUES[] = {
		"", "default", "lo", "no-such-device", "fifteen-letters",
	};

	if (phase) {
		if (strcmp(getenv("VRFBIND_VRF"), "lo") == 0)
			STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))),
			    world == PRELOADED ? "lo" : "");
		else
			(void)socket(AF_INET, SOCK_STREAM, 0);
		return;
	}
	for (size_t i = 0; i < sizeof(VALUES) / sizeof(*VALUES); i++) {
		CONTEXT("VRFBIND_VRF=\"%s\"", VALUES[i]);
		setenv("VRFBIND_VRF", VALUES[i], 1);
		STR(printed(), "");
	}
}

static void make_both(int *pipes, int *sockets)
{
	NEED(pipe2(pipes, O_CLOEXEC) == 0);
	NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
}

static void with_both(int to_pipe, int to_socket)
{
	CONTEXT("a pipe");
	EQ(reexec_with_stderr(to_pipe), 0);
	CONTEXT("a UNIX socket");
	EQ(reexec_with_stderr(to_socket), 0);
}

static void nobody_drains(void)
{
	int pipes[2], sockets[2];

	if (phase) {
		sockets_are_refused();
		return;
	}
	make_both(pipes, sockets);
	fill(pipes[1]);
	fill(sockets[1]);
	with_both(pipes[1], sockets[1]);
}

static void nobody_reads(void)
{
	int pipes[2], sockets[2];

	if (phase) {
		sockets_are_refused();
		return;
	}
	make_both(pipes, sockets);
	close(pipes[0]);
	close(sockets[0]);
	with_both(pipes[1], sockets[1]);
}

static void nowhere(void)
{
	if (phase) {
		sockets_are_refused();
		return;
	}
	reexec_with_useless_stderr();
}

/* inetd(8) gives a program its connection as descriptors 0 to 2. */
static void connection(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);
	int listener, client, served;
	char byte;

	if (phase) {
		sockets_are_refused();
		return;
	}
	own_netns();
	listener = raw_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	client = raw_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	NEED(syscall(SYS_listen, listener, 1) == 0);
	NEED(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	NEED(syscall(SYS_connect, client, &address, sizeof(address)) == 0);
	served = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	NEED(served >= 0);
	EQ(reexec_with_stderr(served), 0);
	close(served);
	EQ(read(client, &byte, 1), 0);
}

/* Runs the phase with descriptors 0 to 2 closed. */
static int bare(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		exec_phase(NULL, "with descriptors 0 to 2 closed");
	}
	return wait_status(pid);
}

static void sockets_at_0_to_2(void)
{
	static const int DOMAINS[] = { AF_INET, AF_INET6, AF_INET };

	if (!phase) {
		EQ(bare(), 0);
		return;
	}
	for (int fd = 0; fd < 3; fd++) {
		EQ(WORKS(socket(DOMAINS[fd], SOCK_STREAM, 0)), fd);
		STR(device_of(fd), expected_device());
	}
}

/* A refusal prints nothing, least of all to a peer at the other end of descriptor 2. */
static void refusal_at_0_to_2(void)
{
	int sockets[4];
	char byte;

	if (!phase) {
		EQ(bare(), 0);
		return;
	}
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets + 2) == 0);
	EQ(sockets[2], STDERR_FILENO);
	sockets_are_refused();
	for (int i = 0; i < 4; i++)
		FAILS(recv(sockets[i], &byte, 1, MSG_DONTWAIT), EAGAIN);
}

static const struct scenario SCENARIOS[] = {
	{ "an invalid name is reported in one line", one_line, .vrf = INVALID },
	{ "the line stays short and printable, whatever the variable holds", long_and_ugly },
	{ "nothing is printed for anything else", silence },
	{ "a full stderr is not waited for", nobody_drains, .vrf = INVALID },
	{ "a stderr that nobody reads any more does not kill", nobody_reads, .vrf = INVALID },
	{ "a stderr that accepts nothing does no harm", nowhere, .vrf = INVALID },
	{ "a stderr that is a TCP connection is left alone", connection, .vrf = INVALID },
	{ "where descriptors 0 to 2 are closed, sockets take their place, on the device",
	  sockets_at_0_to_2 },
	{ "a refusal prints nothing", refusal_at_0_to_2, .vrf = INVALID },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
