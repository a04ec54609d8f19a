/*
 * seccomp_filters.h - system call filters like those of service managers
 *
 * seccomp(2). Each refusal is a filter of its own, of eight instructions; the kernel runs them all, and the
 * strictest answer counts. They are inherited and survive exec, so a scenario filters itself and goes on in
 * another phase. System calls of other architectures are not filtered.
 */
#ifndef SECCOMP_FILTERS_H
#define SECCOMP_FILTERS_H

#include "device.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000U	/* Linux 4.14 */
#endif
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65			/* Linux 6.3 */
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif
#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#elif defined(__i386__)
#define NATIVE AUDIT_ARCH_I386
#elif defined(__riscv)
#define NATIVE AUDIT_ARCH_RISCV64
#endif

enum { WHATEVER = 0 };

static inline int install_filter(const struct sock_filter *code, size_t length)
{
	struct sock_fprog program = { (unsigned short)length, (struct sock_filter *)code };

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
		return 0;
	/* Without CAP_SYS_ADMIN, no_new_privs has to be set first. */
	if (errno != EACCES || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/*
 * From now on system call `number` has the result `answer` (SECCOMP_RET_...) if the bits `mask` of this
 * argument, counted from 0, are `value`. With a mask and value of WHATEVER: always.
 */
static inline void filter_out(long number, int argument, unsigned int mask, unsigned int value,
			      unsigned int answer)
{
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 0, 6),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)number, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned int)
			 (offsetof(struct seccomp_data, args) + 8 * (size_t)argument)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	NEED(install_filter(code, sizeof(code) / sizeof(*code)) == 0);
}

static inline unsigned int fails_with(int error)
{
	return SECCOMP_RET_ERRNO | (unsigned int)error;
}

/* A kernel that does not know SO_BINDTOIFINDEX (62), as before Linux 5.1. */
static inline void forget_bindtoifindex(void)
{
	filter_out(SYS_getsockopt, 2, ~0U, 62, fails_with(ENOPROTOOPT));
	filter_out(SYS_setsockopt, 2, ~0U, 62, fails_with(ENOPROTOOPT));
}

/* The call fails with this errno, whatever its arguments. */
static inline void forbid(long number, int error)
{
	filter_out(number, 0, WHATEVER, WHATEVER, fails_with(error));
}

static inline void set_mdwe(void)
{
	NEED(prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0);
}

/* Why a scenario about that is not listed, or NULL. */
static inline const char *requires_mdwe(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0 ? 0 : 1);
	return wait_status(pid) == 0 ? NULL : "PR_SET_MDWE is of Linux 6.3";
}

/* systemd's MemoryDenyWriteExecute=, before it had PR_SET_MDWE (systemd 254). */
static inline void forbid_new_code(void)
{
	static const unsigned int WRITE_EXEC = PROT_WRITE | PROT_EXEC;

	filter_out(SYS_mmap, 2, WRITE_EXEC, WRITE_EXEC, fails_with(EPERM));
	filter_out(SYS_mprotect, 2, PROT_EXEC, PROT_EXEC, fails_with(EPERM));
	filter_out(SYS_pkey_mprotect, 2, PROT_EXEC, PROT_EXEC, fails_with(EPERM));
}

/* The number in a line of a process's /proc/PID/status, or -1: there is no such line. */
static inline long status_of(pid_t pid, const char *name)
{
	char path[40], line[200];
	size_t length = strlen(name);
	long number = -1;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = fopen(path, "re");
	NEED(status != NULL);
	while (fgets(line, sizeof(line), status))
		if (strncmp(line, name, length) == 0 && line[length] == ':')
			number = atol(line + length + 1);
	fclose(status);
	return number;
}

#endif
