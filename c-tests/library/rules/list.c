/*
 * list.c - VRFBIND_RULES: rules or a file, inherited, and valid or no IP socket at all
 *
 * Whether a list is in effect shows by the device on which 127.0.0.1 is bound: the VRF is prod, the rules
 * name lo (support/places.h).
 */
#include "places.h"
#include "stderr_capture.h"

/* The device of a socket that is bound to an address, or the error. */
static const char *served_by(const char *ip)
{
	int fd = socket(strchr(ip, ':') ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);

	if (fd < 0)
		return errno == EINVAL ? "(EINVAL)" : strerror(errno);
	/* prod has no such address. */
	(void)bind_at(fd, ip, 0);
	return device_of(fd);
}

/* In another exec of this program, with these rules. */
static int with_rules(const char *rules, const char *device)
{
	setenv("VRFBIND_RULES", rules, 1);
	return reexec(device);
}

static void is_served(void)
{
	STR(served_by("127.0.0.1"), if_ruled(phase));
	STR(served_by("::1"), if_ruled(phase));
}

static void values(void)
{
	char longest[4000] = "";

	if (phase) {
		is_served();
		return;
	}
	own_places();
	EQ(with_rules("loopback lo", "lo"), 0);
	EQ(with_rules("bind * lo;", "lo"), 0);
	EQ(with_rules("\n# bind * mgmt\n bind\t* lo # bind * mgmt\nbind * mgmt", "lo"), 0);
	EQ(with_rules("connect * lo", "prod"), 0);
	for (int i = 0; i < 63; i++)
		strcat(longest, "bind 192.0.2.1:1-1023 mgmt;");
	strcat(longest, "loopback lo");
	EQ(with_rules(longest, "lo"), 0);
}

static const char *file_with(const char *text)
{
	static char path[] = "/tmp/vrfbind-rules-XXXXXX";
	int fd;

	if (!strcmp(path + sizeof(path) - 7, "XXXXXX")) {
		fd = mkstemp(path);
		NEED(fd >= 0);
		close(fd);
	}
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	NEED(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	return path;
}

static void files(void)
{
	const char *path;

	if (phase) {
		is_served();
		return;
	}
	own_places();
	path = file_with("# The resolver of this machine\nloopback lo\n\nbind tcp *:5380 mgmt\n");
	EQ(with_rules(path, "lo"), 0);
	/* Read at load, by each program. */
	(void)file_with("bind * prod");
	EQ(with_rules(path, "prod"), 0);
	unlink(path);
}

/* What another exec with these rules prints; it gets no IP socket. */
static const char *complaint(const char *rules)
{
	EQ(with_rules(rules, "invalid"), 0);
	return captured_stderr();
}

static void invalid(void)
{
	static const struct { const char *rules, *expected; } LISTS[] = {
		{ "loopback lo; bind tcp *:66000 mgmt", "rule 2, \"bind tcp *:66000 mgmt\", at \"66000\": a port" },
		{ "bind *", "rule 1, \"bind *\", at its end: a device" },
		{ "connect 10.0.0.1/8 mgmt", "rule 1, \"connect 10.0.0.1/8 mgmt\", at \"10.0.0.1/8\": " },
		{ "bind * sixteen-bytes-it", "at \"sixteen-bytes-it\": it is longer than 15 bytes" },
		{ ";", "rule 1, at its end: there is no rule" },
		{ "/nonexistent/rules", "=\"/nonexistent/rules\": reading it fails with errno 2" },
		{ "/", "=\"/\": reading it fails with errno 21" },
		{ "/dev/zero", "=\"/dev/zero\": reading it fails with errno 27" },
		{ "bind \033[31m prod", "at \"?[31m\"" },
	};
	char longest[4000] = "", file[20] = "";
	const char *text;

	if (phase) {
		STR(served_by("127.0.0.1"), world == PRELOADED ? "(EINVAL)" : "");
		STR(served_by("::1"), world == PRELOADED ? "(EINVAL)" : "");
		NEED(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
		return;
	}
	own_places();
	capture_stderr(0);
	for (size_t i = 0; i < sizeof(LISTS) / sizeof(*LISTS); i++) {
		text = complaint(LISTS[i].rules);
		CONTEXT("%.50s: %.90s", LISTS[i].rules, text);
		EQ(lines_in(text), world == PRELOADED);
		TRUE(world == BASELINE || (strncmp(text, "vrfbind: VRFBIND_RULES", 22) == 0 &&
					   strstr(text, LISTS[i].expected) && strstr(text, "fails with EINVAL.\n")));
		TRUE(strchr(text, '\033') == NULL);
	}
	for (int i = 0; i < 65; i++)
		strcat(longest, "bind * lo;");
	text = complaint(longest);
	TRUE(world == BASELINE || strstr(text, "rule 65, \"bind * lo\"") != NULL);
	snprintf(file, sizeof(file), "%s", "bind * a/b");
	text = complaint(file_with(file));
	TRUE(world == BASELINE || strstr(text, "rule 1, \"bind * a/b\", at \"a/b\"") != NULL);
	unlink(file_with(""));
}

/* The environment is emptied by the program itself. */
static void inherited(void)
{
	char *nothing[] = { NULL };
	pid_t pid;

	if (phase) {
		STR(served_by("127.0.0.1"), if_ruled("lo"));
		TRUE(world == BASELINE || strcmp(getenv("VRFBIND_RULES") ?: "", "loopback lo") == 0);
		return;
	}
	own_places();
	pid = fork();
	if (pid == 0) {
		execve("/proc/self/exe", phase_arguments("scrubbed"), nothing);
		_exit(127);
	}
	EQ(wait_status(pid), 0);
	CONTEXT("another choice of the program's");
	setenv("VRFBIND_RULES", "loopback lo", 1);
	EQ(reexec("again"), 0);
}

/* The rules do not apply to a program that has left its VRF. */
static void outside(void)
{
	if (phase) {
		STR(served_by("127.0.0.1"), "");
		return;
	}
	own_places();
	setenv("VRFBIND_VRF", "default", 1);
	EQ(with_rules("nonsense", "outside"), 0);
}

/* When the program overwrites its environment, nothing changes any more. */
static void read_once(void)
{
	own_places();
	STR(served_by("127.0.0.1"), if_ruled("lo"));
	setenv("VRFBIND_RULES", "loopback mgmt", 1);
	STR(served_by("127.0.0.1"), if_ruled("lo"));
	clearenv();
	STR(served_by("127.0.0.1"), if_ruled("lo"));
}

#define RULED .vrf = "prod", .also = "VRFBIND_RULES=loopback lo"

static const struct scenario SCENARIOS[] = {
	{ "rules, blanks, comments, up to 64 of them", values, RULED },
	{ "a file, which each program reads at load", files, RULED },
	{ "an invalid list is reported in a line that names the rule and the place, and no IP socket is created", invalid, RULED },
	{ "a program that is started inherits them, its environment scrubbed or not", inherited, RULED },
	{ "no rules without a VRF", outside, RULED },
	{ "they are read once", read_once, RULED },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
