/* hermesctl(8): rekey, and waiting for it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/util/clock.h"
#include "control/ctl.h"

#define REKEY_POLL (200 * CLOCK_MS)

static const struct ctl_column columns_matches[] = {
	{ "CHAT", "chat_id", CTL_TEXT, 0 },
	{ "HANDLE", "handle", CTL_ID, 12 },
	{ "LOCAL APP", "local_app_id", CTL_ID, 12 },
	{ "PEER APP", "remote_app_id", CTL_ID, 12 },
	{ "KEY", "key_version", CTL_NUMBER, 0 },
	{ NULL, NULL, CTL_TEXT, 0 },
};

static void
rekey_collect(void *arg, json_t *row)
{
	(void)json_array_append(arg, row);
}

static int
rekey_same(const json_t *a, const json_t *b, const char *key)
{
	return (json_equal(json_object_get(a, key), json_object_get(b, key)));
}

static json_int_t
rekey_version(const json_t *row)
{
	return (json_integer_value(json_object_get(row, "key_version")));
}

/* 1 when ratchets has the chat with no newer key, or with one that its peer
 * may not have yet. */
static int
rekey_is_old(const json_t *chat, const json_t *ratchets)
{
	json_t *ratchet;
	size_t i;

	for (i = 0; (ratchet = json_array_get(ratchets, i)) != NULL; i++)
		if (rekey_same(chat, ratchet, "chat_id") &&
		    rekey_same(chat, ratchet, "local_app_id") &&
		    rekey_same(chat, ratchet, "remote_app_id"))
			return (rekey_version(ratchet) <= rekey_version(chat) ||
				(rekey_version(ratchet) ==
					rekey_version(chat) + 1 &&
				    !json_is_true(json_object_get(
					ratchet, "confirmed"))));
	return (0); /* gone */
}

/* Those of chats that have no new key yet. */
static json_t *
rekey_waiting(const json_t *chats, const json_t *ratchets)
{
	json_t *chat, *waiting = json_array();
	size_t i;

	for (i = 0; (chat = json_array_get(chats, i)) != NULL; i++)
		if (rekey_is_old(chat, ratchets))
			(void)json_array_append(waiting, chat);
	return (waiting);
}

static int
rekey_late(const struct ctl *ctl, json_t *waiting)
{
	char text[96];
	json_t *answer;

	(void)snprintf(text, sizeof(text),
	    "%zu chats have no new key at both ends after %d seconds",
	    json_array_size(waiting), ctl->timeout);
	ctl_warn("%s", text);
	ctl_table(stderr, columns_matches, waiting, ctl->full);
	if (ctl->json) {
		answer = json_pack("{s:b s:s s:s s:O}", "ok", 0, "error",
		    "timeout", "message", text, "waiting", waiting);
		ctl_print_json(answer);
		json_decref(answer);
	}
	return (CTL_TIMED_OUT);
}

static int
rekey_wait(struct ctl *ctl, const json_t *chats)
{
	const struct timespec pause = { 0, (long)REKEY_POLL };
	int64_t until;
	json_t *ratchets, *last, *waiting;
	int status;

	until = clock_monotonic() + ctl->timeout * CLOCK_SECOND;
	for (;;) {
		ratchets = json_array();
		status = ctl_request(ctl,
		    json_pack("{s:s s:s s:b}", "command", "show", "what",
			"ratchets", "full", 1),
		    -1, rekey_collect, ratchets, &last);
		waiting = rekey_waiting(chats, ratchets);
		json_decref(ratchets);
		json_decref(last);
		if (status != CTL_OK || json_array_size(waiting) == 0 ||
		    clock_monotonic() >= until)
			break;
		json_decref(waiting);
		(void)nanosleep(&pause, NULL);
	}
	if (status == CTL_OK && json_array_size(waiting) > 0)
		status = rekey_late(ctl, waiting);
	json_decref(waiting);
	return (status);
}

/* The request that the arguments make; NULL after a complaint. */
static json_t *
rekey_request(int count, char *argv[])
{
	if (count == 2 && strcmp(argv[0], "app") == 0)
		return (
		    json_pack("{s:s s:s}", "command", "rekey", "app", argv[1]));
	if (count == 2 && strcmp(argv[0], "chat") == 0)
		return (json_pack(
		    "{s:s s:s}", "command", "rekey", "chat", argv[1]));
	if (count == 2) {
		ctl_warn("%s: unknown; before %s may be chat or app", argv[0],
		    argv[1]);
		return (NULL);
	}
	if (strcmp(argv[0], "all") == 0)
		return (json_pack("{s:s s:b}", "command", "rekey", "all", 1));
	return (json_pack("{s:s s:s}", "command", "rekey", "chat", argv[0]));
}

int
ctl_rekey(struct ctl *ctl, int argc, char *argv[])
{
	int wait = 0, status, count;
	const struct ctl_option options[] = {
		{ "--wait", NULL, &wait },
		{ NULL, NULL, NULL },
	};
	json_t *request, *matches, *last, *chats;

	if ((count = ctl_options(ctl, options, argc, argv, 1, 2)) == -1 ||
	    (request = rekey_request(count, argv)) == NULL)
		return (CTL_USAGE);
	if (count == 1 && strcmp(argv[0], "tls") == 0) {
		json_decref(request);
		return (ctl_rekey_tls(ctl));
	}
	matches = json_array();
	status = ctl_request(ctl, request, -1, rekey_collect, matches, &last);
	chats = json_object_get(last, "chats");
	if (status != CTL_OK && json_array_size(matches) > 0)
		ctl_table(stderr, columns_matches, matches, ctl->full);
	if (status == CTL_OK && wait)
		status = rekey_wait(ctl, chats);
	if (status == CTL_OK && ctl->json)
		ctl_print_json(last);
	else if (status == CTL_OK)
		(void)printf("%lld chats %s\n",
		    (long long)json_integer_value(
			json_object_get(last, "count")),
		    wait ? "rekeyed" : "begin to rekey");
	json_decref(matches);
	json_decref(last);
	return (status);
}
