/*
 * The membership core by itself: what it tells, to whom, how often, and its
 * bounds.
 */

#include "mesh/swim_internal.h"
#include "regress/unit/swim_fixture.h"

/* --- telling ------------------------------------------------------------- */

START_TEST(told_often_enough)
{
	int i, tells = 0;

	start(50);
	run_answered(now + 60 * SECOND);
	ck_assert_int_eq(update(SWIM_ALIVE, 60, 1, 0), 1);
	for (i = 0; i < 200; i++) {
		size_t k;

		now += 200 * MS;
		swim_tick(swim, now);
		drain();
		for (k = 0; k < sent_count; k++)
			tells += sent[k].message.type != SWIM_PUSH_PULL &&
				 sent[k].update_count > 0 &&
				 index_of(told[k].key) == 60;
	}
	/* 4 x log10(53) = 6.9 */
	ck_assert_int_eq((int)swim_retransmits(swim), 7);
	ck_assert_int_eq(tells, 7);
}
END_TEST

/* Was the news of 60 told in the last drain, whatever else was? */
static int
tells_of_60(void)
{
	size_t i;
	int tells = 0;

	for (i = 0; i < sent_count; i++)
		tells += sent[i].message.type != SWIM_PUSH_PULL &&
			 sent[i].update_count >
			     (size_t)(index_of(told[i].key) != 60);
	return (tells);
}

/* Whoever asks without end is not told what there is for all. */
START_TEST(answers_take_no_news)
{
	int i, asked = 0, tells = 0;

	start(50);
	run_answered(now + 60 * SECOND);
	ck_assert_int_eq(update(SWIM_ALIVE, 60, 1, 0), 1);
	for (i = 0; i < 100; i++) {
		receive(1, SWIM_PING, 1, 0);
		ck_assert_uint_eq(count_of(SWIM_ACK), 1);
		asked += tells_of_60();
		receive(1, SWIM_PING_REQ, 2, 1);
		asked += tells_of_60();
		receive(77, SWIM_PING_REQ, 3, 0); /* who is nobody */
		asked += tells_of_60();
		/* It is set right. */
		ck_assert_int_eq(update(SWIM_SUSPECT, 2, 0, 1), 0);
		receive(1, SWIM_GOSSIP, 0, 0);
		ck_assert_uint_eq(count_of(SWIM_GOSSIP), 1);
		ck_assert_int_eq(index_of(told[0].key), 2);
		asked += tells_of_60();
	}
	ck_assert_int_eq(asked, 1);
	for (i = 0; i < 4; i++) {
		now += 200 * MS;
		swim_tick(swim, now);
		drain();
		tells += tells_of_60();
	}
	ck_assert_int_eq(tells, 6);
}
END_TEST

/* L33: the queue is bounded and the largest updates leave it. */
START_TEST(L33_queue)
{
	struct swim_counts counts;
	int i;

	config.queue = 16;
	start(3);
	for (i = 100; i < 400; i++)
		ck_assert_int_eq(
		    update_full(SWIM_ALIVE, i, 1, 0, SWIM_STATEMENT_MAX), 1);
	swim_count(swim, &counts);
	ck_assert_uint_le(counts.queued, 16);
	ck_assert_uint_ge(counts.dropped, 300 - 16);
	drain();
	run_until(now + 60 * SECOND, 0);
	swim_count(swim, &counts);
	ck_assert_uint_le(largest, SWIM_UPDATE_BYTES);
	ck_assert_uint_gt(largest, SWIM_STATEMENT_MAX - 1);
	ck_assert_uint_le(most_updates, SWIM_UPDATES);
}
END_TEST

START_TEST(sync_in_parts)
{
	size_t i, updates = 0;
	int seen[301] = { 0 };

	start(300);
	swim_contact(swim, key_of(5), now);
	drain();
	ck_assert_uint_eq(count_of(SWIM_PUSH_PULL), 3);
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(index_of(sent[i].node), 5);
		/* Only the last one is to be answered. */
		ck_assert_int_eq(sent[i].message.reply, i != 2);
		ck_assert_uint_le(sent[i].update_count, SWIM_SYNC);
		updates += sent[i].update_count;
		seen[index_of(told[i].key)]++;
		ck_assert_int_eq(told[i].synced, 1);
	}
	ck_assert_uint_eq(updates, 301);
	ck_assert_int_eq(seen[0], 1); /* this node first */
}
END_TEST

/* How many of so many push-pulls of a node are answered. */
static int
answers_to(int node, int count)
{
	struct swim_message request = { .type = SWIM_PUSH_PULL };
	int answers = 0;

	for (; count > 0; count--) {
		swim_receive(swim, key_of(node), &request, now);
		drain();
		answers += sent_of(SWIM_PUSH_PULL) != NULL &&
			   sent_of(SWIM_PUSH_PULL)->message.reply;
	}
	return (answers);
}

START_TEST(sync_answers)
{
	struct swim_message reply = { .type = SWIM_PUSH_PULL, .reply = 1 };

	start(4);
	/* One that asks without end takes nothing from the others, nor do all
	 * who say nothing of themselves. */
	ck_assert_int_eq(answers_to(900, 1000), 8);
	ck_assert_int_eq(answers_to(901, 1000), 0);
	ck_assert_int_eq(answers_to(1, 1000), 8);
	ck_assert_int_eq(answers_to(2, 1000), 8);
	/* All of them together have so many. */
	ck_assert_int_eq(answers_to(3, 1000), 8);
	ck_assert_int_eq(answers_to(4, 100), 0);
	now += SECOND;
	ck_assert_int_eq(answers_to(1, 100), 4);
	ck_assert_int_eq(answers_to(900, 100), 4);
	ck_assert_int_eq(answers_to(4, 100), 4);
	now += 60 * SECOND;
	swim_receive(swim, key_of(1), &reply, now);
	drain();
	ck_assert_uint_eq(sent_count, 0);
}
END_TEST

START_TEST(stranger)
{
	start(1);
	receive(77, SWIM_PING, 9, 0);
	ck_assert_ptr_nonnull(sent_of(SWIM_ACK));
	ck_assert_ptr_nonnull(sent_of(SWIM_PUSH_PULL));
	ck_assert_int_eq(index_of(sent_of(SWIM_PUSH_PULL)->node), 77);
	receive(78, SWIM_PING, 9, 0); /* not for each of a flood */
	ck_assert_ptr_null(sent_of(SWIM_PUSH_PULL));
	ck_assert_int_eq(state_of(77), 0);
}
END_TEST

/* How many exchanges of all states this node begins in that time. Pings are
 * answered, and, if so asked for, those. */
static int
syncs_in(int64_t time, int answered)
{
	struct swim_message reply = { .type = SWIM_PUSH_PULL, .reply = 1 };
	struct swim_action pings[8];
	size_t i, count;
	int syncs = 0;
	int64_t end;

	for (end = now + time; now < end;) {
		now += 100 * MS;
		swim_tick(swim, now);
		drain();
		for (i = count = 0; i < sent_count; i++) {
			if (sent[i].message.type == SWIM_PING && count < 8)
				pings[count++] = sent[i];
			if (sent[i].message.type != SWIM_PUSH_PULL)
				continue;
			ck_assert_int_eq(sent[i].message.reply, 0);
			syncs++;
			if (answered)
				swim_receive(swim, sent[i].node, &reply, now);
		}
		for (i = 0; i < count; i++)
			receive(index_of(pings[i].node), SWIM_ACK,
			    pings[i].message.sequence, index_of(pings[i].node));
	}
	return (syncs);
}

/* Often until they are answered, then each half a minute, but for chance. */
START_TEST(syncs)
{
	int count;

	start(5);
	count = syncs_in(60 * SECOND, 0);
	ck_assert_int_ge(count, 20);
	ck_assert_int_le(count, 60);
	(void)syncs_in(120 * SECOND, 1);
	count = syncs_in(900 * SECOND, 1);
	ck_assert_int_ge(count, 20);
	ck_assert_int_le(count, 60);
	/* Who has left is told no more. */
	ck_assert_int_eq(update(SWIM_LEAVE, 0, 1, 0), 1);
	ck_assert_int_eq(syncs_in(300 * SECOND, 1), 0);
}
END_TEST

START_TEST(along_connections)
{
	int i, along = 0, all = 0;

	start(200);
	run_until(now + 200 * SECOND, 0); /* the queue is empty */
	for (i = 1; i <= 200; i++)
		(void)update(SWIM_ALIVE, i, 2, 0);
	for (i = 1; i <= 20; i++)
		swim_connected(swim, key_of(i), 1);
	swim_connected(swim, key_of(7), 0);
	swim_connected(swim, key_of(7), 0);
	swim_connected(swim, key_of(999), 1);
	drain();
	for (i = 0; i < 200; i++) {
		size_t k;

		now += 200 * MS;
		swim_want_gossip(swim, 1, now);
		swim_tick(swim, now);
		drain();
		for (k = 0; k < sent_count; k++)
			if (sent[k].message.type == SWIM_GOSSIP) {
				all++;
				along += index_of(sent[k].node) <= 20;
			}
	}
	ck_assert_int_ge(all, 590);
	ck_assert_int_gt(along, all * 6 / 10);
	ck_assert_int_lt(along, all * 9 / 10);
}
END_TEST

/* Gossip stops when nothing is to be said, unless it is wanted. */
/* What comes up while actions are taken away is one more, not instead. */
START_TEST(actions_in_turn)
{
	struct swim_message ping = { .type = SWIM_PING, .sequence = 1 };
	struct swim_action action;
	int i;

	start(3);
	memcpy(ping.target, key_of(0), KEY_SIZE);
	swim_receive(swim, key_of(1), &ping, now);
	swim_receive(swim, key_of(2), &ping, now);
	for (i = 1; i <= 3; i++) {
		ck_assert_int_eq(swim_next(swim, &action), 1);
		ck_assert_int_eq(action.message.type, SWIM_ACK);
		ck_assert_int_eq(index_of(action.node), i);
		if (i == 1)
			swim_receive(swim, key_of(3), &ping, now);
	}
	ck_assert_int_eq(swim_next(swim, &action), 0);
	/* Of oneself there is no connection. */
	swim_connected(swim, key_of(0), 1);
	ck_assert_uint_eq(swim_self(swim)->connection, 0);
}
END_TEST

START_TEST(gossip_wanted)
{
	start(5);
	run_answered(now + 60 * SECOND);
	now += 10 * MS;
	swim_want_gossip(swim, 1, now);
	swim_tick(swim, now);
	drain();
	ck_assert_uint_eq(count_of(SWIM_GOSSIP), 3);
	ck_assert_uint_eq(sent_of(SWIM_GOSSIP)->update_count, 0);
	swim_want_gossip(swim, 0, now);
	now += SECOND;
	swim_tick(swim, now);
	drain();
	ck_assert_uint_eq(count_of(SWIM_GOSSIP), 0);
}
END_TEST

START_TEST(leaving)
{
	int i;

	start(20);
	run_answered(now + 60 * SECOND);
	ck_assert_int_eq(swim_left(swim), 0);
	ck_assert_int_eq(update(SWIM_LEAVE, 0, 1, 0), 1);
	ck_assert_int_eq(swim_left(swim), 0);
	for (i = 0; i < 20 && !swim_left(swim); i++) {
		now += 200 * MS;
		swim_tick(swim, now);
		drain();
		ck_assert_ptr_null(sent_of(SWIM_PING));
		if (i == 0)
			ck_assert_int_eq(told[0].type, SWIM_LEAVE);
	}
	ck_assert_int_eq(swim_left(swim), 1);
	ck_assert_int_lt(i, 10);
	(void)update(SWIM_FAIL, 0, 1, 3); /* so what */
	drain();
	ck_assert_uint_eq(refute, 0);
	receive(1, SWIM_PING, 4, 0);
	ck_assert_ptr_nonnull(sent_of(SWIM_ACK));
}
END_TEST

START_TEST(alone)
{
	struct swim_counts counts;

	start(0);
	ck_assert_ptr_null(swim_random(swim));
	/* Nobody to tell anything: nothing is due. */
	ck_assert_int_gt(swim_deadline(swim), now);
	run_until(now + 60 * SECOND, 0);
	ck_assert_uint_eq(sent_count, 0);
	ck_assert_uint_eq(swim_live(swim), 1);
	swim_count(swim, &counts);
	ck_assert_uint_eq(counts.probes, 0);
	ck_assert_int_eq(update(SWIM_LEAVE, 0, 1, 0), 1);
	ck_assert_int_eq(swim_left(swim), 1);
}
END_TEST

/* --- bounds -------------------------------------------------------------- */

/* L27: no more members than allowed; those that are gone make room. */
START_TEST(L27_members)
{
	struct swim_counts counts;

	config.members = 10;
	start(10);
	ck_assert_int_eq(update(SWIM_ALIVE, 11, 1, 0), -1);
	ck_assert_int_eq(errno, ENOSPC);
	ck_assert_int_eq(state_of(11), 0);
	ck_assert_int_eq(update(SWIM_LEAVE, 4, 1, 0), 1);
	ck_assert_int_eq(update(SWIM_ALIVE, 11, 1, 0), 1);
	drain();
	ck_assert_int_eq(state_of(4), 0);
	ck_assert_int_eq(state_of(11), NODE_ALIVE);
	ck_assert_int_eq(changes, 2);
	swim_count(swim, &counts);
	ck_assert_uint_eq(counts.states[NODE_ALIVE], 10);
	ck_assert_uint_eq(counts.states[NODE_LEFT], 0);
	ck_assert_int_eq(update(SWIM_ALIVE, 12, 1, 0), -1);
	swim_set_members(swim, 11);
	ck_assert_int_eq(update(SWIM_ALIVE, 12, 1, 0), 1);
	ck_assert_int_eq(update(SWIM_ALIVE, 13, 1, 0), -1);
}
END_TEST

START_TEST(forgotten)
{
	config.forget_after = 100 * SECOND;
	start(3);
	run_answered(now + 60 * SECOND); /* it is the leaving that counts */
	ck_assert_int_eq(update(SWIM_LEAVE, 1, 1, 0), 1);
	drain();
	run_answered(now + 90 * SECOND);
	ck_assert_int_eq(state_of(1), NODE_LEFT);
	run_answered(now + 30 * SECOND);
	ck_assert_int_eq(state_of(1), 0);
	ck_assert_int_eq(last_now, 0);
	ck_assert_int_eq(update(SWIM_FAIL, 1, 1, 2), 0);
	ck_assert_int_eq(state_of(1), 0);
}
END_TEST

/* One that failed is asked again, now and then. */
START_TEST(reconnects)
{
	size_t i;
	int asked = 0, rounds, state;

	start(5);
	(void)update(SWIM_FAIL, 1, 1, 2);
	(void)update(SWIM_LEAVE, 4, 1, 4);
	swim_revoke(swim, key_of(5), now);
	run_answered(now + 5 * SECOND);
	ck_assert_int_eq(state_of(1), NODE_FAILED);
	for (rounds = 0; rounds < 300; rounds++) {
		now += 200 * MS;
		swim_tick(swim, now);
		drain();
		for (i = 0; i < sent_count; i++) {
			if (sent[i].message.type != SWIM_PUSH_PULL)
				continue;
			state = state_of(index_of(sent[i].node));
			ck_assert_int_ne(state, NODE_LEFT);
			ck_assert_int_ne(state, NODE_REVOKED);
			asked += state == NODE_FAILED;
		}
	}
	ck_assert_int_ge(asked, 3);
	ck_assert_int_le(asked, 12);
}
END_TEST

/* Thousands of random events: the arrays, heap and lists stay whole. */
START_TEST(random_events)
{
	struct swim_counts counts;
	struct swim_member *member;
	uint64_t draw, state = 7;
	uint32_t states[NODE_REVOKED + 1];
	uintptr_t mark = 0;
	uint64_t connections;
	size_t cursor;
	int i, k;

	config.members = 40;
	config.forget_after = 20 * SECOND;
	start(20);
	for (i = 0; i < 200000; i++) {
		draw = next_random(&state);
		k = 1 + (int)(draw % 60);
		member = swim_find(swim, key_of(k));
		now += (int64_t)(draw >> 20 & 0x1ffffff);
		switch (draw >> 8 & 15) {
		case 0:
		case 1:
		case 2:
		case 3:
			(void)update_full(SWIM_ALIVE, k,
			    member == NULL
				? 1
				: member->alive->incarnation + (draw >> 12 & 3),
			    0, 0);
			break;
		case 4:
			if (member != NULL)
				(void)update_full(SWIM_LEAVE, k,
				    member->alive->incarnation, 0, 0);
			break;
		case 5:
		case 6:
		case 7:
			if (member != NULL)
				(void)update(
				    draw >> 12 & 1 ? SWIM_SUSPECT : SWIM_FAIL,
				    k, member->alive->incarnation,
				    (int)(draw >> 13 & 31));
			break;
		case 8:
			swim_connected(swim, key_of(k), draw >> 12 & 1);
			break;
		case 9:
			receive(k, SWIM_PUSH_PULL, 0, 0);
			break;
		case 10:
			receive(
			    k, SWIM_PING_REQ, draw, 1 + (int)(draw >> 16 & 63));
			break;
		default:
			swim_tick(swim, now);
			break;
		}
		drain();
		if (i % 100 != 0)
			continue;
		memset(states, 0, sizeof(states));
		mark++;
		connections = 0;
		for (cursor = 0; (member = swim_walk(swim, &cursor)) != NULL;) {
			states[member->state]++;
			ck_assert_ptr_ne(member->user, (void *)mark);
			member->user = (void *)mark; /* once each */
			ck_assert_uint_le(member->connection, 40);
			ck_assert(member->connection == 0 ||
				  (connections >> member->connection & 1) == 0);
			connections |= UINT64_C(1) << member->connection;
			ck_assert_ptr_eq(
			    swim_find(swim, member->alive->key), member);
			ck_assert((member->suspicion != NULL) ==
				  (member->state == NODE_SUSPECT));
			ck_assert((member->leave != NULL) ==
				  (member->state == NODE_LEFT));
		}
		/* What comes first is on top. */
		for (k = 1; k < (int)swim->suspicion_count; k++)
			ck_assert_int_le(swim->suspicions[(k - 1) / 2]->wake,
			    swim->suspicions[k]->wake);
		ck_assert_uint_eq(swim->suspicion_count, states[NODE_SUSPECT]);
		swim_count(swim, &counts);
		ck_assert_mem_eq(states, counts.states, sizeof(states));
		ck_assert_uint_le(cursor - 1, 40);
	}
	swim_count(swim, &counts);
	ck_assert_uint_gt(counts.evicted, 100);
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, told_often_enough);
	tcase_add_test(tcase, answers_take_no_news);
	tcase_add_test(tcase, L33_queue);
	tcase_add_test(tcase, sync_in_parts);
	tcase_add_test(tcase, sync_answers);
	tcase_add_test(tcase, stranger);
	tcase_add_test(tcase, syncs);
	tcase_add_test(tcase, along_connections);
	tcase_add_test(tcase, actions_in_turn);
	tcase_add_test(tcase, gossip_wanted);
	tcase_add_test(tcase, leaving);
	tcase_add_test(tcase, alone);
	tcase_add_test(tcase, L27_members);
	tcase_add_test(tcase, forgotten);
	tcase_add_test(tcase, reconnects);
	tcase_add_test(tcase, random_events);
}

int
main(void)
{
	return (swim_run("swim_gossip", add_tests));
}
