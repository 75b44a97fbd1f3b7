/*
 * Tests only. The membership core told lies in any order: it stays within
 * its bounds, and nobody is made alive, moved or gone by another's word but
 * by suspicion and its time.
 */

#include <stdlib.h>
#include <string.h>

#include "mesh/swim.h"
#include "regress/fuzz/fuzz.h"

#define NODES  12
#define SECOND INT64_C(1000000000)

static uint64_t state;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	fuzz_seed(7);
	return (0);
}

static uint64_t
next_random(void *arg)
{
	(void)arg;
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (state >> 16 ^ state << 40);
}

static void
key_of(unsigned int i, uint8_t key[KEY_SIZE])
{
	memset(key, 0, KEY_SIZE);
	key[0] = (uint8_t)(i % NODES);
	key[1] = 1;
}

static uint64_t
incarnation(struct input *input)
{
	uint8_t how = input_u8(input);

	return (how < 0xf0 ? how % 8 : input_u64(input));
}

static struct swim_statement *
statement(unsigned int i, uint64_t number)
{
	uint8_t key[KEY_SIZE], bytes[32] = { 0 };

	key_of(i, key);
	return (swim_statement_make(key, "node", number, bytes, sizeof(bytes)));
}

static void
drain(struct swim *swim, int64_t now)
{
	struct swim_action action;
	struct swim_statement *own;
	size_t i, count = 0;

	while (swim_next(swim, &action)) {
		FUZZ_CHECK(count++ < 10000);
		if (action.type == SWIM_DO_REFUTE) {
			own = statement(0, action.incarnation);
			FUZZ_CHECK(own != NULL);
			(void)swim_own(swim, own, now);
			swim_statement_free(own);
		}
		if (action.type != SWIM_DO_SEND)
			continue;
		FUZZ_CHECK(action.update_count <= SWIM_SYNC);
		FUZZ_CHECK(action.node[0] != 0); /* not to itself */
		for (i = 0; i < action.update_count; i++)
			FUZZ_CHECK(action.updates[i].type >= SWIM_ALIVE &&
				   action.updates[i].type <= SWIM_LEAVE);
	}
}

static void
update(struct swim *swim, struct input *input, int64_t now)
{
	struct swim_update update = { .type = SWIM_ALIVE };
	unsigned int of = input_u8(input);
	uint8_t how = input_u8(input);
	const struct swim_member *member;
	int was = 0, result;

	update.type = (enum swim_update_type)(1 + how % 4);
	key_of(of, update.key);
	key_of(how >> 4, update.accuser);
	update.incarnation = incarnation(input);
	/* Only this node itself says that it leaves. */
	if (update.key[0] == 0 && update.type == SWIM_LEAVE)
		return;
	update.synced = how >> 2 & 1;
	/* ALIVE and LEAVE come with a statement of their node. */
	if (update.type == SWIM_ALIVE || update.type == SWIM_LEAVE || (how & 8))
		update.statement = statement(of, update.incarnation);
	if ((member = swim_find(swim, update.key)) != NULL)
		was = member->state;
	if (update.statement != NULL || update.type == SWIM_SUSPECT ||
	    update.type == SWIM_FAIL) {
		result = swim_update(swim, &update, now);
		FUZZ_CHECK(result >= -1 && result <= 1);
		member = swim_find(swim, update.key);
		/* Hearsay never makes an alive node failed at once, nor a
		 * failed one alive; this node is always alive to itself. */
		if (update.type == SWIM_SUSPECT || update.type == SWIM_FAIL) {
			FUZZ_CHECK(was != NODE_ALIVE || member == NULL ||
				   member->state == NODE_ALIVE ||
				   member->state == NODE_SUSPECT);
			FUZZ_CHECK((was != NODE_FAILED && was != NODE_LEFT) ||
				   member == NULL ||
				   member->state != NODE_ALIVE);
		}
	}
	swim_statement_free(update.statement);
}

static void
step(struct swim *swim, struct input *input, int64_t *now)
{
	struct swim_message message = { .type = SWIM_PING };
	uint8_t key[KEY_SIZE], what = input_u8(input);

	key_of(what >> 4, key);
	switch (what % 10) {
	case 0:
	case 1:
	case 2:
		update(swim, input, *now);
		break;
	case 3:
	case 4:
		message.type =
		    (enum swim_message_type)(1 + input_u8(input) % 6);
		message.sequence = incarnation(input);
		message.reply = message.sequence & 1;
		key_of(input_u8(input), message.target);
		/* Messages come from others, as TLS says. */
		if (key[0] != 0)
			swim_receive(swim, key, &message, *now);
		break;
	case 5:
		*now += (int64_t)input_u8(input) * SECOND / 8;
		swim_tick(swim, *now);
		/* It does not ask to be called again at once. */
		FUZZ_CHECK(swim_deadline(swim) > *now);
		break;
	case 6:
		*now = swim_deadline(swim) > *now ? swim_deadline(swim) : *now;
		swim_tick(swim, *now);
		break;
	case 7:
		swim_connected(swim, key, input_u8(input) & 1);
		break;
	case 8:
		if (key[0] != 0 && (input_u8(input) & 1))
			swim_revoke(swim, key, *now);
		else if (key[0] != 0)
			swim_contact(swim, key, *now);
		break;
	case 9:
		swim_want_gossip(swim, input_u8(input) & 1, *now);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct swim_config config;
	struct swim_counts counts;
	struct swim_statement *own;
	struct swim *swim;
	int64_t now = 1000 * SECOND;

	fuzz_seed(7);
	state = input_u8(&input);
	swim_config_default(&config);
	config.members = 8;
	config.queue = 16;
	FUZZ_CHECK((own = statement(0, 5)) != NULL);
	swim = swim_new(&config, own, next_random, NULL, now);
	swim_statement_free(own);
	FUZZ_CHECK(swim != NULL);
	while (input.left > 0) {
		step(swim, &input, &now);
		drain(swim, now);
		swim_count(swim, &counts);
		FUZZ_CHECK(counts.queued <= config.queue + 1);
		FUZZ_CHECK(swim_self(swim)->state == NODE_ALIVE);
		FUZZ_CHECK(swim_live(swim) >= 1 &&
			   swim_live(swim) <= config.members + 1);
	}
	swim_free(swim);
	return (0);
}
