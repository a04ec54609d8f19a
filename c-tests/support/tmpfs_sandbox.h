/*
 * tmpfs_sandbox.h - a tmpfs for copies of the program and the library, which all users can reach
 *
 * The tmpfs is in a mount namespace of the process, and ends with it. There a program can be given
 * privileges, and a user who may not enter the project's directory can run it.
 */
#ifndef TMPFS_SANDBOX_H
#define TMPFS_SANDBOX_H

#include "device.h"
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define SANDBOX "/mnt"

static inline void own_mounts(void)
{
	own_namespaces(CLONE_NEWNS);
	NEED(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
}

static inline void mount_sandbox(void)
{
	NEED(mount("none", SANDBOX, "tmpfs", 0, "mode=0755") == 0);
}

/* The next program is to be preloaded with the copy. */
static inline void set_up_sandbox(void)
{
	own_mounts();
	mount_sandbox();
	command("cp /proc/%d/exe " SANDBOX "/program", getpid());
	command("cp '%s' " SANDBOX "/libvrfbind.so", setting("VRFBIND_TEST_LIB"));
	if (world == PRELOADED)
		setenv("LD_PRELOAD", SANDBOX "/libvrfbind.so", 1);
}

/* Makes the sandbox a root for chroot(2), with all that a dynamic program needs, and no more. */
static inline void populate_root(void)
{
	command("cd " SANDBOX " && for directory in usr lib lib64; do "
		"if [ -L /$directory ]; then cp -a /$directory .; elif [ -d /$directory ]; then "
		"mkdir $directory && mount --bind /$directory $directory; fi; done");
}

/* The phase, in the copy of the program, as an ordinary user. */
static inline int as_nobody(const char *as_phase)
{
	pid_t pid = fork();

	if (pid == 0) {
		NEED(become_nobody());
		exec_phase(SANDBOX "/program", as_phase);
	}
	return wait_status(pid);
}

static inline void give_capability(const char *path)
{
	/* struct vfs_cap_data, revision 2, effective: CAP_NET_RAW */
	static const unsigned int capability[5] = { 0x02000001, 1 << 13 };

	NEED(setxattr(path, "security.capability", capability, sizeof(capability), 0) == 0);
}

#endif
