/*
 * at_secure.c - programs that are more privileged than their caller: the library is inert
 *
 * The kernel marks them at exec, by AT_SECURE in the auxiliary vector (getauxval(3)): set-user-ID,
 * set-group-ID, file capabilities. glibc's ld.so then drops every path from LD_PRELOAD, and musl's drops
 * everything. By one exception of glibc the library's own check is still reached: a name without a slash is
 * loaded from a trusted directory, if the file there has the set-user-ID bit. The test makes such a file
 * without changing the machine: in a mount namespace of the process a copy of the library is mounted over one
 * of glibc's least used ones.
 *
 * Only root can make really privileged programs. Everybody can test a program that finds AT_SECURE set: its
 * parent sets it, by ptrace(2), before the first instruction.
 */
#include "tmpfs_sandbox.h"
#include "traced.h"
#include <dlfcn.h>
#include <sys/auxv.h>

static const char *requires_glibc(void)
{
#ifdef __GLIBC__
	return NULL;
#else
	return "musl's loader preloads nothing into a privileged program";
#endif
}

static const char *requires_root_and_glibc(void)
{
	return requires_glibc() ? requires_glibc() : requires_root();
}

/* A word of the traced process, which is left behind `*at`. */
static unsigned long next_word(pid_t pid, unsigned long *at)
{
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, pid, (void *)*at, NULL);
	NEED(errno == 0);
	*at += sizeof(word);
	return (unsigned long)word;
}

/* The phase, with AT_SECURE set. The stack after exec: argc, argv, NULL, environ, NULL, auxv. */
static int as_if_privileged(const char *as_phase)
{
	unsigned long at, type;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		NEED(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
		exec_phase(NULL, as_phase);
	}
	NEED(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	at = where_it_stands(pid).stack_pointer;
	next_word(pid, &at);
	for (int lists = 0; lists < 2; lists++)
		while (next_word(pid, &at) != 0)
			;
	while ((type = next_word(pid, &at)) != AT_SECURE) {
		NEED(type != AT_NULL);
		next_word(pid, &at);
	}
	NEED(ptrace(PTRACE_POKEDATA, pid, (void *)at, (void *)1L) == 0);
	NEED(ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0);
	return wait_status(pid);
}

static void sockets_are_on(const char *device)
{
	struct sockaddr_storage any = { .ss_family = AF_INET };
	int fd = (int)WORKS(socket(AF_INET, SOCK_STREAM, 0));

	STR(device_of(fd), device);
	STR(device_of((int)WORKS(socket(AF_INET6, SOCK_DGRAM, 0))), device);
	fd = raw_socket(AF_INET, SOCK_STREAM, 0);
	WORKS(bind(fd, (struct sockaddr *)&any, sizeof(any)));
	WORKS(listen(fd, 1));
	STR(device_of(fd), device);
}

static void dropped(void)
{
	if (!phase) {
		EQ(as_if_privileged("with AT_SECURE"), 0);
		return;
	}
	NEED(getauxval(AT_SECURE) == 1);
	TRUE(!is_loaded(setting("VRFBIND_TEST_LIB")));
	sockets_are_on("");
}

#define TRUSTED "libBrokenLocale.so.1"

/* ld.so loads the library for LD_PRELOAD=libBrokenLocale.so.1. */
static void trusted_library(void)
{
	struct link_map *map = dlopen(TRUSTED, RTLD_NOW);

	NEED(map != NULL);
	NEED(mount(SANDBOX "/libvrfbind.so", map->l_name, NULL, MS_BIND, NULL) == 0);
	NEED(chmod(SANDBOX "/libvrfbind.so", 04755) == 0);
	setenv("LD_PRELOAD", TRUSTED, 1);
}

static int is_trusted_library(struct dl_phdr_info *object, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	return strstr(object->dlpi_name, TRUSTED) != NULL;
}

#define ORDINARY "an ordinary program"

static void loaded_all_the_same(void)
{
	if (!phase) {
		set_up_sandbox();
		trusted_library();
		/* The sockets are not unbound because of the way in which the library is loaded. */
		EQ(reexec(ORDINARY), 0);
		EQ(as_if_privileged("with AT_SECURE"), 0);
		return;
	}
	CONTEXT("%s", phase);
	NEED(getauxval(AT_SECURE) == (strcmp(phase, ORDINARY) != 0));
	NEED(dl_iterate_phdr(is_trusted_library, NULL) != 0);
	sockets_are_on(getauxval(AT_SECURE) ? "" : expected_device());
}

static void really_privileged(void)
{
	if (phase) {
		loaded_all_the_same();
		return;
	}
	set_up_sandbox();
	trusted_library();
	EQ(as_nobody(ORDINARY), 0);
	NEED(chmod(SANDBOX "/program", 04755) == 0);
	EQ(as_nobody("a set-user-ID program"), 0);
	NEED(chmod(SANDBOX "/program", 02755) == 0);
	EQ(as_nobody("a set-group-ID program"), 0);
	NEED(chmod(SANDBOX "/program", 0755) == 0);
	give_capability(SANDBOX "/program");
	EQ(as_nobody("a program with a file capability"), 0);
}

static void invalid(void)
{
	char said[100];
	int pipes[2];

	if (phase) {
		NEED(getauxval(AT_SECURE) == 1);
		NEED(dl_iterate_phdr(is_trusted_library, NULL) != 0);
		sockets_are_on("");
		return;
	}
	set_up_sandbox();
	trusted_library();
	NEED(pipe2(pipes, O_NONBLOCK) == 0 && dup2(pipes[1], STDERR_FILENO) >= 0);
	EQ(as_if_privileged("with AT_SECURE"), 0);
	FAILS(read(pipes[0], said, sizeof(said)), EAGAIN);
}

/* systemd's NoNewPrivileges= and prctl(2): the bit on the file means nothing then. */
static void no_new_privileges(void)
{
	if (phase) {
		NEED(getauxval(AT_SECURE) == 0 && geteuid() == NOBODY);
		sockets_are_on(expected_device());
		return;
	}
	set_up_sandbox();
	NEED(chmod(SANDBOX "/program", 04755) == 0);
	if (world == PRELOADED)
		setenv("LD_PRELOAD", SANDBOX "/libvrfbind.so", 1);
	NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	EQ(as_nobody("a set-user-ID program that gains nothing"), 0);
}

static const struct scenario SCENARIOS[] = {
	{ "ld.so drops the library from a privileged program, whose sockets are unbound", dropped },
	{ "where ld.so loads it all the same, the library is inert", loaded_all_the_same,
	  .worlds = PRELOADED, .elsewhere = requires_glibc },
	{ "it is so in set-user-ID and set-group-ID programs and with file capabilities",
	  really_privileged, .worlds = PRELOADED, .elsewhere = requires_root_and_glibc },
	{ "it prints nothing then, and refuses nothing, if VRFBIND_VRF is not a device's name",
	  invalid, .vrf = "two words", .worlds = PRELOADED, .elsewhere = requires_glibc },
	{ "with no_new_privs a set-user-ID program is an ordinary one, and its sockets are bound",
	  no_new_privileges, .elsewhere = requires_root },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
