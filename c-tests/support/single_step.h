/*
 * single_step.h - a stopped child that this process traces: which instructions it executes, and how it gets to one of them
 *
 * aarch64: a single step is an exception, and the return from it clears the exclusive monitor (Arm ARM, "Exclusive access
 * instructions"). A stxr that is stepped to from its ldxr therefore always fails, and a program that tries again, as all do,
 * stays in these instructions for ever. step() executes such a sequence as one, as gdb does.
 * And after a step over svc the process stops twice before the next instruction (Linux 6.1).
 */
#ifndef SINGLE_STEP_H
#define SINGLE_STEP_H

#include "tap.h"
#include <elf.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#if defined(__x86_64__) || defined(__i386__)
#ifdef __x86_64__
enum { AT_PC = offsetof(struct user, regs.rip) };
#else
enum { AT_PC = offsetof(struct user, regs.eip) };
#endif

/* int3, of one byte; behind it is where it stops. */
enum { BREAKPOINT = 0xcc, BREAKPOINT_MASK = 0xff, BREAKPOINT_LENGTH = 1 };

static inline unsigned long pc_of(pid_t pid)
{
	return (unsigned long)ptrace(PTRACE_PEEKUSER, pid, (void *)AT_PC, NULL);
}

static inline void set_pc(pid_t pid, unsigned long pc)
{
	NEED(ptrace(PTRACE_POKEUSER, pid, (void *)AT_PC, (void *)pc) == 0);
}
#else
/* brk #0; it stops there. */
enum { BREAKPOINT_LENGTH = 0 };
static const unsigned long BREAKPOINT = 0xd4200000, BREAKPOINT_MASK = 0xffffffff;

static inline unsigned long pc_of(pid_t pid)
{
	struct user_regs_struct registers;
	struct iovec into = { &registers, sizeof(registers) };

	NEED(ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &into) == 0);
	return registers.pc;
}

static inline void set_pc(pid_t pid, unsigned long pc)
{
	(void)pid;
	(void)pc;
}
#endif

/* Lets it go on to its next stop. Whether that is one of ours: it may have ended instead. */
static inline bool resume(pid_t pid, int request)
{
	int status;

	NEED(ptrace(request, pid, NULL, NULL) == 0);
	NEED(waitpid(pid, &status, 0) == pid);
	return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

static inline unsigned long word_at(pid_t pid, unsigned long address)
{
	return (unsigned long)ptrace(PTRACE_PEEKTEXT, pid, (void *)address, NULL);
}

/* Lets it go on to where it is about to execute the instruction at `pc`; at once, if it is there already. */
static inline bool run_to(pid_t pid, unsigned long pc)
{
	unsigned long word = word_at(pid, pc), trap = (word & ~BREAKPOINT_MASK) | BREAKPOINT;
	bool arrived;

	NEED(ptrace(PTRACE_POKETEXT, pid, (void *)pc, (void *)trap) == 0);
	arrived = resume(pid, PTRACE_CONT);
	if (!arrived)
		return false;
	NEED(pc_of(pid) == pc + BREAKPOINT_LENGTH);
	set_pc(pid, pc);
	NEED(ptrace(PTRACE_POKETEXT, pid, (void *)pc, (void *)word) == 0);
	return true;
}

#ifdef __aarch64__
/* The address behind the loop of an exclusive sequence that begins at `pc` (ldxr, stxr, branch back); 0: none begins there. */
static inline unsigned long exclusive_end(pid_t pid, unsigned long pc)
{
	const unsigned int exclusive = 0x3fc00000, load = 0x08400000, store = 0x08000000;
	bool stored = false;

	if (((unsigned int)word_at(pid, pc) & exclusive) != load)
		return 0;
	/* The longest that the architecture guarantees to succeed is 128 bytes. */
	for (unsigned long end = pc + 4; end < pc + 128; end += 4) {
		unsigned int word = (unsigned int)word_at(pid, end);
		bool back = (word & 0x7e800000) == 0x34800000;	/* cbz, cbnz */

		stored |= (word & exclusive) == store;
		if (stored && back)
			return end + 4;
	}
	NEED(!"the end of an exclusive sequence");
	return 0;
}
#else
static inline unsigned long exclusive_end(pid_t pid, unsigned long pc)
{
	(void)pid;
	(void)pc;
	return 0;
}
#endif

/* One instruction, or one exclusive sequence. False: it has ended. */
static inline bool step(pid_t pid)
{
	unsigned long pc = pc_of(pid), end = exclusive_end(pid, pc);

	if (end)
		return run_to(pid, end);
	do {
		if (!resume(pid, PTRACE_SINGLESTEP))
			return false;
	} while (pc_of(pid) == pc);
	return true;
}

#endif
