/* control: readiness; the texts are listed in hermesctl(8). */

#include "control/control.h"
#include "control/readiness.h"

void
readiness_ask(struct ask *ask)
{
	ask_metrics(ask);
	ask_show(ask, SHOW_NODES);
}

/* Peers are known, and not one of them is believed alive. */
static int
readiness_alone(const struct ask_answer *answer)
{
	const struct ipc_row_node *nodes;
	size_t i, count, peers = 0;

	nodes = ask_rows(answer, SHOW_NODES, &count);
	for (i = 0; i < count; i++) {
		if (nodes[i].self || nodes[i].state == NODE_LEFT ||
		    nodes[i].state == NODE_REVOKED ||
		    nodes[i].state == NODE_EXPIRED)
			continue;
		if (nodes[i].state == NODE_ALIVE)
			return (0);
		peers++;
	}
	return (peers > 0);
}

/* What keeps this node out of its mesh, or NULL. */
static const char *
readiness_membership(const struct ask_answer *answer)
{
	const struct ipc_row_node *nodes;
	size_t i, count;

	nodes = ask_rows(answer, SHOW_NODES, &count);
	for (i = 0; i < count; i++) {
		if (nodes[i].self && nodes[i].state == NODE_REVOKED)
			return ("membership revoked");
		if (nodes[i].self && nodes[i].state == NODE_EXPIRED)
			return ("membership expired");
	}
	return (NULL);
}

json_t *
readiness_reasons(const struct ask_answer *answer)
{
	static const struct {
		enum process process;
		const char *text;
	} silent[] = {
		{ PROCESS_PARENT, "parent not answering" },
		{ PROCESS_ROUTER, "router not answering" },
		{ PROCESS_KEYD, "keyd not answering" },
		{ PROCESS_MESH, "mesh not answering" },
	};
	const struct metric_value *values = answer->metrics;
	const char *membership = readiness_membership(answer);
	json_t *reasons = json_array();
	size_t i;

	if (values == NULL) {
		json_decref(reasons);
		return (NULL);
	}
	for (i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
		if (answer->missing & silent[i].process)
			(void)json_array_append_new(
			    reasons, json_string(silent[i].text));
	if (!control.identity.unlocked)
		(void)json_array_append_new(
		    reasons, json_string("keyd locked"));
	if (control.store_failed || values[METRIC_STORE_FAILED].value != 0)
		(void)json_array_append_new(
		    reasons, json_string("store not writable"));
	if (values[METRIC_STORE_DISK_USED].value >= READINESS_DISK)
		(void)json_array_append_new(
		    reasons, json_string("disk nearly full"));
	if (control.draining || values[METRIC_DRAINING].value != 0)
		(void)json_array_append_new(reasons, json_string("draining"));
	if (membership != NULL)
		(void)json_array_append_new(reasons, json_string(membership));
	if (readiness_alone(answer))
		(void)json_array_append_new(
		    reasons, json_string("no mesh member reachable"));
	return (reasons);
}
