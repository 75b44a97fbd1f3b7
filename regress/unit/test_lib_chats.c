/* Tests of libhermes: what becomes of a chat whose StartChat is refused. */

#include <check.h>
#include <sodium.h>
#include <string.h>

#include "client/lib_internal.h"
#include "regress/unit/suite.h"

static int errors;

static void
on_error(struct hermes *hermes, struct hermes_chat *chat,
    const struct hermes_error *error, void *arg)
{
	(void)hermes;
	(void)chat;
	(void)error;
	(void)arg;
	errors++;
}

static void
refuse(struct hermes *hermes, struct hermes_chat *chat, const char *code)
{
	Approuter__V1__Error error = APPROUTER__V1__ERROR__INIT;

	chat->phase = PHASE_STARTING;
	chat->start_serial = 7;
	error.code = (char *)(uintptr_t)code;
	error.chat_id = chat->id;
	chat_on_error(hermes, "s7", &error);
}

/* A peer that is nowhere is asked for so long and no longer. That the node
 * takes no more StartChats for now is no fault of the peer's, and the chats of
 * an app that has many all come to life again. */
START_TEST(test_how_long_is_asked)
{
	struct hermes hermes = { .callbacks = { .error = on_error } };
	struct hermes_chat *chat;
	char peer[HERMES_APP_ID_SIZE];

	ck_assert_int_ge(sodium_init(), 0);
	hermes_options_default(&hermes.options);
	hermes.base = event_base_new();
	table_init(&hermes.chats, sizeof(struct chat_key));
	memset(peer, 'a', sizeof(peer) - 1);
	peer[sizeof(peer) - 1] = '\0';
	chat = chat_new(&hermes, "chat", peer);
	ck_assert_ptr_nonnull(chat);
	chat->asked = 1;
	chat->start_deadline = 1; /* long ago */
	refuse(&hermes, chat, "RATE_LIMITED");
	ck_assert_int_eq(errors, 0);
	ck_assert(evtimer_pending(chat->retry, NULL));
	(void)evtimer_del(chat->retry);
	chat->start_deadline = 1;
	refuse(&hermes, chat, "UNKNOWN_APP");
	ck_assert_int_eq(errors, 1);
	ck_assert(!evtimer_pending(chat->retry, NULL));
	chat_free(chat);
	table_free(&hermes.chats);
	event_base_free(hermes.base);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lib_chats");
	TCase *tc = tcase_create("lib_chats");

	tcase_add_test(tc, test_how_long_is_asked);
	suite_add_tcase(suite, tc);
	return (suite_run(suite));
}
