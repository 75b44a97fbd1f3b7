/*
 * Tests of libhermes: what becomes of a chat whose StartChat is refused, and
 * what it costs that its messages do not open.
 */

#include <check.h>
#include <sodium.h>
#include <stdlib.h>
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

static struct hermes_chat *
chat_make(struct hermes *hermes)
{
	struct hermes_chat *chat;
	char peer[HERMES_APP_ID_SIZE];

	ck_assert_int_ge(sodium_init(), 0);
	hermes_options_default(&hermes->options);
	hermes->base = event_base_new();
	table_init(&hermes->chats, sizeof(struct chat_key));
	memset(peer, 'a', sizeof(peer) - 1);
	peer[sizeof(peer) - 1] = '\0';
	chat = chat_new(hermes, "chat", peer);
	ck_assert_ptr_nonnull(chat);
	return (chat);
}

static void
chat_unmake(struct hermes_chat *chat)
{
	struct hermes *hermes = chat->hermes;

	chat_free(chat);
	table_free(&hermes->chats);
	free(hermes->scratch);
	event_base_free(hermes->base);
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
	struct hermes_chat *chat = chat_make(&hermes);

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
	chat_unmake(chat);
}
END_TEST

static unsigned long hashes;

int __real_crypto_generichash(unsigned char *, size_t, const unsigned char *,
    unsigned long long, const unsigned char *, size_t);
int __wrap_crypto_generichash(unsigned char *, size_t, const unsigned char *,
    unsigned long long, const unsigned char *, size_t);

int
__wrap_crypto_generichash(unsigned char *out, size_t size,
    const unsigned char *in, unsigned long long length,
    const unsigned char *key, size_t key_length)
{
	hashes++;
	return (
	    __real_crypto_generichash(out, size, in, length, key, key_length));
}

/* Messages that say to be far ahead, and that the peer did not seal. */
START_TEST(test_skips_have_an_end)
{
	struct hermes hermes = { .callbacks = { .error = on_error } };
	uint8_t sealed[E2E_HEADER + E2E_TAG] = { 0xe2 };
	struct e2e_session *session;
	struct hermes_chat *chat;
	size_t length;
	uint64_t i;

	chat = chat_make(&hermes);
	hermes.secret = sodium_malloc(crypto_sign_SECRETKEYBYTES);
	ck_assert_int_eq(secure_new(chat), 0);
	session = &chat->secure->e2e->current;
	session->active = session->can_receive = 1;
	sealed[E2E_HEADER - 2] = 0xf0; /* 61,440 ahead */
	hashes = 0;
	errors = 0;
	for (i = 1; i <= 50; i++) {
		length = sizeof(sealed);
		ck_assert_ptr_null(secure_open(chat, i, sealed, &length));
	}
	ck_assert_int_eq(errors, 50);
	ck_assert_uint_lt(hashes, 10 * E2E_SKIP_MAX);
	chat_unmake(chat);
	sodium_free(hermes.secret);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lib_chats");
	TCase *tc = tcase_create("lib_chats");

	tcase_add_test(tc, test_how_long_is_asked);
	tcase_add_test(tc, test_skips_have_an_end);
	suite_add_tcase(suite, tc);
	return (suite_run(suite));
}
