/*
 * keyd only. Nodes that are out of the mesh. What the store knows of them is
 * known here from the start, and router and mesh are not believed that they
 * leave them alone.
 */

#include <stdlib.h>
#include <string.h>

#include "common/util/log.h"
#include "keyd/chat.h"

int
chat_is_shunned(const struct chats *chats, const uint8_t node_key[KEY_SIZE])
{
	return (
	    table_get(&chats->shunned, node_key) != NULL ||
	    (chats->out && memcmp(node_key, chats->node_key, KEY_SIZE) != 0));
}

void
chats_shun(struct chats *chats, const uint8_t node_key[KEY_SIZE])
{
	uint8_t *key;

	if (memcmp(node_key, chats->node_key, KEY_SIZE) == 0)
		chats->out = 1;
	if (chats->out || chat_is_shunned(chats, node_key))
		return;
	if ((key = malloc(KEY_SIZE)) == NULL)
		fatal("memory", "what=revoked");
	memcpy(key, node_key, KEY_SIZE);
	if (table_put(&chats->shunned, key, key) == -1)
		fatal("memory", "what=revoked");
}

void
chats_end_shunned(struct chats *chats)
{
	struct ipc_chat_end end = { .status = STATUS_REVOKED };
	struct waiting *waiting;
	struct chat *chat;
	size_t cursor = 0;

	while ((chat = table_next(&chats->table, &cursor)) != NULL)
		if (chat_is_shunned(chats, chat->peer_node))
			chat_finish(chats, chat, 0, STATUS_REVOKED, 1);
	cursor = 0;
	while ((waiting = table_next(&chats->waiting, &cursor)) != NULL) {
		if (!chat_is_shunned(chats, waiting->node))
			continue;
		end.key = waiting->key;
		waiting_remove(chats, waiting);
		chats->io.send(chats->io.arg, PROCESS_ROUTER, IPC_CHAT_ENDED,
		    &end, NULL, 0);
	}
}

void
chats_revoke(struct chats *chats, const uint8_t node_key[KEY_SIZE])
{
	chats_shun(chats, node_key);
	chats_end_shunned(chats);
}

void
shunned_free_all(struct chats *chats)
{
	uint8_t *key;
	size_t cursor = 0;

	while ((key = table_next(&chats->shunned, &cursor)) != NULL)
		free(key);
	table_free(&chats->shunned);
}
