/*
 * control: rekey. The operator names chats by words; keyd wants keys. So the
 * ratchets are asked for first, the words matched, then keyd is told.
 */

#include <stdlib.h>
#include <string.h>

#include "common/util/hex.h"
#include "control/command.h"
#include "control/control.h"
#include "control/report.h"

#define REKEY_PREFIX 4  /* fewest hex digits that name something */
#define REKEY_NAMED  20 /* candidates listed when it is ambiguous */

/* What the operator's word has to do with a row; higher is closer. */
enum match {
	MATCH_NONE,
	MATCH_PREFIX, /* of chat id, handle or app id */
	MATCH_CHAT_ID
};

static int
rekey_hex_prefix(const uint8_t bytes[KEY_SIZE], const char *word)
{
	char text[2 * KEY_SIZE + 1];

	hex_encode(text, bytes, KEY_SIZE);
	return (strlen(word) >= REKEY_PREFIX &&
		strncmp(text, word, strlen(word)) == 0);
}

static int
rekey_app_matches(const struct ipc_row_ratchet *row, const char *word)
{
	return (rekey_hex_prefix(row->local_app, word) ||
		rekey_hex_prefix(row->peer_app, word));
}

static enum match
rekey_match(const struct ipc_row_ratchet *row, const char *word)
{
	char chat_id[sizeof(row->chat_id) + 1] = "";

	memcpy(chat_id, row->chat_id, sizeof(row->chat_id));
	if (strcmp(chat_id, word) == 0)
		return (MATCH_CHAT_ID);
	if ((strlen(word) >= REKEY_PREFIX &&
		strncmp(chat_id, word, strlen(word)) == 0) ||
	    rekey_hex_prefix(row->key.handle, word) ||
	    rekey_app_matches(row, word))
		return (MATCH_PREFIX);
	return (MATCH_NONE);
}

/* Mark in chosen[] the rows that word names; the number of chats these are
 * (both sides of a chat within this node count once). */
static size_t
rekey_choose(const struct ipc_row_ratchet *rows, size_t count, const char *word,
    char *chosen)
{
	enum match best = MATCH_NONE, match;
	size_t i, first = count, chats = 0;

	for (i = 0; i < count; i++)
		if ((match = rekey_match(&rows[i], word)) > best)
			best = match;
	if (best == MATCH_NONE)
		return (0);
	for (i = 0; i < count; i++) {
		if (rekey_match(&rows[i], word) != best)
			continue;
		chosen[i] = 1;
		if (first == count)
			first = i;
		if (i == first || memcmp(rows[i].key.handle,
				      rows[first].key.handle, KEY_SIZE) != 0)
			chats++;
	}
	return (chats);
}

static json_t *
rekey_row(const struct ipc_row_ratchet *row)
{
	return (json_pack("{s:o s:o s:o s:o s:I}", "chat_id",
	    report_text(row->chat_id, sizeof(row->chat_id), 1), "handle",
	    report_id(row->key.handle, KEY_SIZE, 1), "local_app_id",
	    report_id(row->local_app, KEY_SIZE, 1), "remote_app_id",
	    report_id(row->peer_app, KEY_SIZE, 1), "key_version",
	    (json_int_t)row->version));
}

/* The chosen rows as the operator may name them; NULL: no memory. */
static json_t *
rekey_list(const struct ipc_row_ratchet *rows, size_t count, const char *chosen,
    size_t most)
{
	json_t *array = json_array();
	size_t i;

	for (i = 0; i < count && json_array_size(array) < most; i++)
		if (chosen[i] &&
		    json_array_append_new(array, rekey_row(&rows[i])) == -1) {
			json_decref(array);
			return (NULL);
		}
	return (array);
}

static void
rekey_done(void *arg, const struct ask_answer *answer)
{
	struct command *command = arg;
	json_t *chats = json_object_get(command->request, "chats");

	command_answered(command);
	if (!command_refused(command, answer))
		command_ok(command,
		    json_pack("{s:O s:O}", "count",
			json_object_get(command->request, "count"), "chats",
			chats),
		    answer);
}

/* How many chats these are: one within this node has two rows. */
static json_int_t
rekey_count(
    const struct ipc_row_ratchet *rows, size_t count, const char *chosen)
{
	json_int_t chats = 0;
	size_t i;

	for (i = 0; i < count; i++)
		if (chosen[i] &&
		    (rows[i].key.side == CHAT_LO ||
			memcmp(rows[i].peer_node, control.identity.node_key,
			    KEY_SIZE) != 0))
			chats++;
	return (chats);
}

/* Tell keyd; list says which chats, and at which version they were. */
static void
rekey_tell(struct command *command, const struct ipc_row_ratchet *rows,
    size_t count, const char *chosen, int all)
{
	struct ipc_rekey rekey;
	size_t i;

	/* Kept with the request until keyd has answered. */
	if (json_object_set_new(command->request, "chats",
		rekey_list(rows, count, chosen, count)) == -1 ||
	    json_object_set_new(command->request, "count",
		json_integer(rekey_count(rows, count, chosen))) == -1) {
		command_fail(command, ERROR_FAILED, "out of memory");
		return;
	}
	if (command_ask(command, ASK_LONG, rekey_done) == NULL)
		return;
	memset(&rekey, 0, sizeof(rekey));
	rekey.all = (uint64_t)all;
	if (all)
		ask_send(command->ask, PROCESS_KEYD, IPC_REKEY, &rekey, -1);
	for (i = 0; i < count && !all; i++) {
		if (!chosen[i])
			continue;
		rekey.key = rows[i].key;
		ask_send(command->ask, PROCESS_KEYD, IPC_REKEY, &rekey, -1);
	}
	ask_start(command->ask);
}

/* Choose by the request. The number of chats, or 0 after the command was
 * failed. */
static size_t
rekey_select(struct command *command, const struct ipc_row_ratchet *rows,
    size_t count, char *chosen)
{
	const char *chat = command_string(command, "chat");
	const char *app = command_string(command, "app");
	json_t *matches;
	size_t i, chats = 0;

	if (chat != NULL) {
		chats = rekey_choose(rows, count, chat, chosen);
		if (chats > 1) {
			matches = rekey_list(rows, count, chosen, REKEY_NAMED);
			client_line(command->client,
			    json_pack("{s:o}", "matches", matches));
			command_fail(
			    command, ERROR_AMBIGUOUS, "%zu chats match", chats);
			return (0);
		}
	} else
		/* What the peer has not accepted yet has no key. */
		for (i = 0; i < count; i++)
			if (rows[i].version != 0 &&
			    (app == NULL || rekey_app_matches(&rows[i], app))) {
				chosen[i] = 1;
				chats++;
			}
	if (chats == 0 && (chat != NULL || app != NULL))
		command_fail(command,
		    control.identity.unlocked ? ERROR_NOT_FOUND : ERROR_FAILED,
		    "%s",
		    control.identity.unlocked ? "no chat matches"
					      : COMMAND_LOCKED);
	return (chats);
}

static void
rekey_found(void *arg, const struct ask_answer *answer)
{
	struct command *command = arg;
	const struct ipc_row_ratchet *rows;
	size_t count;
	int all;
	char *chosen;

	command_answered(command);
	if (answer->missing != 0) {
		command_fail_missing(command, answer);
		return;
	}
	command->cut = answer->cut;
	rows = ask_rows(answer, SHOW_RATCHETS, &count);
	all = command_boolean(command, "all");
	if ((chosen = calloc(count + 1, 1)) == NULL) {
		command_fail(command, ERROR_FAILED, "out of memory");
		return;
	}
	if (rekey_select(command, rows, count, chosen) > 0 || all)
		rekey_tell(command, rows, count, chosen, all);
	free(chosen);
}

void
command_rekey(struct command *command)
{
	int given = (command_string(command, "chat") != NULL) +
		    (command_string(command, "app") != NULL) +
		    command_boolean(command, "all");

	if (given != 1) {
		command_fail(
		    command, ERROR_USAGE, "rekey wants one of chat, app, all");
		return;
	}
	if (command_ask(command, ASK_SHORT, rekey_found) == NULL)
		return;
	ask_show(command->ask, SHOW_RATCHETS);
	ask_start(command->ask);
}
