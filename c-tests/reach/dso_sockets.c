/*
 * dso_sockets.c - a library that opens sockets as soon as it is loaded, and reports their devices
 *
 * A program is linked with it (linked_with_dso.c), and reach_matrix.c loads it as a plug-in.
 */
#include "child_report.h"

__attribute__((constructor))
static void constructor(void)
{
	report_sockets(socket);
}
