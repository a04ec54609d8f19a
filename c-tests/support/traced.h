/*
 * traced.h - the position of a traced process: its system call, the arguments and the stack
 *
 * PTRACE_GET_SYSCALL_INFO (Linux 5.3) reports it. In user-mode Linux 6.1 this fails with EIO, so it is read
 * from the registers there. Such a kernel is x86_64 here.
 */
#ifndef TRACED_H
#define TRACED_H

#include "tap.h"
#include <sys/ptrace.h>
#include <sys/user.h>

#ifndef PTRACE_GET_SYSCALL_INFO
#define PTRACE_GET_SYSCALL_INFO 0x420e
#endif

enum { CALLS = 1, RETURNS = 2 };	/* PTRACE_SYSCALL_INFO_ENTRY, _EXIT */

static inline struct __ptrace_syscall_info where_it_stands(pid_t pid)
{
	struct __ptrace_syscall_info info = { 0 };

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) > 0)
		return info;
#ifdef __x86_64__
	struct user_regs_struct regs;

	NEED(errno == EIO && ptrace(PTRACE_GETREGS, pid, NULL, &regs) == 0);
	info.stack_pointer = regs.rsp;
	/* The kernel sets this result before the call is made. */
	if ((long)regs.rax == -ENOSYS) {
		info.op = CALLS;
		info.entry.nr = regs.orig_rax;
		info.entry.args[0] = regs.rdi;
		info.entry.args[1] = regs.rsi;
		info.entry.args[2] = regs.rdx;
	} else {
		info.op = RETURNS;
		info.exit.rval = (long)regs.rax;
	}
#else
	NEED(!"PTRACE_GET_SYSCALL_INFO");
#endif
	return info;
}

#endif
