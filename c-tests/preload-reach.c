/*
 * preload-reach.c - a library that opens sockets as soon as it is there, and says what became of them
 *
 * Not to be preloaded: reach-needs is linked with it, and hook-reach.c loads it as a plug-in.
 */
#include "answer.h"

__attribute__((constructor))
static void constructor(void)
{
	answer_both(socket);
}
