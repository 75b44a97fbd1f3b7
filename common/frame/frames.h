/*
 * router, and libhermes for messages: AppFrame on the wire, read without a
 * copy and written without an allocation. What is read is hostile; spans
 * point into the received bytes and live as long as those.
 */
#ifndef COMMON_FRAME_FRAMES_H
#define COMMON_FRAME_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "common/sign/attestation.h"

struct span {
	const uint8_t *bytes;
	size_t length;
};

/* AppFrame.body */
enum frame_field {
	FRAME_NONE = 0,
	FRAME_CONNECT = 2,
	FRAME_CONNECT_ACK = 3,
	FRAME_START_CHAT = 4,
	FRAME_START_CHAT_ACK = 5,
	FRAME_CHAT_MESSAGE = 6,
	FRAME_CHAT_MESSAGE_ACK = 7,
	FRAME_DELETE_CHAT = 8,
	FRAME_DELETE_CHAT_ACK = 9,
	FRAME_ERROR = 10,
	FRAME_HEARTBEAT = 11,
	FRAME_FIND_APP = 12,
	FRAME_FIND_APP_RESULT = 13,
	FRAME_CHALLENGE = 14,
	FRAME_CHAT_STATUS = 15,
	FRAME_GO_AWAY = 16,
	FRAME_UNKNOWN = 17 /* some field this node does not know */
};

#define FRAME_CORRELATION_MAX 128 /* bytes of correlation_id */
#define FRAME_PAIRS           64  /* entries of a metadata map */
/* metadata_bytes of a map with more entries. */
#define FRAME_TOO_MUCH        (SIZE_MAX / 2)

/* An AppFrame taken apart once: its body is still to be read. */
struct frame {
	struct span correlation;
	enum frame_field field;
	struct span body;
};

struct frame_connect {
	struct span app_key;
	struct span signature;
	struct span node_id;
	struct span nonce;
	int64_t issued_at;
	int64_t expires_at;
	int arrived;           /* was at another node since it was last here */
	size_t metadata_bytes; /* of keys and values */
	size_t pair_count;
	struct metadata_pair pairs[FRAME_PAIRS];
};

struct frame_start_chat {
	struct span chat_id;
	struct span key;
	struct span signature;
	struct span target;
	struct span hint;
	struct span salt;
	struct span info;
	struct span source;
	uint32_t version;
	int rekey;
	int resume;
	uint64_t next_send; /* 0: not said */
	uint64_t next_receive;
	struct span instance; /* may be empty */
	size_t metadata_bytes;
	size_t pair_count;
	struct metadata_pair pairs[FRAME_PAIRS];
};

struct frame_chat_message { /* also ChatMessageAck, without payload */
	struct span chat_id;
	struct span payload;
	struct span peer; /* peer_app_id, may be empty */
	uint64_t sequence;
};

struct frame_delete_chat {
	struct span chat_id;
	struct span reason;
	struct span peer;
};

struct frame_find_app {
	struct span target;
	struct span hint;
};

/*
 * Read. 0, or -1 when the bytes are no such message: broken, text that is
 * not UTF-8, a correlation_id over the size above, a map with a key twice. Of
 * a map with too many entries metadata_bytes says so, and only the first are
 * read. Unknown fields are passed over. frame_read_start_chat() overwrites
 * field 7, a private key that a v1 app may send, with zeros and never reads it.
 */
int frame_parse(struct frame *frame, const uint8_t *bytes, size_t length);
int frame_read_connect(struct frame_connect *connect, struct span body);
int frame_read_start_chat(struct frame_start_chat *start, struct span body);
int frame_read_chat_message(
    struct frame_chat_message *message, struct span body);
int frame_read_chat_ack(struct frame_chat_message *ack, struct span body);
int frame_read_delete_chat(
    struct frame_delete_chat *delete_chat, struct span body);
int frame_read_find_app(struct frame_find_app *find, struct span body);
int frame_read_heartbeat(int64_t *timestamp, struct span body);

/* 1 when a metadata entry has exactly this key and value. */
int frame_has_pair(const struct metadata_pair *pairs, size_t count,
    const char *key, const char *value);

/*
 * Write. A body is put together field by field (0, "" and empty spans are
 * left out, as proto3 does) and then wrapped. One that outgrew its room is
 * marked failed.
 */
#define FRAME_BODY_SIZE 65536
struct frame_body {
	enum frame_field field;
	size_t length;
	int failed;
	uint8_t bytes[FRAME_BODY_SIZE];
};

void frame_begin(struct frame_body *body, enum frame_field field);
void frame_put_text(struct frame_body *body, uint32_t field, const char *text);
void frame_put_bytes(
    struct frame_body *body, uint32_t field, const void *bytes, size_t length);
void frame_put_number(struct frame_body *body, uint32_t field, uint64_t number);
/* NodeHint as field. */
void frame_put_node(struct frame_body *body, uint32_t field,
    const char *node_id, const char *endpoint,
    const uint8_t node_key[KEY_SIZE]);
/* All of a StartChat but the fields 7 (gone), 12, which is source, and 14,
 * 15 and 16, which are for the app's own node. */
void frame_put_start_chat(struct frame_body *body,
    const struct frame_start_chat *start, const char *source);
/* Connect with nothing but metadata. */
void frame_put_metadata(
    struct frame_body *body, const struct metadata_pair *pairs, size_t count);

/* The AppFrame of a body: its length, and its bytes (room for that). */
size_t frame_wrapped_size(
    const struct frame_body *body, struct span correlation);
void frame_wrap(
    uint8_t *to, const struct frame_body *body, struct span correlation);

/* The hot path: AppFrame with ChatMessage or ChatMessageAck in one go. */
size_t frame_chat_message_size(enum frame_field field,
    const struct frame_chat_message *message, struct span correlation);
void frame_write_chat_message(uint8_t *to, enum frame_field field,
    const struct frame_chat_message *message, struct span correlation);

static inline struct span
span_of(const void *bytes, size_t length)
{
	struct span span = { bytes, length };

	return (span);
}

#define SPAN_NONE span_of(NULL, 0)

#endif
