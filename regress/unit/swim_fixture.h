/*
 * For tests of the membership core by itself: one node, 0, on a clock that the
 * test moves, and what it says and hears. The simulator (regress/sim) shows
 * many of them together. Include once.
 */
#ifndef REGRESS_UNIT_SWIM_FIXTURE_H
#define REGRESS_UNIT_SWIM_FIXTURE_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>
#include <sodium.h>

#include "mesh/swim.h"
#include "regress/unit/suite.h"

#define SECOND INT64_C(1000000000)
#define MS     INT64_C(1000000)

static struct swim *swim;
static struct swim_config config;
static int64_t now;
static uint64_t randomness;

/* What the last drain brought. */
static struct swim_action sent[4096];
static struct swim_update told[4096]; /* first update of each */
static size_t sent_count;
static uint64_t refute;
static int changes, last_was, last_now;
static size_t largest, most_updates;

static inline uint64_t
next_random(void *arg)
{
	uint64_t *state = arg;

	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (*state >> 16 ^ *state << 40);
}

static inline const uint8_t *
key_of(int i)
{
	static uint8_t keys[8][KEY_SIZE];
	static int turn;
	uint8_t *key = keys[turn++ % 8];

	memset(key, 0, KEY_SIZE);
	key[0] = (uint8_t)i;
	key[1] = (uint8_t)(i >> 8);
	key[2] = 1;
	return (key);
}

static inline int
index_of(const uint8_t *key)
{
	return (key[0] | key[1] << 8);
}

static inline struct swim_statement *
statement(int i, uint64_t incarnation, size_t length)
{
	static uint8_t bytes[SWIM_STATEMENT_MAX];

	return (
	    swim_statement_make(key_of(i), "node", incarnation, bytes, length));
}

static inline void
drain(void)
{
	struct swim_action action;
	size_t i, bytes;

	sent_count = 0;
	refute = 0;
	changes = 0;
	while (swim_next(swim, &action)) {
		if (action.type == SWIM_DO_REFUTE)
			refute = action.incarnation;
		if (action.type == SWIM_DO_CHANGED) {
			changes++;
			last_was = action.was;
			last_now = action.now;
		}
		if (action.type != SWIM_DO_SEND)
			continue;
		ck_assert_uint_lt(sent_count, 4096);
		memset(&told[sent_count], 0, sizeof(told[0]));
		if (action.update_count > 0)
			told[sent_count] = action.updates[0];
		sent[sent_count++] = action;
		for (i = bytes = 0; i < action.update_count; i++)
			if (action.updates[i].statement != NULL)
				bytes += action.updates[i].statement->length;
		if (action.message.type != SWIM_PUSH_PULL && bytes > largest)
			largest = bytes;
		if (action.message.type != SWIM_PUSH_PULL &&
		    action.update_count > most_updates)
			most_updates = action.update_count;
	}
}

/* The first message of a type in the last drain, or NULL. */
static inline const struct swim_action *
sent_of(enum swim_message_type type)
{
	size_t i;

	for (i = 0; i < sent_count; i++)
		if (sent[i].message.type == type)
			return (&sent[i]);
	return (NULL);
}

static inline size_t
count_of(enum swim_message_type type)
{
	size_t i, count = 0;

	for (i = 0; i < sent_count; i++)
		count += sent[i].message.type == type;
	return (count);
}

static inline int
update_full(enum swim_update_type type, int i, uint64_t incarnation,
    int accuser, size_t length)
{
	struct swim_update update = { .type = type };
	int result;

	memcpy(update.key, key_of(i), KEY_SIZE);
	memcpy(update.accuser, key_of(accuser), KEY_SIZE);
	update.incarnation = incarnation;
	if (type == SWIM_ALIVE || type == SWIM_LEAVE) {
		update.statement = statement(i, incarnation, length);
		ck_assert_ptr_nonnull(update.statement);
	}
	result = swim_update(swim, &update, now);
	swim_statement_free(update.statement);
	return (result);
}

static inline int
update(enum swim_update_type type, int i, uint64_t incarnation, int accuser)
{
	return (update_full(type, i, incarnation, accuser, 100));
}

static inline void
receive(int from, enum swim_message_type type, uint64_t sequence, int target)
{
	struct swim_message message = { .type = type };

	message.sequence = sequence;
	memcpy(message.target, key_of(target), KEY_SIZE);
	swim_receive(swim, key_of(from), &message, now);
	drain();
}

static inline int
state_of(int i)
{
	const struct swim_member *member = swim_find(swim, key_of(i));

	return (member == NULL ? 0 : member->state);
}

/* This node is 0; others 1 to n, alive, incarnation 1. */
static inline void
start(int others)
{
	struct swim_statement *own = statement(0, 1, 100);
	int i;

	now = 1000 * SECOND;
	randomness = 1;
	largest = most_updates = 0;
	swim = swim_new(&config, own, next_random, &randomness, now);
	ck_assert_ptr_nonnull(swim);
	swim_statement_free(own);
	for (i = 1; i <= others; i++)
		ck_assert_int_eq(update(SWIM_ALIVE, i, 1, 0), 1);
	drain();
}

static inline void
setup(void)
{
	swim_config_default(&config);
}

static inline void
teardown(void)
{
	swim_free(swim);
	swim = NULL;
}

/* Run timers until the time; messages of the last tick that sent any stay. */
static inline void
run_until(int64_t until, enum swim_message_type stop)
{
	while (swim_deadline(swim) <= until) {
		if (swim_deadline(swim) > now)
			now = swim_deadline(swim);
		swim_tick(swim, now);
		drain();
		if (stop != 0 && sent_of(stop) != NULL)
			return;
	}
	ck_assert_int_eq(stop, 0);
	now = until;
}

/* Everybody we ping answers, until the time. */
static inline void
run_answered(int64_t until)
{
	struct swim_action ping;
	size_t i, count;

	while (swim_deadline(swim) <= until) {
		if (swim_deadline(swim) > now)
			now = swim_deadline(swim);
		swim_tick(swim, now);
		drain();
		count = sent_count;
		for (i = 0; i < count; i++) {
			if (sent[i].message.type != SWIM_PING)
				continue;
			ping = sent[i];
			receive(index_of(ping.node), SWIM_ACK,
			    ping.message.sequence, index_of(ping.node));
			break;
		}
	}
	now = until;
}

/* Run the suite name with the cases that add gives it. What main() returns. */
static inline int
swim_run(const char *name, void (*add)(TCase *))
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);

	if (sodium_init() == -1)
		return (1);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	add(tcase);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}

#endif
