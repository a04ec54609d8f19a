/*
 * program_notice.c - the library's warning about a program that is about to be started, and how the program
 * is judged
 *
 * A line on stderr names a program whose sockets the library will not bind. It is judged by its file, which
 * is untrusted: each point shows that execve() itself does the same as without the library. vrfbind_seal.c
 * and vrfbind_log.c have the simple cases.
 */
#include "stderr_capture.h"
#include "tmpfs_sandbox.h"
#include "bypass.h"
#include <sys/inotify.h>

#define LOG_TO_STDERR "VRFBIND_LOG=stderr"
#define SEALED "VRFBIND_SEAL=1"

/* One line about the program, that has these words in it; without the library there is none. */
static void is_said(const char *program, const char *words)
{
	const char *said = captured_stderr();

	CONTEXT("%.40s: %.110s", program, said);
	EQ(lines_in(said), world == PRELOADED);
	EQ(strstr(said, program) != NULL, world == PRELOADED);
	EQ(strstr(said, words) != NULL, world == PRELOADED);
	if (world == PRELOADED)
		TRUE(strstr(said, strcmp(scenario->also, SEALED) == 0 ? "fail with EPERM" : "are not bound") != NULL);
	CONTEXT("%s", "");
}

/* -- Go. */

/* A note that is made to look like Go's. */
__asm__(".pushsection .note.hook, \"a\", %note\n"
	"	.balign 4\n"
	"	.long 4, 4, 9\n"			/* sizes of the name and the description, type */
	"	.ascii \"No\\0\\0\"\n"
	"	.long 0\n"
	"	.popsection\n");

/* This program, with that note as cmd/link has it in .note.go.buildid: owner "Go", type 4. */
static void write_go_program(int fd)
{
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	Elf64_Nhdr note;
	struct stat file;

	NEED(self >= 0 && fstat(self, &file) == 0);
	NEED(sendfile(fd, self, NULL, (size_t)file.st_size) == file.st_size);
	NEED(pread(self, &header, sizeof(header), 0) == sizeof(header));
	for (int i = 0; i < header.e_phnum; i++) {
		off_t at = (off_t)header.e_phoff + i * (off_t)sizeof(segment), end;

		NEED(pread(self, &segment, sizeof(segment), at) == sizeof(segment));
		at = (off_t)segment.p_offset;
		end = at + (off_t)segment.p_filesz;
		while (segment.p_type == PT_NOTE && at + (off_t)sizeof(note) < end) {
			NEED(pread(self, &note, sizeof(note), at) == sizeof(note));
			if (note.n_type == 9) {
				note.n_type = 4;
				NEED(pwrite(fd, &note, sizeof(note), at) == sizeof(note));
				NEED(pwrite(fd, "Go\0", 4, at + (off_t)sizeof(note)) == 4);
				close(self);
				return;
			}
			at += (off_t)(sizeof(note) + ((note.n_namesz + 3) & ~3U) + ((note.n_descsz + 3) & ~3U));
		}
	}
	NEED(!"the note");
}

/* The library is in it, and libc's sockets are bound. */
static void go_program(void)
{
	const char *program;
	pid_t pid;

	if (phase) {
		EQ(is_loaded(setting("VRFBIND_TEST_LIB")), world == PRELOADED);
		return;
	}
	program = program_in_memory(write_go_program);
	capture_stderr(0);
	pid = fork();
	if (pid == 0)
		exec_phase(program, "as a Go program");
	EQ(wait_status(pid), 0);
	is_said(program, "is a Go program: ");
}

/* -- Files that lie. */

/* A shared object, by its looks, whose dynamic section has no end. The kernel finds nothing in it to load. */
static void write_endless(int fd)
{
	Elf64_Ehdr header = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_DYN, .e_version = EV_CURRENT, .e_phoff = sizeof(header),
		.e_ehsize = sizeof(header), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
	};
	Elf64_Phdr segment = {
		.p_type = PT_DYNAMIC, .p_offset = sizeof(header) + sizeof(segment),
		.p_filesz = 1UL << 62, .p_memsz = 1UL << 62,
	};
	/* The only entry; the file ends behind it. */
	Elf64_Dyn entry = { .d_tag = DT_NEEDED };
	Elf64_Ehdr own;
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	NEED(self >= 0 && read(self, &own, sizeof(own)) == sizeof(own));
	close(self);
	header.e_machine = own.e_machine;
	NEED(write(fd, &header, sizeof(header)) == sizeof(header));
	NEED(write(fd, &segment, sizeof(segment)) == sizeof(segment));
	NEED(write(fd, &entry, sizeof(entry)) == sizeof(entry));
}

static void endless_table(void)
{
	const char *program = program_in_memory(write_endless);
	char *argv[] = { (char *)program, NULL };
	pid_t pid = fork();
	int ending;

	if (pid == 0) {
		raw_call(SYS_execve, (long)program, (long)argv, (long)environ, 0, 0, 0);
		_exit(127);
	}
	ending = wait_status(pid);
	/* Linux 6.18 kills the process, others may return an error. */
	NEED(ending == 128 + SIGSEGV || ending == 127);
	capture_stderr(0);
	EQ(run(program), ending);
	STR(captured_stderr(), "");
}

/* -- Scripts. */

static char directory[] = "/tmp/program_notice.XXXXXX";

static const char *in_folder(const char *name)
{
	char *path;

	NEED(asprintf(&path, "%s/%s", directory, name) > 0);
	return path;
}

static void write_script(const char *path, const char *interpreter)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

	NEED(fd >= 0 && dprintf(fd, "#!%s\n", interpreter) > 0);
	close(fd);
}

/*
 * Opening a device can start a watchdog or rewind a tape. A FIFO stands for one, since others can see it
 * opened.
 */
static void opens_no_fifo(void)
{
	const char *pipe, *script;
	struct inotify_event event;
	int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	NEED(mkdtemp(directory) != NULL);
	pipe = in_folder("pipe");
	script = in_folder("script");
	NEED(mkfifo(pipe, 0755) == 0);
	write_script(script, pipe);
	NEED(watch >= 0 && inotify_add_watch(watch, pipe, IN_OPEN) >= 0);
	capture_stderr(0);
	EQ(run(pipe), 127);
	EQ(run(script), 127);
	STR(captured_stderr(), "");
	FAILS(read(watch, &event, sizeof(event)), EAGAIN);
	NEED(close(open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) == 0);
	EQ(read(watch, &event, sizeof(event)), sizeof(event));
	NEED(unlink(pipe) == 0 && unlink(script) == 0 && rmdir(directory) == 0);
}

/* As many as the kernel lets run one another (execve.c). */
static void fifth_script(void)
{
	const char *names[] = { program_in_memory(write_static_program), "1", "2", "3", "4", "5" };

	NEED(mkdtemp(directory) != NULL);
	for (int i = 1; i <= 5; i++) {
		names[i] = in_folder(names[i]);
		write_script(names[i], names[i - 1]);
	}
	capture_stderr(0);
	EQ(run(names[5]), CREATED);
	is_said(names[5], "is statically linked");
	for (int i = 1; i <= 5; i++)
		NEED(unlink(names[i]) == 0);
	NEED(rmdir(directory) == 0);
}

/* -- Who starts it. */

static void other_ids(void)
{
	pid_t pid;

	if (phase) {
		EQ(is_loaded(SANDBOX "/libvrfbind.so"), world == PRELOADED && strcmp(phase, "as root") == 0);
		return;
	}
	set_up_sandbox();
	capture_stderr(0);
	pid = fork();
	if (pid == 0)
		exec_phase(SANDBOX "/program", "as root");
	EQ(wait_status(pid), 0);
	STR(captured_stderr(), "");
	pid = fork();
	if (pid == 0) {
		NEED(setresuid(0, NOBODY, 0) == 0);
		exec_phase(SANDBOX "/program", "with another effective user");
	}
	EQ(wait_status(pid), 0);
	is_said(SANDBOX "/program", "real and effective IDs that differ");
}

/*
 * Whether the library is in it, by its child's report; the kernel gives the capabilities of a script's
 * interpreter.
 */
static int run_as_nobody(const char *script)
{
	pid_t pid = fork();

	if (pid == 0) {
		NEED(become_nobody());
		execl(script, script, (char *)NULL);
		_exit(127);
	}
	return wait_status(pid);
}

static void capable_interpreter(void)
{
	static const char script[] = SANDBOX "/script", text[] = "#!" SANDBOX "/sh\ngrep -q libvrfbind /proc/self/maps\n";
	int fd;

	set_up_sandbox();
	command("cp -L /bin/sh " SANDBOX "/sh");
	fd = open(script, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	NEED(fd >= 0 && write(fd, text, sizeof(text) - 1) == sizeof(text) - 1 && close(fd) == 0);
	capture_stderr(0);
	EQ(run_as_nobody(script), world == PRELOADED ? 0 : 1);
	STR(captured_stderr(), "");
	give_capability(SANDBOX "/sh");
	EQ(run_as_nobody(script), 1);
	is_said(script, "a program with file capabilities");
}

static const struct scenario SCENARIOS[] = {
	{ "a Go program is named, though it is preloaded", go_program, .also = LOG_TO_STDERR },
	{ "under a seal too", go_program, .also = SEALED },
	{ "a dynamic section without an end is not read for ever", endless_table, .also = LOG_TO_STDERR },
	{ "nor under a seal", endless_table, .also = SEALED },
	{ "a program or an interpreter that is no regular file is not opened", opens_no_fifo,
	  .also = LOG_TO_STDERR },
	{ "a static program behind five scripts is named", fifth_script, .also = LOG_TO_STDERR },
	{ "a script whose interpreter has file capabilities is named", capable_interpreter,
	  .also = LOG_TO_STDERR, .elsewhere = requires_root },
	{ "a program that is started with another effective user is named", other_ids,
	  .also = LOG_TO_STDERR, .elsewhere = requires_root },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
