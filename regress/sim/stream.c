/*
 * Test. What a RouteChat stream is to two nodes: frames arrive in order and
 * once, or the stream breaks at both ends. Over links that lose, double and
 * reorder, so with numbers, acknowledgements and repeats, as TCP has them.
 *
 * Each end names its side of a stream by a number that only goes up. A
 * segment that names another side than the one at hand is of a stream that
 * is no more; who sent it is told.
 */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "regress/sim/house.h"

#define REPEAT_FIRST (400 * MS)
#define REPEAT_LAST  (3 * SECOND)
#define REPEAT_MOST  8 /* segments at once */
#define OPEN_MOST    (5 * SECOND)
#define SILENT_MOST  (10 * SECOND) /* unacknowledged; then it broke */
#define AGAIN_FIRST  (500 * MS)
#define AGAIN_LAST   (8 * SECOND)
#define HELD_MOST    64 /* that came too early */

/* What is in a segment's blob, before the frame. */
struct segment {
	uint64_t source; /* the sender's side; 0: it has none */
	uint64_t target; /* the receiver's; 0: not known yet */
	uint64_t number; /* of the frame; 0: no frame */
	uint64_t acked;
};

struct waiting_frame {
	struct waiting_frame *next;
	uint64_t number;
	int64_t since;
	size_t length;
	uint8_t bytes[];
};

struct sim_stream {
	uint64_t own;
	uint64_t theirs;
	int up;
	int64_t since; /* it is being opened */
	int64_t again_at;
	int64_t again;
	int64_t repeat_at;
	int64_t repeat;
	uint64_t next;
	uint64_t received;
	struct waiting_frame *out; /* not acknowledged */
	struct waiting_frame *held;
	size_t held_count;
};

struct sim_stream *
sim_streams_make(uint32_t count)
{
	struct sim_stream *streams = calloc(count, sizeof(*streams));

	if (streams == NULL)
		err(1, "calloc");
	return (streams);
}

static void
list_free(struct waiting_frame **list)
{
	struct waiting_frame *frame;

	while ((frame = *list) != NULL) {
		*list = frame->next;
		free(frame);
	}
}

/* Behind all with a smaller number. 0 when it is there already. */
static int
list_put(struct waiting_frame **list, uint64_t number, int64_t now,
    const void *bytes, size_t length)
{
	struct waiting_frame *frame;

	while (*list != NULL && (*list)->number < number)
		list = &(*list)->next;
	if (*list != NULL && (*list)->number == number)
		return (0);
	if ((frame = malloc(sizeof(*frame) + length)) == NULL)
		err(1, "malloc");
	frame->number = number;
	frame->since = now;
	frame->length = length;
	memcpy(frame->bytes, bytes, length);
	frame->next = *list;
	*list = frame;
	return (1);
}

void
sim_streams_free(struct sim_stream *streams, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		list_free(&streams[i].out);
		list_free(&streams[i].held);
	}
	free(streams);
}

static void
segment_send(struct sim_node *node, uint32_t peer, struct segment segment,
    const void *bytes, size_t length)
{
	struct sim_message *message = calloc(1, sizeof(*message));

	if (message == NULL ||
	    (message->blobs = malloc(
		 sizeof(struct sim_blob) + sizeof(segment) + length)) == NULL)
		err(1, "malloc");
	message->kind = SIM_STREAM;
	message->from = node->index;
	message->to = peer;
	message->blobs->next = NULL;
	message->blobs->length = sizeof(segment) + length;
	memcpy(message->blobs->bytes, &segment, sizeof(segment));
	if (length > 0)
		memcpy(message->blobs->bytes + sizeof(segment), bytes, length);
	sim_send(node->sim, message);
}

static void
stream_say(
    struct sim_node *node, uint32_t peer, const struct waiting_frame *frame)
{
	const struct sim_stream *stream = &node->house->streams[peer];
	struct segment segment = { stream->own, stream->theirs,
		frame == NULL ? 0 : frame->number, stream->received };

	segment_send(node, peer, segment, frame == NULL ? NULL : frame->bytes,
	    frame == NULL ? 0 : frame->length);
}

int
sim_stream_is_up(const struct sim_node *node, uint32_t peer)
{
	return (node->house->streams[peer].up);
}

void
sim_stream_break(struct sim_node *node, uint32_t peer)
{
	struct sim_stream *stream = &node->house->streams[peer];
	int was = stream->up;

	if (stream->own == 0)
		return;
	stream->up = 0;
	stream->own = stream->theirs = 0;
	list_free(&stream->out);
	list_free(&stream->held);
	stream->held_count = 0;
	if (stream->again < AGAIN_FIRST)
		stream->again = AGAIN_FIRST;
	/* With jitter: no thundering herd. */
	stream->again_at =
	    node->sim->now + stream->again / 2 +
	    (int64_t)(sim_random(&node->random) % (uint64_t)stream->again);
	stream->again *= 2;
	if (stream->again > AGAIN_LAST)
		stream->again = AGAIN_LAST;
	if (was)
		sim_house_down(node, peer);
}

static void
stream_begin(struct sim_node *node, uint32_t peer)
{
	struct sim_stream *stream = &node->house->streams[peer];

	stream->own = node->incarnation << 32 | ++node->house->stream_count;
	stream->theirs = 0;
	stream->next = 1;
	stream->received = 0;
	stream->since = node->sim->now;
	stream->repeat = REPEAT_FIRST;
	stream->repeat_at = node->sim->now + stream->repeat;
}

void
sim_stream_want(struct sim_node *node, uint32_t peer)
{
	struct sim_stream *stream = &node->house->streams[peer];

	if (stream->own != 0 || node->sim->now < stream->again_at)
		return;
	stream_begin(node, peer);
	stream_say(node, peer, NULL);
}

void
sim_stream_send(
    struct sim_node *node, uint32_t peer, const void *bytes, size_t length)
{
	struct sim_stream *stream = &node->house->streams[peer];
	struct waiting_frame *last;

	if (!stream->up)
		return;
	if (stream->out == NULL)
		stream->repeat_at = node->sim->now + stream->repeat;
	(void)list_put(
	    &stream->out, stream->next++, node->sim->now, bytes, length);
	for (last = stream->out; last->next != NULL;)
		last = last->next;
	stream_say(node, peer, last);
}

/* --- in ------------------------------------------------------------------ */

static void
stream_acked(struct sim_node *node, struct sim_stream *stream, uint64_t acked)
{
	struct waiting_frame *frame;

	while ((frame = stream->out) != NULL && frame->number <= acked) {
		stream->out = frame->next;
		free(frame);
		stream->repeat = REPEAT_FIRST;
		stream->repeat_at = node->sim->now + stream->repeat;
	}
}

/* Is it of the stream at hand, or does it make one? */
static int
stream_accept(
    struct sim_node *node, uint32_t peer, const struct segment *segment)
{
	struct sim_stream *stream = &node->house->streams[peer];
	struct segment unknown = { 0, segment->source, 0, 0 };

	if (segment->source == 0) {
		if (segment->target == stream->own)
			sim_stream_break(node, peer);
		return (0);
	}
	if (segment->target != 0 && segment->target != stream->own) {
		segment_send(node, peer, unknown, NULL, 0);
		return (0);
	}
	if (stream->theirs != 0 && segment->source < stream->theirs)
		return (0);
	if (stream->theirs != 0 && segment->source > stream->theirs)
		sim_stream_break(node, peer); /* it began anew */
	if (stream->theirs != 0)
		return (1);
	if (segment->source <= node->house->heard[peer])
		return (0); /* late: an opening of before */
	if (stream->own == 0)
		stream_begin(node, peer);
	stream->theirs = node->house->heard[peer] = segment->source;
	stream->up = 1;
	stream->again = 0;
	if (segment->target == 0)
		stream_say(node, peer, NULL);
	sim_house_up(node, peer);
	return (node->house->streams[peer].up);
}

/* Hand on all that is next. */
static void
stream_deliver(struct sim_node *node, uint32_t peer)
{
	struct sim_stream *stream = &node->house->streams[peer];
	struct waiting_frame *frame;

	while ((frame = stream->held) != NULL &&
	       frame->number <= stream->received + 1) {
		stream->held = frame->next;
		stream->held_count--;
		if (frame->number == stream->received + 1) {
			stream->received++;
			sim_house_frame(
			    node, peer, frame->bytes, frame->length);
		}
		free(frame);
	}
}

void
sim_stream_receive(struct sim_node *node, const struct sim_message *message)
{
	struct sim_stream *stream = &node->house->streams[message->from];
	const struct sim_blob *blob = message->blobs;
	struct segment segment;

	memcpy(&segment, blob->bytes, sizeof(segment));
	if (!stream_accept(node, message->from, &segment))
		return;
	stream_acked(node, stream, segment.acked);
	if (segment.number == 0)
		return;
	if (segment.number > stream->received && stream->held_count < HELD_MOST)
		stream->held_count +=
		    (size_t)list_put(&stream->held, segment.number,
			node->sim->now, blob->bytes + sizeof(segment),
			blob->length - sizeof(segment));
	stream_deliver(node, message->from);
	if (stream->up)
		stream_say(node, message->from, NULL);
}

/* --- time ---------------------------------------------------------------- */

static void
stream_tick(struct sim_node *node, uint32_t peer)
{
	struct sim_stream *stream = &node->house->streams[peer];
	struct waiting_frame *frame;
	int64_t now = node->sim->now;
	int count = 0;

	if (stream->own == 0)
		return;
	if ((!stream->up && now - stream->since > OPEN_MOST) ||
	    (stream->out != NULL && now - stream->out->since > SILENT_MOST)) {
		sim_stream_break(node, peer);
		return;
	}
	if (now < stream->repeat_at || (stream->up && stream->out == NULL))
		return;
	stream->repeat *= 2;
	if (stream->repeat > REPEAT_LAST)
		stream->repeat = REPEAT_LAST;
	stream->repeat_at = now + stream->repeat;
	if (!stream->up)
		stream_say(node, peer, NULL);
	for (frame = stream->out; frame != NULL && count < REPEAT_MOST;
	     frame = frame->next, count++)
		stream_say(node, peer, frame);
}

void
sim_streams_tick(struct sim_node *node)
{
	uint32_t i;

	for (i = 0; i < node->sim->count; i++)
		stream_tick(node, i);
}
