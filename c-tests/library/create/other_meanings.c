/*
 * other_meanings.c - a library's own function named connect() works as without the library
 *
 * This program is linked with own_names.so, which has functions called as libc's are, for its own use. The library takes
 * their place as it takes libc's. What it does not understand it has to pass on as it came: all arguments that are in
 * registers, in their full width, and the result. So no function of these names is called here.
 */
#include "device.h"

const char *call_own(unsigned int index, long flags, long *result);

static void arguments_arrive(void)
{
	static const long FLAGS[] = { 0x123456789abL, -2, 0 };
	const char *name;
	long result;

	for (int i = 0; i < 3; i++)
		for (unsigned int index = 0; (name = call_own(index, FLAGS[i], &result)); index++) {
			CONTEXT("%s", name);
			EQ(result, FLAGS[i]);
		}
}

static const struct scenario SCENARIOS[] = {
	{ "a library's own functions of these names get their arguments, and give their results", arguments_arrive },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
