/* Tests only. See fuzz_house.h. */

#include <sys/socket.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/rand.h>
#include <sodium.h>

#include "common/ipc/ipc_door.h"
#include "common/proc/proc.h"
#include "common/util/metrics.h"
#include "keyd/chat.h"
#include "keyd/identity.h"
#include "keyd/keyd.h"
#include "keyd/secret.h"
#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_clock.h"
#include "regress/fuzz/fuzz_guard.h"
#include "regress/fuzz/fuzz_house.h"
#include "regress/fuzz/fuzz_store.h"

struct wire house_wire;
struct ipc_ticket house_ticket;
struct ipc_redeemed house_redeemed;
struct ipc_revocation house_revocation;
struct route house_routes[NODE_CHATS + 1];

struct door {
	struct proc_door proc; /* first: callbacks get its address */
	int fd;                /* our end; -1: gone */
	int up;
	struct buffer shadow; /* written and not yet a whole frame */
	int broken;           /* what was written breaks the table */
	unsigned int given;   /* descriptors that frames are due */
	int unsure;           /* none of that is known */
	struct buffer said;   /* by keyd, not yet a whole frame */
};

static struct {
	const struct proc_hooks *hooks;
	struct event_base *base;
	ipc_handler handlers[IPC_TYPE_COUNT];
	struct config config;
	struct door doors[DOOR_COUNT];
	size_t budget; /* bytes that keyd may still say */
	unsigned int answers[IPC_TYPE_COUNT];
} house;

static const enum process processes[DOOR_COUNT] = { PROCESS_ROUTER,
	PROCESS_MESH, PROCESS_CONTROL };

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
static void
broken_close(void)
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

/* --- what keyd says ----------------------------------------------------- */

static void
said_to_router(enum ipc_type type, const void *payload, const uint8_t *tail,
    size_t tail_length)
{
	const struct ipc_opened *opened = payload;
	const struct ipc_chat_ready *ready = payload;
	struct route *route;

	if (ipc_payload_size(type) < sizeof(struct chat_key))
		return;
	route = house_find(payload);
	if (type == IPC_OPENED)
		truth_opened(&opened->key, opened->sequence, tail, tail_length);
	if (type == IPC_CHAT_ENDED)
		attempts_forget(payload);
	if (route == NULL)
		return;
	if (type == IPC_CHAT_ENDED)
		route->ready = 0;
	if (type == IPC_OPENED && opened->sequence == route->delivered + 1)
		route->delivered++;
	if (type != IPC_CHAT_READY)
		return;
	route->ready = 1;
	route->version = ready->version;
	if (ready->first) {
		route->delivered = route->acked = 0;
		route->next = 1;
	}
	if (ready->resumed && ready->peer_acked > route->delivered)
		route->delivered = ready->peer_acked;
}

static void
said(enum house_door door, enum ipc_type type, const void *payload,
    const uint8_t *tail, size_t tail_length)
{
	const struct ipc_ticket *ticket = payload;
	const struct ipc_redeemed *redeemed = payload;

	house.answers[type]++;
	switch (type) {
	case IPC_SETUP_OUT:
	case IPC_SEALED:
	case IPC_TEARDOWN_OUT:
	case IPC_SETUP_REFUSED:
		/* Very large ones get lost. */
		if (tail_length <= NODE_TAIL_MAX)
			wire_push(
			    &house_wire, type, payload, tail, tail_length);
		break;
	case IPC_TICKET:
		FUZZ_CHECK(ticket_verify(&ticket->ticket, fuzz_wall) == 0 ||
			   errno == ETIME);
		house_ticket = *ticket;
		break;
	case IPC_REVOCATION:
		memcpy(&house_revocation, payload, sizeof(house_revocation));
		break;
	case IPC_REDEEMED:
		FUZZ_CHECK(
		    keyd.identity.authority || redeemed->result != REDEEM_OK);
		if (redeemed->result != REDEEM_OK)
			break;
		house_redeemed = *redeemed;
		FUZZ_CHECK(certificate_verify(&redeemed->certificate,
			       keyd.identity.authority_key, 0) == 0);
		/* Nobody else is certified under our name. */
		FUZZ_CHECK(
		    strcmp(redeemed->certificate.node_id, HOUSE_NAME) != 0);
		break;
	default:
		if (door == DOOR_ROUTER)
			said_to_router(type, payload, tail, tail_length);
		break;
	}
}

/* Take whole frames out and check them by the table. */
static void
said_frames(enum house_door index, struct door *door)
{
	const struct ipc_row *row;
	struct ipc_header header;
	uint8_t *bytes;
	size_t size;

	while (buffer_length(&door->said) >= sizeof(header)) {
		memcpy(&header, buffer_bytes(&door->said), sizeof(header));
		FUZZ_CHECK(header.type > 0 && header.type < IPC_TYPE_COUNT);
		row = &ipc_rows[header.type];
		FUZZ_CHECK(row->from & PROCESS_KEYD);
		FUZZ_CHECK(row->to & (unsigned int)processes[index]);
		FUZZ_CHECK(header.length >= row->size &&
			   header.length - row->size <= row->tail);
		size = ipc_frame_size(header.length);
		if (buffer_length(&door->said) < size)
			break;
		FUZZ_CHECK((bytes = malloc(size)) != NULL);
		memcpy(bytes, buffer_bytes(&door->said), size);
		buffer_consume(&door->said, size);
		said(index, (enum ipc_type)header.type, bytes + sizeof(header),
		    bytes + sizeof(header) + row->size,
		    header.length - row->size);
		free(bytes);
	}
}

/* The bytes that came. */
static size_t
listen_to(enum house_door index, const struct secrets *before,
    const struct secrets *after)
{
	static uint8_t room[256 * 1024];
	struct door *door = &house.doors[index];
	size_t heard = 0;
	ssize_t n;

	if (door->fd == -1)
		return (0);
	while ((n = recv(door->fd, room, sizeof(room), MSG_DONTWAIT)) > 0) {
		heard += (size_t)n;
		FUZZ_CHECK((size_t)n <= house.budget);
		house.budget -= (size_t)n;
		secrets_absent(before, room, (size_t)n);
		secrets_absent(after, room, (size_t)n);
		/* Payload goes to the router and nowhere else. */
		FUZZ_CHECK(index == DOOR_ROUTER || find_quietly(room, (size_t)n,
						       NODE_MARKER, 8) == NULL);
		FUZZ_CHECK(buffer_append(&door->said, room, (size_t)n) == 0);
		said_frames(index, door);
	}
	return (heard);
}

/* Let keyd work until nothing more comes of it. */
static void
settle(const struct secrets *before)
{
	static struct secrets after;
	int i, idle = 0;
	size_t heard;

	while (idle < 2) {
		(void)event_base_loop(house.base, EVLOOP_NONBLOCK);
		broken_close();
		after.count = heard = 0;
		secrets_collect(&after);
		for (i = 0; i < DOOR_COUNT; i++)
			heard += listen_to((enum house_door)i, before, &after);
		idle = heard > 0 ? 0 : idle + 1;
	}
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
	settle(&before);
}

/* What the table says of the bytes written so far. */
static void
shadow_read(enum house_door index, struct door *door)
{
	const struct ipc_row *row;
	const struct ipc_seal *seal;
	struct ipc_header header;
	const uint8_t *at;
	size_t size, i;

	while (
	    !door->broken && buffer_length(&door->shadow) >= sizeof(header)) {
		at = buffer_bytes(&door->shadow);
		memcpy(&header, at, sizeof(header));
		door->broken = 1;
		if (header.type == IPC_NONE || header.type >= IPC_TYPE_COUNT)
			return;
		row = &ipc_rows[header.type];
		if (!(row->from & (unsigned int)processes[index]) ||
		    !(row->to & PROCESS_KEYD) || header.length < row->size ||
		    header.length - row->size > row->tail ||
		    header.descriptor != row->descriptor ||
		    header.descriptor > door->given ||
		    house.handlers[header.type] == NULL)
			return;
		size = ipc_frame_size(header.length);
		if (buffer_length(&door->shadow) < size) {
			door->broken = 0;
			return;
		}
		for (i = sizeof(header) + header.length; i < size; i++)
			if (at[i] != 0)
				return;
		door->broken = 0;
		seal = (const void *)(at + sizeof(header));
		if (header.type == IPC_SEAL)
			truth_sealed(&seal->key, seal->sequence,
			    at + sizeof(header) + row->size,
			    header.length - row->size);
		buffer_consume(&door->shadow, size);
		door->given -= header.descriptor;
	}
}

static ssize_t
send_some(int fd, const uint8_t *bytes, size_t length, int with)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { (void *)(uintptr_t)bytes, length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	if (with != -1) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &with, sizeof(int));
	}
	return (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static void
write_all(enum house_door index, const uint8_t *bytes, size_t length, int with)
{
	static struct secrets before;
	struct door *door = &house.doors[index];
	int paused, stuck = 0;
	ssize_t n;

	if (!door->up || length == 0)
		return;
	before.count = 0;
	secrets_collect(&before);
	house.budget = 64 * 1024 * (keyd.failing_since != 0 ? 1024 : 1);
	FUZZ_CHECK(buffer_append(&door->shadow, bytes, length) == 0);
	shadow_read(index, door);
	while (length > 0 && door->up && stuck < 8) {
		if ((n = send_some(door->fd, bytes, length, with)) > 0) {
			bytes += n;
			length -= (size_t)n;
			with = -1;
			stuck = 0;
		} else
			stuck++;
		settle(&before);
	}
	settle(&before);
	/* Not all of it fit while keyd does not read. */
	if (length > 0)
		door->unsure = 1;
	paused = door->up && door->proc.ipc->paused;
	/* Whoever breaks the table loses the door; nobody else does. */
	if (!paused && keyd.failing_since == 0 && !door->unsure)
		FUZZ_CHECK(door->up == !door->broken);
}

void
house_write(enum house_door door, const void *bytes, size_t length)
{
	write_all(door, bytes, length, -1);
}

void
house_write_fd(enum house_door door, const void *bytes, size_t length, int fd)
{
	/* Whether it is the end depends on where the frames lie. */
	house.doors[door].unsure = 1;
	write_all(door, bytes, length, fd);
	(void)close(fd);
	house_reopen(door);
}

static size_t
frame_make(uint8_t **out, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	struct ipc_header header = { .type = (uint16_t)type };
	size_t size = ipc_payload_size(type);
	size_t whole = ipc_frame_size(size + tail_length);

	header.length = (uint32_t)(size + tail_length);
	header.descriptor = (uint16_t)ipc_rows[type].descriptor;
	FUZZ_CHECK((*out = calloc(1, whole)) != NULL);
	memcpy(*out, &header, sizeof(header));
	memcpy(*out + sizeof(header), payload, size);
	if (tail_length > 0)
		memcpy(*out + sizeof(header) + size, tail, tail_length);
	return (whole);
}

void
house_send(enum house_door door, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	uint8_t *frame;
	size_t length = frame_make(&frame, type, payload, tail, tail_length);

	write_all(door, frame, length, -1);
	free(frame);
}

void
house_send_fd(
    enum house_door door, enum ipc_type type, const void *payload, int fd)
{
	uint8_t *frame;
	size_t length = frame_make(&frame, type, payload, NULL, 0);

	house.doors[door].given++;
	if (buffer_length(&house.doors[door].shadow) > 0)
		house.doors[door].unsure = 1; /* in the middle of a frame */
	write_all(door, frame, length, fd);
	free(frame);
	(void)close(fd);
}

struct route *
house_find(const struct chat_key *key)
{
	size_t i;

	for (i = 0; i < NODE_CHATS + 1; i++)
		if (house_routes[i].local != NULL &&
		    memcmp(&house_routes[i].key, key, sizeof(*key)) == 0)
			return (&house_routes[i]);
	return (NULL);
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
	settle(&before);
}

void
house_reload(const struct config *config)
{
	static struct secrets before;

	parent_begin(&before);
	house.config = *config;
	house.hooks->configured(&house.config, 1);
	settle(&before);
}

void
house_tls_file(int fd)
{
	static struct secrets before;

	parent_begin(&before);
	house.hooks->tls_file(fd);
	settle(&before);
}

void
house_tick(void)
{
	static struct secrets before;

	parent_begin(&before);
	event_active(keyd.tick, EV_TIMEOUT, 0);
	settle(&before);
	if (keyd.chats != NULL && store_rotating(keyd.store)) {
		event_active(keyd.erase, EV_TIMEOUT, 0);
		settle(&before);
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
