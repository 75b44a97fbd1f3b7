/*
 * mesh, unprivileged; node bytes are hostile, keyd and router are believed
 * only as far as the message table goes. The one struct of this process and
 * what its main file offers to the others.
 */
#ifndef MESH_MESH_H
#define MESH_MESH_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "common/proc/proc.h"
#include "common/rpc/rpc.h"
#include "common/sign/statement.h"
#include "proto/nodemesh.pb-c.h"

struct mesh {
	struct ipc_identity identity; /* as keyd said last */
	char *pem;                    /* TLS certificate chain */
	size_t pem_length;
	struct rpc_tls *client_tls; /* NULL before unlock */
	/* Own descriptor, signed; NULL until keyd has signed the first. */
	struct Nodemesh__V1__NodeDescriptor *descriptor;
	int going;    /* GO came */
	int stopping; /* 1: leaving, 2: closing */
};

extern struct mesh mesh;

/* 1 when this node is unlocked and a member with a descriptor to show. */
int mesh_is_member(void);

/* 1 when key is this node's own. */
int mesh_is_self(const uint8_t key[KEY_SIZE]);

/* The endpoint other nodes are told to dial; "" when none is configured. */
const char *mesh_endpoint(void);

/*
 * Make the descriptor anew, under incarnation or a higher one, and have it
 * signed; then mesh.descriptor is it and members_own() is called.
 */
void mesh_describe(uint64_t incarnation);

/* A node's message is to be worked on. When the door to keyd is congested, no
 * more is read of any node until it is not. */
void mesh_mind_keyd(void);

/* Have a statement of this node signed by keyd; done is called once, later,
 * with NULL when keyd refused. digest is copied. */
typedef void (*sign_done)(const uint8_t *signature, void *arg);
void sign_statement(enum statement_kind kind, uint64_t number,
    const uint8_t digest[KEY_SIZE], sign_done done, void *arg);

/* Handlers of mesh/sign.c: keyd's answers. late: to a call given up. */
void sign_on_signed(void *arg, const struct ipc_message *message);
void sign_on_late_digest(void *arg, const struct ipc_message *message);

/* rpc_sign: the TLS key is in keyd. */
int sign_tls_digest(void *arg, const uint8_t *digest, size_t length,
    uint8_t *signature, size_t *signature_length);

#endif
