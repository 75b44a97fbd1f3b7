/* control: rows of answers as JSON; see report.h. */

#include <sys/types.h>

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/ipc/codes.h"
#include "common/sign/ids.h"
#include "common/util/hex.h"
#include "common/util/table.h"
#include "control/control.h"
#include "control/readiness.h"
#include "control/report.h"
#include "control/vitals.h"

static const char *const words[SHOW_KINDS] = {
	[SHOW_SESSIONS] = "sessions",
	[SHOW_CHATS] = "chats",
	[SHOW_RATCHETS] = "ratchets",
	[SHOW_NODES] = "nodes",
	[SHOW_APPS] = "apps",
	[SHOW_TIELINES] = "tielines",
	[SHOW_TICKETS] = "tickets",
	[SHOW_PENALTIES] = "penalties",
};

const char *
report_word(enum show_what what)
{
	return (words[what]);
}

enum show_what
report_find(const char *word)
{
	size_t what;

	for (what = SHOW_SESSIONS; what < SHOW_KINDS; what++)
		if (strcmp(word, words[what]) == 0)
			return ((enum show_what)what);
	return ((enum show_what)0);
}

int
report_dump(json_t *value, size_t flags, struct buffer *out)
{
	size_t length = 0;
	uint8_t *to = NULL;

	flags |= JSON_PRESERVE_ORDER;
	if (value != NULL)
		length = json_dumpb(value, NULL, 0, flags);
	if (length > 0)
		to = buffer_reserve(out, length);
	if (to != NULL &&
	    json_dumpb(value, (char *)to, length, flags) != length)
		to = NULL;
	json_decref(value);
	if (to == NULL)
		return (-1);
	buffer_commit(out, length);
	return (0);
}

/* --- parts --------------------------------------------------------------- */

json_t *
report_time(int64_t when)
{
	char text[40];
	struct tm tm;
	time_t seconds = (time_t)(when / CLOCK_SECOND);

	if (when <= 0 || gmtime_r(&seconds, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return (json_null());
	return (json_string(text));
}

json_t *
report_id(const uint8_t *bytes, size_t length, int full)
{
	char text[2 * SIGNATURE_SIZE + 1];

	if (length > SIGNATURE_SIZE)
		length = SIGNATURE_SIZE;
	hex_encode(text, bytes, length);
	if (!full)
		text[REPORT_SHORT] = '\0';
	return (json_string(text));
}

/* The bytes of the first count characters of UTF-8, or fewer. */
static size_t
report_characters(const char *text, size_t length, size_t count)
{
	size_t i;

	for (i = 0; i < length; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80 && count-- == 0)
			break;
	return (i);
}

json_t *
report_text(const char *text, size_t size, int full)
{
	size_t length = strnlen(text, size);
	json_t *string;

	if (!full)
		length = report_characters(text, length, REPORT_SHORT);
	errno = 0;
	string = json_stringn(text, length);
	if (string == NULL && errno != ENOMEM)
		string = json_string("?");
	return (string);
}

/* Seconds out of nanoseconds, null for none. */
static json_t *
report_seconds(int64_t ns)
{
	if (ns <= 0)
		return (json_null());
	return (json_real((double)ns / (double)CLOCK_SECOND));
}

/* --- rows ---------------------------------------------------------------- */

static json_t *
report_session(const void *data, int full)
{
	const struct ipc_row_session *row = data;

	return (json_pack("{s:o s:o s:o s:o s:I s:I s:I s:I s:b}", "app_id",
	    report_id(row->app, KEY_SIZE, full), "session_id",
	    report_text(row->session_id, sizeof(row->session_id), full),
	    "address", report_text(row->address, sizeof(row->address), 1),
	    "connected_at", report_time(row->connected_at), "messages_in",
	    (json_int_t)row->messages_in, "messages_out",
	    (json_int_t)row->messages_out, "chats", (json_int_t)row->chats,
	    "kept_bytes", (json_int_t)row->kept, "v1", row->v1 != 0));
}

static json_t *
report_chat(const void *data, int full)
{
	static const char *const states[] = {
		[CHAT_STATE_NONE] = "none",
		[CHAT_STATE_OFFERED] = "offered",
		[CHAT_STATE_READY] = "ready",
		[CHAT_STATE_REKEYING] = "rekeying",
		[CHAT_STATE_SUSPENDED] = "suspended",
		[CHAT_STATE_GONE] = "gone",
	};
	const struct ipc_row_chat *row = data;

	return (json_pack("{s:o s:o s:o s:o s:o s:o s:s s:I s:I s:I s:I s:I}",
	    "chat_id", report_text(row->chat_id, sizeof(row->chat_id), full),
	    "instance",
	    instance_is_known(row->instance)
		? report_id(row->instance, INSTANCE_SIZE, full)
		: json_null(),
	    "handle", report_id(row->key.handle, KEY_SIZE, full),
	    "local_app_id", report_id(row->local_app, KEY_SIZE, full),
	    "remote_app_id", report_id(row->peer_app, KEY_SIZE, full),
	    "remote_node_id",
	    report_text(row->peer_node_id, sizeof(row->peer_node_id), 1),
	    "state", row->state <= CHAT_STATE_GONE ? states[row->state] : "?",
	    "key_version", (json_int_t)row->version, "accepted",
	    (json_int_t)row->accepted, "acked", (json_int_t)row->acked,
	    "delivered", (json_int_t)row->delivered, "parked",
	    (json_int_t)row->parked));
}

static json_t *
report_ratchet(const void *data, const char *node_id, int full)
{
	const struct ipc_row_ratchet *row = data;

	return (json_pack("{s:o s:I s:I s:I s:o s:o s:o s:b s:b s:b s:o s:b "
			  "s:I s:o s:b s:I s:o s:s? s:s?}",
	    "chat_id", report_text(row->chat_id, sizeof(row->chat_id), full),
	    "key_version", (json_int_t)row->version, "send_count",
	    (json_int_t)row->send_count, "recv_count",
	    (json_int_t)row->receive_count, "last_ratchet_at",
	    report_time(row->last_ratchet_at), "local_app_id",
	    report_id(row->local_app, KEY_SIZE, full), "remote_app_id",
	    report_id(row->peer_app, KEY_SIZE, full), "derived",
	    row->derived != 0, "resumed", row->resumed != 0, "expired",
	    row->expired != 0, "remote_node_id",
	    report_text(node_id, NODE_ID_SIZE, 1), "previous_epoch_open",
	    row->previous_epoch_open != 0, "rekeys", (json_int_t)row->rekeys,
	    "next_rekey_by", report_time(row->next_rekey_by), "confirmed",
	    row->confirmed != 0, "offered_version", (json_int_t)row->offered,
	    "throttled_until", report_time(row->throttled_until), "hkdf",
	    !row->derived ? NULL
	    : row->sha512 ? "sha512"
			  : "sha256",
	    "aead",
	    !row->derived ? NULL
	    : row->aes    ? "aes-256-gcm"
			  : "chacha20-poly1305"));
}

static json_t *
report_node(const void *data, int full)
{
	const struct ipc_row_node *row = data;

	return (json_pack(
	    "{s:o s:o s:o s:s s:b s:I s:o s:o s:o s:I s:b s:I s:I}", "node_id",
	    report_text(row->node_id, sizeof(row->node_id), 1), "node_key",
	    report_id(row->node_key, KEY_SIZE, full), "endpoint",
	    report_text(row->endpoint, sizeof(row->endpoint), 1), "state",
	    node_state_word(row->state), "self", row->self != 0, "incarnation",
	    (json_int_t)row->incarnation, "rtt_seconds",
	    report_seconds(row->rtt), "last_seen_seconds",
	    row->self || row->last_seen < 0
		? json_null()
		: json_real((double)row->last_seen / (double)CLOCK_SECOND),
	    "certificate_not_after", report_time(row->not_after), "apps",
	    (json_int_t)row->apps, "connected", row->connected != 0, "held",
	    (json_int_t)row->held, "bad_signatures", (json_int_t)row->bad));
}

static json_t *
report_app(const void *data, int full)
{
	const struct ipc_row_app *row = data;

	return (json_pack("{s:o s:o s:o s:b}", "app_id",
	    report_id(row->app, KEY_SIZE, full), "node_id",
	    report_text(row->node_id, sizeof(row->node_id), 1), "connected_at",
	    report_time(row->connected_at), "local", row->local != 0));
}

static json_t *
report_tieline(const void *data, int full)
{
	const struct ipc_row_tieline *row = data;

	return (json_pack("{s:o s:o s:b s:I s:I}", "handle",
	    report_id(row->key.handle, KEY_SIZE, full), "node_id",
	    report_text(row->node_id, sizeof(row->node_id), 1), "up",
	    row->up != 0, "sent", (json_int_t)row->sent, "received",
	    (json_int_t)row->received));
}

/* The id is short as it is. */
static json_t *
report_ticket(const void *data, int full)
{
	const struct ipc_row_ticket *row = data;

	(void)full;
	return (json_pack("{s:o s:o s:o s:I s:I}", "ticket_id",
	    report_id(row->ticket, TICKET_ID_SIZE, 1), "created_at",
	    report_time(row->created_at), "expires_at",
	    report_time(row->expires_at), "uses", (json_int_t)row->uses,
	    "uses_left", (json_int_t)row->uses_left));
}

static json_t *
report_penalty(const void *data, int full)
{
	const struct ipc_row_penalty *row = data;

	(void)full;
	return (json_pack("{s:o s:s s:b s:f s:I s:I}", "source",
	    report_text(row->source, sizeof(row->source), 1), "listener",
	    row->apps ? "app" : "mesh", "kept_out", row->kept_out != 0,
	    "seconds", (double)row->left / (double)CLOCK_SECOND, "offences",
	    (json_int_t)row->offences, "refused", (json_int_t)row->refused));
}

/* Ratchets name their peer's node by its key; the rows of nodes name it. */
static json_t *
report_ratchets(const struct ask_answer *answer, int full)
{
	const struct ipc_row_ratchet *rows;
	const struct ipc_row_node *nodes, *node;
	json_t *array = json_array();
	struct table names;
	size_t i, count, node_count;

	nodes = ask_rows(answer, SHOW_NODES, &node_count);
	rows = ask_rows(answer, SHOW_RATCHETS, &count);
	table_init(&names, KEY_SIZE);
	for (i = 0; i < node_count; i++)
		(void)table_put(
		    &names, nodes[i].node_key, (void *)(uintptr_t)&nodes[i]);
	for (i = 0; i < count; i++) {
		node = table_get(&names, rows[i].peer_node);
		if (json_array_append_new(array,
			report_ratchet(&rows[i],
			    node != NULL ? node->node_id : "", full)) == -1) {
			json_decref(array);
			array = NULL;
			break;
		}
	}
	table_free(&names);
	return (array);
}

json_t *
report_rows(const struct ask_answer *answer, enum show_what what, int full)
{
	static const struct {
		json_t *(*row)(const void *, int);
		size_t size;
	} kinds[] = {
		[SHOW_SESSIONS] = { report_session,
		    sizeof(struct ipc_row_session) },
		[SHOW_CHATS] = { report_chat, sizeof(struct ipc_row_chat) },
		[SHOW_RATCHETS] = { NULL, 0 },
		[SHOW_NODES] = { report_node, sizeof(struct ipc_row_node) },
		[SHOW_APPS] = { report_app, sizeof(struct ipc_row_app) },
		[SHOW_TIELINES] = { report_tieline,
		    sizeof(struct ipc_row_tieline) },
		[SHOW_TICKETS] = { report_ticket,
		    sizeof(struct ipc_row_ticket) },
		[SHOW_PENALTIES] = { report_penalty,
		    sizeof(struct ipc_row_penalty) },
	};
	const uint8_t *rows;
	json_t *array;
	size_t i, count;

	if (kinds[what].row == NULL)
		return (report_ratchets(answer, full));
	array = json_array();
	rows = ask_rows(answer, what, &count);
	for (i = 0; i < count; i++)
		if (json_array_append_new(array,
			kinds[what].row(rows + i * kinds[what].size, full)) ==
		    -1) {
			json_decref(array);
			return (NULL);
		}
	return (array);
}

/* --- the node ------------------------------------------------------------ */

json_t *
report_process_names(unsigned int processes)
{
	json_t *array = json_array();
	unsigned int bit;

	for (bit = PROCESS_PARENT; bit <= PROCESS_CONTROL; bit <<= 1)
		if ((processes & bit) != 0 &&
		    json_array_append_new(array,
			json_string(process_name((enum process)bit))) == -1) {
			json_decref(array);
			return (NULL);
		}
	return (array);
}

/* When a process started, ns since the epoch; 0 when it never did. */
static int64_t
report_since(enum process process)
{
	if (process == PROCESS_CONTROL)
		return (control.started_at);
	return (control.states[process].since);
}

json_t *
report_processes(const struct ask_answer *answer)
{
	json_t *array = json_array();
	unsigned int bit;

	for (bit = PROCESS_PARENT; bit <= PROCESS_CONTROL; bit <<= 1) {
		const struct ipc_process_state *state = &control.states[bit];
		json_int_t pid = (json_int_t)state->pid;

		if (bit == PROCESS_CONTROL)
			pid = getpid();
		else if (bit == PROCESS_PARENT)
			pid = getppid();
		if (json_array_append_new(array,
			json_pack("{s:s s:I s:b s:I s:o}", "process",
			    process_name((enum process)bit), "pid", pid, "up",
			    (answer->missing & bit) == 0, "restarts",
			    (json_int_t)state->restarts, "since",
			    report_time(report_since((enum process)bit)))) ==
		    -1) {
			json_decref(array);
			return (NULL);
		}
	}
	return (array);
}

/* The sum of neighbouring series, first and last too. */
static json_int_t
report_sum(
    const struct metric_value *values, enum metric first, enum metric last)
{
	json_int_t sum = 0;
	size_t i;

	for (i = first; i <= last; i++)
		sum += (json_int_t)values[i].value;
	return (sum);
}

/* What the node has done since its processes started. */
static json_t *
report_work(const struct metric_value *values)
{
	json_int_t in, out;

	in = report_sum(
	    values, METRIC_MESSAGES_IN_LOCAL, METRIC_MESSAGES_IN_MESH);
	out = report_sum(
	    values, METRIC_MESSAGES_OUT_LOCAL, METRIC_MESSAGES_OUT_MESH);
	return (json_pack("{s:I s:I s:I s:I s:I s:I s:I}", "messages", in + out,
	    "messages_sent", out, "messages_received", in, "message_bytes",
	    (json_int_t)values[METRIC_MESSAGE_BYTES].value, "rekeys",
	    report_sum(values, METRIC_REKEYS_APPLIED_APP,
		METRIC_REKEYS_APPLIED_RECOVERY),
	    "errors",
	    report_sum(values, METRIC_ROUTER_ERRORS_INVALID_FRAME,
		METRIC_ROUTER_ERRORS_BACKPRESSURE),
	    "disk_used_percent",
	    (json_int_t)values[METRIC_STORE_DISK_USED].value));
}

json_t *
report_summary(const struct ask_answer *answer)
{
	const struct ipc_identity *me = &control.identity;
	const struct metric_value *values = answer->metrics;
	unsigned int reasons = readiness_find(answer);
	json_t *summary, *work;

	if (values == NULL)
		return (NULL);
	summary = json_pack("{s:s s:o s:o s:o s:b s:o s:b s:b s:b s:b s:b s:o "
			    "s:o s:I s:I s:I s:I s:I s:I}",
	    "version", HERMES_VERSION, "node_id",
	    report_text(control.config.node_id, NODE_ID_SIZE, 1), "node_key",
	    me->unlocked ? report_id(me->node_key, KEY_SIZE, 1) : json_null(),
	    "mesh_id",
	    me->in_mesh ? report_id(me->mesh_id, KEY_SIZE, 1) : json_null(),
	    "ready", reasons == 0, "reasons", readiness_texts(reasons),
	    "new_chats_refused", values[METRIC_NEW_CHATS_REFUSED].value != 0,
	    "unlocked", me->unlocked != 0, "in_mesh", me->in_mesh != 0,
	    "authority", me->authority != 0, "draining",
	    control.draining != 0 || values[METRIC_DRAINING].value != 0,
	    "certificate_not_after",
	    me->in_mesh ? report_time(me->certificate.not_after) : json_null(),
	    "up_since", report_time(control.states[PROCESS_KEYD].since),
	    "sessions", (json_int_t)values[METRIC_SESSIONS_ACTIVE].value,
	    "chats", (json_int_t)values[METRIC_CHATS_ACTIVE].value, "apps",
	    (json_int_t)values[METRIC_MESH_APPS].value, "nodes_alive",
	    (json_int_t)values[METRIC_MESH_NODES_ALIVE].value, "nodes_suspect",
	    (json_int_t)values[METRIC_MESH_NODES_SUSPECT].value, "nodes_failed",
	    (json_int_t)values[METRIC_MESH_NODES_FAILED].value);
	work = report_work(values);
	if (json_object_update(summary, work) == -1) {
		json_decref(summary);
		summary = NULL;
	}
	json_decref(work);
	return (summary);
}

int
report_metrics(const struct ask_answer *answer, struct buffer *out)
{
	static const struct {
		enum process process;
		enum metric up;
		enum metric start;
	} ups[] = {
		{ PROCESS_PARENT, METRIC_PROCESS_UP_PARENT,
		    METRIC_PROCESS_START_PARENT },
		{ PROCESS_ROUTER, METRIC_PROCESS_UP_ROUTER,
		    METRIC_PROCESS_START_ROUTER },
		{ PROCESS_KEYD, METRIC_PROCESS_UP_KEYD,
		    METRIC_PROCESS_START_KEYD },
		{ PROCESS_MESH, METRIC_PROCESS_UP_MESH,
		    METRIC_PROCESS_START_MESH },
		{ PROCESS_CONTROL, METRIC_PROCESS_UP_CONTROL,
		    METRIC_PROCESS_START_CONTROL },
	};
	struct metric_value *values = answer->metrics;
	size_t i;

	if (values == NULL)
		return (-1);
	for (i = 0; i < sizeof(ups) / sizeof(ups[0]); i++) {
		values[ups[i].up].value =
		    (answer->missing & ups[i].process) == 0;
		values[ups[i].start].value =
		    (uint64_t)(report_since(ups[i].process) / CLOCK_SECOND);
	}
	values[METRIC_UNLOCKED].value = control.identity.unlocked != 0;
	values[METRIC_IN_MESH].value = control.identity.in_mesh != 0;
	values[METRIC_AUTHORITY].value = control.identity.authority != 0;
	values[METRIC_PROCESS_RESTARTS_ROUTER].value =
	    control.states[PROCESS_ROUTER].restarts;
	values[METRIC_PROCESS_RESTARTS_MESH].value =
	    control.states[PROCESS_MESH].restarts;
	values[METRIC_PROCESS_RESTARTS_CONTROL].value =
	    control.states[PROCESS_CONTROL].restarts;
	values[METRIC_CLOCK_JUMP].value =
	    (uint64_t)((clock_jump() + CLOCK_SECOND - 1) / CLOCK_SECOND);
	readiness_metrics(vitals_reasons(), values);
	if (vitals_reasons() & NOT_READY_STORE)
		values[METRIC_STORE_FAILED].value = 1; /* keyd may be silent */
	values[METRIC_BUILD_INFO].value = 1;
	return (metrics_print(out, values));
}
