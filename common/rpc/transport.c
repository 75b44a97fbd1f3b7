/*
 * Any process with a network socket. TLS over a non-blocking socket. The
 * library is given memory instead of the socket, so that one recv(2) serves
 * many records and one send(2) carries many. Trusts no byte.
 */

#include <sys/types.h>
#include <sys/ioctl.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/sockios.h>
#endif
#include <tls.h>

#include "common/rpc/internal.h"

#define READ_SIZE      (64 * 1024) /* ciphertext a recv(2) */
#define RECORD_SIZE    (16 * 1024) /* plaintext a TLS record */
#define RECORD_MORE    64 /* ciphertext of one, at most so much longer */
#define RECORD_HEADER  5  /* the library asks for it alone */
/* Records without data in a row: changes of keys, refused renegotiations. The
 * library goes on to the next one without end, and each costs as much as a
 * hundred of data do. */
#define SILENT_MAX     32
/* More waiting than this means the peer makes us talk and does not listen. */
#define OUT_MAX        (8 * 1024 * 1024)
#define DISCARD_ROUNDS 8
#define DISCARD_MAX    (8 * 1024 * 1024) /* more than honest peers have sent */

/* One turn of one connection at a time uses these. */
static _Thread_local uint8_t cipher_room[READ_SIZE];
static _Thread_local uint8_t plain_room[RECORD_SIZE];

static ssize_t
transport_fill(struct rpc_transport *transport)
{
	ssize_t n;

	if (transport->drained)
		return (TLS_WANT_POLLIN);
	do {
		n = recv(transport->fd, cipher_room, sizeof(cipher_room), 0);
	} while (n == -1 && errno == EINTR);
	if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		transport->drained = 1;
		return (TLS_WANT_POLLIN);
	}
	if (n <= 0)
		return (n);
	/* A short read has emptied the socket: save the next call. */
	if ((size_t)n < sizeof(cipher_room))
		transport->drained = 1;
	*transport->bytes_read += (uint64_t)n;
	transport->fresh = cipher_room;
	transport->fresh_length = (size_t)n;
	return (n);
}

static ssize_t
transport_read_cb(struct tls *tls, void *to, size_t length, void *arg)
{
	struct rpc_transport *transport = arg;
	size_t have = buffer_length(&transport->in);
	/* The header may come in pieces: it is asked for whole once. */
	unsigned begun = length == RECORD_HEADER;
	ssize_t n;

	(void)tls;
	transport->taken = 1;
	if (begun && transport->records > SILENT_MAX) {
		transport->flooded = 1;
		return (-1);
	}
	if (have > 0) {
		if (length > have)
			length = have;
		memcpy(to, buffer_bytes(&transport->in), length);
		buffer_consume(&transport->in, length);
		transport->records += begun;
		return ((ssize_t)length);
	}
	if (transport->fresh_length == 0 &&
	    (n = transport_fill(transport)) <= 0)
		return (n);
	if (length > transport->fresh_length)
		length = transport->fresh_length;
	memcpy(to, transport->fresh, length);
	transport->fresh += length;
	transport->fresh_length -= length;
	transport->records += begun;
	return ((ssize_t)length);
}

static ssize_t
transport_write_cb(struct tls *tls, const void *from, size_t length, void *arg)
{
	struct rpc_transport *transport = arg;

	(void)tls;
	if (buffer_length(&transport->out) + length > OUT_MAX ||
	    buffer_append(&transport->out, from, length) == -1)
		return (-1);
	return ((ssize_t)length);
}

int
rpc_transport_open(struct rpc_transport *transport, struct rpc_tls *settings,
    int fd, const char *name)
{
	if (settings->server != NULL) {
		if (tls_accept_cbs(settings->server, &transport->tls,
			transport_read_cb, transport_write_cb, transport) == -1)
			return (-1);
	} else {
		if ((transport->tls = tls_client()) == NULL)
			return (-1);
		if (tls_configure(transport->tls, settings->config) == -1 ||
		    tls_connect_cbs(transport->tls, transport_read_cb,
			transport_write_cb, transport, name) == -1)
			return (-1);
	}
	transport->fd = fd;
	return (0);
}

void
rpc_transport_close(struct rpc_transport *transport)
{
	/* Best effort: close_notify, if the socket takes it now. */
	if (transport->tls != NULL && transport->fd != -1 &&
	    !transport->broken) {
		transport->drained = 1;
		(void)tls_close(transport->tls);
		(void)rpc_transport_flush(transport);
	}
	if (transport->fd != -1)
		(void)close(transport->fd); /* nothing more to lose */
	transport->fd = -1;
	tls_free(transport->tls);
	transport->tls = NULL;
	buffer_free(&transport->in);
	buffer_free(&transport->out);
	transport->fresh_length = 0;
}

void
rpc_transport_begin(struct rpc_transport *transport)
{
	transport->drained = 0;
	transport->fresh_length = 0;
}

int
rpc_transport_end(struct rpc_transport *transport)
{
	size_t length = transport->fresh_length;

	transport->fresh_length = 0;
	if (length > 0)
		return (
		    buffer_append(&transport->in, transport->fresh, length));
	if (buffer_length(&transport->in) == 0 && transport->in.size > 0)
		buffer_free(&transport->in);
	return (0);
}

int
rpc_transport_handshake(struct rpc_transport *transport)
{
	int rv = tls_handshake(transport->tls);

	if (rv == TLS_WANT_POLLIN || rv == TLS_WANT_POLLOUT)
		return (1);
	if (rv == -1)
		transport->broken = 1;
	return (rv);
}

/* Ciphertext read from the socket and not yet by the library. */
static size_t
transport_unread(const struct rpc_transport *transport)
{
	return (buffer_length(&transport->in) + transport->fresh_length);
}

ssize_t
rpc_transport_read(struct rpc_transport *transport, const uint8_t **plain)
{
	ssize_t n = 0;

	/*
	 * The library also wants to be polled after it took a record without
	 * data, such as a session ticket; more may lie in memory by then.
	 */
	do {
		transport->taken = 0;
		n = tls_read(transport->tls, plain_room, sizeof(plain_room));
	} while (n == TLS_WANT_POLLIN && transport->taken &&
		 transport_unread(transport) > 0);
	if (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT)
		return (0);
	if (n == -1)
		transport->broken = 1;
	if (n <= 0)
		return (-1);
	transport->silent = transport->records > 1 ? transport->records - 1 : 0;
	transport->records = 0;
	*plain = plain_room;
	return (n);
}

int
rpc_transport_read_all(const struct rpc_transport *transport)
{
	return (transport->drained && transport_unread(transport) == 0);
}

int
rpc_transport_write(
    struct rpc_transport *transport, const uint8_t *plain, size_t length)
{
	size_t records = length / RECORD_SIZE + 1;
	ssize_t n;

	/* Room for all at once. What this does not get, each record will. */
	if (length > 0)
		(void)buffer_reserve(
		    &transport->out, length + records * RECORD_MORE);
	while (length > 0) {
		n = tls_write(transport->tls, plain,
		    length > RECORD_SIZE ? RECORD_SIZE : length);
		/* Memory takes everything: it never has to wait. */
		if (n <= 0) {
			transport->broken = 1;
			return (-1);
		}
		plain += n;
		length -= (size_t)n;
	}
	return (0);
}

void
rpc_transport_shutdown(struct rpc_transport *transport)
{
	transport->drained = 1;
	(void)tls_close(transport->tls);
	(void)rpc_transport_flush(transport);
	(void)shutdown(transport->fd, SHUT_WR);
	transport->broken = 1;
}

int
rpc_transport_discard(struct rpc_transport *transport)
{
	ssize_t n;
	int round;

	for (round = 0; round < DISCARD_ROUNDS; round++) {
		n = recv(transport->fd, cipher_room, sizeof(cipher_room), 0);
		if (n == -1 &&
		    (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
			return (0);
		if (n <= 0)
			return (-1);
		*transport->bytes_read += (uint64_t)n;
		transport->discarded += (size_t)n;
		if (transport->discarded > DISCARD_MAX)
			return (-1);
	}
	return (0);
}

int
rpc_transport_flush(struct rpc_transport *transport)
{
	struct buffer *out = &transport->out;
	ssize_t n;

	while (buffer_length(out) > 0) {
		n = send(transport->fd, buffer_bytes(out), buffer_length(out),
		    MSG_NOSIGNAL);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return (0);
		if (n == -1) {
			transport->broken = 1;
			return (-1);
		}
		*transport->bytes_written += (uint64_t)n;
		transport->settled = 0;
		buffer_consume(out, (size_t)n);
	}
	if (out->size > transport->keep)
		buffer_free(out);
	return (0);
}

size_t
rpc_transport_unsent(struct rpc_transport *transport)
{
	int queued = 0;

#ifdef SIOCOUTQNSD
	if (!transport->settled && transport->fd != -1 &&
	    ioctl(transport->fd, SIOCOUTQNSD, &queued) == -1)
		queued = 0;
	transport->settled = queued == 0;
#endif
	return (buffer_length(&transport->out) + (size_t)queued);
}
