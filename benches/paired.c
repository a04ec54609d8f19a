/*
 * paired [-a] ROUNDS -- NAME [VARIABLE=VALUE...] PROGRAM [ARGUMENT...] [-- NAME ...]...
 *
 * Compares the cost of several ways to do something. Each round does it once in every way, in a shuffled order, so that
 * other work of the machine affects all of them alike. The output, separated by tabs, is a line "# NAME COMMAND" for
 * each way, a line of the names, and a line of microseconds for each round; report.py does the statistics. The first
 * way, listed once more, is the null control.
 *
 * Without -a, a round starts the program and takes the time from posix_spawn to its end. With -a (ask), the program is
 * calls.c, which keeps running: a round sends it a byte, and the time is its answer. It is started anew every 10
 * rounds, because the placement of its memory makes a difference that would last as long as it runs.
 *
 * PROGRAM is a path. Its environment is the variables before it, and nothing else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct way {
	const char *name;
	char **environment, **argv;
	pid_t pid;		/* of a program that is asked, or 0 */
	int to;
	FILE *from;
	double took;
};

static void die(const struct way *w, const char *why)
{
	fprintf(stderr, "paired: %s, %s: %s\n", w->name, w->argv[0], why);
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static pid_t spawn(const struct way *w, const posix_spawn_file_actions_t *actions)
{
	pid_t pid;

	errno = posix_spawn(&pid, w->argv[0], actions, NULL, w->argv, w->environment);
	if (errno)
		die(w, strerror(errno));
	return pid;
}

static void end(const struct way *w, pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status != 0)
		die(w, "it failed");
}

static double start_and_end(const struct way *w)
{
	double start = now_us();

	end(w, spawn(w, NULL));
	return now_us() - start;
}

static double ask(const struct way *w)
{
	double answer;

	if (write(w->to, "", 1) != 1 || fscanf(w->from, "%lf", &answer) != 1)
		die(w, "it does not answer");
	return answer;
}

static void start_anew(struct way *w)
{
	posix_spawn_file_actions_t actions;
	int to[2], from[2];

	if (w->pid) {
		close(w->to);
		end(w, w->pid);
		fclose(w->from);
	}
	/* Close-on-exec, or another program would hold the end open whose closing ends this one. */
	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		die(w, strerror(errno));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, to[0], 0);
	posix_spawn_file_actions_adddup2(&actions, from[1], 1);
	w->pid = spawn(w, &actions);
	posix_spawn_file_actions_destroy(&actions);
	close(to[0]);
	close(from[1]);
	w->to = to[1];
	w->from = fdopen(from[0], "r");
	ask(w);			/* warms the caches */
}

/* Takes one way off the words, up to the next "--"; returns where that is, or NULL. */
static char **take(char **word, struct way *w)
{
	size_t variables = 0;

	w->name = *word++;
	while (word[variables] && strchr(word[variables], '='))
		variables++;
	w->environment = calloc(variables + 1, sizeof(char *));
	memcpy(w->environment, word, variables * sizeof(char *));
	w->argv = word + variables;
	printf("# %s\t", w->name);
	for (; *word && strcmp(*word, "--"); word++)
		printf("%s%s", word > w->argv - variables ? " " : "", **word ? *word : "''");
	putchar('\n');
	return word > w->argv ? word : NULL;
}

int main(int argc, char **argv)
{
	struct way *ways = calloc(argc, sizeof(*ways));
	int asks = argc > 1 && strcmp(argv[1], "-a") == 0, count = 0, order[argc];
	int rounds = argc > 2 + asks ? atoi(argv[1 + asks]) : 0;
	char **word = argv + 2 + asks;

	while (rounds > 0 && word && *word && word[1]) {	/* *word is "--" */
		order[count] = count;
		*word++ = NULL;
		word = take(word, &ways[count++]);
	}
	if (!count || !word) {
		fprintf(stderr, "usage: paired [-a] ROUNDS -- NAME [VARIABLE=VALUE...] PROGRAM [ARGUMENT...] [-- ...]\n");
		return 2;
	}
	for (int w = 0; w < count; w++)
		printf("%s%c", ways[w].name, w < count - 1 ? '\t' : '\n');

	for (int r = asks ? 0 : -rounds / 10; r < rounds; r++) {	/* the first tenth warms the caches */
		for (int w = 0; asks && r % 10 == 0 && w < count; w++)
			start_anew(&ways[w]);
		for (int i = count - 1; i >= 0; i--) {
			int j = random() % (i + 1), w = order[j];

			ways[w].took = asks ? ask(&ways[w]) : start_and_end(&ways[w]);
			order[j] = order[i];
			order[i] = w;
		}
		for (int w = 0; r >= 0 && w < count; w++)
			printf("%.4f%c", ways[w].took, w < count - 1 ? '\t' : '\n');
	}
	for (int w = 0; asks && w < count; w++) {
		close(ways[w].to);
		end(&ways[w], ways[w].pid);
	}
	return 0;
}
