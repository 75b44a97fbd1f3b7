/*
 * Any process with a network socket. The header fields and status words of
 * gRPC over HTTP/2 (PROTOCOL-HTTP2, statuscodes, http-grpc-status-mapping in
 * the gRPC documents). Trusts no byte.
 */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"
#include "common/util/clock.h"

#define FIELD_OVERHEAD 32 /* RFC 7541, 4.1 */
#define TIMEOUT_DIGITS 8

struct text {
	const uint8_t *bytes;
	size_t length;
};

static int
text_is(struct text text, const char *word)
{
	size_t n = strlen(word);

	return (text.length == n && memcmp(text.bytes, word, n) == 0);
}

/* "application/grpc", "application/grpc+proto", "application/grpc;x=y" */
static int
headers_is_grpc(struct text value)
{
	static const char word[] = "application/grpc";
	size_t n = sizeof(word) - 1;

	if (value.length < n || memcmp(value.bytes, word, n) != 0)
		return (0);
	return (value.length == n || value.bytes[n] == '+' ||
		value.bytes[n] == ';');
}

static const struct rpc_method *
headers_find(const struct rpc_method *methods, size_t count, struct text path)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (text_is(path, methods[i].path))
			return (&methods[i]);
	return (NULL);
}

static void
headers_take_path(struct rpc_stream *stream, struct text path)
{
	struct rpc_server *server = stream->connection->server;

	if (server == NULL)
		return;
	stream->has_path = 1;
	stream->method =
	    headers_find(server->methods, server->method_count, path);
	if (stream->method == NULL)
		stream->method = headers_find(rpc_health_methods, 2, path);
	if (stream->method == NULL && server->reflection != NULL)
		stream->method = headers_find(rpc_reflection_methods, 2, path);
}

static unsigned
headers_number(struct text text, unsigned none)
{
	unsigned value = 0;
	size_t i;

	if (text.length == 0 || text.length > 3)
		return (none);
	for (i = 0; i < text.length; i++) {
		if (text.bytes[i] < '0' || text.bytes[i] > '9')
			return (none);
		value = value * 10 + (unsigned)(text.bytes[i] - '0');
	}
	return (value);
}

static void
headers_take_status(struct rpc_stream *stream, struct text value)
{
	unsigned code = headers_number(value, UINT_MAX);

	stream->has_status = 1;
	stream->status =
	    code <= RPC_UNAUTHENTICATED ? (enum rpc_status)code : RPC_UNKNOWN;
}

static void
headers_take_response(
    struct rpc_stream *stream, struct text name, struct text value)
{
	if (text_is(name, ":status"))
		stream->http_status = (uint16_t)headers_number(value, 0);
	else if (text_is(name, "grpc-status"))
		headers_take_status(stream, value);
	else if (text_is(name, "grpc-message")) {
		free(stream->text);
		stream->text = rpc_headers_decode(value.bytes, value.length);
	} else if (text_is(name, "content-type"))
		stream->content = (unsigned)headers_is_grpc(value);
}

static void
headers_take_request(
    struct rpc_stream *stream, struct text name, struct text value)
{
	if (text_is(name, ":path"))
		headers_take_path(stream, value);
	else if (text_is(name, ":method"))
		stream->post = (unsigned)text_is(value, "POST");
	else if (text_is(name, "te"))
		stream->te = (unsigned)text_is(value, "trailers");
	else if (text_is(name, "content-type"))
		stream->content = (unsigned)headers_is_grpc(value);
	else if (text_is(name, "grpc-encoding"))
		stream->encoded = !text_is(value, "identity");
	else if (text_is(name, "grpc-timeout"))
		stream->bad_timeout = rpc_headers_parse_timeout(value.bytes,
					  value.length, &stream->timeout) == -1;
}

int
rpc_headers_take(struct rpc_stream *stream, const uint8_t *name,
    size_t name_length, const uint8_t *value, size_t value_length)
{
	const struct rpc_limits *limits = &stream->connection->limits;
	struct text key = { name, name_length };
	struct text text = { value, value_length };

	stream->header_bytes +=
	    (uint32_t)(name_length + value_length + FIELD_OVERHEAD);
	stream->header_fields++;
	if (stream->header_bytes > limits->max_header_bytes ||
	    stream->header_fields > limits->max_header_fields)
		return (-1);
	if (stream->connection->server == NULL)
		headers_take_response(stream, key, text);
	else
		headers_take_request(stream, key, text);
	return (0);
}

static const struct {
	char unit;
	int64_t ns;
} timeout_units[] = {
	{ 'n', 1 },
	{ 'u', 1000 },
	{ 'm', CLOCK_MS },
	{ 'S', CLOCK_SECOND },
	{ 'M', 60 * CLOCK_SECOND },
	{ 'H', 3600 * CLOCK_SECOND },
};

int
rpc_headers_parse_timeout(const uint8_t *text, size_t length, int64_t *timeout)
{
	int64_t value = 0;
	size_t i;

	if (length < 2 || length > TIMEOUT_DIGITS + 1)
		return (-1);
	for (i = 0; i < length - 1; i++) {
		if (text[i] < '0' || text[i] > '9')
			return (-1);
		value = value * 10 + (text[i] - '0');
	}
	for (i = 0; i < sizeof(timeout_units) / sizeof(*timeout_units); i++) {
		if (text[length - 1] != (uint8_t)timeout_units[i].unit)
			continue;
		if (value > INT64_MAX / timeout_units[i].ns)
			*timeout = INT64_MAX;
		else
			*timeout = value * timeout_units[i].ns;
		/* A deadline of nothing has passed; 0 would mean none. */
		if (*timeout == 0)
			*timeout = 1;
		return (0);
	}
	return (-1);
}

void
rpc_headers_timeout(char text[16], int64_t timeout)
{
	size_t i;

	for (i = 0; i < sizeof(timeout_units) / sizeof(*timeout_units); i++)
		if (timeout / timeout_units[i].ns <= 99999999)
			break;
	if (i == sizeof(timeout_units) / sizeof(*timeout_units))
		i--;
	(void)snprintf(text, 16, "%lld%c",
	    (long long)(timeout / timeout_units[i].ns), timeout_units[i].unit);
}

char *
rpc_headers_encode(const char *text)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t length = strnlen(text, RPC_TEXT_MAX);
	size_t i;
	char *encoded, *p;

	if ((encoded = malloc(length * 3 + 1)) == NULL)
		return (NULL);
	for (i = 0, p = encoded; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c <= 0x7e && c != '%') {
			*p++ = (char)c;
			continue;
		}
		*p++ = '%';
		*p++ = digits[c >> 4];
		*p++ = digits[c & 15];
	}
	*p = '\0';
	return (encoded);
}

static int
headers_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return (c - '0');
	if (c >= 'A' && c <= 'F')
		return (c - 'A' + 10);
	if (c >= 'a' && c <= 'f')
		return (c - 'a' + 10);
	return (-1);
}

char *
rpc_headers_decode(const uint8_t *text, size_t length)
{
	size_t i;
	char *decoded, *p;

	if (length > RPC_TEXT_MAX * 3)
		length = RPC_TEXT_MAX * 3;
	if ((decoded = malloc(length + 1)) == NULL)
		return (NULL);
	for (i = 0, p = decoded; i < length; i++) {
		if (text[i] == '%' && i + 2 < length &&
		    headers_digit(text[i + 1]) >= 0 &&
		    headers_digit(text[i + 2]) >= 0) {
			*p++ = (char)(headers_digit(text[i + 1]) << 4 |
				      headers_digit(text[i + 2]));
			i += 2;
		} else
			*p++ = (char)text[i];
	}
	*p = '\0';
	return (decoded);
}

enum rpc_status
rpc_status_of_http(unsigned http_status)
{
	switch (http_status) {
	case 400:
		return (RPC_INTERNAL);
	case 401:
		return (RPC_UNAUTHENTICATED);
	case 403:
		return (RPC_PERMISSION_DENIED);
	case 404:
		return (RPC_UNIMPLEMENTED);
	case 429:
	case 502:
	case 503:
	case 504:
		return (RPC_UNAVAILABLE);
	default:
		return (RPC_UNKNOWN);
	}
}

enum rpc_status
rpc_status_of_error(uint32_t http2_error)
{
	switch (http2_error) {
	case NGHTTP2_REFUSED_STREAM:
		return (RPC_UNAVAILABLE);
	case NGHTTP2_CANCEL:
		return (RPC_CANCELLED);
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return (RPC_RESOURCE_EXHAUSTED);
	case NGHTTP2_INADEQUATE_SECURITY:
		return (RPC_PERMISSION_DENIED);
	case NGHTTP2_STREAM_CLOSED:
	case NGHTTP2_HTTP_1_1_REQUIRED:
		return (RPC_UNKNOWN);
	default:
		return (RPC_INTERNAL);
	}
}

nghttp2_nv
rpc_headers_field(const char *name, const char *value)
{
	nghttp2_nv field;

	/* The library writes through neither. */
	field.name = (uint8_t *)(uintptr_t)name;
	field.value = (uint8_t *)(uintptr_t)value;
	field.namelen = strlen(name);
	field.valuelen = strlen(value);
	field.flags = NGHTTP2_NV_FLAG_NONE;
	return (field);
}
