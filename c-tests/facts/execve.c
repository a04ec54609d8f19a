/*
 * execve.c - what the library expects of execve(2): how it follows scripts, and when it sets AT_SECURE
 *
 * rules/executable.rs predicts both. The library is not loaded.
 */
#include "tmpfs_sandbox.h"
#include "bypass.h"
#include <sys/auxv.h>

/* -- Scripts. */

static char directory[] = "/tmp/execve.XXXXXX";

static const char *in_folder(const char *name)
{
	char *path;

	NEED(asprintf(&path, "%s/%s", directory, name) > 0);
	return path;
}

static void write_file(const char *path, const char *text, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	NEED(fd >= 0 && fchmod(fd, 0755) == 0 && write(fd, text, length) == (ssize_t)length);
	close(fd);
}

/* The errno of execve(), or 0. */
static int error_of(const char *path)
{
	char *argv[] = { (char *)path, NULL };
	pid_t pid = fork();
	int ending;

	if (pid == 0) {
		execve(path, argv, environ);
		_exit(errno);
	}
	ending = wait_status(pid);
	return ending == CREATED ? 0 : ending;
}

static void five_scripts(void)
{
	const char *names[] = { program_in_memory(write_static_program), "1", "2", "3", "4", "5", "6" };
	char line[200];

	NEED(mkdtemp(directory) != NULL);
	for (int i = 1; i <= 6; i++) {
		names[i] = in_folder(names[i]);
		write_file(names[i], line, (size_t)snprintf(line, sizeof(line), "#!%s\n", names[i - 1]));
		CONTEXT("%d scripts", i);
		EQ(error_of(names[i]), i <= 5 ? 0 : ELOOP);
	}
	for (int i = 1; i <= 6; i++)
		NEED(unlink(names[i]) == 0);
	NEED(rmdir(directory) == 0);
}

/* "#!", slashes up to this length, and the program, followed by this text. */
static int error_of_line(const char *program, size_t length, const char *end)
{
	const char *script = in_folder("script");
	char line[400] = "#!";

	memset(line + 2, '/', length - 2 - strlen(program));
	strcpy(line + length - strlen(program), program);
	NEED(strlen(line) == length);
	strcat(line, end);
	write_file(script, line, strlen(line));
	return error_of(script);
}

/* BINPRM_BUF_SIZE, since Linux 5.1. A path that may be cut off is not used (since 5.0). */
static void first_256_bytes(void)
{
	const char *program = program_in_memory(write_static_program);
	static const char *const ENDS[] = { "", "\n", " ", "\t-x\n" };

	NEED(mkdtemp(directory) != NULL);
	for (size_t i = 0; i < sizeof(ENDS) / sizeof(*ENDS); i++) {
		CONTEXT("end %zu", i);
		EQ(error_of_line(program, 100, ENDS[i]), 0);
		EQ(error_of_line(program, 255, ENDS[i]), 0);
		EQ(error_of_line(program, 256, ENDS[i]), ENOEXEC);
	}
	NEED(unlink(in_folder("script")) == 0 && rmdir(directory) == 0);
}

static void regular_files(void)
{
	const char *fifo, *script;
	char line[200];

	NEED(mkdtemp(directory) != NULL);
	fifo = in_folder("fifo");
	script = in_folder("script");
	NEED(mkfifo(fifo, 0755) == 0);
	write_file(script, line, (size_t)snprintf(line, sizeof(line), "#!%s\n", fifo));
	EQ(error_of(script), EACCES);
	write_file(script, line, (size_t)snprintf(line, sizeof(line), "#!%s\n", directory));
	EQ(error_of(script), EACCES);
	write_file(script, line, (size_t)snprintf(line, sizeof(line), "#!%s/none\n", directory));
	EQ(error_of(script), ENOENT);
	NEED(unlink(fifo) == 0 && unlink(script) == 0 && rmdir(directory) == 0);
}

/* -- AT_SECURE. */

enum { N = NOBODY, EFFECTIVE = 1, OF_A_NAMESPACE = 2, NO_NEW_PRIVS = 1, NOSUID = 2 };

static const struct privilege {
	const char *name;
	unsigned int ruid, euid, rgid, egid;	/* of the process */
	unsigned int mode, uid, gid;		/* of the file */
	unsigned int flags, permitted, inheritable;	/* its capabilities; flags 0 and no set: none */
	unsigned int around;
	unsigned long secure;
} PRIVILEGES[] = {
	/*				process		file */
	{ "root",			0, 0, 0, 0,	0755, 0, 0,	0, 0, 0,	0, 0 },
	{ "nobody",			N, N, N, N,	0755, 0, 0,	0, 0, 0,	0, 0 },
	{ "set-user-ID, of oneself",	0, 0, 0, 0,	04755, 0, 0,	0, 0, 0,	0, 0 },
	{ "set-user-ID",		N, N, N, N,	04755, 0, 0,	0, 0, 0,	0, 1 },
	{ "set-user-ID, of nobody",	0, 0, 0, 0,	04755, N, 0,	0, 0, 0,	0, 1 },
	{ "no_new_privs",		N, N, N, N,	04755, 0, 0,	0, 0, 0,	NO_NEW_PRIVS, 0 },
	{ "nosuid",			N, N, N, N,	06755, 0, 0,	0, 0, 0,	NOSUID, 0 },
	{ "set-group-ID",		N, N, N, N,	02755, 0, 0,	0, 0, 0,	0, 1 },
	{ "set-group-ID, no g+x",	N, N, N, N,	02745, 0, 0,	0, 0, 0,	0, 0 },
	{ "effective user",		0, N, 0, 0,	0755, 0, 0,	0, 0, 0,	0, 1 },
	{ "effective root",		N, 0, 0, 0,	0755, 0, 0,	0, 0, 0,	0, 1 },
	{ "effective group",		0, 0, 0, N,	0755, 0, 0,	0, 0, 0,	0, 1 },
	{ "effective user, nosuid",	0, N, 0, 0,	0755, 0, 0,	0, 0, 0,	NOSUID, 1 },
	{ "capabilities",		N, N, N, N,	0755, 0, 0,	1, 1 << 13, 0,	0, 1 },
	{ "capabilities, by root",	0, 0, 0, 0,	0755, 0, 0,	1, 1 << 13, 0,	0, 0 },
	{ "capabilities, nosuid",	N, N, N, N,	0755, 0, 0,	1, 1 << 13, 0,	NOSUID, 0 },
	{ "capabilities, no_new_privs",	N, N, N, N,	0755, 0, 0,	1, 1 << 13, 0,	NO_NEW_PRIVS, 1 },
	{ "permitted",			N, N, N, N,	0755, 0, 0,	0, 1 << 13, 0,	0, 1 },
	{ "permitted, no_new_privs",	N, N, N, N,	0755, 0, 0,	0, 1 << 13, 0,	NO_NEW_PRIVS, 0 },
	{ "inheritable",		N, N, N, N,	0755, 0, 0,	0, 0, 1 << 13,	0, 0 },
	{ "inheritable, effective",	N, N, N, N,	0755, 0, 0,	1, 0, 1 << 13,	0, 1 },
	{ "of another namespace",	N, N, N, N,	0755, 0, 0,	3, 1 << 13, 0,	0, 0 },
};

static void set_capabilities(const char *path, const struct privilege *row)
{
	/* struct vfs_ns_cap_data of linux/capability.h: revision 3 has the root that it is for, here user 1000. */
	bool is_of_a_namespace = row->flags & OF_A_NAMESPACE;
	unsigned int value[6] = { (is_of_a_namespace ? 0x03000000U : 0x02000000U) | (row->flags & EFFECTIVE),
				  row->permitted, row->inheritable, 0, 0, 1000 };

	if (row->flags || row->permitted || row->inheritable)
		NEED(setxattr(path, "security.capability", value, is_of_a_namespace ? 24 : 20, 0) == 0);
}

static void at_secure(void)
{
	const struct privilege *row;
	pid_t pid;

	if (phase)
		_exit(10 + (int)getauxval(AT_SECURE));
	for (size_t i = 0; i < sizeof(PRIVILEGES) / sizeof(*PRIVILEGES); i++) {
		row = &PRIVILEGES[i];
		pid = fork();
		if (pid == 0) {
			set_up_sandbox();
			CONTEXT("%s", row->name);
			NEED(chown(SANDBOX "/program", row->uid, row->gid) == 0);
			NEED(chmod(SANDBOX "/program", row->mode) == 0);
			set_capabilities(SANDBOX "/program", row);
			if (row->around & NOSUID)
				NEED(mount(NULL, SANDBOX, NULL, MS_REMOUNT | MS_NOSUID, NULL) == 0);
			NEED(setresgid(row->rgid, row->egid, row->egid) == 0);
			NEED(setresuid(row->ruid, row->euid, row->euid) == 0);
			if (row->around & NO_NEW_PRIVS)
				NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
			exec_phase(SANDBOX "/program", "as such");
		}
		CONTEXT("%s", row->name);
		EQ(wait_status(pid) - 10, (long)row->secure);
	}
}

static const struct scenario SCENARIOS[] = {
	{ "five scripts may run one another, and no sixth", five_scripts, .worlds = FACT },
	{ "an interpreter's path ends within the first 256 bytes", first_256_bytes, .worlds = FACT },
	{ "an interpreter is a regular file", regular_files, .worlds = FACT },
	{ "AT_SECURE is set for a process that gains a user, a group or capabilities, or has two users or groups",
	  at_secure, .worlds = FACT, .elsewhere = requires_root },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
