/* Tests only. The house's processes, and what keyd is given; see fuzz_house.h. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/rand.h>

#include "common/util/clock.h"
#include "common/util/metrics.h"
#include "keyd/chat.h"
#include "keyd/identity.h"
#include "keyd/keyd.h"
#include "keyd/secret.h"
#include "keyd/store.h"
#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_house_internal.h"

struct house house;

/* --- proc.h, for keyd --------------------------------------------------- */

struct event_base *
proc_base(void)
{
	return (house.base);
}

const struct config *
proc_config(void)
{
	return (&house.config);
}

struct ipc *
proc_ipc(enum process peer)
{
	size_t i;

	for (i = 0; i < DOOR_COUNT; i++)
		if (processes[i] == peer && house.doors[i].up)
			return (house.doors[i].proc.ipc);
	return (NULL);
}

/* As in proc.c: of no use at once, gone at the end of the turn. */
void
proc_broken(enum process peer, const char *why)
{
	size_t i;

	(void)why;
	for (i = 0; i < DOOR_COUNT; i++)
		if (processes[i] == peer && house.doors[i].up) {
			house.doors[i].up = 0;
			house.doors[i].unsure = 1;
			ipc_pause(house.doors[i].proc.ipc, 1);
		}
}

/* The end of a turn. */
void
house_broken_close(void)
{
	size_t i;

	for (i = 0; i < DOOR_COUNT; i++)
		if (!house.doors[i].up && house.doors[i].proc.ipc != NULL) {
			house.hooks->door_down(processes[i]);
			ipc_free(house.doors[i].proc.ipc);
			house.doors[i].proc.ipc = NULL;
		}
}

void
proc_done(void)
{
}

int
proc_run(enum process self, const struct proc_hooks *hooks)
{
	FUZZ_CHECK(self == PROCESS_KEYD);
	house.hooks = hooks;
	return (0);
}

/* Time comes from the input: nothing that waits ever fires by itself. */
int __real_event_add(struct event *event, const struct timeval *timeout);
int __wrap_event_add(struct event *event, const struct timeval *timeout);

int
__wrap_event_add(struct event *event, const struct timeval *timeout)
{
	return (timeout != NULL ? 0 : __real_event_add(event, NULL));
}

/* --- what keyd is given ------------------------------------------------- */

/* How much keyd may say to a message: of its own sizes, not the sender's. */
static size_t
budget_for(const struct ipc_message *message)
{
	size_t chats = keyd.chats == NULL ? 0 : keyd.chats->table.count;
	size_t setup = sizeof(struct ipc_setup) + 16384 + 16;

	switch (message->type) {
	case IPC_SHOW:
		return (65536 + chats * (sizeof(struct ipc_row_ratchet) + 16));
	case IPC_REKEY:
		return (1024 + chats * 2 * setup);
	case IPC_METRICS_GET:
		return (65536 + 64);
	case IPC_SEAL:
	case IPC_OPEN:
		return (message->tail_length + 512 + 2 * setup);
	case IPC_CHAT_START:
	case IPC_SETUP_IN:
		return (4096 + 3 * setup);
	case IPC_MESH_CREATE:
	case IPC_MEMBERSHIP:
	case IPC_PASSPHRASE:
		return (1024 * 1024);
	case IPC_REVOKE:
	case IPC_REVOKED:
		return (4096 + chats * (setup + 1024));
	case IPC_EVENTS_WANTED:
		return (64);
	case IPC_TICKET_MAKE:
		return (sizeof(struct ipc_ticket) + 64);
	default:
		return (2048);
	}
}

static void
on_message(void *arg, const struct ipc_message *message)
{
	const struct proc_door *from = arg;
	uint64_t rekeys = metrics[METRIC_REKEYS_ATTEMPT_APP].value;
	uint64_t recoveries = metrics[METRIC_RATCHET_RECOVERIES_ATTEMPT].value;
	struct chat_key key;

	FUZZ_CHECK((uintptr_t)message->payload % 8 == 0);
	FUZZ_CHECK(
	    (ipc_rows[message->type].from & (unsigned int)from->peer) != 0);
	/* Handlers must not need the message afterwards. */
	memset(&key, 0, sizeof(key));
	if (ipc_rows[message->type].size >= sizeof(key))
		memcpy(&key, message->payload, sizeof(key));
	guard.from = from->peer;
	guard.type = message->type;
	/* And news, once somebody wants them. */
	house.budget += budget_for(message) + 4 * sizeof(struct ipc_event);
	guard.offers = 0;
	house.hooks->handlers[message->type](arg, message);
	/* A peer's word that is not signed makes us sign now and then only. */
	if (FROM(MESH, TEARDOWN_IN) && guard.offers > 0)
		attempts_count(&house.config.rekey, &key, 2);
	if (FROM(ROUTER, CHAT_START) &&
	    metrics[METRIC_REKEYS_ATTEMPT_APP].value != rekeys)
		attempts_count(&house.config.rekey, &key, 0);
	if (metrics[METRIC_RATCHET_RECOVERIES_ATTEMPT].value != recoveries)
		attempts_count(&house.config.rekey, &key, 1);
	guard.from = 0;
}

static void
on_batch(void *arg)
{
	struct door *door = arg;

	if (door->up)
		house.hooks->batch(door->proc.peer);
}

static void
on_uncongested(void *arg)
{
	struct door *door = arg;

	if (door->up)
		house.hooks->uncongested(door->proc.peer);
}

static void
on_closed(void *arg, const char *reason)
{
	struct door *door = arg;

	(void)reason;
	FUZZ_CHECK(door->up || door->unsure);
	door->proc.ipc = NULL;
	if (!door->up)
		return;
	door->up = 0;
	house.hooks->door_down(door->proc.peer);
}

/* --- doors -------------------------------------------------------------- */

int
house_up(enum house_door door)
{
	return (house.doors[door].up);
}

static void
door_close(struct door *door)
{
	if (door->up) {
		struct ipc *ipc = door->proc.ipc;

		door->up = 0;
		door->proc.ipc = NULL;
		house.hooks->door_down(door->proc.peer);
		ipc_free(ipc);
	}
	if (door->fd != -1)
		(void)close(door->fd);
	door->fd = -1;
	buffer_free(&door->shadow);
	buffer_free(&door->said);
	door->broken = door->unsure = 0;
	door->given = 0;
}

void
house_reopen(enum house_door index)
{
	static struct secrets before;
	struct door *door = &house.doors[index];
	struct ipc_callbacks callbacks = { house.handlers, on_batch,
		on_uncongested, on_closed };
	int fds[2];

	door_close(door);
	FUZZ_CHECK(ipc_pair(fds) == 0);
	door->fd = fds[1];
	door->proc.peer = processes[index];
	door->proc.ipc = ipc_new(house.base, fds[0], PROCESS_KEYD,
	    processes[index], &callbacks, door);
	FUZZ_CHECK(door->proc.ipc != NULL);
	door->up = 1;
	before.count = 0;
	secrets_collect(&before);
	house.budget += 4 * 1024 * 1024; /* all records, waiting offers */
	house.hooks->door_up(processes[index], door->proc.ipc);
	house_settle(&before);
}

/* --- the parent, time --------------------------------------------------- */

static int
pipe_with(const char *text)
{
	int fds[2];

	FUZZ_CHECK(pipe(fds) == 0);
	FUZZ_CHECK(write(fds[1], text, strlen(text)) == (ssize_t)strlen(text));
	(void)close(fds[1]);
	return (fds[0]);
}

static void
parent_begin(struct secrets *before)
{
	before->count = 0;
	secrets_collect(before);
	house.budget = 4 * 1024 * 1024;
}

void
house_passphrase(int fd)
{
	static struct secrets before;
	struct proc_door parent = { .peer = PROCESS_PARENT };
	struct ipc_request request = { 0 };
	struct ipc_message message = {
		.type = IPC_PASSPHRASE, .payload = &request, .fd = fd
	};

	parent_begin(&before);
	guard.from = PROCESS_PARENT;
	house.hooks->handlers[IPC_PASSPHRASE](&parent, &message);
	guard.from = 0;
	keyd_commit();
	house_settle(&before);
}

void
house_reload(const struct config *config)
{
	static struct secrets before;

	parent_begin(&before);
	house.config = *config;
	house.hooks->configured(&house.config, 1);
	house_settle(&before);
}

void
house_tls_file(int fd)
{
	static struct secrets before;

	parent_begin(&before);
	house.hooks->tls_file(fd);
	house_settle(&before);
}

void
house_tick(void)
{
	static struct secrets before;

	parent_begin(&before);
	event_active(keyd.tick, EV_TIMEOUT, 0);
	event_active(keyd.rekey, EV_TIMEOUT, 0);
	house_settle(&before);
	if (keyd.chats != NULL && store_rotating(keyd.store)) {
		event_active(keyd.erase, EV_TIMEOUT, 0);
		house_settle(&before);
	}
}

/* --- start and end ------------------------------------------------------ */

static void
config_fill(struct config *config)
{
	config_default(config);
	(void)strcpy(config->node_id, HOUSE_NAME);
	(void)strcpy(config->keystore.path, HOUSE_PATH);
	(void)strcpy(config->advertise_mesh, "127.0.0.1:1");
	config->rekey.limit = 3;
	config->rekey.window = 30 * CLOCK_SECOND;
	config->rekey.after_messages = 50;
	config->rekey.key_lifetime = 3600 * CLOCK_SECOND;
	config->limits.members = 4;
}

void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

/* Once. libcrypto's generators live in its locked heap from then on, where a
 * search for leaks does not look: they are none. */
static void
begin(void)
{
	uint8_t byte;

	FUZZ_CHECK((house.base = event_base_new()) != NULL);
	FUZZ_CHECK(keyd_main() == 0);
	if (__lsan_disable != NULL)
		__lsan_disable();
	FUZZ_CHECK(RAND_bytes(&byte, 1) == 1 && RAND_priv_bytes(&byte, 1) == 1);
	if (__lsan_enable != NULL)
		__lsan_enable();
}

void
house_boot(const char *passphrase)
{
	size_t i;
	int d;

	if (house.base == NULL)
		begin();
	for (i = 0; i < IPC_TYPE_COUNT; i++)
		house.handlers[i] =
		    house.hooks->handlers[i] == NULL ? NULL : on_message;
	attempts_reset();
	memset(metrics, 0, sizeof(metrics));
	config_fill(&house.config);
	house.hooks->configured(&house.config, 0);
	for (d = 0; d < DOOR_COUNT; d++) {
		house.doors[d].fd = -1;
		house_reopen((enum house_door)d);
	}
	if (passphrase != NULL)
		house_passphrase(pipe_with(passphrase));
	house.hooks->go();
}

void
house_end(int orderly)
{
	int d;

	if (orderly)
		house.hooks->shutdown(0);
	for (d = 0; d < DOOR_COUNT; d++)
		door_close(&house.doors[d]);
	if (keyd.tick != NULL)
		event_free(keyd.tick);
	if (keyd.erase != NULL)
		event_free(keyd.erase);
	if (keyd.turn != NULL)
		event_free(keyd.turn);
	if (keyd.rekey != NULL)
		event_free(keyd.rekey);
	chats_free(keyd.chats);
	identity_wipe(&keyd.identity);
	secret_free(keyd.own_key, P256_SIZE);
	store_close(keyd.store);
	memset(&keyd, 0, sizeof(keyd));
}

void
house_probe(void)
{
	struct ipc_challenge challenge = { .id = 77 };
	struct ipc_statement statement = { .id = 78, .kind = STATEMENT_JOIN };
	struct ipc_request request = { .id = 79 };
	unsigned int *answers = house.answers;

	if (keyd.failing_since != 0)
		return;
	memset(house.answers, 0, sizeof(house.answers));
	if (house_up(DOOR_CONTROL) &&
	    buffer_length(&house.doors[DOOR_CONTROL].shadow) == 0) {
		house_send(DOOR_CONTROL, IPC_METRICS_GET, &request, NULL, 0);
		FUZZ_CHECK(answers[IPC_METRICS] == 1);
	}
	if (keyd.chats == NULL)
		return;
	if (house_up(DOOR_ROUTER) &&
	    buffer_length(&house.doors[DOOR_ROUTER].shadow) == 0) {
		house_send(DOOR_ROUTER, IPC_CHALLENGE, &challenge, NULL, 0);
		FUZZ_CHECK(answers[IPC_CHALLENGE_SIGNED] == 1);
	}
	if (house_up(DOOR_MESH) &&
	    buffer_length(&house.doors[DOOR_MESH].shadow) == 0) {
		house_send(DOOR_MESH, IPC_STATEMENT, &statement, NULL, 0);
		FUZZ_CHECK(answers[IPC_STATEMENT_SIGNED] == 1);
	}
}
