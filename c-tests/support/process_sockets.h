/*
 * process_sockets.h - the device of every INET socket of a running process
 *
 * How it works, in the order things run.  probe_tree() opens the process
 * (pidfd_open), takes a copy of each of its file descriptors (pidfd_getfd) and
 * asks the copy: a duplicate shares the socket, so getsockopt() reports the
 * daemon's own.  Then it does the same for the process's children.  Nothing is
 * read from the daemon's log or configuration and nothing is sent.
 *
 *   verdict          SO_BINDTODEVICE returns
 *   ok               the VRF itself, or a device whose master is the VRF
 *   unbound          no device
 *   outside          a device outside the VRF
 *   device-deleted   ENODEV: the device the socket was bound to is gone
 *
 * One step of master and no more: a port of a bridge in the VRF is not in the
 * VRF, and the kernel looks no further either (l3mdev_master_dev_rcu() takes the
 * device's own master only).
 *
 * A device name means something only in the network namespace of its socket,
 * which need not be ours, and /sys/class/net shows the namespace it was mounted
 * in.  So the master is asked for over rtnetlink, on a netlink socket made in the
 * namespace that SIOCGSKNS names.
 *
 * Only AF_INET and AF_INET6 are looked at.  AF_UNIX and AF_NETLINK carry no IP
 * packet; an AF_PACKET socket belongs to a device by its bind() and to no VRF.
 *
 * Needs Linux 5.6 (pidfd_getfd) and the right to trace the process: root, as a
 * rule.  A descriptor that cannot be taken is an error, never a missing row; one
 * that is closed, or a child that ends, while we look is no error.
 */
#ifndef PROCESS_SOCKETS_H
#define PROCESS_SOCKETS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum verdict { OK, UNBOUND, OUTSIDE, DEVICE_DELETED };

struct inet_socket {
	pid_t pid;
	char process[16];		/* TASK_COMM_LEN */
	int fd;				/* its fd in this process */
	char protocol[24];
	char local[INET6_ADDRSTRLEN + 8];
	char device[IFNAMSIZ];		/* "" when UNBOUND or DEVICE_DELETED */
	enum verdict verdict;
};

struct probe {
	const char *vrf;		/* set by the caller; the rest starts as zero */
	struct inet_socket *socket;	/* the caller's to free() */
	size_t count;
	char error[128];		/* a sentence, when probe_tree() failed */
};

/* A netlink socket in the network namespace of the INET socket `sk`. */
static inline int netlink_beside(int sk)
{
	int ours = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int theirs = ioctl(sk, SIOCGSKNS);
	int netlink = -1;

	if (ours >= 0 && theirs >= 0 && !setns(theirs, CLONE_NEWNET)) {
		netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
		if (setns(ours, CLONE_NEWNET))
			abort();	/* every later answer would be about another namespace */
	}
	if (theirs >= 0)
		close(theirs);
	if (ours >= 0)
		close(ours);
	return netlink;
}

/* The ifindex of the device's master, 0 when it has none, or -errno. */
static inline int master_index(int sk, const char *device)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
		struct rtattr attr;
		char name[IFNAMSIZ];
	} ask = {
		.head = { .nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST },
		.attr = { .rta_len = RTA_LENGTH(IFNAMSIZ), .rta_type = IFLA_IFNAME },
	};
	_Alignas(struct nlmsghdr) char answer[32768];
	struct nlmsghdr *head = (struct nlmsghdr *)answer;
	struct rtattr *attr = IFLA_RTA(NLMSG_DATA(head));
	int netlink = netlink_beside(sk), rest, master = 0;

	if (netlink < 0)
		return -errno;
	strncpy(ask.name, device, IFNAMSIZ - 1);
	if (send(netlink, &ask, sizeof(ask), 0) < 0 || recv(netlink, answer, sizeof(answer), 0) < 0)
		master = -errno;
	else if (head->nlmsg_type != RTM_NEWLINK)
		master = ((struct nlmsgerr *)NLMSG_DATA(head))->error;
	close(netlink);
	if (master)
		return master;
	for (rest = IFLA_PAYLOAD(head); RTA_OK(attr, rest); attr = RTA_NEXT(attr, rest))
		if (attr->rta_type == IFLA_MASTER)
			memcpy(&master, RTA_DATA(attr), sizeof(master));
	return master;
}

/* Fills in device and verdict.  0, or -errno when the kernel did not answer. */
static inline int judge(int sk, const char *vrf, struct inet_socket *s)
{
	socklen_t len = sizeof(s->device);
	struct ifreq master;
	int index;

	if (getsockopt(sk, SOL_SOCKET, SO_BINDTODEVICE, s->device, &len)) {
		s->verdict = DEVICE_DELETED;
		return errno == ENODEV ? 0 : -errno;
	}
	if (!*s->device || !strcmp(s->device, vrf)) {
		s->verdict = *s->device ? OK : UNBOUND;
		return 0;
	}
	s->verdict = OUTSIDE;
	index = master_index(sk, s->device);
	if (index <= 0)
		return index;
	memset(&master, 0, sizeof(master));
	master.ifr_ifindex = index;
	if (ioctl(sk, SIOCGIFNAME, &master))	/* answered in the namespace of sk */
		return -errno;
	if (!strcmp(master.ifr_name, vrf))
		s->verdict = OK;
	return 0;
}

/* "udp", "tcp6", "icmp6/raw"; "ip6/89" where the protocol has no name here. */
static inline void name_protocol(int domain, int type, int protocol, struct inet_socket *s)
{
	static const struct { int number; const char *name; } known[] = {
		{ IPPROTO_ICMP, "icmp" }, { IPPROTO_TCP, "tcp" }, { IPPROTO_UDP, "udp" },
		{ IPPROTO_ICMPV6, "icmp" }, { IPPROTO_SCTP, "sctp" }, { 262, "mptcp" },
	};
	const char *six = domain == AF_INET6 ? "6" : "";
	char name[20];
	size_t i;

	snprintf(name, sizeof(name), "ip%s/%d", six, protocol);
	for (i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].number == protocol)
			snprintf(name, sizeof(name), "%s%s", known[i].name, six);
	snprintf(s->protocol, sizeof(s->protocol), "%s%s", name, type == SOCK_RAW ? "/raw" : "");
}

static inline int name_local(int sk, int type, struct inet_socket *s)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a;
	socklen_t len = sizeof(a);
	char address[INET6_ADDRSTRLEN];

	if (getsockname(sk, &a.any, &len))
		return -errno;
	if (a.any.sa_family == AF_INET)
		inet_ntop(AF_INET, &a.in.sin_addr, address, sizeof(address));
	else
		inet_ntop(AF_INET6, &a.in6.sin6_addr, address, sizeof(address));
	if (type == SOCK_RAW)			/* where the port would be is the protocol */
		strcpy(s->local, address);
	else if (a.any.sa_family == AF_INET)
		snprintf(s->local, sizeof(s->local), "%s:%d", address, ntohs(a.in.sin_port));
	else
		snprintf(s->local, sizeof(s->local), "[%s]:%d", address, ntohs(a.in6.sin6_port));
	return 0;
}

static inline int get_int(int sk, int option, int *value)
{
	socklen_t len = sizeof(*value);

	return getsockopt(sk, SOL_SOCKET, option, value, &len) ? -errno : 0;
}

/* `copy` is a descriptor of any kind; an INET socket becomes a row.  0 or -errno. */
static inline int probe_fd(struct probe *p, const struct inet_socket *of, int copy)
{
	struct inet_socket s = *of, *grown;
	int domain, type, protocol, rc;

	rc = get_int(copy, SO_DOMAIN, &domain);
	if (rc)
		return rc == -ENOTSOCK || rc == -EBADF ? 0 : rc;	/* EBADF: O_PATH */
	if (domain != AF_INET && domain != AF_INET6)
		return 0;
	if ((rc = get_int(copy, SO_TYPE, &type)) || (rc = get_int(copy, SO_PROTOCOL, &protocol)) ||
	    (rc = name_local(copy, type, &s)) || (rc = judge(copy, p->vrf, &s)))
		return rc;
	name_protocol(domain, type, protocol, &s);

	grown = realloc(p->socket, (p->count + 1) * sizeof(s));
	if (!grown)
		return -ENOMEM;
	p->socket = grown;
	grown[p->count++] = s;
	return 0;
}

static inline void read_comm(pid_t pid, char comm[16])
{
	char path[40];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%15[^\n]", comm) != 1)
		strcpy(comm, "?");
	if (f)
		fclose(f);
}

static inline int by_fd(const void *a, const void *b)
{
	return ((const struct inet_socket *)a)->fd - ((const struct inet_socket *)b)->fd;
}

/* Every descriptor of one process.  0 or -errno. */
static inline int probe_process(struct probe *p, pid_t pid)
{
	struct inet_socket s = { .pid = pid };
	int pidfd = syscall(SYS_pidfd_open, pid, 0), rc = 0;
	size_t first = p->count;
	struct dirent *entry;
	char path[40];
	DIR *dir;

	if (pidfd < 0)
		return -errno;
	read_comm(pid, s.process);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		rc = -errno;
	while (!rc && (entry = readdir(dir))) {
		int copy;

		if (!isdigit(*entry->d_name))
			continue;
		s.fd = atoi(entry->d_name);
		copy = syscall(SYS_pidfd_getfd, pidfd, s.fd, 0);
		if (copy < 0) {
			rc = errno == EBADF ? 0 : -errno;	/* closed since readdir() */
			continue;
		}
		rc = probe_fd(p, &s, copy);
		close(copy);
	}
	if (dir)
		closedir(dir);
	close(pidfd);
	if (p->count > first)
		qsort(p->socket + first, p->count - first, sizeof(s), by_fd);
	return rc;
}

/*
 * Appends every INET socket of `pid`, then those of its descendants.  0, or
 * -errno with the sentence in p->error.  The children are those of every thread
 * (/proc/PID/task/TID/children, CONFIG_PROC_CHILDREN).
 */
static inline int probe_tree(struct probe *p, pid_t pid)
{
	int rc = probe_process(p, pid), child;
	struct dirent *task;
	char path[64];
	DIR *tasks;
	FILE *list;

	if (rc) {
		snprintf(p->error, sizeof(p->error), "cannot look into process %d: %s", (int)pid, strerror(-rc));
		return rc;
	}
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	while (!rc && tasks && (task = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", (int)pid, task->d_name);
		list = fopen(path, "re");
		while (!rc && list && fscanf(list, "%d", &child) == 1) {
			rc = probe_tree(p, child);
			if (rc == -ESRCH || rc == -ENOENT) {	/* it ended while we looked */
				rc = 0;
				*p->error = '\0';
			}
		}
		if (list)
			fclose(list);
	}
	if (tasks)
		closedir(tasks);
	return rc;
}

/* How many of the sockets are in the VRF. */
static inline size_t probe_ok(const struct probe *p)
{
	size_t i, ok = 0;

	for (i = 0; i < p->count; i++)
		ok += p->socket[i].verdict == OK;
	return ok;
}

#define PROBE_COLUMNS 6			/* and then the verdict */

static inline void probe_row(const struct inet_socket *s, char cell[PROBE_COLUMNS][64])
{
	static const char *const head[] = { "PROCESS", "PID", "FD", "PROTOCOL", "LOCAL", "DEVICE" };
	int i;

	for (i = 0; !s && i < PROBE_COLUMNS; i++)
		strcpy(cell[i], head[i]);
	if (!s)
		return;
	strcpy(cell[0], s->process);
	snprintf(cell[1], 64, "%d", (int)s->pid);
	snprintf(cell[2], 64, "%d", s->fd);
	strcpy(cell[3], s->protocol);
	strcpy(cell[4], s->local);
	strcpy(cell[5], *s->device ? s->device : "-");
}

/* The table, each line after `indent`: 80 columns, unless a name or an address needs more. */
static inline void probe_print(const struct probe *p, FILE *to, const char *indent)
{
	static const char *const verdict[] = { "ok", "unbound", "outside", "device-deleted" };
	int width[PROBE_COLUMNS] = { 0 }, c;
	char cell[PROBE_COLUMNS][64];
	size_t i;

	for (i = 0; i <= p->count; i++) {
		probe_row(i ? &p->socket[i - 1] : NULL, cell);
		for (c = 0; c < PROBE_COLUMNS; c++)
			if (width[c] < (int)strlen(cell[c]))
				width[c] = strlen(cell[c]);
	}
	for (i = 0; i <= p->count; i++) {
		probe_row(i ? &p->socket[i - 1] : NULL, cell);
		fputs(indent, to);
		for (c = 0; c < PROBE_COLUMNS; c++)
			fprintf(to, c == 1 || c == 2 ? "%*s  " : "%-*s  ", width[c], cell[c]);
		fprintf(to, "%s\n", i ? verdict[p->socket[i - 1].verdict] : "VERDICT");
	}
}

#endif
