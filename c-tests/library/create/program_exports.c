/*
 * program_exports.c - the library calls no function that a program may export and that may not work at load
 *
 * This program exports a dl_iterate_phdr() that needs what main() prepares. ThreadSanitizer's needs its
 * constructor, which runs after the library's. The library has to find the loaded objects without it: by the
 * program's dynamic section, or, if that does not help (no DT_DEBUG; musl's ld.so was told to start the
 * program), by ld.so's symbols. The program exports these too, without contents. Copies of the program do not
 * export the one or the other.
 */
#include "bypass.h"
#include "library_info.h"
#include <elf.h>
#include <sys/auxv.h>

static int (*next_dl_iterate_phdr)(int (*)(struct dl_phdr_info *, size_t, void *), void *);

/* Without main() a jump to nowhere. */
int dl_iterate_phdr(int (*callback)(struct dl_phdr_info *, size_t, void *), void *data)
{
	return next_dl_iterate_phdr(callback, data);
}

/* ld.so's list: glibc's name, and musl's. */
struct r_debug no_list __asm__("_r_debug");
struct r_debug *no_list_address __asm__("_dl_debug_addr") = &no_list;

static const char *const LISTS[] = { "_r_debug", "_dl_debug_addr", NULL };
static const char *const ITERATION[] = { "dl_iterate_phdr", NULL };
static const char *const NOTHING[] = { NULL };

static void all_is_served(void)
{
	for (int d = 0; d < 2; d++) {
		CONTEXT("family %d", FAMILIES[d]);
		STR(device_of((int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0))), expected_device());
		STR(device_of(libc_socket(FAMILIES[d], SOCK_STREAM, 0)), expected_device());
	}
	if (world == PRELOADED) {
		EQ(info()->socket, PATCHED);
		EQ(info()->execve, PATCHED);
	}
}

/* The ld.so that this program names. */
static const char *loader(void)
{
	const ElfW(Phdr) *header = (const ElfW(Phdr) *)getauxval(AT_PHDR);
	unsigned long count = getauxval(AT_PHNUM), base = 0;
	const char *path = NULL;

	for (unsigned long i = 0; i < count; i++) {
		if (header[i].p_type == PT_PHDR)
			base = (unsigned long)header - header[i].p_vaddr;
		if (header[i].p_type == PT_INTERP)
			path = (const char *)(base + header[i].p_vaddr);
	}
	NEED(path != NULL);
	return path;
}

/* Runs `program` once more, `phase` set, in a child. */
static int started(const char *program, bool by_loader)
{
	char *arguments[8] = { (char *)loader(), (char *)program };
	pid_t pid = fork();

	if (pid == 0) {
		if (!by_loader)
			exec_phase(program, "another program");
		memcpy(arguments + 2, phase_arguments("started by ld.so") + 1, 5 * sizeof(*arguments));
		execv(arguments[0], arguments);
		_exit(127);
	}
	return wait_status(pid);
}

static void as_it_is(void)
{
	all_is_served();
}

/*
 * A copy of this program that does not export these names. With `debug` false it has no DT_DEBUG, as if its
 * linker had made a dynamic section that cannot be written (-z rodynamic).
 */
static const char *copy_without(const char *const *names, bool debug)
{
	enum { COPY = 60, SIZE = 4 << 20, UNKNOWN_TAG = 0x60000010 };
	static char path[40];
	char *file = malloc(SIZE), *name;
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), copy = memfd_create("program", 0);
	ssize_t size = read(from, file, SIZE);
	const ElfW(Ehdr) *header = (ElfW(Ehdr) *)file;
	const ElfW(Phdr) *segment = (ElfW(Phdr) *)(file + header->e_phoff);
	int found = 0;

	NEED(size > 0 && size < SIZE && dup2(copy, COPY) == COPY);
	close(copy);
	/* The dynamic strings come first in the file. A name that does not have its hash is not found. */
	for (; *names; names++) {
		name = memmem(file, (size_t)size, *names, strlen(*names) + 1);
		NEED(name != NULL);
		*name = 'x';
	}
	while (segment->p_type != PT_DYNAMIC)
		segment++;
	for (ElfW(Dyn) *entry = (ElfW(Dyn) *)(file + segment->p_offset); entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == DT_DEBUG) {
			if (!debug)
				entry->d_tag = UNKNOWN_TAG;
			found++;
		}
	NEED(found == 1 && write(COPY, file, (size_t)size) == size && fchmod(COPY, 0755) == 0);
	free(file);
	close(from);
	/* While it is open for writing it cannot be executed. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", COPY);
	from = open(path, O_RDONLY);
	NEED(dup2(from, COPY) == COPY);
	close(from);
	return path;
}

static void by_an_explicit_loader(void)
{
	if (phase)
		all_is_served();
	else
		EQ(started(copy_without(LISTS, true), true), 0);
}

static void with_another_dynamic_section(void)
{
	const char *program;

	if (phase) {
		all_is_served();
		return;
	}
	program = copy_without(LISTS, false);
	EQ(started(program, false), 0);
	CONTEXT("%s", "by ld.so");
	EQ(started(program, true), 0);
}

static void without_a_list(void)
{
	const char *program;

	if (phase) {
		all_is_served();
		return;
	}
	program = copy_without(ITERATION, false);
	EQ(started(program, false), 0);
	CONTEXT("%s", "by ld.so");
	EQ(started(program, true), 0);
}

/* Then the library cannot find the functions that its exports hide. */
static void with_nothing(void)
{
	if (!phase)
		EQ(started(copy_without(NOTHING, false), false), 0);
	else if (world == PRELOADED)
		FAILS(socket(AF_INET, SOCK_STREAM, 0), ENOSYS);
	else
		WORKS(socket(AF_INET, SOCK_STREAM, 0));
}

static const struct scenario SCENARIOS[] = {
	{ "a program's own dl_iterate_phdr() that is not ready at load is not called", as_it_is },
	{ "nor where ld.so was told to start the program", by_an_explicit_loader },
	{ "nor in a program without DT_DEBUG", with_another_dynamic_section },
	{ "where ld.so's list cannot be found, libc's own is called", without_a_list },
	{ "and where that cannot be called either, socket() fails", with_nothing },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	next_dl_iterate_phdr = (int (*)(int (*)(struct dl_phdr_info *, size_t, void *), void *))
		dlsym(RTLD_NEXT, "dl_iterate_phdr");
	return tap(argv, SCENARIOS);
}
