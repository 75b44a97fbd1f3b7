/* Tests only. A house around a real keyd; see house.h. */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/util/clock.h"
#include "common/util/metrics.h"
#include "regress/house/house.h"
#include "regress/house/watch.h"

static void
on_nothing(void *arg, const struct ipc_message *message)
{
	(void)arg;
	if (message->fd != -1)
		(void)close(message->fd);
}

void
house_init(struct house *house, struct event_base *base, const char *program,
    const char *node_id, const char *path, const char *passphrase,
    const char *app_seed)
{
	struct config *config = &house->config;
	uint8_t seed[crypto_sign_SEEDBYTES];
	size_t i;

	/* What no test looks at is taken and forgotten. */
	for (i = 0; i < IPC_TYPE_COUNT; i++)
		if (house_handlers[i] == NULL)
			house_handlers[i] = on_nothing;
	memset(house, 0, sizeof(*house));
	house->base = base;
	house->program = program;
	house->passphrase = passphrase;
	house->peer = house;
	config_default(config);
	config->keystore.argon2_ops = 1;
	config->keystore.argon2_memory = 8 * 1024 * 1024;
	(void)snprintf(config->node_id, sizeof(config->node_id), "%s", node_id);
	(void)snprintf(
	    config->keystore.path, sizeof(config->keystore.path), "%s", path);
	(void)snprintf(config->advertise_mesh, sizeof(config->advertise_mesh),
	    "127.0.0.1:1");
	(void)crypto_generichash(seed, sizeof(seed), (const uint8_t *)app_seed,
	    strlen(app_seed), NULL, 0);
	(void)crypto_sign_seed_keypair(house->app_key, house->app_secret, seed);
	house->chats = calloc(HOUSE_CHATS, sizeof(*house->chats));
	house->metrics = calloc(METRIC_COUNT, sizeof(*house->metrics));
	if (house->chats == NULL || house->metrics == NULL)
		err(1, "house");
	table_init(&house->chat_table, sizeof(struct chat_key));
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
	return (table_get(&house->chat_table, key));
}

struct house_chat *
house_chat_other(struct house *house, const struct house_chat *chat)
{
	struct chat_key key = chat->key;

	key.side ^= 1;
	return (house_chat_find(house->peer, &key));
}

static struct house_chat *
house_chat_add(
    struct house *house, const struct chat_key *key, const char *chat_id)
{
	struct house_chat *chat = house_chat_find(house, key);

	if (chat != NULL)
		return (chat);
	if (house->chat_count == HOUSE_CHATS)
		errx(1, "house: too many chats");
	chat = &house->chats[house->chat_count++];
	chat->key = *key;
	(void)snprintf(chat->chat_id, sizeof(chat->chat_id), "%s", chat_id);
	if (table_put(&house->chat_table, &chat->key, chat) == -1)
		err(1, "house");
	return (chat);
}

void
house_attest(const struct house *house, struct attestation *out)
{
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	size_t length;

	memset(out, 0, sizeof(*out));
	out->kind = ATTESTATION_V2;
	memcpy(out->app_key, house->app_key, KEY_SIZE);
	memcpy(out->node_key, house->identity.node_key, KEY_SIZE);
	memcpy(out->node_id, house->config.node_id, NODE_ID_SIZE);
	randombytes_buf(out->nonce, sizeof(out->nonce));
	out->issued_at = clock_wall();
	out->expires_at = out->issued_at + 3600 * CLOCK_SECOND;
	length = attestation_signed_bytes(out, bytes);
	(void)crypto_sign_detached(
	    out->signature, NULL, bytes, length, house->app_secret);
}

/* --- the router's part --------------------------------------------------- */

static void
send_start(struct house *house, struct house_chat *chat, uint32_t version,
    uint32_t flags)
{
	struct ipc_chat_start start;

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
house_chat_start(
    struct house *house, const char *chat_id, uint32_t version, uint32_t flags)
{
	struct house_chat *chat;
	struct chat_key key;

	if (chat_key_make(
		&key, chat_id, house->app_key, house->peer->app_key) == -1)
		err(1, "house: %s", chat_id);
	chat = house_chat_add(house, &key, chat_id);
	send_start(house, chat, version, flags);
	return (chat);
}

static void
send_seal(struct house *house, struct house_chat *chat, uint64_t sequence,
    const void *payload, size_t length)
{
	struct ipc_seal seal = { .key = chat->key, .sequence = sequence };

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

void
house_chat_end(
    struct house *house, struct house_chat *chat, enum hermes_status status)
{
	struct ipc_chat_end end = { .key = chat->key, .status = status };

	ipc_send(house->router, IPC_CHAT_END, &end, NULL, 0);
}

void
house_payload(const struct house *house, const struct house_chat *chat,
    uint64_t sequence, uint8_t out[HOUSE_PAYLOAD])
{
	crypto_generichash_state state;

	(void)crypto_generichash_init(
	    &state, house->app_key, KEY_SIZE, HOUSE_PAYLOAD);
	(void)crypto_generichash_update(&state, chat->key.handle, KEY_SIZE);
	(void)crypto_generichash_update(
	    &state, (const uint8_t *)&sequence, sizeof(sequence));
	(void)crypto_generichash_final(&state, out, HOUSE_PAYLOAD);
}

static void
on_record(void *arg, const struct ipc_message *message)
{
	const struct ipc_chat_record *record = message->payload;
	struct house *house = arg;
	struct house_chat *chat;

	chat = house_chat_add(house, &record->key, record->chat_id);
	chat->version = record->version;
	chat->accepted = record->accepted;
	chat->acked = record->acked;
	chat->delivered = record->delivered;
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
	const struct ipc_chat_offer *offer = message->payload;
	struct house *house = arg;
	struct house_chat *chat;

	chat = house_chat_add(house, &offer->key, offer->chat_id);
	chat->ended = 0;
	house->offers++;
	if (!house->hold)
		send_start(house, chat, 0, CHAT_AUTO);
}

/* As the router does it (router/chat.c, core_ready()). */
static void
on_ready(void *arg, const struct ipc_message *message)
{
	const struct ipc_chat_ready *ready = message->payload;
	struct house *house = arg;
	struct house_chat *chat;

	chat = house_chat_find(house, &ready->key);
	if (chat == NULL)
		errx(1, "house: ready for an unknown chat");
	house->readies++;
	chat->version = ready->version;
	chat->ready++;
	chat->resets += ready->reset;
	if (!ready->resumed && !ready->first)
		return;
	if (ready->first && !chat->synced) {
		chat->accepted = chat->acked = chat->delivered = 0;
		if (!ready->reset)
			chat->seen = 0;
	}
	if (ready->peer_delivered > chat->acked)
		chat->acked = ready->peer_delivered;
	/* What the peer has not got is said again. */
	chat->accepted = chat->acked;
	if (ready->peer_acked > chat->delivered)
		chat->delivered = ready->peer_acked;
	chat->synced = 1;
}

static void
on_error(void *arg, const struct ipc_message *message)
{
	const struct ipc_chat_code *code = message->payload;
	struct house_chat *chat;

	chat = house_chat_find(arg, &code->key);
	if (chat != NULL) {
		chat->code = code->code;
		chat->expected = code->expected;
	}
}

static void
on_ended(void *arg, const struct ipc_message *message)
{
	const struct ipc_chat_end *end = message->payload;
	struct house *house = arg;
	struct house_chat *chat;

	house->ended++;
	chat = house_chat_find(house, &end->key);
	if (chat != NULL) {
		chat->ended = (uint32_t)end->status;
		chat->version = chat->synced = 0;
		chat->accepted = chat->acked = chat->delivered = 0;
		chat->seen = 0;
	}
}

/* The app is given a message. */
static void
app_take(struct house *house, struct house_chat *chat, uint64_t sequence,
    const struct ipc_message *message)
{
	uint8_t said[HOUSE_PAYLOAD];

	if (sequence <= chat->seen)
		chat->twice++;
	else
		chat->seen = sequence;
	house_payload(house->peer, chat, sequence, said);
	if (message->tail_length != sizeof(said) ||
	    memcmp(message->tail, said, sizeof(said)) != 0)
		chat->wrong++;
}

static void
progress_due(struct house *house, struct house_chat *chat)
{
	if (chat->progress)
		return;
	chat->progress = 1;
	chat->progress_next = house->progress;
	house->progress = chat;
}

void
house_progress(struct house *house)
{
	struct ipc_chat_progress progress;
	struct house_chat *chat;

	while ((chat = house->progress) != NULL) {
		house->progress = chat->progress_next;
		chat->progress = 0;
		memset(&progress, 0, sizeof(progress));
		progress.key = chat->key;
		progress.delivered = chat->delivered;
		progress.acked = chat->acked;
		if (house->router != NULL)
			ipc_send(house->router, IPC_CHAT_PROGRESS, &progress,
			    NULL, 0);
	}
}

static void
on_opened(void *arg, const struct ipc_message *message)
{
	const struct ipc_opened *opened = message->payload;
	struct house *house = arg;
	struct house_chat *chat, *other;

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
	app_take(house, chat, opened->sequence, message);
	progress_due(house, chat);
	/* The acknowledgement goes between the two meshes and routers. */
	if (!house->cut && !house->peer->cut) {
		other = house_chat_other(house, chat);
		if (other != NULL && other->acked < chat->delivered) {
			other->acked = chat->delivered;
			progress_due(house->peer, other);
		}
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
	struct house *house = arg;
	struct ipc_setup setup;

	memcpy(&house->setup, message->payload, sizeof(house->setup));
	house->setups++;
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
	struct house *house = arg;
	struct ipc_teardown teardown;

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
	struct house *house = arg;
	struct ipc_sealed sealed;

	house->sealed++;
	house->bytes_sealed += message->tail_length;
	if (house->watch != NULL)
		watch_sealed(house->watch, house, message->payload,
		    message->tail, message->tail_length);
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
	const struct ipc_identity *identity = message->payload;
	struct house *house = arg;

	/* A locked keyd cannot name its node; the others still can. */
	if (identity->unlocked)
		house->identity = *identity;
}

static void
on_result(void *arg, const struct ipc_message *message)
{
	struct house *house = arg;

	size_t length = message->tail_length;

	memcpy(&house->result, message->payload, sizeof(house->result));
	if (length > sizeof(house->result_text) - 1)
		length = sizeof(house->result_text) - 1;
	memcpy(house->result_text, message->tail, length);
	house->result_text[length] = '\0';
}

static void
on_show_end(void *arg, const struct ipc_message *message)
{
	struct house *house = arg;
	const struct ipc_request *end = message->payload;

	house->result.id = end->id;
}

static void
on_ticket(void *arg, const struct ipc_message *message)
{
	struct house *house = arg;

	memcpy(&house->ticket, message->payload, sizeof(house->ticket));
}

static void
on_redeemed(void *arg, const struct ipc_message *message)
{
	struct house *house = arg;

	memcpy(&house->redeemed, message->payload, sizeof(house->redeemed));
}

static void
on_statement(void *arg, const struct ipc_message *message)
{
	struct house *house = arg;

	memcpy(&house->statement, message->payload, sizeof(house->statement));
}

static void
on_refused(void *arg, const struct ipc_message *message)
{
	struct house *house = arg;

	memcpy(&house->refused, message->payload, sizeof(house->refused));
	house->refusals++;
}

static void
on_digest(void *arg, const struct ipc_message *message)
{
	(void)message;
	((struct house *)arg)->signed_digests++;
}

static void
on_metrics(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;
	struct house *house = arg;

	memset(house->metrics, 0, METRIC_COUNT * sizeof(*house->metrics));
	if (metrics_merge(
		house->metrics, message->tail, message->tail_length) == 0)
		house->metrics_id = request->id;
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

ipc_handler house_handlers[IPC_TYPE_COUNT] = {
	[IPC_READY] = on_up,
	[IPC_SHUT] = on_shut,
	[IPC_IDENTITY] = on_identity,
	[IPC_SIGNED_DIGEST] = on_digest,
	[IPC_STATEMENT_SIGNED] = on_statement,
	[IPC_REDEEMED] = on_redeemed,
	[IPC_CHAT_RECORD] = on_record,
	[IPC_CHAT_RECORDS_END] = on_records_end,
	[IPC_CHAT_OFFER] = on_offer,
	[IPC_CHAT_READY] = on_ready,
	[IPC_CHAT_ERROR] = on_error,
	[IPC_CHAT_ENDED] = on_ended,
	[IPC_OPENED] = on_opened,
	[IPC_SETUP_OUT] = on_setup,
	[IPC_SETUP_REFUSED] = on_refused,
	[IPC_TEARDOWN_OUT] = on_teardown,
	[IPC_SEALED] = on_sealed,
	[IPC_ROW_RATCHET] = on_row,
	[IPC_SHOW_END] = on_show_end,
	[IPC_METRICS] = on_metrics,
	[IPC_TICKET] = on_ticket,
	[IPC_RESULT] = on_result,
};
