/*
 * The membership core by itself: probes, suspicion, refutation, and what
 * hearsay may and may not do.
 */

#include "mesh/swim_internal.h"
#include "regress/unit/swim_fixture.h"

/* --- forms --------------------------------------------------------------- */

START_TEST(statements)
{
	struct swim_statement *a = statement(1, 5, 10);

	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_eq(swim_statement_hold(a), a);
	swim_statement_free(a);
	ck_assert_uint_eq(a->incarnation, 5);
	swim_statement_free(a);
	swim_statement_free(NULL);
	a = swim_statement_make(key_of(1), "a", 1, "word", 4);
	ck_assert_ptr_nonnull(a);
	ck_assert_uint_eq(a->length, 4);
	ck_assert_mem_eq(a->bytes, "word", 4);
	ck_assert_str_eq(a->node_id, "a");
	swim_statement_free(a);
	ck_assert_ptr_null(statement(1, 0, 10));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(statement(1, SWIM_INCARNATION_MAX + 1, 10));
	ck_assert_ptr_null(statement(1, UINT64_MAX, 10));
	ck_assert_ptr_null(swim_statement_make(key_of(1), "Node", 1, "", 0));
	ck_assert_ptr_null(swim_statement_make(key_of(1), "", 1, "", 0));
	ck_assert_ptr_null(
	    swim_statement_make(key_of(1), "a", 1, "", SWIM_STATEMENT_MAX + 1));
}
END_TEST

/* Is a configuration taken that differs from the standard in one thing? */
#define TAKEN(member, value)                                                   \
	(swim_config_default(&config), config.member = (value), config_taken())

static int
config_taken(void)
{
	struct swim_statement *own = statement(0, 1, 1);

	errno = 0;
	swim = swim_new(&config, own, next_random, &randomness, 0);
	swim_statement_free(own);
	if (swim == NULL) {
		ck_assert_int_eq(errno, EINVAL);
		return (0);
	}
	swim_free(swim);
	swim = NULL;
	return (1);
}

START_TEST(configs)
{
	ck_assert(TAKEN(probe_timeout, 1));
	ck_assert(!TAKEN(probe_timeout, 0));
	ck_assert(!TAKEN(probe_timeout, config.probe_interval));
	ck_assert(!TAKEN(gossip_interval, 0));
	ck_assert(!TAKEN(sync_interval, 0));
	ck_assert(!TAKEN(reconnect_interval, 0));
	ck_assert(!TAKEN(forget_after, 0));
	ck_assert(!TAKEN(refute_interval, 0));
	ck_assert(!TAKEN(suspicion_unit, 0));
	ck_assert(!TAKEN(suspicion_factor, 0));
	ck_assert(!TAKEN(suspicion_stretch, 0));
	ck_assert(TAKEN(confirmations, SWIM_CONFIRMATIONS_MAX));
	ck_assert(!TAKEN(confirmations, SWIM_CONFIRMATIONS_MAX + 1));
	ck_assert(TAKEN(indirect, SWIM_INDIRECT_MAX));
	ck_assert(!TAKEN(indirect, SWIM_INDIRECT_MAX + 1));
	ck_assert(TAKEN(gossip_fanout, 16));
	ck_assert(!TAKEN(gossip_fanout, 17));
	ck_assert(!TAKEN(gossip_fanout, 0));
	ck_assert(TAKEN(retransmit, 1));
	ck_assert(!TAKEN(retransmit, 0));
	ck_assert(!TAKEN(members, 0));
	ck_assert(!TAKEN(queue, 0));
}
END_TEST

/* --- probes -------------------------------------------------------------- */

START_TEST(probe_acked)
{
	const struct swim_action *ping;
	struct swim_counts counts;
	uint64_t sequence;

	start(1);
	run_until(now + 2 * SECOND, SWIM_PING);
	ping = sent_of(SWIM_PING);
	ck_assert_int_eq(index_of(ping->node), 1);
	ck_assert_int_eq(index_of(ping->message.target), 1);
	sequence = ping->message.sequence;
	now += 30 * MS;
	receive(1, SWIM_ACK, sequence, 1);
	ck_assert_int_eq(swim_find(swim, key_of(1))->rtt, 30 * MS);
	ck_assert_int_eq(swim_find(swim, key_of(1))->last_seen, now);
	run_until(now + 800 * MS, 0);
	ck_assert_int_eq(state_of(1), NODE_ALIVE);
	/* Its time is smoothed. */
	run_until(now + 2 * SECOND, SWIM_PING);
	sequence = sent_of(SWIM_PING)->message.sequence;
	now += 110 * MS;
	receive(1, SWIM_ACK, sequence, 1);
	ck_assert_int_eq(swim_find(swim, key_of(1))->rtt, 40 * MS);
	swim_count(swim, &counts);
	ck_assert_uint_eq(counts.probes_failed, 0);
	ck_assert_uint_eq(counts.health, 0);
}
END_TEST

/* No ack: three others are asked; none gets one: suspicion. */
START_TEST(probe_fails)
{
	struct swim_counts counts;
	uint64_t sequence;
	int target, i, relays[3];

	start(10);
	run_until(now + 2 * SECOND, SWIM_PING);
	target = index_of(sent_of(SWIM_PING)->node);
	run_until(now + 600 * MS, SWIM_PING_REQ);
	ck_assert_uint_eq(count_of(SWIM_PING_REQ), 3);
	sequence = sent_of(SWIM_PING_REQ)->message.sequence;
	for (i = 0; i < 3; i++) {
		relays[i] = index_of(sent[i].node);
		ck_assert_int_ne(relays[i], target);
		ck_assert_int_eq(index_of(sent[i].message.target), target);
	}
	ck_assert(relays[0] != relays[1] && relays[1] != relays[2] &&
		  relays[0] != relays[2]);
	now += 400 * MS;
	for (i = 0; i < 3; i++)
		receive(relays[i], SWIM_NACK, sequence, target);
	run_until(now + 200 * MS, SWIM_PING);
	ck_assert_int_eq(state_of(target), NODE_SUSPECT);
	swim_count(swim, &counts);
	ck_assert_uint_eq(counts.probes_failed, 1);
	ck_assert_uint_eq(counts.health, 0); /* all nacks: not our fault */
}
END_TEST

/* Without nacks it may be we who are slow: times are stretched. */
START_TEST(probe_health)
{
	struct swim_counts counts;
	int64_t at;
	int i;

	start(10);
	run_until(now + 2 * SECOND, SWIM_PING);
	run_until(now + 2 * SECOND, SWIM_PING);
	swim_count(swim, &counts);
	ck_assert_uint_eq(counts.health, 3);
	at = now;
	run_until(now + 10 * SECOND, SWIM_PING_REQ);
	ck_assert_int_eq(now - at, 4 * 500 * MS);
	for (i = 0; i < 4; i++)
		run_until(now + 20 * SECOND, SWIM_PING);
	swim_count(swim, &counts);
	ck_assert_uint_eq(counts.health, config.health_max);
	run_answered(now + 120 * SECOND);
	swim_count(swim, &counts);
	ck_assert_uint_eq(counts.health, 0);
}
END_TEST

/* A probe that fails of one that others suspect is one more accuser. */
START_TEST(probe_confirms)
{
	int target;

	start(10);
	run_until(now + 2 * SECOND, SWIM_PING);
	target = index_of(sent_of(SWIM_PING)->node);
	ck_assert_int_eq(update(SWIM_SUSPECT, target, 1, 1 + target % 10), 1);
	ck_assert_uint_eq(
	    swim_find(swim, key_of(target))->suspicion->confirmed, 0);
	run_until(now + 2 * SECOND, SWIM_PING);
	ck_assert_uint_eq(
	    swim_find(swim, key_of(target))->suspicion->confirmed, 1);
}
END_TEST

START_TEST(probe_indirect_ack)
{
	uint64_t sequence;
	int target, relay;

	start(10);
	run_until(now + 2 * SECOND, SWIM_PING);
	target = index_of(sent_of(SWIM_PING)->node);
	run_until(now + 600 * MS, SWIM_PING_REQ);
	sequence = sent_of(SWIM_PING_REQ)->message.sequence;
	relay = index_of(sent_of(SWIM_PING_REQ)->node);
	receive(relay, SWIM_ACK, sequence, target);
	run_until(now + 600 * MS, SWIM_PING);
	ck_assert_int_eq(state_of(target), NODE_ALIVE);
}
END_TEST

/* Acks of nodes that were not asked, or to another probe, are none. */
START_TEST(probe_foreign_ack)
{
	uint64_t sequence;
	int target, i;

	start(10);
	run_until(now + 2 * SECOND, SWIM_PING);
	target = index_of(sent_of(SWIM_PING)->node);
	sequence = sent_of(SWIM_PING)->message.sequence;
	for (i = 1; i <= 10; i++)
		if (i != target)
			receive(i, SWIM_ACK, sequence, target);
	receive(target, SWIM_ACK, sequence + 256, target);
	receive(target, SWIM_ACK, sequence ^ 1, target);
	receive(99, SWIM_ACK, sequence, target);
	run_until(now + 2 * SECOND, SWIM_PING);
	ck_assert_int_eq(state_of(target), NODE_SUSPECT);
}
END_TEST

/* In n periods each of n members is probed once. */
START_TEST(probe_round)
{
	int probes[21] = { 0 }, i, target;

	start(20);
	for (i = 0; i < 40; i++) {
		run_until(now + 10 * SECOND, SWIM_PING);
		target = index_of(sent_of(SWIM_PING)->node);
		probes[target]++;
		receive(target, SWIM_ACK, sent_of(SWIM_PING)->message.sequence,
		    target);
		if (i == 19 || i == 39)
			for (target = 1; target <= 20; target++)
				ck_assert_int_eq(probes[target], (i + 1) / 20);
	}
}
END_TEST

/* When a round is just over, members that go leave the rest in place. */
START_TEST(probe_round_end)
{
	static const int first_and_last[5] = { 0, 4, 1, 3, 2 };
	const struct swim_member *member;
	int order[5], seen[6], i, target;
	size_t cursor;

	start(5);
	for (i = 0; i < 5; i++) {
		run_until(now + 10 * SECOND, SWIM_PING);
		target = order[i] = index_of(sent_of(SWIM_PING)->node);
		receive(target, SWIM_ACK, sent_of(SWIM_PING)->message.sequence,
		    target);
	}
	for (i = 0; i < 5; i++) {
		ck_assert_int_eq(
		    update(SWIM_LEAVE, order[first_and_last[i]], 1, 0), 1);
		drain();
		memset(seen, 0, sizeof(seen));
		for (cursor = 0; (member = swim_walk(swim, &cursor)) != NULL;)
			seen[index_of(member->alive->key)]++;
		for (target = 1; target <= 5; target++)
			ck_assert_int_eq(seen[target], 1);
	}
}
END_TEST

START_TEST(relays)
{
	const struct swim_action *action;
	uint64_t sequence;

	start(5);
	receive(1, SWIM_PING_REQ, 77, 2);
	action = sent_of(SWIM_PING);
	ck_assert_ptr_nonnull(action);
	ck_assert_int_eq(index_of(action->node), 2);
	sequence = action->message.sequence;
	ck_assert_uint_ne(sequence, 77);
	receive(3, SWIM_ACK, sequence, 2); /* not the one pinged */
	ck_assert_ptr_null(sent_of(SWIM_ACK));
	receive(2, SWIM_ACK, sequence, 2);
	action = sent_of(SWIM_ACK);
	ck_assert_ptr_nonnull(action);
	ck_assert_int_eq(index_of(action->node), 1);
	ck_assert_uint_eq(action->message.sequence, 77);
	ck_assert_int_eq(index_of(action->message.target), 2);
	receive(2, SWIM_ACK, sequence, 2); /* once only */
	ck_assert_ptr_null(sent_of(SWIM_ACK));

	receive(1, SWIM_PING_REQ, 78, 2);
	sequence = sent_of(SWIM_PING)->message.sequence;
	run_until(now + 450 * MS, SWIM_NACK);
	ck_assert_uint_eq(sent_of(SWIM_NACK)->message.sequence, 78);
	receive(2, SWIM_ACK, sequence, 2); /* late is better than never */
	ck_assert_uint_eq(sent_of(SWIM_ACK)->message.sequence, 78);

	receive(1, SWIM_PING_REQ, 79, 42); /* whom we do not know */
	ck_assert_ptr_nonnull(sent_of(SWIM_NACK));
	receive(1, SWIM_PING_REQ, 80, 0); /* ourselves */
	ck_assert_uint_eq(sent_of(SWIM_ACK)->message.sequence, 80);
	receive(1, SWIM_PING, 81, 0);
	ck_assert_uint_eq(sent_of(SWIM_ACK)->message.sequence, 81);
	receive(1, SWIM_PING, 82, 3); /* somebody else */
	ck_assert_ptr_null(sent_of(SWIM_ACK));
}
END_TEST

/* A flood of requests is bounded and answered with nacks; others have theirs. */
START_TEST(relay_flood)
{
	int i, from, pings, nacks;

	start(6);
	for (from = 1; from <= 5; from++) {
		for (i = pings = nacks = 0; i < 1000; i++) {
			receive(from, SWIM_PING_REQ, 1000 + (uint64_t)i, 6);
			pings += sent_of(SWIM_PING) != NULL;
			nacks += sent_of(SWIM_NACK) != NULL;
		}
		ck_assert_int_eq(pings, from < 5 ? 32 : 0);
		ck_assert_int_eq(nacks, 1000 - pings);
	}
}
END_TEST

/* --- suspicion ----------------------------------------------------------- */

START_TEST(suspicion_times)
{
	int64_t at;

	/* 9 others: log10 of 10 is 1, so 4 s to 24 s. */
	start(9);
	at = now;
	ck_assert_int_eq(update(SWIM_SUSPECT, 1, 1, 2), 1);
	run_answered(at + 23 * SECOND);
	ck_assert_int_eq(state_of(1), NODE_SUSPECT);
	run_answered(at + 25 * SECOND);
	ck_assert_int_eq(state_of(1), NODE_FAILED);

	at = now;
	ck_assert_int_eq(update(SWIM_SUSPECT, 3, 1, 2), 1);
	ck_assert_int_eq(update(SWIM_SUSPECT, 3, 1, 2), 0); /* the same */
	ck_assert_int_eq(update(SWIM_SUSPECT, 3, 1, 4), 1);
	ck_assert_int_eq(update(SWIM_SUSPECT, 3, 1, 5), 1);
	ck_assert_int_eq(update(SWIM_SUSPECT, 3, 1, 6), 1);
	ck_assert_int_eq(update(SWIM_SUSPECT, 3, 1, 7), 0); /* enough */
	run_answered(at + 3900 * MS);
	ck_assert_int_eq(state_of(3), NODE_SUSPECT);
	run_answered(at + 4100 * MS);
	ck_assert_int_eq(state_of(3), NODE_FAILED);

	/* One of three more: half of the way, by its logarithm. */
	at = now;
	ck_assert_int_eq(update(SWIM_SUSPECT, 8, 1, 2), 1);
	ck_assert_int_eq(update(SWIM_SUSPECT, 8, 1, 4), 1);
	run_answered(at + 13900 * MS);
	ck_assert_int_eq(state_of(8), NODE_SUSPECT);
	run_answered(at + 14100 * MS);
	ck_assert_int_eq(state_of(8), NODE_FAILED);
}
END_TEST

/* L18: a FAIL from anybody is a suspicion like another; time to refute. */
START_TEST(L18_fail_is_hearsay)
{
	int64_t at;

	start(9);
	at = now;
	ck_assert_int_eq(update(SWIM_FAIL, 1, 1, 2), 1);
	ck_assert_int_eq(state_of(1), NODE_SUSPECT);
	(void)update(SWIM_FAIL, 1, 1, 3);
	(void)update(SWIM_FAIL, 1, 1, 4);
	ck_assert_int_eq(state_of(1), NODE_SUSPECT);
	run_answered(at + 3900 * MS);
	ck_assert_int_eq(state_of(1), NODE_SUSPECT);
	ck_assert_int_eq(update(SWIM_ALIVE, 1, 2, 0), 1); /* refuted */
	ck_assert_int_eq(state_of(1), NODE_ALIVE);
	run_answered(at + 60 * SECOND);
	ck_assert_int_eq(state_of(1), NODE_ALIVE);
	/* Who was suspected long enough already fails at once. */
	ck_assert_int_eq(update(SWIM_SUSPECT, 1, 2, 2), 1);
	run_answered(now + 10 * SECOND);
	ck_assert_int_eq(state_of(1), NODE_SUSPECT);
	(void)update(SWIM_FAIL, 1, 2, 3);
	ck_assert_int_eq(state_of(1), NODE_FAILED);
}
END_TEST

/* L18: last seen is our own clock at their own message, nothing else. */
START_TEST(L18_L35_last_seen)
{
	start(3);
	ck_assert_int_eq(swim_find(swim, key_of(1))->last_seen, 0);
	now += SECOND;
	receive(1, SWIM_GOSSIP, 0, 0);
	ck_assert_int_eq(swim_find(swim, key_of(1))->last_seen, now);
	now += SECOND;
	ck_assert_int_eq(update(SWIM_ALIVE, 1, 2, 0), 1);
	receive(2, SWIM_PUSH_PULL, 0, 0);
	ck_assert_int_eq(swim_find(swim, key_of(1))->last_seen, now - SECOND);
	ck_assert_int_eq(swim_find(swim, key_of(2))->last_seen, now);
}
END_TEST

/* L35: what is said of an unknown node adds nothing. */
START_TEST(L35_unknown)
{
	struct swim_update fail = { .type = SWIM_FAIL };
	size_t cursor = 0;

	start(2);
	ck_assert_int_eq(update(SWIM_SUSPECT, 9, 1, 1), 0);
	ck_assert_int_eq(update(SWIM_FAIL, 9, 1, 1), 0);
	ck_assert_int_eq(update(SWIM_LEAVE, 9, 1, 1), 0);
	memcpy(fail.key, key_of(9), KEY_SIZE);
	fail.incarnation = 1;
	fail.statement = statement(9, 1, 10);
	ck_assert_int_eq(swim_update(swim, &fail, now), 0);
	swim_statement_free(fail.statement);
	ck_assert_int_eq(state_of(9), 0);
	while (swim_walk(swim, &cursor) != NULL)
		;
	ck_assert_uint_eq(cursor, 3);
}
END_TEST

/* L31: only the node itself raises its incarnation, and in bounds. */
START_TEST(L31_incarnations)
{
	static const uint64_t absurd[] = { 0, 2, 1000, SWIM_INCARNATION_MAX,
		SWIM_INCARNATION_MAX + 1, UINT64_MAX };
	struct swim_update forged = { .type = SWIM_ALIVE };
	size_t i;

	start(9);
	for (i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++) {
		ck_assert_int_eq(update(SWIM_SUSPECT, 1, absurd[i], 2), 0);
		ck_assert_int_eq(update(SWIM_FAIL, 1, absurd[i], 2), 0);
		ck_assert_int_eq(update(SWIM_FAIL, 0, absurd[i], 2), 0);
	}
	run_answered(now + 60 * SECOND);
	ck_assert_int_eq(state_of(1), NODE_ALIVE);
	ck_assert_uint_eq(refute, 0);
	/* Nor is it worth to be looked at, of whomever. */
	ck_assert(swim_wants(swim, SWIM_ALIVE, key_of(50), 1));
	ck_assert(!swim_wants(swim, SWIM_ALIVE, key_of(50), 0));
	ck_assert(!swim_wants(
	    swim, SWIM_ALIVE, key_of(50), SWIM_INCARNATION_MAX + 1));
	/* A step too large is not taken; the largest one is. */
	ck_assert_int_eq(update(SWIM_ALIVE, 1, SWIM_STEP_MAX + 2, 0), 0);
	ck_assert_int_eq(update(SWIM_ALIVE, 1, SWIM_STEP_MAX + 1, 0), 1);
	/* At the very end nobody is immortal. */
	ck_assert_int_eq(update(SWIM_ALIVE, 50, SWIM_INCARNATION_MAX, 0), 1);
	ck_assert_int_eq(update(SWIM_FAIL, 50, SWIM_INCARNATION_MAX, 2), 1);
	run_answered(now + 60 * SECOND);
	ck_assert_int_eq(state_of(50), NODE_FAILED);
	/* The number in the update must be the one that was signed. */
	memcpy(forged.key, key_of(2), KEY_SIZE);
	forged.incarnation = 7;
	forged.statement = statement(2, 6, 10);
	ck_assert_int_eq(swim_update(swim, &forged, now), -1);
	ck_assert_int_eq(errno, EINVAL);
	forged.incarnation = 6;
	forged.key[0] = 3;
	ck_assert_int_eq(swim_update(swim, &forged, now), -1);
	swim_statement_free(forged.statement);
	forged.statement = NULL;
	ck_assert_int_eq(swim_update(swim, &forged, now), -1);
}
END_TEST

/* L32: who was failed or left comes back with a higher incarnation. */
START_TEST(L32_rejoin)
{
	start(9);
	(void)update(SWIM_FAIL, 1, 1, 2);
	run_answered(now + 5 * SECOND);
	ck_assert_int_eq(state_of(1), NODE_FAILED);
	ck_assert_int_eq(update(SWIM_ALIVE, 1, 1, 0), 0);
	ck_assert_int_eq(state_of(1), NODE_FAILED);
	ck_assert_int_eq(update(SWIM_ALIVE, 1, 2, 0), 1);
	drain();
	ck_assert_int_eq(changes, 1);
	ck_assert_int_eq(last_was, NODE_FAILED);
	ck_assert_int_eq(last_now, NODE_ALIVE);
	/* LEAVE is final for its incarnation, also over FAIL. */
	ck_assert_int_eq(update(SWIM_LEAVE, 1, 2, 0), 1);
	ck_assert_int_eq(state_of(1), NODE_LEFT);
	ck_assert_int_eq(update(SWIM_ALIVE, 1, 2, 0), 0);
	ck_assert_int_eq(update(SWIM_FAIL, 1, 2, 3), 0);
	ck_assert_int_eq(update(SWIM_SUSPECT, 1, 2, 3), 0);
	ck_assert_int_eq(update(SWIM_LEAVE, 1, 2, 0), 0);
	ck_assert_int_eq(state_of(1), NODE_LEFT);
	ck_assert_int_eq(update(SWIM_ALIVE, 1, 3, 0), 1);
	ck_assert_int_eq(state_of(1), NODE_ALIVE);
	ck_assert_int_eq(update(SWIM_LEAVE, 1, 2, 0), 0); /* old */
	ck_assert_int_eq(state_of(1), NODE_ALIVE);
	/* A LEAVE of a life we did not know of. */
	ck_assert_int_eq(update(SWIM_LEAVE, 1, 9, 0), 1);
	ck_assert_int_eq(update(SWIM_ALIVE, 1, 9, 0), 0);
	ck_assert_int_eq(update(SWIM_ALIVE, 1, 10, 0), 1);
}
END_TEST

START_TEST(revoked)
{
	start(3);
	swim_revoke(swim, key_of(1), now);
	swim_revoke(swim, key_of(99), now);
	drain();
	ck_assert_int_eq(last_now, NODE_REVOKED);
	ck_assert_int_eq(update(SWIM_ALIVE, 1, 5, 0), 0);
	ck_assert_int_eq(update(SWIM_LEAVE, 1, 5, 0), 0);
	ck_assert_int_eq(update(SWIM_FAIL, 1, 1, 0), 0);
	ck_assert_int_eq(state_of(1), NODE_REVOKED);
	ck_assert_uint_eq(swim_live(swim), 3);
}
END_TEST

/* --- refutation ---------------------------------------------------------- */

START_TEST(refutation)
{
	struct swim_statement *own;
	int i;

	start(9);
	ck_assert_int_eq(update(SWIM_SUSPECT, 0, 1, 2), 1);
	receive(2, SWIM_GOSSIP, 0, 0);
	ck_assert_uint_eq(refute, 2);
	for (i = 0; i < 100; i++) /* signed once */
		(void)update(SWIM_FAIL, 0, 1, 3);
	drain();
	ck_assert_uint_eq(refute, 0);
	own = statement(0, 1, 100);
	ck_assert_int_eq(swim_own(swim, own, now), -1);
	ck_assert_int_eq(errno, EINVAL);
	swim_statement_free(own);
	own = statement(1, 2, 100);
	ck_assert_int_eq(swim_own(swim, own, now), -1);
	swim_statement_free(own);
	own = statement(0, 2, 100);
	ck_assert_int_eq(swim_own(swim, own, now), 0);
	swim_statement_free(own);
	drain(); /* straight to whom it came from */
	ck_assert_ptr_nonnull(sent_of(SWIM_GOSSIP));
	ck_assert_int_eq(index_of(sent_of(SWIM_GOSSIP)->node), 2);
	ck_assert_int_eq(told[0].type, SWIM_ALIVE);
	ck_assert_uint_eq(told[0].incarnation, 2);
	/* The old accusation is no more. */
	ck_assert_int_eq(update(SWIM_FAIL, 0, 1, 3), 0);
	/* Another one: not sooner than the interval, but then. */
	(void)update(SWIM_FAIL, 0, 2, 3);
	drain();
	ck_assert_uint_eq(refute, 0);
	now += 200 * MS;
	swim_tick(swim, now);
	drain();
	ck_assert_uint_eq(refute, 3);
	/* The signature never came: asked for again, when accused again. */
	now += SECOND;
	(void)update(SWIM_FAIL, 0, 2, 3);
	drain();
	ck_assert_uint_eq(refute, 0);
	now += SECOND;
	(void)update(SWIM_FAIL, 0, 2, 3);
	drain();
	ck_assert_uint_eq(refute, 3);
}
END_TEST

/* Whoever accuses us all day does not make us slow to notice who fails. */
START_TEST(accused_all_day)
{
	struct swim_statement *own;
	struct swim_counts counts;
	uint64_t incarnation = 1;
	int i;

	start(9);
	for (i = 0; i < 300; i++) {
		run_answered(now + 200 * MS);
		(void)update(SWIM_SUSPECT, 0, incarnation, 2);
		drain();
		if (refute == 0)
			continue;
		incarnation = refute;
		own = statement(0, incarnation, 100);
		ck_assert_int_eq(swim_own(swim, own, now), 0);
		swim_statement_free(own);
		drain();
	}
	swim_count(swim, &counts);
	ck_assert_uint_gt(counts.refuted, 200);
	ck_assert_uint_le(counts.health, 1);
}
END_TEST

/* A later life of our own (from before a restored backup) is outdone. */
START_TEST(refute_earlier_life)
{
	start(3);
	(void)update(SWIM_ALIVE, 0, 40, 0);
	drain();
	ck_assert_uint_eq(refute, 41);
}
END_TEST

/* The buddy system: the suspect hears of it in the first message. */
/* Whoever accuses by an incarnation that is no more is set right. */
START_TEST(corrected)
{
	start(9);
	run_answered(now + 10 * SECOND);
	(void)update(SWIM_ALIVE, 1, 2, 0);
	run_answered(now + 10 * SECOND);
	ck_assert_int_eq(update(SWIM_SUSPECT, 1, 1, 3), 0);
	receive(2, SWIM_GOSSIP, 0, 0);
	ck_assert_ptr_nonnull(sent_of(SWIM_GOSSIP));
	ck_assert_int_eq(index_of(sent_of(SWIM_GOSSIP)->node), 2);
	ck_assert_int_eq(told[0].type, SWIM_ALIVE);
	ck_assert_int_eq(index_of(told[0].key), 1);
	ck_assert_uint_eq(told[0].incarnation, 2);
	receive(2, SWIM_GOSSIP, 0, 0); /* once */
	ck_assert_uint_eq(sent_count, 0);
}
END_TEST

/* A suspicion is told again before it ends. */
START_TEST(reminder)
{
	int i, late = 0;
	size_t k;

	start(9);
	run_answered(now + 10 * SECOND);
	(void)update(SWIM_SUSPECT, 1, 1, 2);
	drain();
	for (i = 0; i < 30; i++) {
		now += 100 * MS;
		swim_tick(swim, now);
		drain();
		for (k = 0; i >= 19 && k < sent_count; k++)
			late += sent[k].message.type == SWIM_GOSSIP;
	}
	ck_assert_int_ge(late, 1);
	ck_assert_int_eq(state_of(1), NODE_SUSPECT);
}
END_TEST

START_TEST(buddy)
{
	start(3);
	run_answered(now + 10 * SECOND); /* the queue is empty */
	(void)update(SWIM_SUSPECT, 1, 1, 2);
	(void)update(SWIM_ALIVE, 8, 1, 0);
	receive(1, SWIM_PING, 5, 0);
	ck_assert_int_eq(told[0].type, SWIM_SUSPECT);
	ck_assert_int_eq(index_of(told[0].key), 1);
	ck_assert_int_eq(index_of(told[0].accuser), 2);
	(void)update(SWIM_FAIL, 1, 1, 3);
	run_answered(now + 60 * SECOND);
	ck_assert_int_eq(state_of(1), NODE_FAILED);
	receive(1, SWIM_PING, 6, 0);
	ck_assert_int_eq(sent_of(SWIM_ACK)->update_count > 0, 1);
	ck_assert_int_eq(told[sent_of(SWIM_ACK) - sent].type, SWIM_FAIL);
	/* And it is asked for news. */
	ck_assert_ptr_nonnull(sent_of(SWIM_PUSH_PULL));
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, statements);
	tcase_add_test(tcase, configs);
	tcase_add_test(tcase, probe_acked);
	tcase_add_test(tcase, probe_fails);
	tcase_add_test(tcase, probe_health);
	tcase_add_test(tcase, probe_confirms);
	tcase_add_test(tcase, probe_indirect_ack);
	tcase_add_test(tcase, probe_foreign_ack);
	tcase_add_test(tcase, probe_round);
	tcase_add_test(tcase, probe_round_end);
	tcase_add_test(tcase, relays);
	tcase_add_test(tcase, relay_flood);
	tcase_add_test(tcase, suspicion_times);
	tcase_add_test(tcase, L18_fail_is_hearsay);
	tcase_add_test(tcase, L18_L35_last_seen);
	tcase_add_test(tcase, L35_unknown);
	tcase_add_test(tcase, L31_incarnations);
	tcase_add_test(tcase, L32_rejoin);
	tcase_add_test(tcase, revoked);
	tcase_add_test(tcase, refutation);
	tcase_add_test(tcase, accused_all_day);
	tcase_add_test(tcase, refute_earlier_life);
	tcase_add_test(tcase, corrected);
	tcase_add_test(tcase, reminder);
	tcase_add_test(tcase, buddy);
}

int
main(void)
{
	return (swim_run("swim", add_tests));
}
