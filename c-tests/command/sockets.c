/*
 * sockets VRF PID... - prints every INET socket of the processes and of their
 * children, and whether it is in the VRF.  process_sockets.h tells how it is found and
 * what the verdicts mean.
 *
 * Exit status: 0, at least one INET socket was seen and every one is in the VRF;
 * 1, one is not, or none was seen, or a process could not be looked into; 2, usage.
 */
#include "process_sockets.h"

int main(int argc, char **argv)
{
	struct probe p = { 0 };
	bool all = true;
	char *end;
	long pid;
	int i;

	if (argc < 3) {
		fprintf(stderr, "usage: sockets VRF PID...\n");
		return 2;
	}
	p.vrf = argv[1];
	for (i = 2; i < argc; i++) {
		pid = strtol(argv[i], &end, 10);
		if (*end || pid <= 0) {
			fprintf(stderr, "sockets: '%s' is not a process id\n", argv[i]);
			return 2;
		}
		if (probe_tree(&p, pid)) {
			fprintf(stderr, "sockets: %s\n", p.error);
			all = false;
		}
	}
	if (!p.count) {
		fprintf(stderr, "sockets: no INET socket was seen\n");
		return 1;
	}
	probe_print(&p, stdout, "");
	return all && probe_ok(&p) == p.count ? 0 : 1;
}
