/*
 * startup ROUNDS PROGRAM EMPTY_SO LIBRARY - what preloading costs at start-up
 *
 * Each round runs PROGRAM once per variant, in a shuffled order, and notes the time from posix_spawn to the end
 * of the process: without a preload (twice: the second is the null control), with an empty shared object,
 * and with the library (VRFBIND_VRF=lo). What is printed is, for each variant, the median over all rounds of
 * the difference to the first variant of the same round, with a 95 % confidence interval from order statistics,
 * in microseconds, and the ratio of the library's median to that of the empty object.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum { PLAIN, NULL_CONTROL, EMPTY, LIBRARY, VARIANTS };

static const char *const names[VARIANTS] = {
	"no preload", "no preload again (null control)", "an empty .so", "libvrfbind.so",
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double run(char *program, char *preload)
{
	char *argv[] = { program, NULL };
	char *envp[] = { "VRFBIND_VRF=lo", preload, NULL };
	double start = now_us();
	pid_t pid;
	int status;

	errno = posix_spawn(&pid, program, NULL, NULL, argv, envp);
	if (errno || waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "startup: %s with %s: %s\n", program, preload ? preload : "no preload",
			errno ? strerror(errno) : "it failed");
		exit(1);
	}
	return now_us() - start;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	int rounds = argc == 5 ? atoi(argv[1]) : 0;
	char *preload[VARIANTS] = { NULL };
	double *added[VARIANTS], median[VARIANTS];

	if (rounds < 10) {
		fprintf(stderr, "usage: startup ROUNDS PROGRAM EMPTY_SO LIBRARY  (10 rounds or more)\n");
		return 2;
	}
	if (asprintf(&preload[EMPTY], "LD_PRELOAD=%s", argv[3]) < 0 ||
	    asprintf(&preload[LIBRARY], "LD_PRELOAD=%s", argv[4]) < 0)
		return 1;
	for (int v = 0; v < VARIANTS; v++)
		added[v] = calloc(rounds, sizeof(double));

	for (int r = -rounds / 10; r < rounds; r++) {	/* the first tenth warms the caches */
		int order[VARIANTS] = { PLAIN, NULL_CONTROL, EMPTY, LIBRARY };
		double took[VARIANTS];

		for (int i = VARIANTS - 1; i >= 0; i--) {
			int j = random() % (i + 1), v = order[j];

			order[j] = order[i];
			took[v] = run(argv[2], preload[v]);
		}
		for (int v = 0; v < VARIANTS && r >= 0; v++)
			added[v][r] = v == PLAIN ? took[v] : took[v] - took[PLAIN];
	}

	printf("%-34s %10s  %s\n", "start-up of a program, added", "median us", "95 % interval");
	for (int v = 0; v < VARIANTS; v++) {
		int half = (int)ceil(0.98 * sqrt(rounds));

		qsort(added[v], rounds, sizeof(double), ascending);
		median[v] = added[v][rounds / 2];
		printf("%-34s %10.1f  %.1f to %.1f%s\n", names[v], median[v], added[v][rounds / 2 - half],
		       added[v][rounds / 2 + half], v == PLAIN ? "  (the whole run)" : "");
	}
	printf("libvrfbind.so adds %.2f times what an empty .so adds (goal: at most 1.50)\n",
	       median[LIBRARY] / median[EMPTY]);
	return 0;
}
