/*
 * mesh, unprivileged; node bytes are hostile. The tieline table: which node
 * each chat's other app is on, and the chats' frames between the doors to
 * keyd and router and the RouteChat streams. No payload is opened here.
 */
#ifndef MESH_TIELINE_H
#define MESH_TIELINE_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"

struct peer;
struct rpc_stream;

/* A frame came from peer. 0, or -1: it names another sender. */
int tieline_frame(struct peer *peer, struct rpc_stream *stream,
    const uint8_t *bytes, size_t length);

/* Peer's chats are over; the table forgets them. */
void tieline_forget_peer(const struct peer *peer);

/* Presence of this app changed: set-ups that wait for it go on. */
void tieline_presence(const uint8_t app[KEY_SIZE]);

/* Now and then: parked set-ups that waited too long are refused. */
void tieline_tick(int64_t now);

/* Send what acknowledgements this turn gathered. Flushing after each batch
 * makes one ack of many. */
void tieline_flush(void);

/* Messages of keyd and router. */
void tieline_on_setup_out(void *arg, const struct ipc_message *message);
void tieline_on_setup_refused(void *arg, const struct ipc_message *message);
void tieline_on_teardown_out(void *arg, const struct ipc_message *message);
void tieline_on_sealed(void *arg, const struct ipc_message *message);
void tieline_on_relay_ack(void *arg, const struct ipc_message *message);
void tieline_on_credit(void *arg, const struct ipc_message *message);

/* Rows for hermesctl; returns how many. */
uint64_t tieline_show(uint64_t id);
/* Count what these rows say. */
void tieline_metrics(void);

#endif
