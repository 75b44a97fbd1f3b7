/*
 * The chat engine of keyd, b, when the node of a is revoked: nothing goes on
 * with it, whatever router and mesh say then, or keyd was killed between.
 */

#include "common/ipc/codes.h"
#include "regress/unit/chat_rig.h"

#define MANY 60000 /* chats */

static void
revoke_a(void)
{
	chats_set_now(b->chats, pair.now);
	chats_revoke(b->chats, a->key);
	pair_commit(&pair, 1);
}

START_TEST(chats_with_it_end_and_none_begins)
{
	struct chat_key key = pair_key(&pair, 1);

	pair_ready(&pair);
	revoke_a();
	ck_assert_int_eq(b->ends, 1);
	ck_assert_uint_eq(b->last_end.status, STATUS_REVOKED);
	ck_assert_ptr_null(pair_chat(&pair, 1));
	pair_drop(&pair);
	/* A node that is out, and a mesh that lets it in. */
	pair_end(&pair, 0, STATUS_DELETED);
	pair_drop(&pair);
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_refused.code, CODE_ROUTE_UNAVAILABLE);
	ck_assert_ptr_null(waiting_find(b->chats, &key));
	/* A router that asks for it. */
	b->errors = 0;
	pair_start(&pair, 1, 0, 0);
	ck_assert_int_eq(b->errors, 1);
	ck_assert_uint_eq(b->last_error.code, CODE_ROUTE_UNAVAILABLE);
	ck_assert_ptr_null(pair_chat(&pair, 1));
}
END_TEST

START_TEST(what_it_offered_is_not_taken_up)
{
	struct chat_key key = pair_key(&pair, 1);

	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_ptr_nonnull(waiting_find(b->chats, &key));
	revoke_a();
	ck_assert_ptr_null(waiting_find(b->chats, &key));
	ck_assert_int_eq(b->ends, 1);
	ck_assert_uint_eq(b->last_end.status, STATUS_REVOKED);
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	ck_assert_int_eq(a->readies + b->readies, 0);
}
END_TEST

/* Another node's chats are not its. */
START_TEST(others_go_on)
{
	static const uint8_t other[KEY_SIZE] = { 7 };

	pair_ready(&pair);
	chats_revoke(b->chats, other);
	ck_assert_int_eq(chat_is_shunned(b->chats, other), 1);
	assert_works(1);
	pair_resume(&pair, 0);
	pair_run(&pair);
	assert_works(1);
}
END_TEST

/* It is this node: for its apps that ends their chats as for the others', but
 * for those among themselves. */
START_TEST(who_is_out_hears_the_same)
{
	struct chat_key key = { .handle = { 1 }, .side = CHAT_LO };
	struct chat *chat;

	pair_ready(&pair);
	chat = chat_new(b->chats, &key, "within", b->app, a->app);
	ck_assert_ptr_nonnull(chat);
	memcpy(chat->peer_node, b->key, KEY_SIZE);
	chats_revoke(b->chats, b->key);
	ck_assert_int_eq(chat_is_shunned(b->chats, a->key), 1);
	ck_assert_int_eq(chat_is_shunned(b->chats, b->key), 0);
	ck_assert_int_eq(b->ends, 1);
	ck_assert_uint_eq(b->last_end.status, STATUS_REVOKED);
	ck_assert_ptr_null(pair_chat(&pair, 1));
	ck_assert_ptr_eq(chat_find(b->chats, &key), chat);
}
END_TEST

/* The revocation was stored, the ends were not. */
START_TEST(a_kill_between_changes_nothing)
{
	pair_ready(&pair);
	pair_restart(&pair, 1);
	ck_assert_ptr_nonnull(pair_chat(&pair, 1));
	chats_shun(b->chats, a->key);
	chats_end_shunned(b->chats);
	pair_commit(&pair, 1);
	ck_assert_ptr_null(pair_chat(&pair, 1));
	pair_restart(&pair, 1);
	ck_assert_ptr_null(pair_chat(&pair, 1));
}
END_TEST

static size_t told;

static void
count_send(void *arg, enum process to, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	(void)arg;
	(void)to;
	(void)payload;
	(void)tail;
	(void)tail_length;
	told += type == IPC_CHAT_ENDED;
}

/* So many that each may be looked at a few times, not once for each other. */
START_TEST(many_chats_end_at_once)
{
	struct chat_key key = { .side = CHAT_LO };
	struct chat *chat;
	size_t i;

	b->chats->io.send = count_send;
	for (i = 0; i < MANY; i++) {
		memcpy(key.handle, &i, sizeof(i));
		chat = chat_new(b->chats, &key, "many", b->app, a->app);
		ck_assert_ptr_nonnull(chat);
		memcpy(chat->peer_node, i % 2 == 0 ? a->key : b->key, KEY_SIZE);
	}
	chats_revoke(b->chats, a->key);
	ck_assert_uint_eq(told, MANY / 2);
	ck_assert_uint_eq(chats_count(b->chats), MANY / 2);
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, chats_with_it_end_and_none_begins);
	tcase_add_test(tcase, what_it_offered_is_not_taken_up);
	tcase_add_test(tcase, others_go_on);
	tcase_add_test(tcase, who_is_out_hears_the_same);
	tcase_add_test(tcase, a_kill_between_changes_nothing);
	tcase_add_test(tcase, many_chats_end_at_once);
}

int
main(void)
{
	return (rig_run("keyd_revoked", add_tests));
}
