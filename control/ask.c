/*
 * control: questions and the answers to them; see ask.h. Few are open at a
 * time (each belongs to a client, and those are capped), so a list will do.
 */

#include <sys/queue.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "control/ask.h"
#include "control/control.h"

/* The largest payload that control sends: JOIN's. */
#define ASK_PAYLOAD sizeof(struct ipc_ticket)

struct ask {
	TAILQ_ENTRY(ask) entry;
	uint64_t id;
	int64_t timeout;
	struct event *timer; /* deadline; activated when complete */
	ask_done done;
	void *arg;
	unsigned int pending[PROCESS_MESH + 1]; /* answers */
	struct ask_answer answer;
};

static struct {
	TAILQ_HEAD(, ask) open;
	uint64_t last_id;
} asks = { TAILQ_HEAD_INITIALIZER(asks.open), 0 };

static const enum process askable[] = { PROCESS_PARENT, PROCESS_ROUTER,
	PROCESS_KEYD, PROCESS_MESH };
#define ASKABLE (sizeof(askable) / sizeof(askable[0]))

static const struct {
	enum ipc_type row;
	unsigned int owners; /* enum process, or'ed */
} kinds[SHOW_KINDS] = {
	[SHOW_SESSIONS] = { IPC_ROW_SESSION, PROCESS_ROUTER },
	[SHOW_CHATS] = { IPC_ROW_CHAT, PROCESS_ROUTER },
	[SHOW_RATCHETS] = { IPC_ROW_RATCHET, PROCESS_KEYD },
	[SHOW_NODES] = { IPC_ROW_NODE, PROCESS_MESH },
	[SHOW_APPS] = { IPC_ROW_APP, PROCESS_MESH },
	[SHOW_TIELINES] = { IPC_ROW_TIELINE, PROCESS_MESH },
	[SHOW_TICKETS] = { IPC_ROW_TICKET, PROCESS_KEYD },
	[SHOW_PENALTIES] = { IPC_ROW_PENALTY, PROCESS_ROUTER | PROCESS_MESH },
};

static void
ask_free(struct ask *ask)
{
	size_t i;

	for (i = 0; i < SHOW_KINDS; i++)
		buffer_free(&ask->answer.rows[i]);
	free(ask->answer.metrics);
	if (ask->timer != NULL)
		event_free(ask->timer);
	free(ask);
}

void
ask_cancel(struct ask *ask)
{
	TAILQ_REMOVE(&asks.open, ask, entry);
	ask_free(ask);
}

static void
ask_finish(evutil_socket_t fd, short events, void *arg)
{
	struct ask *ask = arg;
	size_t i;

	(void)fd;
	(void)events;
	for (i = 0; i < ASKABLE; i++)
		if (ask->pending[askable[i]] > 0) {
			ask->answer.missing |= askable[i];
			ask->answer.late |= askable[i];
		}
	TAILQ_REMOVE(&asks.open, ask, entry);
	ask->done(ask->arg, &ask->answer);
	ask_free(ask);
}

struct ask *
ask_new(int64_t timeout, ask_done done, void *arg)
{
	struct ask *ask;
	size_t i;

	if ((ask = calloc(1, sizeof(*ask))) == NULL)
		return (NULL);
	for (i = 0; i < SHOW_KINDS; i++)
		buffer_init(&ask->answer.rows[i]);
	ask->timer = evtimer_new(control.base, ask_finish, ask);
	if (ask->timer == NULL) {
		ask_free(ask);
		return (NULL);
	}
	ask->id = ++asks.last_id;
	ask->timeout = timeout;
	ask->done = done;
	ask->arg = arg;
	TAILQ_INSERT_TAIL(&asks.open, ask, entry);
	return (ask);
}

/* Call back soon if nothing is outstanding. */
static void
ask_check(struct ask *ask)
{
	size_t i;

	for (i = 0; i < ASKABLE; i++)
		if (ask->pending[askable[i]] > 0)
			return;
	event_active(ask->timer, EV_TIMEOUT, 1);
}

void
ask_start(struct ask *ask)
{
	struct timeval tv;

	tv.tv_sec = (time_t)(ask->timeout / CLOCK_SECOND);
	tv.tv_usec = (suseconds_t)(ask->timeout % CLOCK_SECOND / 1000);
	/* Without a deadline it does not wait at all. */
	if (event_add(ask->timer, &tv) == -1)
		event_active(ask->timer, EV_TIMEOUT, 1);
	else
		ask_check(ask);
}

void
ask_send(struct ask *ask, enum process process, enum ipc_type type,
    const void *payload, int fd)
{
	struct ipc *ipc = control.door(process);
	size_t size = ipc_payload_size(type);
	union {
		uint64_t id;
		uint8_t bytes[ASK_PAYLOAD];
	} copy;

	if (ipc == NULL || size > sizeof(copy)) {
		ask->answer.missing |= process;
		if (fd != -1)
			close(fd);
		return;
	}
	memset(&copy, 0, sizeof(copy));
	memcpy(copy.bytes, payload, size);
	copy.id = ask->id;
	if (fd != -1)
		ipc_send_fd(ipc, type, &copy, fd);
	else
		ipc_send(ipc, type, &copy, NULL, 0);
	ask->pending[process]++;
}

void
ask_show(struct ask *ask, enum show_what what)
{
	struct ipc_show show = { 0, what };
	size_t i;

	for (i = 0; i < ASKABLE; i++)
		if (kinds[what].owners & askable[i])
			ask_send(ask, askable[i], IPC_SHOW, &show, -1);
}

void
ask_metrics(struct ask *ask)
{
	struct ipc_request request = { 0, 0 };
	size_t i;

	ask->answer.metrics = calloc(METRIC_COUNT, sizeof(metrics[0]));
	if (ask->answer.metrics == NULL)
		return;
	memcpy(ask->answer.metrics, metrics, sizeof(metrics));
	for (i = 0; i < ASKABLE; i++)
		ask_send(ask, askable[i], IPC_METRICS_GET, &request, -1);
}

const void *
ask_rows(const struct ask_answer *answer, enum show_what what, size_t *count)
{
	*count = buffer_length(&answer->rows[what]) /
		 ipc_payload_size(kinds[what].row);
	return (*count == 0 ? NULL : buffer_bytes(&answer->rows[what]));
}

/* 1 when the message was a row, and kept or cut. */
static int
ask_row(struct ask *ask, const struct ipc_message *message)
{
	size_t size = ipc_payload_size(message->type);
	size_t what;

	for (what = SHOW_SESSIONS; what < SHOW_KINDS; what++)
		if (kinds[what].row == message->type)
			break;
	if (what >= SHOW_KINDS)
		return (0);
	if (buffer_length(&ask->answer.rows[what]) / size >= ASK_ROWS ||
	    buffer_append(&ask->answer.rows[what], message->payload, size) ==
		-1)
		ask->answer.cut = 1;
	return (1);
}

static void
ask_result(struct ask *ask, const struct ipc_message *message)
{
	const struct ipc_result *result = message->payload;
	size_t length = message->tail_length;

	if (result->ok)
		ask->answer.results++;
	else
		ask->answer.refusals++;
	ask->answer.count += result->count;
	/* A refusal's text is not overwritten by a success. */
	if (length == 0 || (result->ok && ask->answer.refusals > 0))
		return;
	if (length > sizeof(ask->answer.text) - 1)
		length = sizeof(ask->answer.text) - 1;
	memcpy(ask->answer.text, message->tail, length);
	ask->answer.text[length] = '\0';
}

static struct ask *
ask_find(uint64_t id)
{
	struct ask *ask;

	TAILQ_FOREACH(ask, &asks.open, entry)
	if (ask->id == id)
		return (ask);
	return (NULL);
}

/* keyd says unasked whether its store can be written: while it cannot, keyd
 * answers nothing. */
static void
ask_unasked(const struct ipc_message *message)
{
	struct metric_value *values = calloc(METRIC_COUNT, sizeof(*values));

	if (values != NULL &&
	    metrics_merge(values, message->tail, message->tail_length) == 0)
		control.store_failed = values[METRIC_STORE_FAILED].value != 0;
	free(values);
}

void
ask_message(enum process from, const struct ipc_message *message)
{
	struct ask *ask;
	uint64_t id;

	/* Every struct that answers begins with the id. */
	memcpy(&id, message->payload, sizeof(id));
	if (id == 0 && from == PROCESS_KEYD && message->type == IPC_METRICS)
		ask_unasked(message);
	ask = ask_find(id);
	if (ask == NULL || from > PROCESS_MESH || ask->pending[from] == 0)
		return; /* too late, or not asked */
	if (ask_row(ask, message))
		return;
	switch (message->type) {
	case IPC_METRICS:
		if (ask->answer.metrics == NULL ||
		    metrics_merge(ask->answer.metrics, message->tail,
			message->tail_length) == -1)
			ask->answer.missing |= from;
		break;
	case IPC_TICKET:
		ask->answer.have_ticket = 1;
		memcpy(&ask->answer.ticket, message->payload,
		    sizeof(ask->answer.ticket));
		break;
	case IPC_RESULT:
		ask_result(ask, message);
		break;
	case IPC_SHOW_END:
		break;
	default:
		return;
	}
	ask->pending[from]--;
	ask_check(ask);
}

void
ask_lost(enum process process)
{
	struct ask *ask;

	if (process > PROCESS_MESH)
		return;
	TAILQ_FOREACH(ask, &asks.open, entry)
	{
		if (ask->pending[process] == 0)
			continue;
		ask->pending[process] = 0;
		ask->answer.missing |= process;
		ask_check(ask);
	}
}
