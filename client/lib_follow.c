/*
 * libhermes. From node to node: who stops, or cannot be reached, is left for
 * another of those it named when it had proved itself. What one node says of
 * another is believed as far as its key; the other must prove it.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib_internal.h"

#define NEXT_KEY "hermes-next" /* of StartChat.metadata */

static void
node_add(
    struct hermes *hermes, const char *endpoint, const uint8_t key[KEY_SIZE])
{
	struct known_node *node;
	size_t i;

	for (i = 0; i < hermes->node_count; i++)
		if (memcmp(hermes->nodes[i].key, key, KEY_SIZE) == 0)
			break;
	if (i == LIB_NODES)
		return;
	node = &hermes->nodes[i];
	if (strlcpy(node->endpoint, endpoint, sizeof(node->endpoint)) >=
	    sizeof(node->endpoint))
		return;
	memcpy(node->key, key, KEY_SIZE);
	if (i == hermes->node_count)
		hermes->node_count++;
}

/* Not all apps of a node that stops are to go to the same other one. */
static void
nodes_shuffle(struct hermes *hermes)
{
	struct known_node swap;
	size_t i, j;

	for (i = hermes->node_count; i > 1; i--) {
		j = randombytes_uniform((uint32_t)i);
		swap = hermes->nodes[i - 1];
		hermes->nodes[i - 1] = hermes->nodes[j];
		hermes->nodes[j] = swap;
	}
	hermes->node_next = 0;
}

void
follow_learn(
    struct hermes *hermes, Approuter__V1__NodeHint **nodes, size_t count)
{
	char host[LIB_HOST_SIZE], port[LIB_PORT_SIZE];
	char own[LIB_HOST_SIZE + LIB_PORT_SIZE + 4];
	size_t i;

	if (!hermes->options.follow)
		return;
	hermes->node_count = 0;
	/* This one, too: it may be back when the others are gone. */
	(void)snprintf(own, sizeof(own),
	    strchr(hermes->host, ':') != NULL ? "[%s]:%s" : "%s:%s",
	    hermes->host, hermes->port);
	node_add(hermes, own, hermes->node_key);
	for (i = 0; i < count; i++)
		if (nodes[i]->node_public_key.len == KEY_SIZE &&
		    link_parse_node(nodes[i]->endpoint, host, port) == 0)
			node_add(hermes, nodes[i]->endpoint,
			    nodes[i]->node_public_key.data);
	nodes_shuffle(hermes);
}

void
follow_arrived(struct hermes *hermes)
{
	struct hermes_chat *chat;

	hermes->failures = 0;
	if (hermes->was_connected &&
	    memcmp(hermes->last_key, hermes->node_key, KEY_SIZE) != 0)
		for (chat = hermes->first; chat != NULL; chat = chat->next) {
			chat->fresh = chat->ever_ready;
			chat->peer_next = 0;
		}
	hermes->was_connected = 1;
	memcpy(hermes->last_key, hermes->node_key, KEY_SIZE);
}

/* --- chats that no node remembers ---------------------------------------- */

void
follow_say(const struct hermes_chat *chat, Approuter__V1__StartChat *start)
{
	static Approuter__V1__StartChat__MetadataEntry entry, *list[1];
	static char key[] = NEXT_KEY, value[24];

	if (!chat->fresh || !chat->ever_ready)
		return;
	(void)snprintf(
	    value, sizeof(value), "%llu", (unsigned long long)chat->kept.first);
	approuter__v1__start_chat__metadata_entry__init(&entry);
	entry.key = key;
	entry.value = value;
	list[0] = &entry;
	start->metadata = list;
	start->n_metadata = 1;
}

void
follow_hear(struct hermes_chat *chat, const Approuter__V1__StartChat *frame)
{
	const char *error;
	long long next;
	size_t i;

	for (i = 0; i < frame->n_metadata; i++) {
		if (strcmp(frame->metadata[i]->key, NEXT_KEY) != 0)
			continue;
		next =
		    strtonum(frame->metadata[i]->value, 1, INT64_MAX, &error);
		/* It cannot have heard of more than we received. */
		if (error == NULL && (uint64_t)next <= chat->next_receive)
			chat->peer_next = (uint64_t)next;
	}
}

void
follow_rebase(
    struct hermes_chat *chat, uint64_t *next_send, uint64_t *next_receive)
{
	if (!chat->fresh || chat->peer_next == 0)
		return;
	if (*next_send < chat->kept.first) {
		chat->send_base += chat->kept.first - *next_send;
		*next_send = chat->kept.first;
	}
	if (*next_receive < chat->peer_next) {
		chat->receive_base += chat->peer_next - *next_receive;
		*next_receive = chat->peer_next;
	}
}

/* --- leaving ------------------------------------------------------------- */

/* Take the next one that is not the present one. 0 or -1. */
static int
follow_choose(struct hermes *hermes)
{
	const struct known_node *node;
	size_t i;

	for (i = 0; i < hermes->node_count; i++) {
		node = &hermes->nodes[hermes->node_next];
		hermes->node_next =
		    (hermes->node_next + 1) % hermes->node_count;
		if (hermes->node_known &&
		    memcmp(node->key, hermes->node_key, KEY_SIZE) == 0)
			continue;
		if (link_parse_node(
			node->endpoint, hermes->host, hermes->port) == -1)
			continue;
		memcpy(hermes->node_key, node->key, KEY_SIZE);
		hermes->node_known = 1;
		hermes->node_id[0] = '\0';
		hermes->failures = 0;
		return (0);
	}
	return (-1);
}

void
follow_failed(struct hermes *hermes)
{
	/* What broke is tried once more: it may have been restarted. */
	if (hermes->options.follow && hermes->failures++ > 0)
		(void)follow_choose(hermes);
}

int
follow_next(struct hermes *hermes)
{
	if (!hermes->options.follow || follow_choose(hermes) == -1)
		return (-1);
	/* Nobody has failed: at once, but not in step with others. */
	hermes->failures = -1;
	link_break(hermes, "moving to another node");
	return (0);
}
