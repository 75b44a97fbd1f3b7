/* control: readiness; see readiness.h. */

#include <string.h>

#include "control/control.h"
#include "control/readiness.h"

static const struct {
	enum readiness bit;
	enum metric metric;
	const char *text;
	const char *word; /* the label of metric */
} reasons_known[] = {
	{ NOT_READY_PARENT, METRIC_NOT_READY_PARENT, "parent not answering",
	    "parent_silent" },
	{ NOT_READY_ROUTER, METRIC_NOT_READY_ROUTER, "router not answering",
	    "router_silent" },
	{ NOT_READY_KEYD, METRIC_NOT_READY_KEYD, "keyd not answering",
	    "keyd_silent" },
	{ NOT_READY_MESH, METRIC_NOT_READY_MESH, "mesh not answering",
	    "mesh_silent" },
	{ NOT_READY_LOCKED, METRIC_NOT_READY_LOCKED, "keyd locked",
	    "keyd_locked" },
	{ NOT_READY_STORE, METRIC_NOT_READY_STORE, "store not writable",
	    "store_not_writable" },
	{ NOT_READY_DISK, METRIC_NOT_READY_DISK, "disk nearly full",
	    "disk_nearly_full" },
	{ NOT_READY_CLOCK, METRIC_NOT_READY_CLOCK, "clock jumped",
	    "clock_jumped" },
	{ NOT_READY_DRAINING, METRIC_NOT_READY_DRAINING, "draining",
	    "draining" },
	{ NOT_READY_REVOKED, METRIC_NOT_READY_REVOKED, "membership revoked",
	    "membership_revoked" },
	{ NOT_READY_EXPIRED, METRIC_NOT_READY_EXPIRED, "membership expired",
	    "membership_expired" },
	{ NOT_READY_ALONE, METRIC_NOT_READY_ALONE, "no mesh member reachable",
	    "no_mesh_member" },
};
#define REASONS (sizeof(reasons_known) / sizeof(reasons_known[0]))

void
readiness_ask(struct ask *ask)
{
	ask_metrics(ask);
	ask_show(ask, SHOW_NODES);
}

/* What keeps this node out of its mesh, or leaves it alone in it: peers are
 * known, and not one of them is believed alive. */
static unsigned int
readiness_mesh(const struct ask_answer *answer)
{
	const struct ipc_row_node *nodes;
	size_t i, count, peers = 0, alive = 0;
	unsigned int reasons = 0;

	nodes = ask_rows(answer, SHOW_NODES, &count);
	for (i = 0; i < count; i++) {
		if (nodes[i].self) {
			if (nodes[i].state == NODE_REVOKED)
				reasons |= NOT_READY_REVOKED;
			if (nodes[i].state == NODE_EXPIRED)
				reasons |= NOT_READY_EXPIRED;
		} else if (nodes[i].state == NODE_ALIVE)
			alive++;
		else if (nodes[i].state != NODE_LEFT &&
			 nodes[i].state != NODE_REVOKED &&
			 nodes[i].state != NODE_EXPIRED)
			peers++;
	}
	if (peers > 0 && alive == 0)
		reasons |= NOT_READY_ALONE;
	return (reasons);
}

unsigned int
readiness_find(const struct ask_answer *answer)
{
	static const struct {
		enum process process;
		enum readiness bit;
	} silent[] = {
		{ PROCESS_PARENT, NOT_READY_PARENT },
		{ PROCESS_ROUTER, NOT_READY_ROUTER },
		{ PROCESS_KEYD, NOT_READY_KEYD },
		{ PROCESS_MESH, NOT_READY_MESH },
	};
	const struct metric_value *values = answer->metrics;
	unsigned int reasons = readiness_mesh(answer);
	size_t i;

	for (i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
		if (values == NULL || (answer->missing & silent[i].process))
			reasons |= silent[i].bit;
	if (!control.identity.unlocked)
		reasons |= NOT_READY_LOCKED;
	/* keyd says so itself where it can, and to the parent in any case. */
	if (control.store_failed ||
	    control.states[PROCESS_KEYD].condition == CONDITION_STORE ||
	    (values != NULL && values[METRIC_STORE_FAILED].value != 0))
		reasons |= NOT_READY_STORE;
	if (values != NULL &&
	    values[METRIC_STORE_DISK_USED].value >= READINESS_DISK)
		reasons |= NOT_READY_DISK;
	if (clock_jump() != 0)
		reasons |= NOT_READY_CLOCK;
	if (control.draining ||
	    (values != NULL && values[METRIC_DRAINING].value != 0))
		reasons |= NOT_READY_DRAINING;
	return (reasons);
}

json_t *
readiness_texts(unsigned int reasons)
{
	json_t *array = json_array();
	size_t i;

	for (i = 0; i < REASONS; i++)
		if ((reasons & reasons_known[i].bit) != 0 &&
		    json_array_append_new(
			array, json_string(reasons_known[i].text)) == -1) {
			json_decref(array);
			return (NULL);
		}
	return (array);
}

const char *
readiness_words(unsigned int reasons, char *text, size_t size)
{
	size_t i;

	(void)strlcpy(text, reasons == 0 ? "none" : "", size);
	for (i = 0; i < REASONS; i++) {
		if ((reasons & reasons_known[i].bit) == 0)
			continue;
		if (text[0] != '\0')
			(void)strlcat(text, ",", size);
		(void)strlcat(text, reasons_known[i].word, size);
	}
	return (text);
}

void
readiness_metrics(unsigned int reasons, struct metric_value *values)
{
	size_t i;

	values[METRIC_NODE_READY].value = reasons == 0;
	for (i = 0; i < REASONS; i++)
		values[reasons_known[i].metric].value =
		    (reasons & reasons_known[i].bit) != 0;
}
