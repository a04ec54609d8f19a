/*
 * model.c - random sequences of calls from several threads, against a model of where each socket is
 *
 * Each thread has sockets of its own and does one thing after the other with one of them: socket, bind, connect, listen, send,
 * connect(AF_UNSPEC), dup, SCM_RIGHTS, fork, epoll, close. After each step the socket has the device that the model says, by
 * getsockopt(), and the call has succeeded or failed as it says. Another thread looks at all sockets all the time: each is
 * on one of the three devices.
 *
 * VRFBIND_TEST_SEED repeats a run, VRFBIND_TEST_STEPS makes it longer. Each thread is fully determined by the seed, but for
 * ports that are taken. Without the library no socket has a device, whatever the model says.
 */
#include "places.h"
#include "pass_fd.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/random.h>

#define RULES "VRFBIND_RULES=bind tcp *:5380-5999 mgmt; bind 10.99.0.0/16 mgmt; connect 10.99.0.0/16 mgmt; loopback lo"

enum { THREADS = 4, SLOTS = 8 };

enum state { CLOSED, FRESH, WILDCARD, ADDRESS, BUSY };

struct slot {
	pthread_mutex_t is_watched;	/* Held while the descriptor is looked at, and while it is closed. */
	_Atomic int fd;
	enum state state;
	int type;
	const char *place;
};

static struct worker {
	struct slot slots[SLOTS];
	unsigned long long random;
	pthread_t thread;
	int number;
} workers[THREADS];

static long steps;
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
	slot->fd = socket_for("0.0.0.0", slot->type);
}

static void close_slot(struct slot *slot)
{
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
	if (slot->state == FRESH) {
		if (result == 0) {
			move(slot, place);
			slot->state = which < 2 ? WILDCARD : ADDRESS;
		} else if (world == PRELOADED) {
			TRUE(port && errno == EADDRINUSE);
		}
	} else if (world == PRELOADED) {
		EQ(result, -1);
		/* In a VRF the address is looked at first. */
		TRUE(errno == EINVAL || errno == EADDRNOTAVAIL);
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
		/* A connection that is being made is waited for by the next call. */
		close_slot(slot);
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
	} else if (!is_stream || PEERS[which].result == MADE) {
		EQ(result, 0);
		move(slot, place);
		slot->state = BUSY;
	} else {
		EQ(result, -1);
		EQ(error, ERRNOS[PEERS[which].result]);
		if (PEERS[which].result == GOES_ON)
			move(slot, place);
		STR(device_of(slot->fd), slot->place);
		/*
		 * What becomes of a connection that is being made is a matter of time. One that was refused gives
		 * a port of the kernel's choice back, and the socket can be bound again.
		 */
		if (PEERS[which].result == GOES_ON ||
		    (PEERS[which].result == REFUSED && slot->state != FRESH)) {
			close_slot(slot);
			open_slot(worker, slot);
		}
	}
}

static void try_others(struct worker *worker, struct slot *slot)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int fd, ends[2], result;
	pid_t pid;

	switch (any_of(worker, 64)) {
	case 0:
		CONTEXT("fork()");
		pid = fork();
		if (pid == 0)
			_exit(strcmp(device_of(slot->fd), if_ruled(slot->place)) != 0);
		EQ(wait_status(pid), 0);
		return;
	case 1 ... 8:
		CONTEXT("SCM_RIGHTS");
		NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
		send_fd(ends[0], slot->fd);
		fd = receive_fd(ends[1]);
		STR(device_of(fd), if_ruled(slot->place));
		close(fd), close(ends[0]), close(ends[1]);
		return;
	case 9 ... 16:
		CONTEXT("epoll");
		fd = epoll_create1(0);
		NEED(fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, slot->fd, &event) == 0);
		close(fd);
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
	default:
		CONTEXT("dup()");
		fd = dup(slot->fd);
		NEED(fd >= 0);
		STR(device_of(fd), if_ruled(slot->place));
		close(fd);
	}
}

static void *works(void *argument)
{
	struct worker *worker = argument;

	for (long i = 0; i < steps && all_well(); i++) {
		struct slot *slot = &worker->slots[any_of(worker, SLOTS)];

		switch (any_of(worker, 8)) {
		case 0:
			close_slot(slot);
			open_slot(worker, slot);
			CONTEXT("socket()");
			break;
		case 1 ... 2:
			try_bind(worker, slot);
			break;
		case 3 ... 5:
			try_connect(worker, slot);
			break;
		default:
			try_others(worker, slot);
		}
		STR(device_of(slot->fd), if_ruled(slot->place));
	}
	return NULL;
}

static void follows_the_model(void)
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
	/* Somebody to connect to, who lets everybody in and out again. */
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

static const struct scenario SCENARIOS[] = {
	{ "after each step each socket has the model's device, and at no time another one", follows_the_model,
	  .vrf = "prod", .also = RULES },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
