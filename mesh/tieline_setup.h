/* mesh, unprivileged. Inside tieline*.c: set-ups, and errors in answer. */
#ifndef MESH_TIELINE_SETUP_H
#define MESH_TIELINE_SETUP_H

#include <stdint.h>

#include "common/ipc/codes.h"
#include "common/ipc/messages.h"

struct frame;
struct peer;
struct rpc_stream;

/* A SetupTieline came. 0, or -1: it names another sender. */
int tieline_setup_in(
    struct peer *peer, struct rpc_stream *stream, const struct frame *frame);

/* RouteError for a frame, on the stream it came on. */
void tieline_answer_error(struct peer *peer, struct rpc_stream *stream,
    const struct frame *frame, enum hermes_code code);

/* The same for a message that no tieline takes: CHAT_NOT_READY. */
void tieline_answer_lost(
    struct peer *peer, struct rpc_stream *stream, const struct frame *frame);

/* ROUTE_ERROR to the router. retry_after in ns. */
void tieline_route_error(const struct chat_key *key, enum hermes_code code,
    uint32_t expected, int64_t retry_after);

/* Put the chat's handle and id into a frame; not copied. */
void tieline_name(
    struct frame *frame, const uint8_t handle[KEY_SIZE], const char *chat_id);

#endif
