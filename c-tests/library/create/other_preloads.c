/*
 * other_preloads.c - other preloads beside the library, in either order, and a second copy of it
 *
 * Another preload that hooks socket() must still be called, whether it comes before or after the library; so
 * must the library. Each scenario reexecutes itself under its LD_PRELOAD.
 */
#include "device.h"
#include "library_info.h"

static void sockets_are_on(const char *device)
{
	struct sockaddr_storage any = { .ss_family = AF_INET };
	int fd;

	for (int i = 0; i < 2; i++) {
		CONTEXT("LD_PRELOAD=%s, family %d", getenv("LD_PRELOAD"), FAMILIES[i]);
		fd = (int)WORKS(socket(FAMILIES[i], SOCK_STREAM, 0));
		STR(device_of(fd), device);
		any.ss_family = (sa_family_t)FAMILIES[i];
		WORKS(bind(fd, (struct sockaddr *)&any, sizeof(any)));
		WORKS(listen(fd, 1));
		close(fd);
		fd = raw_socket(FAMILIES[i], SOCK_DGRAM, 0);
		WORKS(bind(fd, (struct sockaddr *)&any, sizeof(any)));
		STR(device_of(fd), device);
		close(fd);
		fd = raw_socket(FAMILIES[i], SOCK_DGRAM, 0);
		(void)connect(fd, (struct sockaddr *)&any, sizeof(any));
		STR(device_of(fd), device);
		close(fd);
	}
}

/* A symbol of one of the preloads. */
static void *symbol(const char *name)
{
	void *address = dlsym(RTLD_DEFAULT, name);

	NEED(address != NULL);
	return address;
}

/* Reexecutes itself, twice. */
static void beside_the_library(const char *other)
{
	preload(other, NULL);
	EQ(reexec("the other first"), 0);
	preload(NULL, other);
	EQ(reexec("the library first"), 0);
}

static void counting(void)
{
	static const unsigned int EXPECTED[] = { 2, 4, 2, 2 };
	const unsigned int *calls;

	if (!phase) {
		beside_the_library(beside("counts_calls.so"));
		return;
	}
	calls = symbol("counted_calls");
	sockets_are_on(expected_device());
	for (int i = 0; i < 4; i++)
		EQ(calls[i], EXPECTED[i]);
}

/*
 * Another file with the same contents, which ld.so treats as another library; it needs no name. A copy that
 * does not hook exports no name that anybody calls, and is otherwise the library.
 */
static const char *copy_of_the_library(bool hooks)
{
	static char path[40], content[100000];
	int from = open(setting("VRFBIND_TEST_LIB"), O_RDONLY | O_CLOEXEC);
	int to = memfd_create("copy of the library", 0);
	ssize_t size = read(from, content, sizeof(content));
	char *at = content;

	NEED(size > 0 && size < (ssize_t)sizeof(content));
	while (!hooks && (at = memmem(at, (size_t)(content + size - at), "\0socket", 8)))
		memcpy(at, "\0SOCKET", 8);
	at = content;
	while (!hooks && (at = memmem(at, (size_t)(content + size - at), "\0bind", 6)))
		memcpy(at, "\0BIND", 6);
	NEED(write(to, content, (size_t)size) == size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", to);
	return path;
}

/* Whether libc's socket() is patched, by the report of one copy. */
static unsigned int patched_by(const char *copy)
{
	const struct info *found = dlsym(dlopen(copy, RTLD_NOW | RTLD_NOLOAD), "vrfbind_info");

	NEED(found != NULL);
	return found->socket;
}

static void second_copy(void)
{
	unsigned int by_library, by_copy;

	if (!phase) {
		const char *copy = copy_of_the_library(true);

		setenv("THE_COPY", copy, 1);
		beside_the_library(copy);
		return;
	}
	sockets_are_on(expected_device());
	/* Now the one copy may not bind again what the other has bound. */
	give_up_capabilities();
	sockets_are_on(expected_device());
	by_library = patched_by(setting("VRFBIND_TEST_LIB"));
	by_copy = patched_by(setting("THE_COPY"));
	TRUE((by_library == PATCHED && by_copy == PATCHED_BY_OTHER_COPY) ||
	     (by_library == PATCHED_BY_OTHER_COPY && by_copy == PATCHED));
}

/* constructor_sockets.so before the library and after it, and with a rival for the first place. */
static void early_in_each_place(void)
{
	const char *early = beside("constructor_sockets.so");
	char *early_and_rival;

	preload(early, NULL);
	EQ(reexec("before the library"), 0);
	preload(NULL, early);
	EQ(reexec("after the library"), 0);
	/* glibc runs one library's constructor first: that of the last library with -z initfirst. */
	NEED(asprintf(&early_and_rival, "%s:%s", early, copy_of_the_library(false)) > 0);
	preload(NULL, early_and_rival);
	EQ(reexec("after the library, which is not the first"), 0);
}

static void constructor(void)
{
	if (!phase) {
		early_in_each_place();
		return;
	}
	CONTEXT("%s", phase);
	STR(device_of(*(int *)symbol("early_socket")), expected_device());
	STR(device_of(*(int *)symbol("early_bound")), expected_device());
	EQ(*(int *)symbol("early_socket_errno"), 0);
	EQ(*(int *)symbol("early_bound_errno"), 0);
}

static void refused_constructor(void)
{
	if (!phase) {
		early_in_each_place();
		return;
	}
	CONTEXT("%s", phase);
	EQ(*(int *)symbol("early_socket") < 0, world == PRELOADED);
	EQ(*(int *)symbol("early_socket_errno"), world == PRELOADED ? EINVAL : 0);
	EQ(*(int *)symbol("early_bound_errno"), world == PRELOADED ? EINVAL : 0);
	STR(device_of(*(int *)symbol("early_bound")), "");
}

static void spoilt(void)
{
	if (!phase) {
		beside_the_library(beside("clobbers_errno.so"));
		return;
	}
	errno = 0;
	close(dup(0));
	NEED(errno == EXDEV);
	sockets_are_on(expected_device());
}

static void spoilt_refusal(void)
{
	if (!phase) {
		beside_the_library(beside("clobbers_errno.so"));
		return;
	}
	if (world == BASELINE)
		sockets_are_on("");
	else
		FAILS(socket(AF_INET, SOCK_DGRAM, 0), ENODEV);
}

static const struct scenario SCENARIOS[] = {
	{ "another preload and the library both see every call, in either order", counting },
	{ "a second copy of the library does no harm, before or after the first", second_copy,
	  .worlds = PRELOADED },
	{ "a socket that a library opens in its constructor has the device", constructor },
	{ "such a socket is refused if VRFBIND_VRF is not the name of a device",
	  refused_constructor, .vrf = "two words" },
	{ "such a socket has no device if the library is inert", constructor, .vrf = "default" },
	{ "functions of other preloads that change errno on success do not show", spoilt },
	{ "nor do they when a socket is refused", spoilt_refusal, .vrf = "no-such-device" },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
