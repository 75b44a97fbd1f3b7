/*
 * mesh, unprivileged; node bytes are hostile. From protobuf to checked
 * structs and back, and the canonical bytes under every statement that nodes
 * sign (common/sign/statement.h).
 */
#ifndef MESH_WIRE_H
#define MESH_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "common/sign/attestation.h"
#include "common/sign/certificate.h"
#include "proto/nodemesh.pb-c.h"

/* Bounds on what a node may say of itself. */
#define WIRE_DESCRIPTOR_MAX   4096 /* bytes, packed */
#define WIRE_METADATA_MAX     32   /* pairs */
#define WIRE_CAPABILITIES_MAX 32

/* The parts of a NodeDescriptor that a node uses, checked for form. */
#define WIRE_AUTHORITY        "authority" /* a capability */

struct descriptor {
	char node_id[NODE_ID_SIZE];
	char endpoint[ENDPOINT_SIZE];
	char app_endpoint[ENDPOINT_SIZE]; /* "" none */
	uint8_t node_key[KEY_SIZE];
	uint8_t tls_spki[KEY_SIZE];
	uint64_t incarnation;
	uint32_t has_certificate;
	uint32_t authority; /* it says that it holds the mesh key */
	struct certificate certificate;
	uint8_t signature[SIGNATURE_SIZE];
};

/*
 * Digests of statement bodies, each SHA-256 over a canonical encoding (keyd
 * reads DESCRIPTOR's, see VOUCHER):
 *
 * DESCRIPTOR: LP(endpoint) LP(wallet) LP(tls_spki_sha256) LP(certificate)
 *   LP(metadata_hash of all pairs) BE32(capabilities) LP(capability)...
 *   number: incarnation.
 * LEAVE: LP(mesh_id); number: incarnation.
 * PRESENCE: u8(full) BE32(apps), then each: LP(app_id) LP(session_id)
 *   LP(metadata_hash) BE64(connected_at) LP(attestation) u8(departed)
 *   BE64(sequence); number: AppSync.sequence.
 * JOIN: secret || nonce || the server's node key; number: 0.
 * REVOCATION: BE64(revoked_at); number: serial; node_id and node_key are
 *   the revoked node's, the signer is the authority.
 */
size_t wire_descriptor_body(/* its length, or 0: too long */
    const struct Nodemesh__V1__NodeDescriptor *node,
    uint8_t out[VOUCHER_BODY_MAX]);
void wire_descriptor_digest(/* of one that is too long: of nothing */
    const struct Nodemesh__V1__NodeDescriptor *node, uint8_t digest[KEY_SIZE]);
void wire_leave_digest(
    const uint8_t mesh_id[KEY_SIZE], uint8_t digest[KEY_SIZE]);
void wire_presence_digest(
    const struct Nodemesh__V1__AppSync *sync, uint8_t digest[KEY_SIZE]);
void wire_join_digest(const uint8_t secret[TICKET_SECRET_SIZE],
    const uint8_t nonce[KEY_SIZE], const uint8_t server[KEY_SIZE],
    uint8_t digest[KEY_SIZE]);
void wire_revocation_digest(int64_t revoked_at, uint8_t digest[KEY_SIZE]);

/* Read a descriptor, form only. 0, or -1 with errno EINVAL. */
int wire_descriptor_read(
    struct descriptor *out, const struct Nodemesh__V1__NodeDescriptor *node);

/*
 * Check what was read: the membership certificate against authority at now
 * (unless authority is NULL: a joining node has none yet), its names, the
 * node's signature. 0, or -1 with errno EINVAL (names), EACCES (a
 * signature) or ETIME (certificate expired).
 */
int wire_descriptor_verify(const struct descriptor *read,
    const struct Nodemesh__V1__NodeDescriptor *node, const uint8_t *authority,
    int64_t now);

/* A copy on the heap, for nodemesh__v1__node_descriptor__free_unpacked().
 * NULL when memory is short. */
struct Nodemesh__V1__NodeDescriptor *wire_descriptor_copy(
    const struct Nodemesh__V1__NodeDescriptor *node);

/*
 * This node's own descriptor on the heap, from its identity; signature zero.
 * NULL when memory is short.
 */
struct Nodemesh__V1__NodeDescriptor *wire_descriptor_own(
    const struct ipc_identity *identity, uint64_t incarnation,
    const char *endpoint, const char *app_endpoint);

/*
 * Check a registration's form, read its attestation and app key, and that
 * the attestation is the app's and names node_key. 0, or -1 with errno EINVAL
 * or EACCES.
 */
int wire_registration_read(const struct Nodemesh__V1__AppRegistration *app,
    const uint8_t node_key[KEY_SIZE], struct attestation *attestation);

/*
 * Check what was read: that the app signed it and it is in force. compat_v1: a
 * v1 attestation passes when its signature is right over node_id and
 * metadata. 0, or -1 with errno EACCES or ETIME.
 */
int wire_registration_verify(const struct Nodemesh__V1__AppRegistration *app,
    const struct attestation *attestation, int compat_v1, int64_t now);

/*
 * A registration on the heap, all its own memory. metadata (may be NULL) is
 * copied; departed: only who and when. NULL when memory is short.
 */
struct Nodemesh__V1__AppRegistration *wire_registration_make(
    const struct attestation *attestation, const char *node_id,
    const char *session_id, int64_t connected_at, uint64_t sequence,
    int departed,
    struct Nodemesh__V1__AppRegistration__MetadataEntry **metadata,
    size_t count);

/* The public key that an app id is, 64 hex digits. 0 or -1. */
int wire_app_key(const char *app_id, uint8_t key[KEY_SIZE]);

/* Copy a text of the wire; -1 when it is longer than size - 1 or holds
 * anything but printable ASCII. */
int wire_text(char *out, size_t size, const char *text);

#endif
