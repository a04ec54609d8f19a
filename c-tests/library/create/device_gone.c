/*
 * device_gone.c - the device is deleted and created again while the program runs
 *
 * The library keeps a name, not an index: it matters whether a device of this name exists at the moment of
 * the call. While it does not, no new socket is created. A socket whose device was deleted stays bound to it:
 * it reaches nothing, even when the name is back (facts/deleted_device.c), and the library does not unbind
 * it.
 *
 * Everything happens in a network namespace of the process. In the VRF tier the device is a VRF.
 */
#include "device.h"
#include "seccomp_filters.h"
#include <pthread.h>

#define NAME "vrfbind-gone"

static void delete(void)
{
	command("ip link del " NAME);
}

static void sockets_are_had(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = (int)WORKS(socket(FAMILIES[i], SOCK_DGRAM, 0));

		STR(device_of(fd), expected_device());
		close(fd);
	}
}

static void sockets_are_refused(void)
{
	int open = open_descriptors();

	if (world == BASELINE) {
		sockets_are_had();
		return;
	}
	for (int i = 0; i < 2; i++)
		FAILS(socket(FAMILIES[i], SOCK_DGRAM, 0), ENODEV);
	EQ(open_descriptors(), open);
}

static void comes_and_goes(void)
{
	own_netns();
	sockets_are_refused();
	for (int i = 0; i < 3; i++) {
		add_deletable_device(NAME);
		sockets_are_had();
		delete();
		sockets_are_refused();
	}
}

/* One datagram to the host itself. */
static long send_something(int fd)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return sendto(fd, "", 1, 0, (struct sockaddr *)&to, sizeof(to));
}

static void old_socket(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	int fd, unseen;

	own_netns();
	add_deletable_device(NAME);
	fd = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));
	unseen = raw_socket(AF_INET, SOCK_DGRAM, 0);
	NEED(set_device(unseen, NAME) == 0);
	delete();
	for (int back = 0; back < 2; back++) {
		CONTEXT("%s", back ? "a device of that name is back" : "the device is gone");
		STR(device_of(unseen), "(ENODEV)");
		(void)bind(unseen, (struct sockaddr *)&any, sizeof(any));
		(void)connect(unseen, (struct sockaddr *)&any, sizeof(any));
		STR(device_of(unseen), "(ENODEV)");
		if (world == BASELINE) {
			STR(device_of(fd), "");
			EQ(send_something(fd), 1);
		} else {
			STR(device_of(fd), "(ENODEV)");
			FAILS(send_something(fd), ENODEV);
			(void)bind(fd, (struct sockaddr *)&any, sizeof(any));
			STR(device_of(fd), "(ENODEV)");
			FAILS(send_something(fd), ENODEV);
		}
		if (!back)
			add_deletable_device(NAME);
	}
	sockets_are_had();
}

static void old_socket_by_name(void)
{
	forget_bindtoifindex();
	old_socket();
}

static bool over;
static int had, refused;

static void *open_and_close(void *unused)
{
	(void)unused;
	while (!__atomic_load_n(&over, __ATOMIC_RELAXED) && all_well()) {
		const char *device;
		int fd;

		errno = ERRNO_SENTINEL;
		fd = socket(AF_INET, SOCK_DGRAM, 0);
		if (fd < 0) {
			EQ(errno, ENODEV);
			__atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
			continue;
		}
		EQ(errno, ERRNO_SENTINEL);
		device = device_of(fd);
		/* It may have been deleted since. */
		if (world == BASELINE || strcmp(device, "(ENODEV)") != 0)
			STR(device, expected_device());
		close(fd);
		__atomic_add_fetch(&had, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Waits until a count of the threads' goes up. */
static void goes_up(const int *count)
{
	int before = __atomic_load_n(count, __ATOMIC_RELAXED);

	while (__atomic_load_n(count, __ATOMIC_RELAXED) == before && all_well())
		sched_yield();
}

static void meanwhile(void)
{
	/* Few on an emulated machine, where each takes seconds: that tier, and where other races have a number of trials. */
	int cycles = tier_is("vrf") || getenv("VRFBIND_TRIALS") ? 10 : 50, open = open_descriptors();
	pthread_t threads[4];

	own_netns();
	add_deletable_device(NAME);
	for (int i = 0; i < 4; i++)
		NEED(pthread_create(&threads[i], NULL, open_and_close, NULL) == 0);
	/* At least 10,000 sockets, and every cycle sees both states. */
	for (int i = 0; (i < cycles || had + refused < 10000) && all_well(); i++) {
		delete();
		if (world == PRELOADED)
			goes_up(&refused);
		add_deletable_device(NAME);
		goes_up(&had);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	EQ(open_descriptors(), open);
	NOTE("%d sockets were had, %d refused\n", had, refused);
}

/*
 * connect(AF_UNSPEC) makes the kernel forget the device, and there is no device to put the socket on again.
 */
static void disconnected(void)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int fd;

	own_netns();
	add_deletable_device(NAME);
	fd = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));
	delete();
	if (world == BASELINE) {
		WORKS(connect(fd, &nobody, sizeof(nobody)));
		EQ(send_something(fd), 1);
		return;
	}
	FAILS(connect(fd, &nobody, sizeof(nobody)), ENODEV);
	FAILS(send_something(fd), EPIPE);
	/* When the device exists again, a socket that was not shut down gets it. */
	add_deletable_device(NAME);
	fd = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));
	delete();
	add_deletable_device(NAME);
	WORKS(connect(fd, &nobody, sizeof(nobody)));
	STR(device_of(fd), expected_device());
}

static const struct scenario SCENARIOS[] = {
	{ "there are sockets while there is the device, and ENODEV while there is not",
	  comes_and_goes, .vrf = NAME },
	{ "a socket whose device was deleted is never untied from it", old_socket, .vrf = NAME },
	{ "nor by connect() to AF_UNSPEC", disconnected, .vrf = NAME },
	{ "nor by a kernel that does not know SO_BINDTOIFINDEX", old_socket_by_name, .vrf = NAME },
	{ "four threads open sockets meanwhile, and none is without the device", meanwhile,
	  .vrf = NAME },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
