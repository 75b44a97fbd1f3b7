/*
 * mesh, unprivileged. What the directory holds, for nodes that join and for
 * operators. See presence.h.
 */
#include <stdlib.h>
#include <string.h>

#include "mesh/directory.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/presence.h"
#include "mesh/wire.h"

#define REGISTRATIONS_MAX 1024 /* told to a new node at once */

/* --- for a node that joins ----------------------------------------------- */

size_t
presence_registrations(struct Nodemesh__V1__AppRegistration ***list)
{
	const struct directory_app *app;
	const char *name;
	size_t count = 0;

	*list = calloc(REGISTRATIONS_MAX, sizeof(void *));
	if (*list == NULL)
		return (0);
	for (app = TAILQ_FIRST(&presence_directory()->app_list); app != NULL;
	     app = TAILQ_NEXT(app, of_all)) {
		if (count == REGISTRATIONS_MAX)
			break;
		if ((name = members_name(app->node->key)) == NULL)
			continue;
		(*list)[count] = wire_registration_make(&app->attestation, name,
		    app->session_id, app->connected_at, app->sequence, 0, NULL,
		    0);
		if ((*list)[count] != NULL)
			count++;
	}
	return (count);
}

void
presence_registrations_free(
    struct Nodemesh__V1__AppRegistration **list, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		nodemesh__v1__app_registration__free_unpacked(list[i], NULL);
	free(list);
}

/* --- rows ---------------------------------------------------------------- */

uint64_t
presence_count(const struct peer *peer)
{
	const struct directory_node *node;

	node = directory_node(presence_directory(),
	    peer == NULL ? mesh.identity.node_key : peer->node_key);
	return (node == NULL ? 0 : node->count);
}

uint64_t
presence_show(uint64_t id)
{
	struct ipc *control = proc_ipc(PROCESS_CONTROL);
	const struct directory_app *app;
	const char *name;
	uint64_t count = 0;

	for (app = TAILQ_FIRST(&presence_directory()->app_list); app != NULL;
	     app = TAILQ_NEXT(app, of_all)) {
		struct ipc_row_app row = { 0 };

		if ((name = members_name(app->node->key)) == NULL)
			continue;
		row.id = id;
		memcpy(row.app, app->attestation.app_key, KEY_SIZE);
		(void)strlcpy(row.node_id, name, sizeof(row.node_id));
		row.connected_at = app->connected_at;
		row.local = (uint64_t)mesh_is_self(app->node->key);
		ipc_send(control, IPC_ROW_APP, &row, NULL, 0);
		count++;
	}
	return (count);
}
