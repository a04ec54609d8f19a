/*
 * own_names.c - a library whose own functions have the names of libc's, and another meaning
 *
 * It comes before libc in the search order, so its calls of its own functions go first to a preload that
 * exports these names.
 */
#include <string.h>

struct bus { int magic; };

enum { MAGIC = 0x1234 };

static struct bus the_bus = { MAGIC };

/* Returns `flags` if all arguments have arrived. */
#define FUNCTION(name) \
	long name(struct bus *bus, const char *text, long flags, const char *more, long fifth, long sixth) \
	{ \
		if (bus != &the_bus || bus->magic != MAGIC || strcmp(text, "text") != 0 || \
		    strcmp(more, "more") != 0 || fifth != -5 || sixth != ~flags) \
			return -1; \
		return flags; \
	}

#define EVERY(_) _(socket) _(bind) _(connect) _(listen) _(setsockopt)

EVERY(FUNCTION)

#define CALL(name) { #name, name },

static const struct {
	const char *name;
	long (*function)(struct bus *, const char *, long, const char *, long, long);
} FUNCTIONS[] = { EVERY(CALL) };

/* The name of a function, and its result for `flags`; NULL at the end. */
const char *call_own(unsigned int index, long flags, long *result)
{
	if (index >= sizeof(FUNCTIONS) / sizeof(*FUNCTIONS))
		return NULL;
	*result = FUNCTIONS[index].function(&the_bus, "text", flags, "more", -5, ~flags);
	return FUNCTIONS[index].name;
}
