/*
 * Tests only. A mesh process among nodes that are played: members who lie, an
 * expired one, one of another mesh, strangers, on connections either side
 * opened. They sign what they like with their own keys. keyd and router hear
 * of chats, apps and members only what those who may have said; nobody is
 * alive, revoked or home to an app by another's word.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/ipc/codes.h"
#include "common/util/log.h"
#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_apart.h"
#include "regress/fuzz/fuzz_clock.h"
#include "regress/fuzz/fuzz_timer.h"

#define PLAYED_CHECK(condition) FUZZ_CHECK(condition)

#include "regress/unit/played_doors.h"
#include "regress/unit/played_streams.h"
#include "regress/unit/mesh_cast.h"
#include "regress/fuzz/peers_lines.h"
#include "regress/fuzz/peers_house.h"
#include "regress/fuzz/peers_mouths.h"
#include "regress/fuzz/peers_orders.h"

#define STEPS    200
#define HEAP_MAX (32 * 1024 * 1024) /* whatever they say */

int mesh_main(void);

/* --- connections --------------------------------------------------------- */

static void
open_line(int who)
{
	struct rpc_connection **slot = line_free_slot(), *line;

	if (slot == NULL || methods == NULL)
		return;
	line = line_new(slot);
	line_is(line, who);
	if (server_callbacks->opened(line, NULL) == -1) {
		*slot = NULL;
		free(line);
	}
}

/* The other end opens a stream; only members may have more than Join. */
static void
open_stream(struct rpc_connection *line, enum call call)
{
	struct rpc_stream *stream;
	enum rpc_status status;

	if (line->dialled != NULL || line->streams[call] != NULL)
		return;
	stream = stream_new();
	stream->connection = line;
	stream->callbacks = &methods[call].callbacks;
	line->streams[call] = stream;
	if (call == CALL_ROUTE && may_be_member(line->who))
		actors[line->who].routed = 1;
	status = methods[call].opened(stream, NULL);
	/* Who is revoked is told why, and no more. */
	if (call != CALL_JOIN && !may_be_member(line->who))
		FUZZ_CHECK(status != RPC_OK ||
			   (stream->finished &&
			       stream->status == RPC_PERMISSION_DENIED));
	if (status == RPC_OK)
		return;
	line->streams[call] = NULL;
	stream_free(stream);
}

/* A dial of ours comes to something, or not. */
static void
answer_dial(struct rpc_connection *line, uint8_t how)
{
	if (line->dialled == NULL || line->connected)
		return;
	if (how & 0x80) {
		line->closing = 1;
		return;
	}
	line_is(line, how % ACTORS);
	line->connected = 1;
	if (may_be_member(line->who))
		actors[line->who].routed = 1;
	line->dialled->connected(line, line->arg);
}

static void
end_stream(struct rpc_connection *line, enum call call, uint8_t how)
{
	struct rpc_stream *stream = line->streams[call];

	if (stream == NULL)
		return;
	if ((how & 1) && stream->callbacks->finished != NULL)
		stream->callbacks->finished(stream, stream->arg);
	else
		stream_end(line, call, (enum rpc_status)(how >> 1 & 0xf));
}

static struct rpc_connection *
any_line(uint8_t byte)
{
	return (lines[byte % LINES]);
}

static void
step_line(uint8_t what)
{
	struct rpc_connection *line = any_line(what);
	uint8_t how = input_u8(feed);

	if (line == NULL || line->closing) {
		open_line(how % ACTORS);
		return;
	}
	switch (what / LINES % 4) {
	case 0:
		if (line->dialled != NULL)
			answer_dial(line, how);
		else
			open_stream(line, how % CALLS);
		break;
	case 1:
		end_stream(line, (how >> 4) % CALLS, how);
		break;
	case 2:
		line->closing = 1;
		break;
	case 3:
		if (line->dialled != NULL && line->connected &&
		    line->dialled->draining != NULL)
			line->dialled->draining(line, line->arg);
		break;
	}
}

/* --- one step ------------------------------------------------------------ */

static void
step_speak(uint8_t what)
{
	struct rpc_connection *line = any_line(what);

	if (line == NULL || (line->dialled != NULL && !line->connected))
		return;
	switch (what / LINES % 3) {
	case 0:
		say_gossip(line);
		break;
	case 1:
		say_route(line);
		break;
	case 2:
		say_join(line);
		break;
	}
}

static void
step_house(uint8_t what)
{
	switch (what % 6) {
	case 0:
		router_speaks();
		break;
	case 1:
		keyd_speaks();
		break;
	case 2:
		timers_run((int64_t)input_u8(feed) * 20 * CLOCK_MS);
		break;
	case 3:
		timers_run((int64_t)input_u8(feed) * CLOCK_SECOND / 4);
		break;
	case 4:
		control_asks();
		break;
	case 5:
		house_changes(input_u8(feed));
		break;
	}
}

/* Until nothing more comes of it. */
static void
settle(void)
{
	int rounds = 0;

	do {
		FUZZ_CHECK(rounds++ < 1000);
		(void)event_base_loop(world.base, EVLOOP_NONBLOCK);
		house_answers();
	} while (lines_settle() || !TAILQ_EMPTY(&world.out));
}

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static void
run(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	uint8_t what;
	int i;

	feed = &input;
	fuzz_wall = FUZZ_EPOCH;
	house_begin(input_u8(&input));
	settle();
	for (i = 0; i < STEPS && input.left > 0; i++) {
		what = input_u8(&input);
		speaking = SELF;
		if (what < 64)
			step_line(what);
		else if (what < 192)
			step_speak(what - 64);
		else
			step_house(what - 192);
		settle();
	}
	for (i = 0; i < LINES; i++)
		if (lines[i] != NULL)
			lines[i]->closing = 1;
	settle();
	for (i = 0; i < LINES; i++)
		FUZZ_CHECK(lines[i] == NULL || lines[i]->dialled != NULL);
	if (__sanitizer_get_current_allocated_bytes != NULL)
		FUZZ_CHECK(
		    __sanitizer_get_current_allocated_bytes() < HEAP_MAX);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	fuzz_seed(12);
	FUZZ_CHECK((world.base = event_base_new()) != NULL);
	fuzz_wall = FUZZ_EPOCH;
	actors_make();
	FUZZ_CHECK(mesh_main() == 0);
	return (0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	apart_run(run, data, size);
	return (0);
}
