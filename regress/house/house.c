/* Tests only. A house around a real keyd; see house.h. */

#include <sys/types.h>
#include <sys/wait.h>

#include <err.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/proc/privileges.h"
#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "regress/house/house.h"

#define HOUSE_PATIENCE	(30 * CLOCK_SECOND)

void
house_init(struct house *house, struct event_base *base, const char *program,
    const char *node_id, const char *path, const char *passphrase,
    const char *app_seed)
{
	struct config	*config = &house->config;
	uint8_t		 seed[crypto_sign_SEEDBYTES];

	memset(house, 0, sizeof(*house));
	house->base = base;
	house->program = program;
	house->passphrase = passphrase;
	house->peer = house;
	config_default(config);
	config->keystore.argon2_ops = 1;
	config->keystore.argon2_memory = 8 * 1024 * 1024;
	(void)snprintf(config->node_id, sizeof(config->node_id), "%s",
	    node_id);
	(void)snprintf(config->keystore.path, sizeof(config->keystore.path),
	    "%s", path);
	(void)snprintf(config->advertise_mesh, sizeof(config->advertise_mesh),
	    "127.0.0.1:1");
	(void)crypto_generichash(seed, sizeof(seed),
	    (const uint8_t *)app_seed, strlen(app_seed), NULL, 0);
	(void)crypto_sign_seed_keypair(house->app_key, house->app_secret,
	    seed);
	house->chats = calloc(HOUSE_CHATS, sizeof(*house->chats));
	if (house->chats == NULL)
		err(1, "house");
}

void
house_link(struct house *a, struct house *b)
{
	a->peer = b;
	b->peer = a;
}

struct house_chat *
house_chat_find(struct house *house, const struct chat_key *key)
{
	size_t	i, n = house->chat_count;

	/* Chats are used in runs: the one asked for last is near. */
	static size_t	near;

	for (i = 0; i < n; i++) {
		struct house_chat *chat = &house->chats[(near + i) % n];

		if (memcmp(&chat->key, key, sizeof(*key)) == 0) {
			near = (near + i) % n;
			return (chat);
		}
	}
	return (NULL);
}

static struct house_chat *
house_chat_add(struct house *house, const struct chat_key *key,
    const char *chat_id)
{
	struct house_chat	*chat = house_chat_find(house, key);

	if (chat != NULL)
		return (chat);
	if (house->chat_count == HOUSE_CHATS)
		errx(1, "house: too many chats");
	chat = &house->chats[house->chat_count++];
	chat->key = *key;
	(void)snprintf(chat->chat_id, sizeof(chat->chat_id), "%s", chat_id);
	return (chat);
}

void
house_attest(const struct house *house, struct attestation *out)
{
	uint8_t	bytes[ATTESTATION_SIGNED_MAX];
	size_t	length;

	memset(out, 0, sizeof(*out));
	out->kind = ATTESTATION_V2;
	memcpy(out->app_key, house->app_key, KEY_SIZE);
	memcpy(out->node_key, house->identity.node_key, KEY_SIZE);
	memcpy(out->node_id, house->config.node_id, NODE_ID_SIZE);
	randombytes_buf(out->nonce, sizeof(out->nonce));
	out->issued_at = clock_wall();
	out->expires_at = out->issued_at + 3600 * CLOCK_SECOND;
	length = attestation_signed_bytes(out, bytes);
	(void)crypto_sign_detached(out->signature, NULL, bytes, length,
	    house->app_secret);
}

/* --- the router's part --------------------------------------------------- */

static void
send_start(struct house *house, struct house_chat *chat, uint32_t version,
    uint32_t flags)
{
	struct ipc_chat_start	start;

	memset(&start, 0, sizeof(start));
	start.key = chat->key;
	memcpy(start.chat_id, chat->chat_id, sizeof(start.chat_id));
	house_attest(house, &start.local);
	house_attest(house->peer, &start.peer);
	start.version = version;
	start.flags = flags;
	start.delivered = chat->delivered;
	start.acked = chat->acked;
	ipc_send(house->router, IPC_CHAT_START, &start, NULL, 0);
}

struct house_chat *
house_chat_start(struct house *house, const char *chat_id, uint32_t version,
    uint32_t flags)
{
	struct house_chat	*chat;
	struct chat_key		 key;

	if (chat_key_make(&key, chat_id, house->app_key,
	    house->peer->app_key) == -1)
		err(1, "house: %s", chat_id);
	chat = house_chat_add(house, &key, chat_id);
	send_start(house, chat, version, flags);
	return (chat);
}

static void
send_seal(struct house *house, struct house_chat *chat, uint64_t sequence,
    const void *payload, size_t length)
{
	struct ipc_seal	seal = { .key = chat->key, .sequence = sequence };

	ipc_send(house->router, IPC_SEAL, &seal, payload, length);
}

void
house_send(struct house *house, struct house_chat *chat, const void *payload,
    size_t length)
{
	send_seal(house, chat, ++chat->accepted, payload, length);
}

void
house_retry(struct house *house, struct house_chat *chat, uint64_t sequence,
    const void *payload, size_t length)
{
	send_seal(house, chat, sequence, payload, length);
}

static void
on_record(void *arg, const struct ipc_message *message)
{
	const struct ipc_chat_record	*record = message->payload;
	struct house			*house = arg;
	struct house_chat		*chat;

	chat = house_chat_add(house, &record->key, record->chat_id);
	chat->version = record->version;
	chat->ready = 0;
	house->records++;
}

static void
on_records_end(void *arg, const struct ipc_message *message)
{
	(void)message;
	((struct house *)arg)->records_end = 1;
}

static void
on_offer(void *arg, const struct ipc_message *message)
{
	const struct ipc_chat_offer	*offer = message->payload;
	struct house			*house = arg;
	struct house_chat		*chat;

	chat = house_chat_add(house, &offer->key, offer->chat_id);
	chat->ended = 0;
	send_start(house, chat, 0, CHAT_AUTO);
}

static void
on_ready(void *arg, const struct ipc_message *message)
{
	const struct ipc_chat_ready	*ready = message->payload;
	struct house_chat		*chat;

	chat = house_chat_find(arg, &ready->key);
	if (chat == NULL)
		errx(1, "house: ready for an unknown chat");
	if (ready->first)
		chat->accepted = chat->acked = chat->delivered = 0;
	chat->version = ready->version;
	chat->ready++;
	if (ready->resumed) {
		if (ready->peer_delivered > chat->acked)
			chat->acked = ready->peer_delivered;
		if (ready->peer_acked > chat->delivered)
			chat->delivered = ready->peer_acked;
	}
}

static void
on_error(void *arg, const struct ipc_message *message)
{
	const struct ipc_chat_code	*code = message->payload;
	struct house_chat		*chat;

	chat = house_chat_find(arg, &code->key);
	if (chat != NULL)
		chat->code = code->code;
}

static void
on_ended(void *arg, const struct ipc_message *message)
{
	const struct ipc_chat_end	*end = message->payload;
	struct house_chat		*chat;

	chat = house_chat_find(arg, &end->key);
	if (chat != NULL) {
		chat->ended = (uint32_t)end->status;
		chat->version = 0;
	}
}

static void
on_opened(void *arg, const struct ipc_message *message)
{
	const struct ipc_opened		*opened = message->payload;
	struct ipc_chat_progress	 progress;
	struct house			*house = arg;
	struct house_chat		*chat, *other;

	chat = house_chat_find(house, &opened->key);
	if (chat == NULL)
		errx(1, "house: a message of an unknown chat");
	house->opened++;
	if (opened->sequence <= chat->delivered) {
		chat->repeats++;
		return;
	}
	if (opened->sequence != chat->delivered + 1) {
		chat->out_of_order++;
		return;
	}
	chat->delivered = opened->sequence;
	memset(&progress, 0, sizeof(progress));
	progress.key = chat->key;
	progress.delivered = chat->delivered;
	progress.acked = chat->acked;
	ipc_send(house->router, IPC_CHAT_PROGRESS, &progress, NULL, 0);
	/* The acknowledgement goes between the two meshes and routers. */
	if (!house->cut && !house->peer->cut) {
		struct chat_key	key = chat->key;

		key.side ^= 1;
		other = house_chat_find(house->peer, &key);
		if (other != NULL && other->acked < chat->delivered)
			other->acked = chat->delivered;
	}
}

/* --- the mesh's part ----------------------------------------------------- */

static int
no_wire(const struct house *house)
{
	return (house->cut || house->peer->cut || house->peer->mesh == NULL);
}

static void
on_setup(void *arg, const struct ipc_message *message)
{
	struct house		*house = arg;
	struct ipc_setup	 setup;

	if (no_wire(house))
		return;
	memcpy(&setup, message->payload, sizeof(setup));
	setup.key.side ^= 1;
	memcpy(setup.node, house->identity.node_key, KEY_SIZE);
	house_attest(house, &setup.peer);
	ipc_send(house->peer->mesh, IPC_SETUP_IN, &setup, message->tail,
	    message->tail_length);
}

static void
on_teardown(void *arg, const struct ipc_message *message)
{
	struct house		*house = arg;
	struct ipc_teardown	 teardown;

	if (no_wire(house))
		return;
	memcpy(&teardown, message->payload, sizeof(teardown));
	teardown.key.side ^= 1;
	memcpy(teardown.node, house->identity.node_key, KEY_SIZE);
	ipc_send(house->peer->mesh, IPC_TEARDOWN_IN, &teardown, NULL, 0);
}

static void
on_sealed(void *arg, const struct ipc_message *message)
{
	struct house		*house = arg;
	struct ipc_sealed	 sealed;

	house->sealed++;
	house->bytes_sealed += message->tail_length;
	if (house->watch_sealed != NULL)
		house->watch_sealed(house, message->payload);
	if (no_wire(house))
		return;
	memcpy(&sealed, message->payload, sizeof(sealed));
	sealed.key.side ^= 1;
	ipc_send(house->peer->mesh, IPC_OPEN, &sealed, message->tail,
	    message->tail_length);
}

/* --- everybody's --------------------------------------------------------- */

static void
on_identity(void *arg, const struct ipc_message *message)
{
	struct house	*house = arg;

	memcpy(&house->identity, message->payload, sizeof(house->identity));
}

static void
on_result(void *arg, const struct ipc_message *message)
{
	struct house	*house = arg;

	memcpy(&house->result, message->payload, sizeof(house->result));
}

static void
on_row(void *arg, const struct ipc_message *message)
{
	(void)message;
	((struct house *)arg)->rows++;
}

static void
on_up(void *arg, const struct ipc_message *message)
{
	(void)message;
	((struct house *)arg)->ready = 1;
}

static void
on_shut(void *arg, const struct ipc_message *message)
{
	(void)message;
	((struct house *)arg)->shut = 1;
}

static void
on_nothing(void *arg, const struct ipc_message *message)
{
	(void)arg;
	if (message->fd != -1)
		(void)close(message->fd);
}

static const ipc_handler handlers[IPC_TYPE_COUNT] = {
	[IPC_READY] = on_up,
	[IPC_SHUT] = on_shut,
	[IPC_BROKEN] = on_nothing,
	[IPC_IDENTITY] = on_identity,
	[IPC_TLS_CERTIFICATE] = on_nothing,
	[IPC_SIGNED_DIGEST] = on_nothing,
	[IPC_CHALLENGE_SIGNED] = on_nothing,
	[IPC_STATEMENT_SIGNED] = on_nothing,
	[IPC_REDEEMED] = on_nothing,
	[IPC_PEER] = on_nothing,
	[IPC_REVOCATION] = on_nothing,
	[IPC_CHAT_RECORD] = on_record,
	[IPC_CHAT_RECORDS_END] = on_records_end,
	[IPC_CHAT_OFFER] = on_offer,
	[IPC_CHAT_READY] = on_ready,
	[IPC_CHAT_ERROR] = on_error,
	[IPC_CHAT_ENDED] = on_ended,
	[IPC_OPENED] = on_opened,
	[IPC_SETUP_OUT] = on_setup,
	[IPC_SETUP_REFUSED] = on_nothing,
	[IPC_TEARDOWN_OUT] = on_teardown,
	[IPC_SEALED] = on_sealed,
	[IPC_ROW_RATCHET] = on_row,
	[IPC_SHOW_END] = on_result,
	[IPC_METRICS] = on_nothing,
	[IPC_TICKET] = on_nothing,
	[IPC_RESULT] = on_result,
};

static void
on_closed(void *arg, const char *reason)
{
	struct ipc	**door = arg;

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
	enum process	 process;
	size_t		 door;
	void		(*closed)(void *, const char *);
} doors[] = {
	{ PROCESS_ROUTER, offsetof(struct house, router), on_router_closed },
	{ PROCESS_MESH, offsetof(struct house, mesh), on_mesh_closed },
	{ PROCESS_CONTROL, offsetof(struct house, control),
	    on_control_closed },
};

static struct ipc *
open_door(struct house *house, int fd, enum process self,
    void (*closed)(void *, const char *))
{
	struct ipc_callbacks	 callbacks = { .handlers = handlers,
	    .closed = closed };
	struct ipc		*ipc;

	ipc = ipc_new(house->base, fd, self, PROCESS_KEYD, &callbacks, house);
	if (ipc == NULL)
		err(1, "house: door");
	return (ipc);
}

static void
exec_keyd(struct house *house, int fd)
{
	char *const	 none[] = { NULL };
	char *const	*environment = house->environment;
	const struct passwd *user;
	const char	*what;
	char		*argv[5];
	int		 keep;

	/* As root, what the parent does: a user of its own, no capability. */
	if (geteuid() == 0 && ((user = getpwnam("_hermes_keyd")) == NULL ||
	    chown(house->config.keystore.path, user->pw_uid, user->pw_gid) ==
	    -1 || privileges_drop(user->pw_uid, user->pw_gid, &what) == -1))
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
	(void)execve(house->program, argv,
	    environment == NULL ? none : environment);
	_exit(127);
}

static int
passphrase_fd(const char *passphrase)
{
	int	fds[2];
	size_t	length = strlen(passphrase);

	if (pipe2(fds, O_CLOEXEC) == -1 ||
	    write(fds[1], passphrase, length) != (ssize_t)length)
		err(1, "house: passphrase");
	(void)close(fds[1]);
	return (fds[0]);
}

/* One turn of the event loop, of half a second at most. */
static void
turn(struct house *house)
{
	struct timeval	most = { 0, 500000 };

	(void)event_base_loopexit(house->base, &most);
	(void)event_base_loop(house->base, EVLOOP_ONCE);
}

int
house_start(struct house *house)
{
	struct ipc_request	request = { 0 };
	struct ipc_empty	empty = { 0 };
	struct ipc_door		door;
	struct ipc		**slot;
	int64_t			deadline = clock_monotonic() + HOUSE_PATIENCE;
	size_t			i;
	int			fds[2];

	if (ipc_pair(fds) == -1)
		err(1, "house: pair");
	house->ready = house->shut = house->records_end = 0;
	house->records = 0;
	memset(&house->identity, 0, sizeof(house->identity));
	if ((house->pid = fork()) == -1)
		err(1, "house: fork");
	if (house->pid == 0)
		exec_keyd(house, fds[1]);
	(void)close(fds[1]);
	house->parent = open_door(house, fds[0], PROCESS_PARENT,
	    on_parent_closed);
	ipc_send(house->parent, IPC_CONFIG, &house->config, NULL, 0);
	for (i = 0; i < sizeof(doors) / sizeof(doors[0]); i++) {
		if (ipc_pair(fds) == -1)
			err(1, "house: pair");
		slot = (struct ipc **)(void *)((char *)house + doors[i].door);
		*slot = open_door(house, fds[0], doors[i].process,
		    doors[i].closed);
		door.peer = doors[i].process;
		ipc_send_fd(house->parent, IPC_DOOR, &door, fds[1]);
	}
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

static void
house_doors_close(struct house *house)
{
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
	struct ipc_shutdown	shutdown = { .grace = CLOCK_SECOND };

	ipc_send(house->parent, IPC_SHUTDOWN, &shutdown, NULL, 0);
	while (house->parent != NULL)
		turn(house);
	(void)waitpid(house->pid, &house->status, 0);
	house->pid = 0;
	house_doors_close(house);
	return (WIFEXITED(house->status) ? WEXITSTATUS(house->status) : -1);
}

int
house_wait(struct house *house, const uint64_t *flag, uint64_t value)
{
	int64_t	deadline = clock_monotonic() + HOUSE_PATIENCE;

	while (*flag < value) {
		turn(house);
		if (house->parent == NULL || clock_monotonic() > deadline)
			return (-1);
	}
	return (0);
}

int
house_wait32(struct house *house, const uint32_t *flag, uint32_t value)
{
	int64_t	deadline = clock_monotonic() + HOUSE_PATIENCE;

	while (*flag < value) {
		turn(house);
		if (house->parent == NULL || clock_monotonic() > deadline)
			return (-1);
	}
	return (0);
}

void
house_free(struct house *house)
{
	house_kill(house);
	free(house->chats);
	house->chats = NULL;
}
