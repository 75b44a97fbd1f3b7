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

int
follow_arrives(struct hermes *hermes)
{
	/* It may take us in, and chats up, though we do not hear of it. */
	if (hermes->was_connected &&
	    memcmp(hermes->last_key, hermes->node_key, KEY_SIZE) != 0)
		hermes->arrives = 1;
	hermes->was_connected = 1;
	memcpy(hermes->last_key, hermes->node_key, KEY_SIZE);
	return (hermes->arrives);
}

void
follow_arrived(struct hermes *hermes)
{
	hermes->failures = 0;
}

void
follow_settled(struct hermes *hermes)
{
	hermes->arrives = 0;
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
