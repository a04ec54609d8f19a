/*
 * loaded_late.c - the library loaded by dlopen(3) into a running program
 *
 * Nobody should do that, but a plug-in may be linked with the library. No socket() follows its own then
 * (errno_left.c), and nothing is patched. In a namespace of its own, dlmopen(3), a libc follows, which it
 * patches, and which can stay when the library is closed.
 */
#include "device.h"
#include "library_info.h"

/* clearenv(3) leaves no array of variables at all. */
static void no_environment(void)
{
	const char *path = strdup(setting("VRFBIND_TEST_LIB"));
	const struct info *its_info;
	void *library;

	NEED(clearenv() == 0 && !environ);
	library = dlopen(path, RTLD_NOW);
	NEED(library);
	its_info = dlsym(library, "vrfbind_info");
	NEED(its_info);
	EQ(its_info->state, STATE_INERT);
	STR(device_of((int)WORKS(socket(AF_INET, SOCK_DGRAM, 0))), "");
}

#ifdef __GLIBC__
static const char *requires_dlmopen(void)
{
	return NULL;
}

static void closed(void)
{
	void *library = dlmopen(LM_ID_NEWLM, setting("VRFBIND_TEST_LIB"), RTLD_NOW), *its_libc;
	int (*its_socket)(int, int, int);
	Lmid_t namespace;

	NEED(library);
	NEED(dlinfo(library, RTLD_DI_LMID, &namespace) == 0);
	its_libc = dlmopen(namespace, "libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	NEED(its_libc);
	its_socket = (int (*)(int, int, int))dlsym(its_libc, "socket");
	NEED(its_socket && its_socket != socket);
	STR(device_of(its_socket(AF_INET, SOCK_DGRAM, 0)), setting("VRFBIND_TEST_DEVICE"));
	NEED(dlclose(library) == 0);
	STR(device_of(its_socket(AF_INET, SOCK_DGRAM, 0)), setting("VRFBIND_TEST_DEVICE"));
}
#else
static const char *requires_dlmopen(void)
{
	return "musl has no dlmopen(), and its dlclose() unmaps nothing";
}

static void closed(void) { }
#endif

static const struct scenario SCENARIOS[] = {
	{ "loaded where there is no environment, it is inert", no_environment, .worlds = BASELINE },
	{ "closed, it stays mapped for the libc that it has patched", closed, .worlds = BASELINE,
	  .elsewhere = requires_dlmopen },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
