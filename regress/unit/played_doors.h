/*
 * Tests only. A process without its neighbours: proc and doors are played
 * here, so that the files of one folder run as they are. What it sends is
 * checked by the table and waits in world.out. Include once, with
 * PLAYED_CHECK(condition) defined.
 */
#ifndef REGRESS_UNIT_PLAYED_DOORS_H
#define REGRESS_UNIT_PLAYED_DOORS_H

#include <sys/queue.h>

#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "common/proc/proc.h"

/* Not every test uses every helper. */
#define HELPER static __attribute__((unused))

struct ipc {
	enum process peer;
	int congested;
};

struct sent { /* a message on a door */
	TAILQ_ENTRY(sent) entry;
	enum process to;
	enum ipc_type type;
	uint8_t *payload;
	uint8_t *tail;
	size_t tail_length;
};

TAILQ_HEAD(sent_list, sent);

static struct {
	struct event_base *base;
	struct config config;
	enum process self;
	const struct proc_hooks *hooks;
	struct ipc doors[32];
	unsigned int down; /* processes */
	struct sent_list out;
	int done;
	uint8_t node_key[KEY_SIZE];
	uint8_t node_secret[64];
} world = { .out = TAILQ_HEAD_INITIALIZER(world.out) };

int
proc_run(enum process self, const struct proc_hooks *hooks)
{
	world.self = self;
	world.hooks = hooks;
	return (0);
}

struct event_base *
proc_base(void)
{
	return (world.base);
}

const struct config *
proc_config(void)
{
	return (&world.config);
}

struct ipc *
proc_ipc(enum process peer)
{
	if (peer & world.down)
		return (NULL);
	world.doors[peer].peer = peer;
	return (&world.doors[peer]);
}

/* What neighbours here say is well-formed. */
void
proc_broken(enum process peer, const char *why)
{
	(void)peer;
	PLAYED_CHECK(why == NULL);
}

void
proc_done(void)
{
	world.done = 1;
}

/* The table, but for the names. */
static const struct {
	unsigned int from, to;
	size_t size, tail;
	int descriptor;
} rows[IPC_TYPE_COUNT] = {
#define IPC_MESSAGE(name, from_, to_, type, tail_, fd)                         \
	[IPC_##name] = { from_, to_, sizeof(struct type), tail_, fd },
#include "common/ipc/messages.def"
#undef IPC_MESSAGE
};

uint8_t *
ipc_send_tail(struct ipc *ipc, enum ipc_type type, const void *payload,
    size_t tail_length)
{
	struct sent *sent = calloc(1, sizeof(*sent));

	PLAYED_CHECK(ipc != NULL && sent != NULL);
	PLAYED_CHECK(type > IPC_NONE && type < IPC_TYPE_COUNT);
	PLAYED_CHECK(rows[type].from & world.self);
	PLAYED_CHECK(rows[type].to & ipc->peer);
	PLAYED_CHECK(tail_length <= rows[type].tail && !rows[type].descriptor);
	sent->to = ipc->peer;
	sent->type = type;
	sent->payload = malloc(rows[type].size);
	sent->tail = malloc(tail_length + 1);
	PLAYED_CHECK(sent->payload != NULL && sent->tail != NULL);
	memcpy(sent->payload, payload, rows[type].size);
	sent->tail_length = tail_length;
	TAILQ_INSERT_TAIL(&world.out, sent, entry);
	return (sent->tail);
}

void
ipc_send(struct ipc *ipc, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	uint8_t *room = ipc_send_tail(ipc, type, payload, tail_length);

	if (tail_length > 0)
		memcpy(room, tail, tail_length);
}

size_t
ipc_queued(const struct ipc *ipc)
{
	(void)ipc;
	return (0);
}

int
ipc_congested(const struct ipc *ipc)
{
	return (ipc->congested);
}

int
ipc_call(struct ipc *ipc, enum ipc_type type, const void *payload,
    enum ipc_type reply, void *reply_payload, int timeout_ms)
{
	(void)ipc;
	(void)type;
	(void)payload;
	(void)reply;
	(void)reply_payload;
	(void)timeout_ms;
	return (-1);
}

/* A message from a neighbour, then the end of its batch. */
HELPER void
from(enum process peer, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	struct proc_door door = { .peer = peer, .ipc = proc_ipc(peer) };
	struct ipc_message message;
	uint8_t *copy = malloc(tail_length + 1);

	PLAYED_CHECK(copy != NULL);
	if (tail_length > 0)
		memcpy(copy, tail, tail_length);
	message.type = type;
	message.payload = payload;
	message.tail = copy;
	message.tail_length = tail_length;
	message.fd = -1;
	PLAYED_CHECK(world.hooks->handlers[type] != NULL);
	world.hooks->handlers[type](&door, &message);
	if (world.hooks->batch != NULL)
		world.hooks->batch(peer);
	free(copy);
}

/* The oldest message of those doors, or NULL; the caller frees it. */
HELPER struct sent *
take_of(unsigned int doors)
{
	struct sent *sent;

	TAILQ_FOREACH(sent, &world.out, entry)
	if (sent->to & doors) {
		TAILQ_REMOVE(&world.out, sent, entry);
		return (sent);
	}
	return (NULL);
}

HELPER struct sent *
take(void)
{
	return (take_of(~0U));
}

HELPER void
sent_free(struct sent *sent)
{
	free(sent->payload);
	free(sent->tail);
	free(sent);
}

#endif
