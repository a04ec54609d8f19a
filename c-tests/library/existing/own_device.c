/*
 * own_device.c - a program that puts its sockets on a device itself does so within its VRF
 *
 * setsockopt(SO_BINDTODEVICE) and SO_BINDTOIFINDEX: the device that the socket has is granted without a
 * privilege, no device means the VRF, a device in the VRF is the kernel's decision, and a device outside does
 * not exist. All other options, sockets and errors are the kernel's. Each scenario has a network namespace of
 * its own (in_and_out.h).
 */
#include "in_and_out.h"
#include "stderr_capture.h"
#include <sys/un.h>

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62	/* Linux 5.1; glibc 2.29 */
#endif

/* The two options: a device by its name, "" for none, and by its number. */
enum way { BY_NAME, BY_NUMBER, WAYS };

static const char *const WAY[] = { "by name", "by number" };

static int puts_on(enum way way, int fd, const char *device)
{
	unsigned int index = *device ? if_nametoindex(device) : 0;
	char name[IFNAMSIZ] = { 0 };

	if (way == BY_NUMBER)
		return setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof(index));
	strcpy(name, device);
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, sizeof(name));
}

static const struct { const char *name; int type, protocol; } TYPES[] = {
	{ "UDP", SOCK_DGRAM, 0 }, { "TCP", SOCK_STREAM, 0 }, { "raw", SOCK_RAW, IPPROTO_ICMP },
};

enum { TYPES_COUNT = sizeof(TYPES) / sizeof(*TYPES) };

/* A socket on NAME in both worlds. */
static int socket_in(int domain, int type)
{
	int fd = (int)WORKS(socket(domain, TYPES[type].type, TYPES[type].protocol));

	if (world == BASELINE)
		NEED(set_device(fd, NAME) == 0);
	STR(device_of(fd), NAME);
	return fd;
}

/* Runs `check` for each family, type and option. */
static void for_each(void (*check)(int domain, int type, enum way way))
{
	for (int d = 0; d < 2; d++)
		for (int type = 0; type < TYPES_COUNT; type++)
			for (enum way way = 0; way < WAYS; way++) {
				CONTEXT("family %d, %s, %s", FAMILIES[d], TYPES[type].name, WAY[way]);
				check(FAMILIES[d], type, way);
			}
}

static void same_again(int domain, int type, enum way way)
{
	int fd;

	if (type > 1)	/* A raw socket itself requires a privilege. */
		return;
	fd = socket_in(domain, type);
	if (world == PRELOADED)
		WORKS(puts_on(way, fd, NAME));
	else
		FAILS(puts_on(way, fd, NAME), EPERM);
	STR(device_of(fd), NAME);
	close(fd);
}

static void same_device(void)
{
	int fd;

	make_devices();
	give_up_capabilities();
	for_each(same_again);
	CONTEXT("%s", "a name that is not ended by a NUL, and one that is cut");
	fd = socket_in(AF_INET, 0);
	if (world == PRELOADED) {
		WORKS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, NAME, strlen(NAME)));
		WORKS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, NAME "\0 and what is behind it", 24));
	}
	STR(device_of(fd), NAME);
}

/*
 * A socket that the kernel has moved to a device of the VRF, or that was on another device before, keeps its
 * device by the same rule.
 */
static void same_other_device(void)
{
	int fd;

	make_devices();
	fd = raw_socket(AF_INET, SOCK_DGRAM, 0);
	NEED(set_device(fd, "outside") == 0);
	give_up_capabilities();
	for (enum way way = 0; way < WAYS; way++) {
		if (world == PRELOADED)
			WORKS(puts_on(way, fd, "outside"));
		else
			FAILS(puts_on(way, fd, "outside"), EPERM);
		STR(device_of(fd), "outside");
	}
}

static void put_on_none(int domain, int type, enum way way)
{
	int fd = socket_in(domain, type);

	WORKS(puts_on(way, fd, ""));
	STR(device_of(fd), expected_device());
	/* Back from where it was in the VRF. */
	NEED(set_device(fd, inside) == 0);
	WORKS(puts_on(way, fd, ""));
	STR(device_of(fd), expected_device());
	close(fd);
}

static void put_on_none_unprivileged(int domain, int type, enum way way)
{
	int fd;

	if (type > 1)
		return;
	fd = socket_in(domain, type);
	if (world == PRELOADED)
		WORKS(puts_on(way, fd, ""));
	else
		FAILS(puts_on(way, fd, ""), EPERM);
	STR(device_of(fd), NAME);
	close(fd);
}

static void no_device(void)
{
	int fd;

	make_devices();
	for_each(put_on_none);
	CONTEXT("%s", "no value at all");
	fd = socket_in(AF_INET, 0);
	WORKS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0));
	STR(device_of(fd), expected_device());
	give_up_capabilities();
	for_each(put_on_none_unprivileged);
}

static void put_inside(int domain, int type, enum way way)
{
	int fd = socket_in(domain, type);

	WORKS(puts_on(way, fd, inside));
	STR(device_of(fd), inside);
	WORKS(puts_on(way, fd, NAME));
	STR(device_of(fd), NAME);
	close(fd);
}

static void devices_inside(void)
{
	int fd;

	make_devices();
	for_each(put_inside);
	give_up_capabilities();
	CONTEXT("%s", "without CAP_NET_RAW");
	fd = socket_in(AF_INET, 0);
	if (strcmp(inside, NAME) != 0)
		FAILS(puts_on(BY_NAME, fd, inside), EPERM);
	STR(device_of(fd), NAME);
}

static void put_outside(int domain, int type, enum way way)
{
	for (int i = 0; i < outsides; i++) {
		int fd = socket_in(domain, type);

		if (world == PRELOADED)
			FAILS(puts_on(way, fd, OUTSIDE[i]), ENODEV);
		else
			WORKS(puts_on(way, fd, OUTSIDE[i]));
		STR(device_of(fd), world == PRELOADED ? NAME : OUTSIDE[i]);
		close(fd);
	}
}

static void devices_outside(void)
{
	unsigned int nowhere = 9999;
	int fd, open;

	make_devices();
	open = open_descriptors();
	for_each(put_outside);
	EQ(open_descriptors(), open);
	CONTEXT("%s", "a device that is not there");
	fd = socket_in(AF_INET, 0);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "nowhere", 8), ENODEV);
	STR(device_of(fd), NAME);
	/* The kernel does not look whether there is one of this number. */
	if (world == PRELOADED)
		FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof(nowhere)), ENODEV);
	else
		WORKS(setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof(nowhere)));
	STR(device_of(fd), world == PRELOADED ? NAME : "(ENODEV)");
}

static void from_outside(void)
{
	int fd;

	make_devices();
	give_up_capabilities();
	for (enum way way = 0; way < WAYS; way++) {
		CONTEXT("%s", WAY[way]);
		fd = raw_socket(AF_INET6, SOCK_STREAM, 0);
		if (world == PRELOADED) {
			FAILS(puts_on(way, fd, "outside"), ENODEV);
			STR(device_of(fd), "");
		}
		WORKS(puts_on(way, fd, ""));
		STR(device_of(fd), expected_device());
		fd = raw_socket(AF_INET6, SOCK_STREAM, 0);
		WORKS(puts_on(way, fd, NAME));
		STR(device_of(fd), NAME);
	}
}

static void left_alone(void)
{
	static const int OTHERS[] = { AF_UNIX, AF_NETLINK };
	struct sockaddr *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd, yes = 1, negative = -1, pipes[2];

	make_devices();
	NEED(nowhere != MAP_FAILED && pipe(pipes) == 0);
	for (int i = 0; i < 2; i++)
		for (enum way way = 0; way < WAYS; way++) {
			CONTEXT("family %d, %s", OTHERS[i], WAY[way]);
			fd = (int)WORKS(socket(OTHERS[i], SOCK_DGRAM, 0));
			WORKS(puts_on(way, fd, "outside"));
			STR(device_of(fd), "outside");
			WORKS(puts_on(way, fd, ""));
			STR(device_of(fd), "");
		}
	CONTEXT("%s", "errors of the kernel's");
	fd = socket_in(AF_INET, 0);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, nowhere, 8), EFAULT);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, NULL, 8), EFAULT);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", (socklen_t)-1), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, nowhere, 4), EFAULT);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &yes, 3), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &negative, 4), EINVAL);
	FAILS(setsockopt(-1, SOL_SOCKET, SO_BINDTODEVICE, "outside", 8), EBADF);
	FAILS(setsockopt(pipes[0], SOL_SOCKET, SO_BINDTODEVICE, "outside", 8), ENOTSOCK);
	/* The same numbers mean something else on other levels. */
	FAILS(setsockopt(fd, IPPROTO_TCP, SO_BINDTODEVICE, "outside", 8), ENOPROTOOPT);
	STR(device_of(fd), NAME);
	CONTEXT("%s", "other options");
	WORKS(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes)));
	TRUE(yes == 1);
	STR(device_of(fd), NAME);
}

static void in_no_vrf(void)
{
	int fd;

	make_devices();
	for (enum way way = 0; way < WAYS; way++) {
		fd = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));
		WORKS(puts_on(way, fd, "outside"));
		STR(device_of(fd), "outside");
		WORKS(puts_on(way, fd, ""));
		STR(device_of(fd), "");
	}
}

static void invalid_setting(void)
{
	int fd;

	make_devices();
	for (enum way way = 0; way < WAYS; way++) {
		fd = raw_socket(AF_INET, SOCK_DGRAM, 0);
		if (world == PRELOADED)
			FAILS(puts_on(way, fd, "outside"), EINVAL);
		else
			WORKS(puts_on(way, fd, "outside"));
		STR(device_of(fd), world == PRELOADED ? "" : "outside");
	}
}

static void one_line(void)
{
	const char *text;
	int fd, lines = 0;

	make_devices();
	fd = socket_in(AF_INET, 0);
	capture_stderr(0);
	for (int i = 0; i < 3; i++)
		for (enum way way = 0; way < WAYS; way++)
			FAILS(puts_on(way, fd, "outside"), ENODEV);
	WORKS(puts_on(BY_NAME, fd, NAME));
	text = captured_stderr();
	for (const char *end = text; (end = strchr(end, '\n')); end++)
		lines++;
	EQ(lines, 1);
	TRUE(strncmp(text, "vrfbind: setsockopt(", 20) == 0);
	TRUE(strstr(text, " outside ") && strstr(text, " VRF " NAME " (VRFBIND_VRF)"));
}

static const struct scenario SCENARIOS[] = {
	{ "the device that a socket has requires no privilege", same_device, .vrf = NAME },
	{ "also where this is not the VRF", same_other_device, .vrf = NAME },
	{ "no device means the VRF", no_device, .vrf = NAME },
	{ "a device in the VRF is the kernel's decision", devices_inside, .vrf = NAME },
	{ "a device outside does not exist, and the socket stays", devices_outside, .vrf = NAME },
	{ "the same in a sealed process", devices_outside, .vrf = NAME, .also = "VRFBIND_SEAL=1",
	  .worlds = PRELOADED },
	{ "a socket from outside gets the VRF, or nothing", from_outside, .vrf = NAME },
	{ "other sockets, options and errors are the kernel's", left_alone, .vrf = NAME },
	{ "VRFBIND_VRF=default leaves it to the kernel", in_no_vrf, .vrf = "default" },
	{ "an invalid setting refuses it", invalid_setting, .vrf = "a/b" },
	{ "the first refusal is a line on stderr that names the device", one_line, .vrf = NAME,
	  .worlds = PRELOADED },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
