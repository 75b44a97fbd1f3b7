/*
 * Tests only. The real keyd in this process, between doors whose other ends
 * a target writes to; it stands in for common/proc/proc.c. Everything that
 * keyd signs and says is checked here.
 */
#ifndef REGRESS_FUZZ_HOUSE_H
#define REGRESS_FUZZ_HOUSE_H

#include "common/ipc/messages.h"
#include "regress/fuzz/fuzz_node.h"

enum house_door { DOOR_ROUTER, DOOR_MESH, DOOR_CONTROL, DOOR_COUNT };

#define HOUSE_PATH "/keyd"
#define HOUSE_NAME "house"

extern struct wire house_wire;             /* what keyd told the mesh */
extern struct ipc_ticket house_ticket;     /* the last one made */
extern struct ipc_redeemed house_redeemed; /* the last good answer */
extern struct ipc_revocation house_revocation;
extern struct route house_routes[NODE_CHATS + 1];

/* Start keyd on its folder; unlocked when passphrase is not NULL. */
void house_boot(const char *passphrase);
/* As if killed at once, or stopped in order. */
void house_end(int orderly);

int house_up(enum house_door door);
/* A new router, mesh or control process, whatever became of the last. */
void house_reopen(enum house_door door);

/* Write to a door; then let keyd work and check all that it says. */
void house_write(enum house_door door, const void *bytes, size_t length);
/* The same with this descriptor beside the first byte (closed). */
void house_write_fd(
    enum house_door door, const void *bytes, size_t length, int fd);
/* One frame, as the table has it. */
void house_send(enum house_door door, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length);
void house_send_fd(
    enum house_door door, enum ipc_type type, const void *payload, int fd);

/* Messages of the parent, by the frame's hooks. */
void house_passphrase(int fd);
void house_reload(const struct config *config);
void house_tls_file(int fd);

/* A second went by; a step of a rotation that is due. */
void house_tick(void);

/* Every door that is up is still served. */
void house_probe(void);

struct route *house_find(const struct chat_key *key);

#endif
