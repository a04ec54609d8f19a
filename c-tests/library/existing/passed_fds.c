/*
 * passed_fds.c - inherited sockets: those that a service manager passes are bound at load, others are counted
 *
 * A device belongs to the open socket, so binding an inherited one moves it for its other owners too. The
 * library does so at load only with sockets that are meant for it: $LISTEN_FDS descriptors from 3 on, if
 * $LISTEN_PID is this process (sd_listen_fds(3)). Here the service manager is the parent, which still has the
 * sockets, and looks at them.
 */
#include "in_and_out.h"
#include "library_info.h"
#include "stderr_capture.h"

enum { FIRST = 3, COUNT = 4 };	/* IPv4 TCP that listens, IPv6 UDP, one on another device, AF_UNIX */

static int passed[COUNT];

static void make_sockets(void)
{
	make_devices();
	passed[0] = raw_socket(AF_INET, SOCK_STREAM, 0);
	passed[1] = raw_socket(AF_INET6, SOCK_DGRAM, 0);
	passed[2] = raw_socket(AF_INET, SOCK_DGRAM, 0);
	passed[3] = raw_socket(AF_UNIX, SOCK_STREAM, 0);
	NEED(raw_call(SYS_listen, passed[0], 8, 0, 0, 0, 0) == 0);
	NEED(set_device(passed[2], "outside") == 0);
}

/* Starts the phase with the sockets as its descriptors from 3 on; the variables are as given, "" for its own PID. */
static int hand_over(const char *as_phase, const char *listen_pid, const char *listen_fds)
{
	char own[12];
	int safe[COUNT];
	pid_t pid = fork();

	if (pid == 0) {
		for (int i = 0; i < COUNT; i++)
			NEED((safe[i] = fcntl(passed[i], F_DUPFD_CLOEXEC, 100)) >= 0);
		for (int i = 0; i < COUNT; i++)
			NEED(dup2(safe[i], FIRST + i) == FIRST + i);
		snprintf(own, sizeof(own), "%d", getpid());
		setenv("LISTEN_PID", *listen_pid ? listen_pid : own, 1);
		setenv("LISTEN_FDS", listen_fds, 1);
		exec_phase(NULL, as_phase);
	}
	return wait_status(pid);
}

/* The devices of the sockets, here or in the phase, where `of` begins. */
static void devices_are(const int of[COUNT], const char *first, const char *second)
{
	STR(device_of(of[0]), first);
	STR(device_of(of[1]), second);
	STR(device_of(of[2]), "outside");
	STR(device_of(of[3]), "");
}

static const int HERE[COUNT] = { FIRST, FIRST + 1, FIRST + 2, FIRST + 3 };

static void meant_for_us(void)
{
	if (phase) {
		devices_are(HERE, expected_device(), expected_device());
		if (world == PRELOADED)
			EQ(info()->inherited, 0);
		return;
	}
	make_sockets();
	EQ(hand_over("the heir", "", "4"), 0);
	devices_are(passed, expected_device(), expected_device());
}

/* Descriptors beyond the count are not passed. */
static void meant_in_part(void)
{
	if (phase) {
		devices_are(HERE, expected_device(), "");
		if (world == PRELOADED)
			EQ(info()->inherited, 1);
		return;
	}
	make_sockets();
	EQ(hand_over("the heir", "", "1"), 0);
	devices_are(passed, expected_device(), "");
}

/* There are not so many descriptors. */
static void meant_too_many(void)
{
	if (phase) {
		devices_are(HERE, expected_device(), expected_device());
		return;
	}
	make_sockets();
	EQ(hand_over("the heir", "", "2147483647"), 0);
}

static void meant_for_others(void)
{
	static const char *const VALUES[][2] = { { "1", "4" }, { "x", "4" }, { "", "" }, { "", "-1" } };
	const char *said;

	if (phase) {
		devices_are(HERE, "", "");
		if (world == PRELOADED)
			EQ(info()->inherited, 2);
		/* Used, they are bound. */
		if (strcmp(phase, "the last heir") == 0) {
			WORKS(listen(FIRST, 8));
			STR(device_of(FIRST), expected_device());
		}
		return;
	}
	make_sockets();
	setenv("VRFBIND_LOG", "stderr", 1);
	for (int i = 0; i < 4; i++) {
		CONTEXT("LISTEN_PID=%s LISTEN_FDS=%s", VALUES[i][0], VALUES[i][1]);
		capture_stderr(0);
		EQ(hand_over("an heir", VALUES[i][0], VALUES[i][1]), 0);
		devices_are(passed, "", "");
		said = captured_stderr();
		EQ(strstr(said, "vrfbind: inherited ") && strstr(said, ": 2 ("), world == PRELOADED);
	}
	CONTEXT("%s", "the last one");
	EQ(hand_over("the last heir", "1", "4"), 0);
	devices_are(passed, expected_device(), "");
}

/* The count ends after four closed descriptors in a row. */
static void with_gaps(void)
{
	static const int AT[] = { FIRST, FIRST + 4, FIRST + 9 };
	int safe;
	pid_t pid;

	if (phase) {
		STR(device_of(AT[2]), "");
		if (world == PRELOADED)
			EQ(info()->inherited, 2);
		return;
	}
	make_sockets();
	pid = fork();
	if (pid == 0) {
		NEED((safe = fcntl(passed[0], F_DUPFD_CLOEXEC, 100)) >= 0);
		for (int fd = FIRST; fd < 100; fd++)
			close(fd);
		for (int i = 0; i < 3; i++)
			NEED(dup2(safe, AT[i]) == AT[i]);
		exec_phase(NULL, "the heir");
	}
	EQ(wait_status(pid), 0);
}

/* A connection from another network is not accepted. */
static void not_to_be_bound(void)
{
	const char *said;

	if (phase) {
		for (int i = 0; i < COUNT; i++) {
			CONTEXT("descriptor %d", FIRST + i);
			EQ(fcntl(FIRST + i, F_GETFD) >= 0, world == BASELINE || i > 1);
		}
		return;
	}
	make_sockets();
	capture_stderr(0);
	EQ(hand_over("the heir", "", "4"), 0);
	said = captured_stderr();
	if (world == PRELOADED) {
		TRUE(strstr(said, "vrfbind: ") && strstr(said, " fd 3 ") && strstr(said, " fd 4 "));
		TRUE(strstr(said, "LISTEN_FDS") != NULL);
	} else {
		STR(said, "");
	}
	devices_are(passed, "", "");
}

static void in_no_vrf(void)
{
	if (phase) {
		devices_are(HERE, "", "");
		return;
	}
	make_sockets();
	EQ(hand_over("the heir", "", "4"), 0);
	devices_are(passed, "", "");
}

static const struct scenario SCENARIOS[] = {
	{ "sockets that are passed by LISTEN_FDS are bound at load, for all who have them", meant_for_us,
	  .vrf = NAME },
	{ "so many as are passed, and no more", meant_in_part, .vrf = NAME },
	{ "a count beyond all descriptors ends", meant_too_many, .vrf = NAME },
	{ "sockets that are meant for others are counted and left alone", meant_for_others, .vrf = NAME },
	{ "they are counted over gaps of three descriptors, and not of four", with_gaps, .vrf = NAME },
	{ "a socket that cannot be bound is closed, and a line reports it", not_to_be_bound,
	  .vrf = "no-such-device" },
	{ "VRFBIND_VRF=default leaves them alone", in_no_vrf, .vrf = "default" },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
