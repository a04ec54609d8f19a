/*
 * ld_so.c - what the library expects of ld.so, glibc's and musl's
 *
 * ld.so(8). Shown with the preloads that lie beside this program; the library is not loaded.
 */
#include "tmpfs_sandbox.h"
#include <dlfcn.h>
#include <sys/auxv.h>

/* A symbol of a preload, or NULL if the preload is not loaded. */
static const unsigned int *symbol(const char *name)
{
	return dlsym(RTLD_DEFAULT, name);
}

/* Runs the phase under this LD_PRELOAD: paths beside the program, the second may be NULL. */
static int under(const char *first, const char *second)
{
	preload(beside(first), second ? beside(second) : NULL);
	return reexec("preloaded");
}

/* Hence an exported socket() is enough, and the next one is found behind it. */
static void comes_first(void)
{
	const unsigned int *calls;

	if (!phase) {
		EQ(under("counts_calls.so", NULL), 0);
		EQ(under("binds_sockets.so", "counts_calls.so"), 0);
		return;
	}
	calls = symbol("counted_calls");
	NEED(calls != NULL);
	TRUE(socket(AF_INET, SOCK_DGRAM, 0) >= 0);
	EQ(calls[0], 1);
}

/*
 * Constructors do not run in the order of LD_PRELOAD: one may call a hook whose own constructor has not run
 * yet. Hence a hook has to work from the first moment, and the library uses -z initfirst, which glibc knows.
 */
static void constructors(void)
{
	const unsigned int *early;
	int before = 0;

	if (phase) {
		early = symbol("counted_before_constructor");
		NEED(early != NULL);
		_exit(*early > 0 ? 10 : 0);
	}
	before += under("counts_calls.so", "constructor_sockets.so") == 10;
	before += under("constructor_sockets.so", "counts_calls.so") == 10;
	EQ(before, 1);
}

/*
 * Hence a hook that is called early can read the environment. Both libcs have set `environ` by then, but
 * glibc only after the constructor that -z initfirst puts first; that constructor has to use its arguments,
 * which musl does not pass.
 */
static void environment(void)
{
	if (!phase) {
		EQ(under("constructor_sockets.so", NULL), 0);
		return;
	}
	NEED(symbol("early_socket") != NULL);
	EQ(*symbol("early_saw_environment"), 1);
#ifdef __GLIBC__
	EQ(*symbol("early_was_passed_environment"), 1);
#endif
}

/* Hence a wrong path in a unit file starts the program unbound, and the library cannot prevent it. */
static void missing(void)
{
	if (!phase) {
		setenv("LD_PRELOAD", "/nonexistent/libvrfbind.so", 1);
		NEED(dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) == STDERR_FILENO);
		EQ(reexec("with a preload that does not exist"), 0);
		return;
	}
	STR(device_of(socket(AF_INET, SOCK_DGRAM, 0)), "");
}

/* Hence the library cannot reach the sockets of a set-user-ID program. */
static void privileged(void)
{
	if (phase) {
		NEED(getauxval(AT_SECURE) == (strcmp(phase, "set-user-ID") == 0));
		EQ(symbol("counted_calls") != NULL, getauxval(AT_SECURE) == 0);
		return;
	}
	set_up_sandbox();
	command("cp '%s' " SANDBOX "/preload.so", beside("counts_calls.so"));
	setenv("LD_PRELOAD", SANDBOX "/preload.so", 1);
	for (int privileged = 0; privileged < 2; privileged++) {
		NEED(chmod(SANDBOX "/program", privileged ? 04755 : 0755) == 0);
		EQ(as_nobody(privileged ? "set-user-ID" : "ordinary"), 0);
	}
}

static const struct scenario SCENARIOS[] = {
	{ "a function of a preload comes before libc's, and before a later preload's",
	  comes_first, .worlds = FACT },
	{ "constructors of preloads run in ld.so's own order", constructors,
	  .worlds = FACT },
	{ "a preload's constructor can read the environment", environment, .worlds = FACT },
	{ "a preload that does not exist does not keep the program from running", missing,
	  .worlds = FACT },
	{ "a path in LD_PRELOAD is not loaded into a set-user-ID program", privileged,
	  .worlds = FACT, .elsewhere = requires_root },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
