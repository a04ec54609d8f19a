/*
 * bound_device.h - the device that a socket is bound to, by which every test is decided
 *
 * Asks the kernel, by libc's getsockopt(). Does not use tap.h, since plug-ins and static programs include
 * this too.
 */
#ifndef BOUND_DEVICE_H
#define BOUND_DEVICE_H

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

/* Writes its name, "" if there is none. -1 and errno: ENODEV if the device has been deleted. */
static inline int bound_device(int fd, char name[IFNAMSIZ])
{
#ifdef UNDER_QEMU_USER
	/*
	 * getsockopt(SO_BINDTODEVICE) returns this as if it were a number (7.2). The index is the same
	 * device.
	 */
	enum { BINDTOIFINDEX = 62 };
	unsigned int index = 0;
	socklen_t length = sizeof(index);

	*name = '\0';
	if (getsockopt(fd, SOL_SOCKET, BINDTOIFINDEX, &index, &length) < 0)
		return -1;
	if (index && !if_indextoname(index, name)) {
		errno = ENODEV;
		return -1;
	}
	return 0;
#else
	socklen_t length = IFNAMSIZ;

	memset(name, 0, IFNAMSIZ);
	return getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length);
#endif
}

#endif
