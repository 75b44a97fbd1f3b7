/*
 * mesh, unprivileged; node bytes are hostile. Chats' frames in and out: a
 * set-up names its node by signed presence, and what follows is taken from
 * that node only. A chat of two local apps takes the same road and turns
 * back here.
 */
#include <errno.h>
#include <string.h>

#include "common/ipc/codes.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/tieline.h"
#include "mesh/tieline_setup.h"
#include "mesh/tieline_table.h"
#include "mesh/wire_frame.h"

/* A text of a door's struct, which must end within its array. */
static int
text_ends(const char *text, size_t size)
{
	return (memchr(text, '\0', size) != NULL);
}

static int
key_valid(const struct chat_key *key)
{
	return (key->side == CHAT_LO || key->side == CHAT_HI);
}

static struct chat_key
other_side(const struct chat_key *key)
{
	struct chat_key other = *key;

	other.side ^= 1;
	return (other);
}

void
tieline_name(
    struct frame *frame, const uint8_t handle[KEY_SIZE], const char *chat_id)
{
	frame->handle = handle;
	frame->chat_id.bytes = (const uint8_t *)chat_id;
	frame->chat_id.length = strlen(chat_id);
}

void
tieline_route_error(const struct chat_key *key, enum hermes_code code,
    uint32_t expected, int64_t retry_after)
{
	struct ipc *router = proc_ipc(PROCESS_ROUTER);
	struct ipc_chat_code message = { 0 };

	if (router == NULL)
		return;
	message.key = *key;
	message.code = (uint32_t)code;
	message.expected = expected;
	message.retry_after = retry_after;
	ipc_send(router, IPC_ROUTE_ERROR, &message, NULL, 0);
}

/* --- out: from keyd and the router --------------------------------------- */

void
tieline_on_teardown_out(void *arg, const struct ipc_message *message)
{
	struct ipc_teardown teardown;
	struct frame frame = { .body = FRAME_TEARDOWN };
	struct peer *peer = NULL;
	const char *word;

	(void)arg;
	memcpy(&teardown, message->payload, sizeof(teardown));
	if (!key_valid(&teardown.key) || teardown.status >= STATUS_COUNT ||
	    !text_ends(teardown.chat_id, sizeof(teardown.chat_id)))
		return;
	if (mesh_is_self(teardown.node)) {
		if (teardown.status == STATUS_NONE) {
			tieline_over(&teardown.key, NULL, 0);
			return;
		}
		teardown.key.side ^= 1;
		ipc_send(proc_ipc(PROCESS_KEYD), IPC_TEARDOWN_IN, &teardown,
		    NULL, 0);
		teardown.key.side ^= 1;
	} else if ((peer = peer_find(teardown.node)) == NULL)
		return; /* nor a tieline with it */
	else if (teardown.status != STATUS_NONE) {
		tieline_name(&frame, teardown.key.handle, teardown.chat_id);
		word = status_word((enum hermes_status)teardown.status);
		frame.word.bytes = (const uint8_t *)word;
		frame.word.length = strlen(word);
		frame.version = teardown.version;
		if (instance_is_known(teardown.instance))
			frame.instance = teardown.instance;
		(void)route_send(peer, &frame, 0); /* it waits by itself */
	}
	tieline_over(&teardown.key, peer, 0);
}

static void
sealed_loop(struct tieline_side *side, const struct ipc_sealed *sealed,
    const struct ipc_message *message)
{
	struct ipc_sealed open = *sealed;
	uint8_t *room;

	side->sent++;
	open.key = other_side(&sealed->key);
	room = ipc_send_tail(
	    proc_ipc(PROCESS_KEYD), IPC_OPEN, &open, message->tail_length);
	if (message->tail_length > 0)
		memcpy(room, message->tail, message->tail_length);
}

void
tieline_on_sealed(void *arg, const struct ipc_message *message)
{
	const struct ipc_sealed *sealed = message->payload;
	struct frame frame = { .body = FRAME_RELAY };
	struct tieline *tieline;
	struct tieline_side *side;

	(void)arg;
	if (!key_valid(&sealed->key))
		return;
	tieline = tieline_find(sealed->key.handle);
	if (tieline == NULL || !tieline->side[sealed->key.side].used) {
		/* Both ends have to compare before it is sent again. */
		tieline_route_error(&sealed->key, CODE_CHAT_NOT_READY, 0, 0);
		return;
	}
	side = &tieline->side[sealed->key.side];
	if (side->peer == NULL) {
		sealed_loop(side, sealed, message);
		return;
	}
	tieline_name(&frame, tieline->handle, tieline->chat_id);
	frame.payload.bytes = message->tail;
	frame.payload.length = message->tail_length;
	frame.sequence = sealed->sequence;
	frame.counter = sealed->counter;
	frame.version = sealed->version;
	/* Without a stream it is lost; the router sends it again. */
	if (route_send(side->peer, &frame, 0) == 0)
		side->sent++;
}

void
tieline_on_relay_ack(void *arg, const struct ipc_message *message)
{
	const struct ipc_relay_ack *ack = message->payload;
	struct tieline *tieline;
	struct tieline_side *side;

	(void)arg;
	if (!key_valid(&ack->key) ||
	    (tieline = tieline_find(ack->key.handle)) == NULL)
		return;
	side = &tieline->side[ack->key.side];
	if (!side->used)
		return;
	if (ack->sequence > side->ack_out)
		side->ack_out = ack->sequence;
	tieline_mark(tieline);
}

void
tieline_on_credit(void *arg, const struct ipc_message *message)
{
	const struct ipc_credit *credit = message->payload;
	struct frame frame = { .body = FRAME_CREDIT };
	struct tieline *tieline;
	struct tieline_side *side;
	struct ipc_credit back;

	(void)arg;
	if (!key_valid(&credit->key) ||
	    (tieline = tieline_find(credit->key.handle)) == NULL)
		return;
	side = &tieline->side[credit->key.side];
	if (!side->used)
		return;
	if (side->peer == NULL) {
		back = *credit;
		back.key.side ^= 1;
		ipc_send(proc_ipc(PROCESS_ROUTER), IPC_CREDIT, &back, NULL, 0);
		return;
	}
	frame.handle = tieline->handle;
	frame.messages = credit->messages;
	frame.bytes = credit->bytes;
	(void)route_send(side->peer, &frame, 0);
}

/* --- in: from another node ----------------------------------------------- */

/* The local side whose other app is on the sender, or NULL: counted. */
static struct tieline_side *
side_from(struct peer *peer, const struct frame *frame,
    struct tieline **tieline, struct chat_key *key)
{
	struct tieline_side *side = NULL;

	if (frame->handle != NULL &&
	    (*tieline = tieline_find(frame->handle)) != NULL)
		side = tieline_side_of(*tieline, peer);
	if (side == NULL) {
		metric_add(METRIC_MESH_REFUSED_SENDER, 1);
		budget_spend(peer, BUDGET_MESH, BUDGET_FRAME);
		return (NULL);
	}
	memset(key, 0, sizeof(*key));
	memcpy(key->handle, frame->handle, KEY_SIZE);
	key->side = tieline_which(*tieline, side);
	return (side);
}

static void
relay_in(
    struct peer *peer, struct rpc_stream *stream, const struct frame *frame)
{
	struct ipc_sealed open = { 0 };
	struct tieline *tieline;
	struct tieline_side *side;
	uint8_t *room;

	if ((side = side_from(peer, frame, &tieline, &open.key)) == NULL) {
		/* It may have overtaken a set-up that waits for a presence:
		 * who sent it must know that it did not come. */
		tieline_answer_lost(peer, stream, frame);
		return;
	}
	if (frame->payload.length > IPC_TAIL_PAYLOAD) {
		metric_add(METRIC_MESH_REFUSED_LIMIT, 1);
		return;
	}
	open.sequence = frame->sequence;
	open.counter = frame->counter;
	open.version = frame->version;
	side->received++;
	room = ipc_send_tail(
	    proc_ipc(PROCESS_KEYD), IPC_OPEN, &open, frame->payload.length);
	if (frame->payload.length > 0)
		memcpy(room, frame->payload.bytes, frame->payload.length);
}

static void
relay_ack_in(struct peer *peer, const struct frame *frame)
{
	struct tieline *tieline;
	struct tieline_side *side;
	struct chat_key key;

	if ((side = side_from(peer, frame, &tieline, &key)) == NULL)
		return;
	if (frame->sequence > side->ack_in)
		side->ack_in = frame->sequence;
	tieline_mark(tieline);
}

static void
credit_in(struct peer *peer, const struct frame *frame)
{
	struct ipc *router = proc_ipc(PROCESS_ROUTER);
	struct ipc_credit credit = { 0 };
	struct tieline *tieline;

	if (side_from(peer, frame, &tieline, &credit.key) == NULL ||
	    router == NULL)
		return;
	credit.messages = frame->messages;
	credit.bytes =
	    frame->bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)frame->bytes;
	ipc_send(router, IPC_CREDIT, &credit, NULL, 0);
}

/*
 * This process was started since the chat was set up, and does not know which
 * side of it is here: keyd does, and ends it for nobody but the peer's node.
 */
static void
teardown_unknown(struct ipc_teardown *teardown)
{
	unsigned side;

	for (side = CHAT_LO; side <= CHAT_HI; side++) {
		teardown->key.side = (uint8_t)side;
		ipc_send(
		    proc_ipc(PROCESS_KEYD), IPC_TEARDOWN_IN, teardown, NULL, 0);
	}
}

static void
teardown_in(struct peer *peer, const struct frame *frame)
{
	struct ipc_teardown teardown = { 0 };
	struct tieline *tieline;
	enum hermes_status status;

	budget_spend(peer, BUDGET_KEYD, BUDGET_END);
	status =
	    status_find((const char *)frame->word.bytes, frame->word.length);
	if (status == STATUS_NONE)
		status = STATUS_DELETED;
	memcpy(teardown.node, peer->node_key, KEY_SIZE);
	teardown.status = (uint32_t)status;
	teardown.version = frame->version;
	if (frame->instance != NULL)
		memcpy(teardown.instance, frame->instance, INSTANCE_SIZE);
	if (frame->handle != NULL && tieline_find(frame->handle) == NULL) {
		memcpy(teardown.key.handle, frame->handle, KEY_SIZE);
		teardown_unknown(&teardown);
		return;
	}
	if (side_from(peer, frame, &tieline, &teardown.key) == NULL)
		return;
	(void)strlcpy(
	    teardown.chat_id, tieline->chat_id, sizeof(teardown.chat_id));
	/* keyd says whether that was it (TEARDOWN_OUT without a status). */
	ipc_send(proc_ipc(PROCESS_KEYD), IPC_TEARDOWN_IN, &teardown, NULL, 0);
}

static void
error_in(struct peer *peer, const struct frame *frame)
{
	struct tieline *tieline;
	struct chat_key key;
	enum hermes_code code;
	char text[LOG_TEXT_SIZE];

	/* One about no chat (UNSUPPORTED, INVALID_FRAME) is for the log. */
	code = code_find((const char *)frame->word.bytes, frame->word.length);
	log_debug("route_error", "node=%s code=\"%s\"", peer->node_id,
	    log_text(
		text, (const char *)frame->word.bytes, frame->word.length));
	if (frame->handle == NULL || code == CODE_NONE ||
	    side_from(peer, frame, &tieline, &key) == NULL)
		return;
	tieline_route_error(&key, code, 0, frame->retry_after);
}

int
tieline_frame(struct peer *peer, struct rpc_stream *stream,
    const uint8_t *bytes, size_t length)
{
	struct frame frame;
	int good = frame_read(&frame, bytes, length) == 0;

	/* Messages and their acknowledgements have a window. */
	if (!good ||
	    (frame.body != FRAME_RELAY && frame.body != FRAME_RELAY_ACK))
		budget_spend(peer, BUDGET_MESH, BUDGET_FRAME);
	if (!good) {
		metric_add(METRIC_MESH_REFUSED_FORM, 1);
		tieline_answer_error(peer, stream, &frame, CODE_INVALID_FRAME);
		return (0);
	}
	if (proc_ipc(PROCESS_KEYD) == NULL)
		return (0);
	switch (frame.body) {
	case FRAME_SETUP:
		return (tieline_setup_in(peer, stream, &frame));
	case FRAME_RELAY:
		relay_in(peer, stream, &frame);
		break;
	case FRAME_TEARDOWN:
		teardown_in(peer, &frame);
		break;
	case FRAME_ERROR:
		error_in(peer, &frame);
		break;
	case FRAME_RELAY_ACK:
		relay_ack_in(peer, &frame);
		break;
	case FRAME_CREDIT:
		credit_in(peer, &frame);
		break;
	case FRAME_NONE:
		tieline_answer_error(peer, stream, &frame, CODE_UNSUPPORTED);
		break;
	}
	return (0);
}

static int
side_is_up(const struct tieline_side *side)
{
	return (side->peer == NULL || side->peer->route.active != NULL);
}

void
tieline_metrics(void)
{
	static int64_t counted_at;
	const struct tieline *tieline;
	size_t cursor = 0;
	unsigned which;

	if (!metrics_recount(&counted_at, tieline_count()))
		return;
	metric_set(METRIC_MESH_TIELINES_UP, 0);
	metric_set(METRIC_MESH_TIELINES_DOWN, 0);
	while ((tieline = tieline_next(&cursor)) != NULL)
		for (which = CHAT_LO; which <= CHAT_HI; which++)
			if (tieline->side[which].used)
				metric_add(side_is_up(&tieline->side[which])
					       ? METRIC_MESH_TIELINES_UP
					       : METRIC_MESH_TIELINES_DOWN,
				    1);
}

uint64_t
tieline_show(uint64_t id)
{
	struct ipc *control = proc_ipc(PROCESS_CONTROL);
	struct tieline *tieline;
	size_t cursor = 0;
	uint64_t count = 0;
	unsigned which;

	while ((tieline = tieline_next(&cursor)) != NULL)
		for (which = CHAT_LO; which <= CHAT_HI; which++) {
			const struct tieline_side *side = &tieline->side[which];
			struct ipc_row_tieline row = { 0 };

			if (!side->used)
				continue;
			row.id = id;
			memcpy(row.key.handle, tieline->handle, KEY_SIZE);
			row.key.side = (uint8_t)which;
			memcpy(row.node_id,
			    side->peer == NULL ? mesh.identity.node_id
					       : side->peer->node_id,
			    sizeof(row.node_id));
			row.up = (uint32_t)side_is_up(side);
			row.sent = side->sent;
			row.received = side->received;
			ipc_send(control, IPC_ROW_TIELINE, &row, NULL, 0);
			count++;
		}
	return (count);
}
