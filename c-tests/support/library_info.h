/* library_info.h - what the library reports: its exported object vrfbind_info (rules/info.rs) */
#ifndef LIBRARY_INFO_H
#define LIBRARY_INFO_H

#include "tap.h"
#include <dlfcn.h>

struct info {
	char magic[8];
	unsigned int size;
	unsigned char version[4];
	unsigned int socket, execve, seal, state;
	char device[16];
	unsigned int inherited, rules_length;
	unsigned long long rules;
	unsigned int connect;
};

enum { NOT_TRIED, PATCHED, PATCHED_BY_OTHER_COPY, NOT_FOUND, UNKNOWN_CODE, NOT_WRITABLE };	/* socket, execve, connect */
enum { SEAL_NONE, SEAL_MADE, SEAL_FOUND, SEAL_REFUSED, SEAL_SUPERVISED };
enum { STATE_NOT_STARTED, STATE_INERT, STATE_DEVICE, STATE_INVALID, STATE_DEFAULT };

/* Of the library in this process. */
static inline const struct info *info(void)
{
	const struct info *found = dlsym(RTLD_DEFAULT, "vrfbind_info");

	NEED(found != NULL);
	NEED(memcmp(found->magic, "vrfbind", 8) == 0 && found->size >= sizeof(*found));
	return found;
}

#endif
