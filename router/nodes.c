/*
 * router: the other nodes, as apps are told of them in ConnectAck and
 * GoAway. What mesh says of them is checked for form only.
 */

#include <stdlib.h>
#include <string.h>

#include "common/proc/proc.h"
#include "common/util/table.h"
#include "router/nodes.h"

static struct table nodes;

void
nodes_init(void)
{
	table_init(&nodes, KEY_SIZE);
}

void
nodes_update(const struct ipc_node_state *state)
{
	struct ipc_node_state *node;

	if (!node_id_valid(
		state->node_id, strnlen(state->node_id, NODE_ID_SIZE)) ||
	    memchr(state->app_endpoint, '\0', ENDPOINT_SIZE) == NULL)
		return;
	node = table_get(&nodes, state->node_key);
	if (!state->alive) {
		(void)table_remove(&nodes, state->node_key);
		free(node);
		return;
	}
	if (node != NULL) {
		*node = *state;
		return;
	}
	if (nodes.count >= proc_config()->limits.members ||
	    (node = malloc(sizeof(*node))) == NULL)
		return;
	*node = *state;
	if (table_put(&nodes, node->node_key, node) == -1)
		free(node);
}

void
nodes_put(struct frame_body *body, uint32_t field)
{
	struct ipc_node_state *node;
	size_t cursor = 0;
	int n = 0;

	while (
	    n++ < NODES_HINTED && (node = table_next(&nodes, &cursor)) != NULL)
		frame_put_node(body, field, node->node_id, node->app_endpoint,
		    node->node_key);
}
