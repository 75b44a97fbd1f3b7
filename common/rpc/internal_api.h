/* Inside common/rpc only: the functions its files call in each other. */
#ifndef COMMON_RPC_INTERNAL_API_H
#define COMMON_RPC_INTERNAL_API_H

/* --- tls.c, signer.c ----------------------------------------------------- */

struct rpc_tls *rpc_tls_ref(struct rpc_tls *tls);
int rpc_signer_set(void); /* is there a signer? */

/* --- transport.c --------------------------------------------------------- */

/*
 * Begin TLS on socket fd, which stays the caller's until this succeeds.
 * name is for SNI and verification (clients). 0 or -1.
 */
int rpc_transport_open(struct rpc_transport *transport,
    struct rpc_tls *settings, int fd, const char *name);
void rpc_transport_close(struct rpc_transport *transport);

/* 0 done, 1 more to come, -1 failed. Output is left in transport->out. */
int rpc_transport_handshake(struct rpc_transport *transport);

/*
 * Begin and end a turn of reading. rpc_transport_read() points *plain at the
 * next bytes, valid until it is called again, and returns how many; 0 when
 * there are none now, -1 at the end of the stream or on failure.
 */
void rpc_transport_begin(struct rpc_transport *transport);
ssize_t rpc_transport_read(
    struct rpc_transport *transport, const uint8_t **plain);
/* After a read that returned bytes: are they the last of this turn? The
 * library has no more of them either, as it was given room for a record. */
int rpc_transport_read_all(const struct rpc_transport *transport);
int rpc_transport_end(struct rpc_transport *transport);

/* Encrypt length bytes into transport->out. 0 or -1. */
int rpc_transport_write(
    struct rpc_transport *transport, const uint8_t *plain, size_t length);

/* Say that no more follows, then throw away what comes: 0, -1 at its end, or
 * when it is more than could be on its way. */
void rpc_transport_shutdown(struct rpc_transport *transport);
int rpc_transport_discard(struct rpc_transport *transport);

/* Write transport->out to the socket. 0 (maybe not all), -1 failed. */
int rpc_transport_flush(struct rpc_transport *transport);

/* Bytes of ciphertext that have not left this machine; see
 * rpc_stream_unsent(). */
size_t rpc_transport_unsent(struct rpc_transport *transport);

/* --- connection.c -------------------------------------------------------- */

/* Everything but the socket. NULL with errno ENOMEM. */
struct rpc_connection *rpc_connection_new(struct event_base *base,
    struct rpc_server *server, struct rpc_tls *tls,
    const struct rpc_limits *limits);
/* Begin on fd, owned from here even on failure; connecting: await it. */
int rpc_connection_start(struct rpc_connection *connection, int fd,
    int connecting, const char *name);

/* Callbacks of owners are only called between these two. */
void rpc_connection_enter(struct rpc_connection *connection);
void rpc_connection_leave(struct rpc_connection *connection);

/* There is output or work: see to it at the end of this turn. */
void rpc_connection_wake(struct rpc_connection *connection);

/* Close now and call everybody's closed(); inside enter and leave only. */
void rpc_connection_cut(struct rpc_connection *connection, const char *why);

/* Wait on the socket for what the state asks for. */
void rpc_connection_update(struct rpc_connection *connection);
/* Its server reads on: it is the first that waits. */
void rpc_connection_resume(struct rpc_connection *connection);
/* Free one that was never started. */
void rpc_connection_free(struct rpc_connection *connection);
/* The peer's SETTINGS have come. */
void rpc_connection_ready(struct rpc_connection *connection);

/* --- abuse.c ------------------------------------------------------------- */

/* The peer goes too far: count it, say ENHANCE_YOUR_CALM and cut. */
void rpc_connection_abuse(
    struct rpc_connection *connection, enum rpc_abuse kind);
/* One frame of kind that carries nothing came: too many are abuse. */
void rpc_abuse_glitch(struct rpc_connection *connection, enum rpc_abuse kind);
/* A frame of ours of length bytes goes out on a window. */
void rpc_abuse_earn(struct rpc_connection *connection, size_t length);
/* A WINDOW_UPDATE came. */
void rpc_abuse_window(struct rpc_connection *connection);
/* A call that we do not serve, or whose message cannot be taken. */
void rpc_abuse_call(struct rpc_connection *connection);

/*
 * What stream holds of messages that are not whole has changed: count it.
 * 0, or -1: it is more than the limits allow, and the stream should end.
 */
int rpc_abuse_hold(struct rpc_stream *stream);
/* It holds nothing any more. */
void rpc_abuse_release(struct rpc_stream *stream);

/* Something has begun that must go on: look after it. */
void rpc_abuse_watch(struct rpc_connection *connection);
void rpc_abuse_watched(evutil_socket_t fd, short what, void *arg);

/* --- unproven.c ---------------------------------------------------------- */

/* A server's new connection is nobody's; displace the oldest one such when
 * there are too many. */
void rpc_unproven_add(struct rpc_connection *connection);
/* It is proven, or gone. */
void rpc_unproven_remove(struct rpc_connection *connection);

/* --- timer.c ------------------------------------------------------------- */

/* Handshake, keepalive, idleness, the second step of a drain. 0, or -1 without
 * memory, but there is some where it was added before. */
int rpc_timer_start(struct rpc_connection *connection);
void rpc_timer_fired(evutil_socket_t fd, short what, void *arg);
/* A timer in so many ns. One of ten seconds or more fires up to a second later,
 * so that those of many connections wake the process once. 0, or -1: memory. */
int rpc_timer_add(struct event *timer, int64_t in);
/* Run an event without descriptor, with EV_TIMEOUT, after the loop has looked
 * at all others; without memory for that, before. */
void rpc_timer_next_turn(struct event *event);
/* Have the kernel find a peer that is gone while nothing is said, if it can. */
void rpc_timer_probe(struct rpc_connection *connection, int fd);
/* The answer to our PING. */
void rpc_timer_pong(struct rpc_connection *connection);

/* --- peer.c -------------------------------------------------------------- */

/* What connections of an address are counted by. */
void rpc_peer_source(const struct sockaddr *address, uint8_t source[17]);
void rpc_peer_set_address(struct rpc_connection *connection,
    const struct sockaddr *address, socklen_t length);
/* After the TLS handshake: ALPN and certificate. NULL, or what is wrong. */
const char *rpc_peer_check(struct rpc_connection *connection);

/* --- output.c ------------------------------------------------------------ */

/* Write what the session and the socket take. 0, or -1: cut it. */
int rpc_output_flush(struct rpc_connection *connection);
/* nghttp2's: is there data to send, and now send one frame of it. */
ssize_t rpc_output_pull(nghttp2_session *session, int32_t id, uint8_t *to,
    size_t length, uint32_t *flags, nghttp2_data_source *source, void *arg);
int rpc_output_data(nghttp2_session *session, nghttp2_frame *frame,
    const uint8_t *header, size_t length, nghttp2_data_source *source,
    void *arg);

/* --- memory.c ------------------------------------------------------------ */

/* Where HTTP/2 sessions get memory: what is large is mapped. */
extern nghttp2_mem rpc_session_memory;

/* --- session.c ----------------------------------------------------------- */

/* Make the nghttp2 session and queue our SETTINGS. 0 or -1. */
int rpc_session_open(struct rpc_connection *connection);

/* --- stream.c ------------------------------------------------------------ */

struct rpc_stream *rpc_stream_new(struct rpc_connection *connection);
void rpc_stream_free(struct rpc_stream *stream);
/*
 * It is over: tell the owner and forget it. The stream's memory lasts until
 * rpc_connection_leave().
 */
void rpc_stream_over(
    struct rpc_stream *stream, enum rpc_status status, const char *text);
/* Reset it on the wire with an HTTP/2 error code. */
void rpc_stream_reset(struct rpc_stream *stream, uint32_t code);
/* Start the deadline of timeout ns. */
void rpc_stream_set_deadline(struct rpc_stream *stream, int64_t timeout);
/* End it ourselves: a server with trailers, a client with a reset. */
void rpc_stream_fail(
    struct rpc_stream *stream, enum rpc_status status, const char *text);
/* Tell those no longer congested. */
void rpc_stream_tell_writable(struct rpc_connection *connection);

/* --- receive.c ----------------------------------------------------------- */

/* Bytes from the peer; it says no more. */
void rpc_stream_receive(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length);
void rpc_stream_remote_end(struct rpc_stream *stream);
/* Count length bytes as given back to the peer. */
void rpc_stream_credit(struct rpc_stream *stream, size_t length);

/* --- frame.c ------------------------------------------------------------- */

enum rpc_frame {
	RPC_FRAME_MORE,       /* all bytes used, no whole message */
	RPC_FRAME_MESSAGE,    /* *message, *message_length */
	RPC_FRAME_COMPRESSED, /* flag set */
	RPC_FRAME_TOO_LARGE,
	RPC_FRAME_BROKEN, /* flag neither 0 nor 1 */
	RPC_FRAME_MEMORY
};

/*
 * Read from *bytes, *length, advancing both. A message is valid until the
 * next call; it lies in the caller's bytes when it was whole there.
 */
enum rpc_frame rpc_frame_read(struct rpc_frame_reader *reader,
    const uint8_t **bytes, size_t *length, uint32_t max,
    const uint8_t **message, size_t *message_length);
/* 1 when in the middle of a message. */
int rpc_frame_partial(const struct rpc_frame_reader *reader);
void rpc_frame_write_header(uint8_t header[RPC_FRAME_HEADER], size_t length);

/* --- headers.c ----------------------------------------------------------- */

/* Take one field of a request or response; -1: the list is too large. */
int rpc_headers_take(struct rpc_stream *stream, const uint8_t *name,
    size_t name_length, const uint8_t *value, size_t value_length);
/* grpc-timeout for and from ns; -1 when it is not one. */
void rpc_headers_timeout(char text[16], int64_t timeout);
int rpc_headers_parse_timeout(
    const uint8_t *text, size_t length, int64_t *timeout);
/* Percent encoding of a status message; NULL without memory. */
char *rpc_headers_encode(const char *text);
char *rpc_headers_decode(const uint8_t *text, size_t length);
enum rpc_status rpc_status_of_http(unsigned http_status);
enum rpc_status rpc_status_of_error(uint32_t http2_error);
nghttp2_nv rpc_headers_field(const char *name, const char *value);

/* --- respond.c ----------------------------------------------------------- */

/* A request's headers are complete. */
void rpc_server_request(struct rpc_stream *stream);
/* Submit response headers, or trailers, or both in one. 0 or -1. */
int rpc_server_respond(struct rpc_stream *stream);
int rpc_server_trailers(struct rpc_stream *stream);

/* --- server.c, client.c -------------------------------------------------- */

/* Is there time for one more handshake in this turn of the loop? */
int rpc_server_may_shake_hands(struct rpc_server *server);
/* TLS is done; -1 when the owner refuses. */
int rpc_server_admit(struct rpc_connection *connection);
/* A connection is over. */
void rpc_server_gone(struct rpc_connection *connection);
void rpc_server_unref(struct rpc_server *server);
/* The outcome of a client's call whose stream nghttp2 closed. */
void rpc_client_outcome(struct rpc_stream *stream, uint32_t error);

/* --- health.c, reflection.c ---------------------------------------------- */

extern const struct rpc_method rpc_health_methods[2];
extern const struct rpc_method rpc_reflection_methods[2];
/* End all Watch calls: they would hold a draining connection. */
void rpc_health_drain(struct rpc_server *server);
void rpc_health_free(struct rpc_server *server);
void rpc_reflection_free(struct rpc_server *server);

#endif
