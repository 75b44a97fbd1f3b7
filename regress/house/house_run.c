/*
 * Tests only. A house around a real keyd (house.h): starting, stopping,
 * killing it, and waiting for what it says.
 */

#include <sys/types.h>
#include <sys/wait.h>

#include <err.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/proc/privileges.h"
#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "regress/house/house.h"

static void
on_closed(void *arg, const char *reason)
{
	struct ipc **door = arg;

	(void)reason;
	*door = NULL;
}

/* The door's arg is the house; the close callback finds the door by it. */
static void
on_parent_closed(void *arg, const char *reason)
{
	on_closed(&((struct house *)arg)->parent, reason);
}

static void
on_router_closed(void *arg, const char *reason)
{
	on_closed(&((struct house *)arg)->router, reason);
}

static void
on_mesh_closed(void *arg, const char *reason)
{
	on_closed(&((struct house *)arg)->mesh, reason);
}

static void
on_control_closed(void *arg, const char *reason)
{
	on_closed(&((struct house *)arg)->control, reason);
}

static const struct {
	enum process process;
	size_t door;
	void (*closed)(void *, const char *);
} doors[] = {
	{ PROCESS_ROUTER, offsetof(struct house, router), on_router_closed },
	{ PROCESS_MESH, offsetof(struct house, mesh), on_mesh_closed },
	{ PROCESS_CONTROL, offsetof(struct house, control), on_control_closed },
};

static struct ipc *
open_door(struct house *house, int fd, enum process self,
    void (*closed)(void *, const char *))
{
	struct ipc_callbacks callbacks = { .handlers = house_handlers,
		.closed = closed };
	struct ipc *ipc;

	ipc = ipc_new(house->base, fd, self, PROCESS_KEYD, &callbacks, house);
	if (ipc == NULL)
		err(1, "house: door");
	return (ipc);
}

static void
exec_keyd(struct house *house, int fd)
{
	char *const none[] = { NULL };
	char *const *environment = house->environment;
	const struct passwd *user;
	const char *what;
	char *argv[5];
	int keep, log;

	if (house->log != NULL &&
	    (log = open(house->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
		 0600)) != -1)
		(void)dup2(log, STDERR_FILENO);
	/* As root, what the parent does: a user of its own, no capability. */
	privileges_limits();
	if (geteuid() == 0 &&
	    ((user = getpwnam("_hermes_keyd")) == NULL ||
		chown(house->config.keystore.path, user->pw_uid,
		    user->pw_gid) == -1 ||
		privileges_drop(user->pw_uid, user->pw_gid, &what) == -1))
		_exit(126);

	argv[0] = (char *)house->program;
	argv[1] = (char *)"-d";
	argv[2] = (char *)"-P";
	argv[3] = (char *)"keyd";
	argv[4] = NULL;
	if ((keep = fcntl(fd, F_DUPFD, 10)) == -1 ||
	    dup2(keep, PROC_PARENT_FD) == -1)
		_exit(127);
	(void)close(keep);
	(void)execve(
	    house->program, argv, environment == NULL ? none : environment);
	_exit(127);
}

/* A pipe to read it from. */
static int
passphrase_fd(const char *passphrase)
{
	int fds[2];
	size_t length = strlen(passphrase);

	if (pipe2(fds, O_CLOEXEC) == -1 ||
	    write(fds[1], passphrase, length) != (ssize_t)length)
		err(1, "house: passphrase");
	(void)close(fds[1]);
	return (fds[0]);
}

/* keyd gets a door, of which we have the other end. */
static void
give_door(struct house *house, size_t which)
{
	struct ipc_door door = { .peer = doors[which].process };
	struct ipc **slot =
	    (struct ipc **)(void *)((char *)house + doors[which].door);
	int fds[2];

	if (ipc_pair(fds) == -1)
		err(1, "house: pair");
	*slot =
	    open_door(house, fds[0], doors[which].process, doors[which].closed);
	ipc_send_fd(house->parent, IPC_DOOR, &door, fds[1]);
}

/* One turn of the event loop, of half a second at most. */
static void
turn(struct house *house)
{
	struct timeval most = { 0, 500000 };

	(void)event_base_loopexit(house->base, &most);
	(void)event_base_loop(house->base, EVLOOP_ONCE);
	house_progress(house);
	house_progress(house->peer);
}

int
house_start(struct house *house)
{
	struct ipc_request request = { 0 };
	struct ipc_empty empty = { 0 };
	int64_t deadline = clock_monotonic() + HOUSE_PATIENCE;
	size_t i;
	int fds[2];

	if (ipc_pair(fds) == -1)
		err(1, "house: pair");
	house->ready = house->shut = house->records_end = 0;
	house->records = 0;
	for (i = 0; i < house->chat_count; i++) {
		house->chats[i].version = house->chats[i].ready = 0;
		house->chats[i].synced = 0;
	}
	/* Not the node's key: the peer may take up an offer meanwhile, and with
	 * another node's name it would be a chat that has moved. */
	house->identity.unlocked = 0;
	if ((house->pid = fork()) == -1)
		err(1, "house: fork");
	if (house->pid == 0)
		exec_keyd(house, fds[1]);
	(void)close(fds[1]);
	house->parent =
	    open_door(house, fds[0], PROCESS_PARENT, on_parent_closed);
	ipc_send(house->parent, IPC_CONFIG, &house->config, NULL, 0);
	for (i = 0; i < sizeof(doors) / sizeof(doors[0]); i++)
		give_door(house, i);
	ipc_send_fd(house->parent, IPC_PASSPHRASE, &request,
	    passphrase_fd(house->passphrase));
	ipc_send(house->parent, IPC_GO, &empty, NULL, 0);
	while (!house->records_end || !house->identity.unlocked) {
		turn(house);
		if (house->parent == NULL || clock_monotonic() > deadline) {
			house_kill(house);
			return (-1);
		}
	}
	return (0);
}

void
house_new_control(struct house *house)
{
	ipc_free(house->control);
	give_door(house, 2);
}

/* Take in what keyd had sent before it ended, then let go. */
static void
house_doors_close(struct house *house)
{
	int64_t deadline = clock_monotonic() + HOUSE_PATIENCE;

	while ((house->parent != NULL || house->router != NULL ||
		   house->mesh != NULL || house->control != NULL) &&
	       clock_monotonic() < deadline)
		turn(house);
	ipc_free(house->parent);
	ipc_free(house->router);
	ipc_free(house->mesh);
	ipc_free(house->control);
	house->parent = house->router = house->mesh = house->control = NULL;
}

void
house_kill(struct house *house)
{
	if (house->pid > 0) {
		(void)kill(house->pid, SIGKILL);
		(void)waitpid(house->pid, &house->status, 0);
		house->pid = 0;
	}
	house_doors_close(house);
}

int
house_stop(struct house *house)
{
	return (house_stop_within(house, CLOCK_SECOND));
}

int
house_stop_within(struct house *house, int64_t grace)
{
	struct ipc_shutdown shutdown = { .grace = grace };

	if (house->parent != NULL)
		ipc_send(house->parent, IPC_SHUTDOWN, &shutdown, NULL, 0);
	while (house->parent != NULL)
		turn(house);
	(void)waitpid(house->pid, &house->status, 0);
	house->pid = 0;
	house_doors_close(house);
	return (WIFEXITED(house->status) ? WEXITSTATUS(house->status) : -1);
}

int
house_wait_for(
    struct house *house, const void *flag, size_t size, uint64_t value)
{
	int64_t deadline = clock_monotonic() + HOUSE_PATIENCE;
	uint64_t now = 0;
	uint32_t half;

	for (;;) {
		if (size == sizeof(half)) {
			memcpy(&half, flag, sizeof(half));
			now = half;
		} else
			memcpy(&now, flag, sizeof(now));
		if (now >= value)
			return (0);
		turn(house);
		if (house->parent == NULL || clock_monotonic() > deadline)
			return (-1);
	}
}

struct house_chat *
house_chat_ready(
    struct house *house, const char *chat_id, uint32_t version, uint32_t flags)
{
	struct house_chat *chat, *other;
	uint32_t ready;
	int64_t deadline = clock_monotonic() + HOUSE_PATIENCE;

	if (house->router == NULL)
		return (NULL);
	chat = house_chat_start(house, chat_id, version, flags);
	ready = chat->ready;
	/* An end that is in that epoch already need not hear of it again. */
	while ((other = house_chat_other(house, chat)) == NULL ||
	       chat->ready == ready || other->ready == 0 ||
	       other->version != chat->version) {
		turn(house);
		if (house->parent == NULL || clock_monotonic() > deadline)
			return (NULL);
	}
	return (chat);
}

static int
can_talk(const struct house *house)
{
	return (house->parent != NULL && house->router != NULL &&
		house->peer->parent != NULL && house->peer->router != NULL);
}

int
house_talk(
    struct house *house, struct house_chat *chat, uint64_t last, unsigned burst)
{
	struct house_chat *other = house_chat_other(house, chat);
	uint8_t payload[HOUSE_PAYLOAD];
	uint64_t goal;
	int64_t deadline = clock_monotonic() + HOUSE_PATIENCE;

	if (other == NULL)
		return (-1);
	while (other->delivered < last) {
		if (!can_talk(house) || clock_monotonic() > deadline)
			return (-1);
		goal = other->delivered + burst < last
			   ? other->delivered + burst
			   : last;
		/* READY may set accepted back at any time. */
		while (chat->accepted < goal) {
			house_payload(house, chat, chat->accepted + 1, payload);
			house_send(house, chat, payload, sizeof(payload));
		}
		turn(house);
	}
	return (0);
}

int
house_settle(struct house *house)
{
	struct ipc_sign_digest digest = { .length = 32 };
	uint64_t before = house->signed_digests;

	if (house->router == NULL || house->mesh == NULL)
		return (-1);
	ipc_send(house->router, IPC_SIGN_DIGEST, &digest, NULL, 0);
	ipc_send(house->mesh, IPC_SIGN_DIGEST, &digest, NULL, 0);
	return (house_wait(house, &house->signed_digests, before + 2));
}

/* Until *answered is id. 0 or -1. */
static int
house_await(struct house *house, const uint64_t *answered, uint64_t id)
{
	int64_t deadline = clock_monotonic() + HOUSE_PATIENCE;

	while (*answered != id) {
		turn(house);
		if (house->parent == NULL || clock_monotonic() > deadline)
			return (-1);
	}
	return (0);
}

int
house_ask(struct house *house, enum ipc_type type, const void *payload,
    const uint64_t *answered, uint64_t id)
{
	if (house->control == NULL)
		return (-1);
	ipc_send(house->control, type, payload, NULL, 0);
	return (house_await(house, answered, id));
}

static uint64_t
next_id(void)
{
	static uint64_t id = 1000;

	return (++id);
}

int
house_erase(struct house *house)
{
	struct ipc_request request = { .id = next_id() };

	return (house_ask(house, IPC_ERASE, &request, &house->result.id,
		    request.id) == 0 &&
			house->result.ok
		    ? 0
		    : -1);
}

int
house_mesh_create(struct house *house)
{
	struct ipc_request request = { .id = next_id() };

	return (house_ask(house, IPC_MESH_CREATE, &request, &house->result.id,
		    request.id) == 0 &&
			house->result.ok
		    ? 0
		    : -1);
}

int
house_give(struct house *house, enum ipc_type type, const char *passphrase)
{
	struct ipc_request request = { .id = next_id() };

	if (passphrase == NULL)
		return (0);
	if (house->control == NULL)
		return (-1);
	ipc_send_fd(house->control, type, &request, passphrase_fd(passphrase));
	return (house_await(house, &house->result.id, request.id));
}

int
house_prove(struct house *house, const char *store, const char *other,
    enum ipc_type type, int fd)
{
	union {
		struct ipc_request request;
		struct ipc_restore restore;
	} payload = { .restore = { .id = next_id(), .force = 1 } };

	if (house_give(house, IPC_STORE_PASSPHRASE, store) == -1 ||
	    house_give(house, IPC_OTHER_PASSPHRASE, other) == -1 ||
	    house->control == NULL)
		return (-1);
	if (type != IPC_RESTORE)
		payload.restore.force = 0;
	if (fd != -1)
		ipc_send_fd(house->control, type, &payload, fd);
	else
		ipc_send(house->control, type, &payload, NULL, 0);
	return (
	    house_await(house, &house->result.id, payload.request.id) == 0 &&
		    house->result.ok
		? 0
		: -1);
}

int
house_metrics(struct house *house)
{
	struct ipc_request request = { .id = next_id() };

	return (house_ask(
	    house, IPC_METRICS_GET, &request, &house->metrics_id, request.id));
}

void
house_free(struct house *house)
{
	house_kill(house);
	house->progress = NULL;
	table_free(&house->chat_table);
	free(house->chats);
	free(house->metrics);
	house->chats = NULL;
	house->metrics = NULL;
}
