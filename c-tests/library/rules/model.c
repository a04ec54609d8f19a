/*
 * model.c - random sequences of calls from several threads, against a model of where each socket is
 *
 * Each thread has sockets of its own and does one thing after the other with one of them: socket, bind,
 * connect, listen, send, connect(AF_UNSPEC), dup, SCM_RIGHTS, fork, epoll (level, edge, one-shot, exclusive),
 * close. After each step getsockopt() has to return the model's device, and the call must have had the
 * model's result. Another thread looks at all sockets all the time: each is on one of the three devices.
 *
 * Once more without capabilities, where sockets are replaced: registrations in epoll stay, a duplicate is the
 * same socket, and copies in other processes or in messages stay on a device.
 *
 * VRFBIND_TEST_SEED repeats a run, VRFBIND_TEST_STEPS makes it longer. The seed determines each thread fully,
 * except for ports that are taken. Without the library no socket has a device, whatever the model expects.
 */
#include "places.h"
#include "pass_fd.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>

#define RULES "VRFBIND_RULES=bind tcp *:5380-5999 mgmt; bind 10.99.0.0/16 mgmt; connect 10.99.0.0/16 mgmt; loopback lo"

enum { THREADS = 4, SLOTS = 8 };

enum state { CLOSED, FRESH, WILDCARD, ADDRESS, BUSY };

struct slot {
	pthread_mutex_t is_watched;	/* Held while the descriptor is looked at, and while it is closed. */
	_Atomic int fd;
	enum state state;
	int type;
	const char *place;
	unsigned int registered;	/* The events in its thread's epoll instance, or 0. */
	bool is_disarmed;
};

static struct worker {
	struct slot slots[SLOTS];
	unsigned long long random;
	pthread_t thread;
	int number, epoll;
} workers[THREADS];

static long steps;
static bool is_privileged;
static atomic_bool is_over;
static atomic_long looks, strange, moves;
static int lo_port;

/* xorshift64*. */
static unsigned int any_of(struct worker *worker, unsigned int count)
{
	unsigned long long x = worker->random;

	x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
	worker->random = x;
	return (unsigned int)(x * 0x2545f4914f6cdd1dULL >> 33) % count;
}

static void *watches(void *unused)
{
	while (!is_over)
		for (int w = 0; w < THREADS; w++)
			for (int s = 0; s < SLOTS; s++) {
				struct slot *slot = &workers[w].slots[s];
				const char *device;

				pthread_mutex_lock(&slot->is_watched);
				if (slot->fd >= 0) {
					device = device_of(slot->fd);
					looks++;
					if (strcmp(device, "prod") && strcmp(device, "mgmt") &&
					    strcmp(device, "lo"))
						strange++;
				}
				pthread_mutex_unlock(&slot->is_watched);
			}
	return unused;
}

static void open_slot(struct worker *worker, struct slot *slot)
{
	slot->type = any_of(worker, 2) ? SOCK_STREAM : SOCK_DGRAM;
	slot->state = FRESH;
	slot->place = "prod";
	slot->registered = 0;
	slot->is_disarmed = false;
	slot->fd = socket_for("0.0.0.0", slot->type);
}

static void close_slot(struct worker *worker, struct slot *slot)
{
	/* A copy in a child would keep it. */
	if (slot->registered)
		WORKS(epoll_ctl(worker->epoll, EPOLL_CTL_DEL, slot->fd, NULL));
	pthread_mutex_lock(&slot->is_watched);
	close(slot->fd);
	slot->fd = -1;
	pthread_mutex_unlock(&slot->is_watched);
	slot->state = CLOSED;
}

static void move(struct slot *slot, const char *place)
{
	moves += strcmp(slot->place, place) != 0;
	slot->place = place;
}

/* Whether it would have to be replaced but cannot be. */
static bool is_stuck(const struct slot *slot, const char *place)
{
	return world == PRELOADED && !is_privileged && slot->is_disarmed && strcmp(slot->place, place) != 0;
}

static void try_bind(struct worker *worker, struct slot *slot)
{
	static const struct { const char *ip, *place; } ADDRESSES[] = {
		{ "0.0.0.0", "prod" }, { "0.0.0.0", "mgmt" }, { "127.0.0.1", "lo" },
		{ "10.99.1.1", "mgmt" }, { "10.1.1.1", "prod" },
	};
	unsigned int which = any_of(worker, 5);
	/* Each thread has ports of its own. */
	int port = which == 1 ? 5380 + 100 * worker->number + (int)any_of(worker, 100) : 0;
	const char *place = which == 1 && slot->type == SOCK_DGRAM ? "prod" : ADDRESSES[which].place;
	int result;

	CONTEXT("bind() of a socket of type %d and state %d to %s port %d", slot->type, slot->state,
		ADDRESSES[which].ip, port);
	result = bind_at(slot->fd, ADDRESSES[which].ip, port);
	if (slot->state == FRESH && is_stuck(slot, place)) {
		EQ(result, -1);
		EQ(errno, EPERM);
	} else if (slot->state == FRESH) {
		if (result == 0) {
			move(slot, place);
			slot->state = which < 2 ? WILDCARD : ADDRESS;
		} else if (world == PRELOADED) {
			TRUE(port && errno == EADDRINUSE);
		}
	} else if (world == PRELOADED) {
		EQ(result, -1);
		/* In a VRF the address is checked first. */
		TRUE(errno == EINVAL || errno == EADDRNOTAVAIL ||
		     (errno == EPERM && !is_privileged && strcmp(slot->place, place) != 0));
	}
}

static void try_connect(struct worker *worker, struct slot *slot)
{
	enum { REFUSED, UNREACHABLE, MADE, GOES_ON };
	static const struct { const char *ip, *place; int port, result; } PEERS[] = {
		{ "127.0.0.1", "lo", 1, REFUSED }, { "127.0.0.1", "lo", 0, MADE },
		{ "224.0.0.9", "prod", 9, UNREACHABLE }, { "10.99.1.2", "mgmt", 9, GOES_ON },
		{ "10.1.1.2", "prod", 9, GOES_ON },
	};
	static const int ERRNOS[] = { ECONNREFUSED, ENETUNREACH, 0, EINPROGRESS };
	unsigned int which = any_of(worker, 5);
	const char *place = PEERS[which].place;
	bool stays = strcmp(place, slot->place) == 0, is_stream = slot->type == SOCK_STREAM;
	int result, error;

	if (which == 2 && (!is_stream || slot->state == ADDRESS))
		return;
	fcntl(slot->fd, F_SETFL, PEERS[which].result == GOES_ON ? O_NONBLOCK : 0);
	result = connect_at(slot->fd, PEERS[which].ip, PEERS[which].port ? PEERS[which].port : lo_port);
	error = errno;
	CONTEXT("connect() of a socket of type %d and state %d on %s to %s port %d", slot->type, slot->state,
		slot->place, PEERS[which].ip, PEERS[which].port);
	if (world != PRELOADED) {
		/* The next call waits for a connection that is being made. */
		close_slot(worker, slot);
		open_slot(worker, slot);
	} else if (slot->state == BUSY && is_stream) {
		EQ(result, -1);
		EQ(error, EISCONN);
	} else if (slot->state == BUSY && !stays) {
		EQ(result, -1);
		EQ(error, EPERM);
	} else if (slot->state == ADDRESS && !stays) {
		EQ(result, -1);
		EQ(error, EADDRNOTAVAIL);
	} else if (is_stuck(slot, place) || (slot->state == WILDCARD && !stays && !is_privileged && error == EPERM)) {
		/* Or its port is taken there. */
		EQ(result, -1);
		EQ(error, EPERM);
	} else if (is_stream && slot->state == WILDCARD && error == EADDRNOTAVAIL) {
		/* The same two ports were connected a moment ago (TIME_WAIT). */
		close_slot(worker, slot);
		open_slot(worker, slot);
	} else if (!is_stream || PEERS[which].result == MADE) {
		EQ(result, 0);
		move(slot, place);
		slot->state = BUSY;
	} else {
		EQ(result, -1);
		EQ(error, ERRNOS[PEERS[which].result]);
		if (PEERS[which].result == GOES_ON)
			move(slot, place);
		/* It cannot go back while a copy in a child has its port there. */
		if (!is_privileged && slot->state == WILDCARD && strcmp(device_of(slot->fd), place) == 0)
			slot->place = place;
		STR(device_of(slot->fd), slot->place);
		/*
		 * The result of a connection that is being made depends on timing. One that was refused gives
		 * a port of the kernel's choice back, and the socket can be bound again.
		 */
		if (PEERS[which].result == GOES_ON ||
		    (PEERS[which].result == REFUSED && slot->state != FRESH)) {
			close_slot(worker, slot);
			open_slot(worker, slot);
		}
	}
}

static void change_registration(struct worker *worker, struct slot *slot)
{
	static const unsigned int KINDS[] = { 0, EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE };
	struct epoll_event event = { .events = EPOLLOUT | KINDS[any_of(worker, 4)],
				     .data.u64 = (unsigned long long)(slot - worker->slots) };

	WORKS(epoll_ctl(worker->epoll, slot->registered ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, slot->fd, &event));
	slot->registered = slot->registered ? 0 : event.events;
	slot->is_disarmed = false;
}

static void wait_for_events(struct worker *worker)
{
	struct epoll_event events[SLOTS];
	int count = epoll_wait(worker->epoll, events, SLOTS, 0);

	for (int i = 0; i < count; i++) {
		struct slot *slot = &worker->slots[events[i].data.u64 % SLOTS];

		TRUE(events[i].data.u64 < SLOTS && slot->registered && !slot->is_disarmed);
		slot->is_disarmed = slot->registered & EPOLLONESHOT;
	}
}

static void is_registered(struct worker *worker, struct slot *slot)
{
	struct epoll_event event = { .events = EPOLLIN };
	int result = epoll_ctl(worker->epoll, EPOLL_CTL_ADD, slot->fd, &event);

	if (slot->registered) {
		EQ(result, -1);
		EQ(errno, EEXIST);
	} else {
		EQ(result, 0);
		WORKS(epoll_ctl(worker->epoll, EPOLL_CTL_DEL, slot->fd, NULL));
	}
}

static void try_others(struct worker *worker, struct slot *slot)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int result;

	switch (any_of(worker, 64)) {
	case 0 ... 7:
		CONTEXT("epoll_wait()");
		wait_for_events(worker);
		return;
	case 8 ... 16:
		CONTEXT("epoll_ctl() where events %#x are registered", slot->registered);
		change_registration(worker, slot);
		return;
	case 17 ... 24:
		if (slot->type == SOCK_STREAM && slot->state != BUSY) {
			CONTEXT("listen() in state %d", slot->state);
			result = listen(slot->fd, 1);
			TRUE(result == 0 || world == BASELINE);
			slot->state = BUSY;
		}
		return;
	case 25 ... 36:
		if (slot->type == SOCK_DGRAM) {
			CONTEXT("connect(AF_UNSPEC) in state %d", slot->state);
			result = connect(slot->fd, &nobody, sizeof(nobody));
			if (world == PRELOADED)
				EQ(result, slot->state == BUSY ? -1 : 0);
		}
		return;
	case 37 ... 44:
		if (slot->type == SOCK_DGRAM && slot->state == BUSY)
			(void)send(slot->fd, "x", 1, MSG_NOSIGNAL);
		return;
	}
}

static void try_call(struct worker *worker, struct slot *slot)
{
	if (any_of(worker, 5) < 2)
		try_bind(worker, slot);
	else
		try_connect(worker, slot);
}

static bool is_same_file(int a, int b)
{
	struct stat first, second;

	NEED(fstat(a, &first) == 0 && fstat(b, &second) == 0);
	return first.st_ino == second.st_ino;
}

/* A call while there is another descriptor of the socket: here, in a child, or in a message. */
static void try_with_copy(struct worker *worker, struct slot *slot)
{
	int fd = slot->fd, copy, ends[2];
	const char *place = slot->place;
	char byte;
	pid_t pid;

	switch (any_of(worker, 16)) {
	case 0:
		NEED(pipe2(ends, O_CLOEXEC) == 0);
		pid = fork();
		if (pid == 0) {
			close(ends[1]);
			/* Until the other end is closed here and in whoever else was forked meanwhile. */
			(void)!read(ends[0], &byte, 1);
			if (world == PRELOADED)
				TRUE(strcmp(device_of(fd), place) == 0 || is_privileged);
			TRUE(world == BASELINE || device_of(fd)[0]);
			_exit(!all_well());
		}
		close(ends[0]);
		try_call(worker, slot);
		NEED(write(ends[1], "x", 1) == 1);
		close(ends[1]);
		EQ(wait_status(pid), 0);
		return;
	case 1 ... 6:
		NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
		send_fd(ends[0], fd);
		try_call(worker, slot);
		copy = receive_fd(ends[1]);
		close(ends[0]), close(ends[1]);
		TRUE(world == BASELINE || device_of(copy)[0]);
		break;
	default:
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		NEED(copy >= 0);
		try_call(worker, slot);
		/* The model may have closed it. */
		TRUE(slot->state == FRESH || is_same_file(slot->fd, copy));
		TRUE(world == BASELINE || device_of(copy)[0]);
	}
	close(copy);
}

static void *works(void *argument)
{
	struct worker *worker = argument;
	for (long i = 0; i < steps && all_well(); i++) {
		struct slot *slot = &worker->slots[any_of(worker, SLOTS)];

		switch (any_of(worker, 8)) {
		case 0:
			close_slot(worker, slot);
			open_slot(worker, slot);
			CONTEXT("socket()");
			break;
		case 1 ... 4:
			try_call(worker, slot);
			break;
		case 5:
			try_with_copy(worker, slot);
			break;
		default:
			try_others(worker, slot);
		}
		STR(device_of(slot->fd), if_ruled(slot->place));
		is_registered(worker, slot);
	}
	return NULL;
}

static void follow_the_model(void)
{
	const char *asked = getenv("VRFBIND_TEST_SEED"), *many = getenv("VRFBIND_TEST_STEPS");
	unsigned long long seed;
	int listener, pid_of_acceptor;
	pthread_t watcher;

	NEED(getrandom(&seed, sizeof(seed), 0) == sizeof(seed));
	if (asked)
		seed = strtoull(asked, NULL, 0);
	steps = many ? atol(many) / THREADS : 5000;
	own_places();
	if (!is_privileged)
		give_up_capabilities();
	/* A server that accepts every connection and closes it. */
	listener = listener_at("127.0.0.1");
	lo_port = port_of(listener);
	pid_of_acceptor = fork();
	if (pid_of_acceptor == 0)
		for (;;)
			close(accept(listener, NULL, NULL));
	close(listener);
	NOTE("VRFBIND_TEST_SEED=%#llx\n", seed);
	for (int w = 0; w < THREADS; w++) {
		workers[w].number = w;
		workers[w].epoll = epoll_create1(EPOLL_CLOEXEC);
		workers[w].random = (seed + (unsigned long long)w) | 1;
		for (int s = 0; s < SLOTS; s++) {
			pthread_mutex_init(&workers[w].slots[s].is_watched, NULL);
			open_slot(&workers[w], &workers[w].slots[s]);
		}
	}
	NEED(pthread_create(&watcher, NULL, watches, NULL) == 0);
	for (int w = 0; w < THREADS; w++)
		NEED(pthread_create(&workers[w].thread, NULL, works, &workers[w]) == 0);
	for (int w = 0; w < THREADS; w++)
		pthread_join(workers[w].thread, NULL);
	is_over = true;
	pthread_join(watcher, NULL);
	kill(pid_of_acceptor, SIGKILL);
	waitpid(pid_of_acceptor, NULL, 0);
	NOTE("%ld steps, %ld moves that lasted, %ld looks\n", steps * THREADS, (long)moves, (long)looks);
	if (world == PRELOADED)
		EQ((long)strange, 0);
	else
		TRUE(strange == looks);
	TRUE(looks > 0);
}

static void with_capabilities(void)
{
	is_privileged = true;
	follow_the_model();
}

static void without_capabilities(void)
{
	follow_the_model();
}

static const struct scenario SCENARIOS[] = {
	{ "after each step each socket has the model's device, and at no time another one", with_capabilities,
	  .vrf = "prod", .also = RULES },
	{ "it does without capabilities, where sockets are replaced", without_capabilities, .vrf = "prod", .also = RULES },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
