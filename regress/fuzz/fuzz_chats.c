/*
 * Tests only. Two keyds (their chat engines) fed the same chat over a network
 * that drops, doubles, reorders and changes what goes between them, while
 * they die, run out of disk and go back to older stores. No key seals twice,
 * nothing is opened that was not sealed for it (fuzz_node.c); and when the
 * network is good again they agree, or the chat has ended, at both ends.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/util/metrics.h"
#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_clock.h"
#include "regress/fuzz/fuzz_node.h"
#include "regress/fuzz/fuzz_store.h"

#define STEPS       300

/* Bits beside CHAT_*: the app names the chat that is here, or another. */
#define NAMES       0x20
#define NAMES_OTHER 0x40

static struct node nodes[2];

static struct route *
route_of(int index)
{
	return (&nodes[index].routes[0]);
}

/* The app, or (by_app 0) its router by itself, asks for the chat. */
static void
ask(int index, uint32_t version, uint32_t flags, int by_app)
{
	struct node *node = &nodes[index], *other = &nodes[1 - index];
	struct route *route = route_of(index);
	struct ipc_chat_start message;
	const struct chat *chat;

	node_start_fill(route, node->node_id, node->key, other->node_id,
	    other->key, version, flags & 0x1f, &message);
	chat = chat_find(node->chats, &route->key);
	if ((flags & NAMES) && chat != NULL)
		memcpy(message.instance, chat->instance, INSTANCE_SIZE);
	if (flags & NAMES_OTHER)
		message.instance[0] ^= 1;
	chats_set_now(node->chats, fuzz_wall);
	route->left = 0;
	chats_start(
	    node->chats, &message, (const uint8_t *)"tail", by_app ? 4 : 0);
	/* What was here the app had left: the router asks again, for one that
	 * is not here now. */
	if (route->left) {
		message.flags &= ~(uint32_t)(CHAT_RESUME | CHAT_AUTO);
		chats_start(node->chats, &message, (const uint8_t *)"tail", 4);
	}
	(void)node_commit(node);
}

static void
start(int index, uint32_t version, uint32_t flags)
{
	ask(index, version, flags, 1);
}

static void
deliver(int to, struct wire_frame *frame)
{
	struct node *from = &nodes[1 - to];

	node_deliver(
	    &nodes[to], frame, from->node_id, from->key, route_of(to)->peer);
	(void)node_commit(&nodes[to]);
	free(frame->tail);
}

/* A frame that node sent arrives: in order or not, once or not, changed or
 * not; or never. */
static void
carry(struct input *input, int from)
{
	struct wire *wire = &nodes[from].wire;
	struct wire_frame frame;
	uint8_t how = input_u8(input), *bytes;
	size_t at;

	if (wire->count == 0)
		return;
	wire_take(wire, how & 0x10 ? how % wire->count : 0, &frame);
	if (how & 0x20)
		wire_push(wire, frame.type, &frame.payload, frame.tail,
		    frame.tail_length);
	if ((how & 0xc0) == 0xc0) {
		/* The lowest bytes are the key of the chat. */
		at = sizeof(struct chat_key) +
		     input_u16(input) % (ipc_payload_size(frame.type) -
					    sizeof(struct chat_key));
		bytes = (uint8_t *)&frame.payload;
		if (how & 1 && frame.tail_length > 0) {
			bytes = frame.tail;
			at = at % frame.tail_length;
		}
		bytes[at] ^= (uint8_t)(1 + input_u8(input) % 255);
	}
	if ((how & 0xc0) == 0x80) {
		free(frame.tail);
		return;
	}
	deliver(1 - from, &frame);
}

static int
settled(void)
{
	return (nodes[0].wire.count + nodes[1].wire.count == 0);
}

/* The network is good: everything arrives in order. */
static void
run(void)
{
	struct wire_frame frame;
	int i, steps = 0;

	while (!settled()) {
		for (i = 0; i < 2; i++)
			if (nodes[i].wire.count > 0) {
				wire_take(&nodes[i].wire, 0, &frame);
				deliver(1 - i, &frame);
			}
		/* They come to rest by themselves. */
		FUZZ_CHECK(steps++ < 400);
	}
}

static void
say(int index)
{
	struct route *route = route_of(index);

	if (route->ready)
		node_say(&nodes[index], route, route->next++);
	(void)node_commit(&nodes[index]);
}

static void
die(int index)
{
	node_stop(&nodes[index]);
	/* The stream broke with it. */
	wire_clear(&nodes[index].wire);
	node_start(&nodes[index]);
}

static void
tick(int index)
{
	node_tick(&nodes[index]);
	(void)node_commit(&nodes[index]);
}

static void
step(struct input *input)
{
	uint8_t what = input_u8(input);
	int index = what >> 7;
	struct ipc_chat_end end = { .key = route_of(index)->key,
		.status = STATUS_DELETED };

	switch ((what & 0x7f) % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
		carry(input, index);
		break;
	case 4:
	case 5:
	case 6:
		say(index);
		break;
	case 7:
		run();
		break;
	case 8:
		ask(index, 0, CHAT_RESUME, 0);
		break;
	case 9:
		start(index, 0, CHAT_REKEY);
		break;
	case 10:
		start(index, input_u8(input), input_u8(input) & 0x7f);
		break;
	case 11:
		fuzz_wall += (int64_t)(1 + input_u8(input)) * CLOCK_SECOND;
		tick(0);
		tick(1);
		break;
	case 12:
		die(index);
		break;
	case 13:
		(void)chats_rekey(nodes[index].chats, NULL);
		(void)chats_rekey_step(nodes[index].chats, SIZE_MAX);
		(void)node_commit(&nodes[index]);
		break;
	case 14:
		chats_set_now(nodes[index].chats, fuzz_wall);
		if (input_u8(input) & 1)
			chats_end(nodes[index].chats, &end);
		(void)node_commit(&nodes[index]);
		break;
	case 15:
		fuzz_store_fail(input_u8(input) % 3);
		break;
	}
}

/* The tieline came up: both routers start their chats again. */
static void
resume(void)
{
	int i;

	wire_clear(&nodes[0].wire);
	wire_clear(&nodes[1].wire);
	for (i = 0; i < 2; i++)
		if (chat_find(nodes[i].chats, &route_of(i)->key) != NULL)
			start(i, 0, CHAT_RESUME);
	run();
}

static struct chat *
chat_of(int index)
{
	return (chat_find(nodes[index].chats, &route_of(index)->key));
}

/* The peer begins the chat anew (a reset): the app at index may take it up. */
static int
offered(int index)
{
	return (
	    waiting_find(nodes[index].chats, &route_of(index)->key) != NULL);
}

static void
converge(void)
{
	uint64_t before[2];
	int i, round;

	fuzz_store_fail(0);
	for (i = 0; i < 2; i++)
		(void)node_commit(&nodes[i]);
	/* Twice: what the first finds out, the second repairs; throttles
	 * and grace are over. */
	for (round = 0; round < 4; round++) {
		fuzz_wall += 31 * CLOCK_SECOND;
		resume();
		tick(0);
		tick(1);
		run();
	}
	if (chat_of(0) == NULL || chat_of(1) == NULL) {
		/* It ended; no end waits for ever for one that is gone. */
		resume();
		run();
		for (i = 0; i < 2; i++)
			FUZZ_CHECK(chat_of(i) == NULL ||
				   chat_of(i)->version == 0 || offered(1 - i));
		return;
	}
	FUZZ_CHECK(chat_of(0)->version == chat_of(1)->version);
	if (chat_of(0)->version == 0)
		return;
	FUZZ_CHECK(route_of(0)->ready && route_of(1)->ready);
	/* And they can talk, both ways. */
	for (i = 0; i < 2; i++) {
		before[i] = chat_of(i)->received;
		route_of(i)->next = chat_of(i)->accepted + 1;
	}
	for (i = 0; i < 2; i++)
		say(i);
	run();
	for (i = 0; i < 2; i++)
		FUZZ_CHECK(
		    chat_of(i) != NULL && chat_of(i)->received > before[i]);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return (0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	uint8_t how = input_u8(&input);
	int i;

	fuzz_seed(3);
	fuzz_wall = FUZZ_EPOCH;
	fuzz_store_reset();
	truth_reset();
	memset(metrics, 0, sizeof(metrics));
	node_init(&nodes[0], "one");
	node_init(&nodes[1], "two");
	for (i = 0; i < 2; i++)
		node_route(&nodes[i], 0, "chat", &nodes[i].apps[0],
		    &nodes[1 - i].apps[0]);
	for (i = 0; i < 2; i++)
		node_start(&nodes[i]);
	if (how & 1)
		for (i = 0; i < 2; i++) {
			start(i, 0, 0);
			run();
		}
	for (i = 0; i < STEPS && input.left > 0; i++)
		step(&input);
	converge();
	for (i = 0; i < 2; i++) {
		wire_clear(&nodes[i].wire);
		node_stop(&nodes[i]);
	}
	return (0);
}
