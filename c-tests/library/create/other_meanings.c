/*
 * other_meanings.c - a library's own function named connect() works as without the library
 *
 * This program is linked with own_names.so, whose own functions have the names of libc's. The library hooks
 * them as it hooks libc's. A call that it does not recognise has to be passed on unchanged: all argument
 * registers, in their full width, and the result. No function of these names is called here.
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
