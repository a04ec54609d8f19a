/*
 * startup ROUNDS -- NAME [VARIABLE=VALUE...] PROGRAM [ARGUMENT...] [-- NAME ...]...
 *
 * What it costs to start a program in one way rather than in another. Each round runs every command once, in a
 * shuffled order, and notes the time from posix_spawn to the end of the process. What is printed is, for the
 * first command, the median over all rounds, and for each other one the median of its differences to the first
 * in the same round, with a 95 % confidence interval from order statistics, in microseconds. A command that is
 * the first one once more is the null control.
 *
 * PROGRAM is a path. Its environment is the variables before it, and nothing else.
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

struct command {
	const char *name;
	char **environment, **argv;
	double *took;		/* in each round; for all but the first in the end what it added */
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double run(const struct command *c)
{
	double start = now_us();
	pid_t pid;
	int status;

	errno = posix_spawn(&pid, c->argv[0], NULL, NULL, c->argv, c->environment);
	if (errno || waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "startup: %s, %s: %s\n", c->name, c->argv[0], errno ? strerror(errno) : "it failed");
		exit(1);
	}
	return now_us() - start;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Takes one command off the words, up to the next "--"; returns where that is, or NULL. */
static char **take(char **word, struct command *c, int rounds)
{
	size_t variables = 0;

	c->name = *word++;
	while (word[variables] && strchr(word[variables], '='))
		variables++;
	c->environment = calloc(variables + 1, sizeof(char *));
	memcpy(c->environment, word, variables * sizeof(char *));
	c->argv = word + variables;
	c->took = calloc(rounds, sizeof(double));
	for (word = c->argv; *word && strcmp(*word, "--"); word++)
		;
	if (word == c->argv)
		return NULL;
	return word;
}

static void print(struct command *c, int rounds, int is_first)
{
	int half = ceil(0.98 * sqrt(rounds));

	qsort(c->took, rounds, sizeof(double), ascending);
	printf("%-34s %10.1f  %.1f to %.1f%s\n", c->name, c->took[rounds / 2], c->took[rounds / 2 - half],
	       c->took[rounds / 2 + half], is_first ? "  (the whole run)" : "");
}

int main(int argc, char **argv)
{
	struct command *commands = calloc(argc, sizeof(*commands));
	int rounds = argc > 2 ? atoi(argv[1]) : 0, count = 0, order[argc];
	char **word = argv + 2;

	while (rounds >= 10 && word && *word && word[1]) {	/* *word is "--" */
		order[count] = count;
		*word++ = NULL;
		word = take(word, &commands[count++], rounds);
	}
	if (!count || !word) {
		fprintf(stderr, "usage: startup ROUNDS -- NAME [VARIABLE=VALUE...] PROGRAM [ARGUMENT...] [-- ...]\n"
			"       (10 rounds or more)\n");
		return 2;
	}

	for (int r = -rounds / 10; r < rounds; r++) {	/* the first tenth warms the caches */
		for (int i = count - 1; i >= 0; i--) {
			int j = random() % (i + 1), c = order[j];
			double took = run(&commands[c]);

			order[j] = order[i];
			order[i] = c;
			if (r >= 0)
				commands[c].took[r] = took;
		}
	}
	for (int c = 1; c < count; c++)
		for (int r = 0; r < rounds; r++)
			commands[c].took[r] -= commands[0].took[r];

	printf("%-34s %10s  %s\n", "start-up of a program, added", "median us", "95 % interval");
	for (int c = 0; c < count; c++)
		print(&commands[c], rounds, c == 0);
	return 0;
}
