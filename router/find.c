/*
 * router: FindApp. The app asks where another is; the directory in mesh
 * knows, or asks the other nodes. Unknown is unknown, never "local".
 */

#include <stdlib.h>
#include <string.h>

#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/hex.h"
#include "common/util/metrics.h"
#include "common/util/table.h"
#include "router/chats.h"
#include "router/find.h"

#define FINDS_MAX 64 /* unanswered, a session */

struct find {
	TAILQ_ENTRY(find) entry;
	uint64_t id;
	struct session *session;
	struct correlation correlation;
	uint8_t app[KEY_SIZE];
	int64_t asked_at;
};

static struct {
	struct table waiting;
	uint64_t id;
} finds;

void
find_init(void)
{
	table_init(&finds.waiting, sizeof(uint64_t));
}

static void
find_answer(struct session *session, struct span correlation,
    const uint8_t app[KEY_SIZE], const char *node_id, const char *status,
    int64_t asked_at)
{
	struct frame_body *body = &session_body;
	char hex[APP_ID_LENGTH + 1];

	hex_encode(hex, app, KEY_SIZE);
	frame_begin(body, FRAME_FIND_APP_RESULT);
	frame_put_text(body, 1, hex);
	frame_put_text(body, 2, node_id);
	frame_put_text(body, 3, status);
	session_send(session, body, correlation);
	metric_observe(
	    METRIC_ROUTER_LATENCY_FIND_APP, clock_monotonic() - asked_at);
}

static void
find_ask(struct session *session, const struct ipc_find *question,
    struct span correlation, int64_t now)
{
	struct find *find;

	if ((find = calloc(1, sizeof(*find))) == NULL)
		return;
	find->id = question->id;
	find->session = session;
	find->asked_at = now;
	memcpy(find->app, question->app, KEY_SIZE);
	correlation_set(&find->correlation, correlation);
	if (table_put(&finds.waiting, &find->id, find) == -1) {
		free(find);
		return;
	}
	TAILQ_INSERT_TAIL(&session->find_list, find, entry);
	session->finds++;
	ipc_send(proc_ipc(PROCESS_MESH), IPC_FIND, question, NULL, 0);
}

void
find_from_app(struct session *session, const struct frame_find_app *find,
    struct span correlation, int64_t now)
{
	struct ipc_find question;
	struct app *app;

	memset(&question, 0, sizeof(question));
	if (app_id_read(question.app, find->target) == -1) {
		session_bad_frame(
		    session, correlation, NULL, SESSION_BAD_TARGET);
		return;
	}
	if (find->hint.length > 0 &&
	    !node_id_valid((const char *)find->hint.bytes, find->hint.length)) {
		session_bad_frame(session, correlation, NULL, SESSION_BAD_HINT);
		return;
	}
	app = app_find(question.app);
	if (app != NULL && app->session != NULL) {
		find_answer(session, correlation, question.app,
		    router.identity.node_id, "local", now);
		return;
	}
	if (session->finds >= FINDS_MAX) {
		session_error_name(session, correlation, CODE_RATE_LIMITED,
		    NULL, CLOCK_SECOND);
		return;
	}
	if (proc_ipc(PROCESS_MESH) == NULL) {
		session_error_name(session, correlation, CODE_ROUTE_UNAVAILABLE,
		    NULL, CLOCK_SECOND);
		return;
	}
	question.id = ++finds.id;
	if (find->hint.length > 0)
		memcpy(question.node_hint, find->hint.bytes, find->hint.length);
	find_ask(session, &question, correlation, now);
}

static void
find_free(struct find *find)
{
	(void)table_remove(&finds.waiting, &find->id);
	TAILQ_REMOVE(&find->session->find_list, find, entry);
	find->session->finds--;
	free(find);
}

void
find_answered(const struct ipc_found *found)
{
	static const char *const words[] = { [PRESENCE_UNKNOWN] = "unknown",
		[PRESENCE_LOCAL] = "local",
		[PRESENCE_FOUND] = "found" };
	struct find *find = table_get(&finds.waiting, &found->id);
	uint64_t status = found->status;

	if (find == NULL)
		return; /* its session is over */
	if (status > PRESENCE_FOUND ||
	    !node_id_valid(
		found->node_id, strnlen(found->node_id, NODE_ID_SIZE)))
		status = PRESENCE_UNKNOWN;
	find_answer(find->session, correlation_span(&find->correlation),
	    find->app, status == PRESENCE_UNKNOWN ? "" : found->node_id,
	    words[status], find->asked_at);
	find_free(find);
}

void
find_mesh_down(void)
{
	struct find *find;
	size_t cursor = 0;

	while ((find = table_next(&finds.waiting, &cursor)) != NULL) {
		session_error_name(find->session,
		    correlation_span(&find->correlation),
		    CODE_ROUTE_UNAVAILABLE, NULL, CLOCK_SECOND);
		find_free(find);
	}
}

void
find_forget(struct session *session)
{
	struct find *find, *next;

	for (find = TAILQ_FIRST(&session->find_list); find != NULL;
	     find = next) {
		next = TAILQ_NEXT(find, entry);
		find_free(find);
	}
}
