/*
 * vrfbind_vrf.c - VRFBIND_VRF: what makes the library inert, and that it is read once, at load
 *
 * What an invalid value does is in create/errno_left.c and log/stderr_line.c.
 */
#include "device.h"

static void sockets_are_on(const char *device)
{
	struct sockaddr_storage any = { .ss_family = AF_INET };
	int fd;

	for (int i = 0; i < 2; i++) {
		fd = (int)WORKS(socket(FAMILIES[i], SOCK_STREAM, 0));
		STR(device_of(fd), device);
		any.ss_family = (sa_family_t)FAMILIES[i];
		WORKS(bind(fd, (struct sockaddr *)&any, sizeof(any)));
		WORKS(listen(fd, 1));
		STR(device_of(fd), device);
		close(fd);

		fd = raw_socket(FAMILIES[i], SOCK_STREAM, 0);
		NEED(fd >= 0);
		WORKS(bind(fd, (struct sockaddr *)&any, sizeof(any)));
		STR(device_of(fd), device);
		close(fd);
	}
}

static void inert(void)
{
	sockets_are_on("");
}

static void named(void)
{
	sockets_are_on(expected_device());
}

static void changed(void)
{
	static char assignment[] = "VRFBIND_VRF=no-such-device";

	setenv("VRFBIND_VRF", "no-such-device", 1);
	sockets_are_on(expected_device());
	setenv("VRFBIND_VRF", "not / a name", 1);
	sockets_are_on(expected_device());
	putenv(assignment);
	sockets_are_on(expected_device());
	unsetenv("VRFBIND_VRF");
	sockets_are_on(expected_device());
	setenv("VRFBIND_VRF", "default", 1);
	sockets_are_on(expected_device());
}

/* As programs do that show their state in ps(1): they overwrite the memory of the environment. */
static void overwritten(void)
{
	const char *device = strdup(expected_device());
	char *value = getenv("VRFBIND_VRF");

	memset(value, 'x', strlen(value));
	sockets_are_on(device);
	clearenv();
	sockets_are_on(device);
}

/* An environment that names a device later does not activate an inert library. */
static void set_late(void)
{
	setenv("VRFBIND_VRF", setting("VRFBIND_TEST_DEVICE"), 1);
	sockets_are_on("");
	setenv("VRFBIND_VRF", "not / a name", 1);
	sockets_are_on("");
}

static const char *requires_glibc(void)
{
#ifdef __GLIBC__
	return NULL;
#else
	return "musl gives the rest of the library's data pages to malloc";
#endif
}

/* Settings that no stray write can change: none of the library's memory is writable any more. */
static void read_only(void)
{
	const char *library = setting("VRFBIND_TEST_LIB");
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[4200], flags[5];
	int mappings = 0;

	NEED(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (!strstr(line, library))
			continue;
		NEED(sscanf(line, "%*s %4s", flags) == 1);
		CONTEXT("%s", flags);
		TRUE(!strchr(flags, 'w'));
		mappings++;
	}
	fclose(maps);
	TRUE(mappings > 1);
}

static void descriptors(void)
{
	if (!phase) {
		for (int fd = STDERR_FILENO + 1; fd < 100; fd++)
			(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		EQ(reexec("with three descriptors"), 0);
		return;
	}
	EQ(open_descriptors(), 3);
}

static const struct scenario SCENARIOS[] = {
	{ "unset: sockets have no device", inert, .vrf = UNSET },
	{ "empty: sockets have no device", inert, .vrf = "" },
	{ "\"default\": sockets have no device", inert, .vrf = "default" },
	{ "a name: sockets have that device", named },
	{ "setenv(), putenv() and unsetenv() come too late to change that", changed },
	{ "so do clearenv() and a program that writes over its environment", overwritten },
	{ "so does a device that is named later", set_late, .vrf = UNSET },
	{ "the library leaves no descriptor open", descriptors },
	{ "the library's data is read-only", read_only, .worlds = PRELOADED,
	  .elsewhere = requires_glibc },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
