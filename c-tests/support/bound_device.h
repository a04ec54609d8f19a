/*
 * bound_device.h - the question that decides every test: which device is this socket bound to?
 *
 * Asked of the kernel, by libc's getsockopt(). Knows no tap.h, for plug-ins and static programs ask too.
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
	/* Its getsockopt(SO_BINDTODEVICE) answers as if that were a number (7.2). The index says the same. */
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
