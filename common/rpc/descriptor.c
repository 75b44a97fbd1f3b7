/* Router and mesh. See descriptor.h. Reads bytes compiled into the program. */

#include <string.h>

#include "common/rpc/descriptor.h"

#define NAME         1 /* of every kind of descriptor */
#define FILE_PACKAGE 2
#define DEPTH_MAX    32 /* nested messages */

enum kind { KIND_FILE, KIND_MESSAGE, KIND_ENUM, KIND_SERVICE, KIND_LEAF };

/* Which fields hold what is named within. */
static const struct {
	enum kind in;
	uint32_t field;
	enum kind is;
} children[] = {
	{ KIND_FILE, 4, KIND_MESSAGE }, { KIND_FILE, 5, KIND_ENUM },
	{ KIND_FILE, 6, KIND_SERVICE },
	{ KIND_FILE, 7, KIND_LEAF },    /* extension */
	{ KIND_MESSAGE, 2, KIND_LEAF }, /* field */
	{ KIND_MESSAGE, 3, KIND_MESSAGE }, { KIND_MESSAGE, 4, KIND_ENUM },
	{ KIND_MESSAGE, 6, KIND_LEAF }, /* extension */
	{ KIND_MESSAGE, 8, KIND_LEAF }, /* oneof */
	{ KIND_ENUM, 2, KIND_LEAF },    /* value */
	{ KIND_SERVICE, 2, KIND_LEAF }, /* method */
};

static int
descriptor_varint(struct descriptor_span *rest, uint64_t *value)
{
	unsigned shift;
	uint8_t byte;

	*value = 0;
	for (shift = 0; shift < 64 && rest->length > 0; shift += 7) {
		byte = *rest->bytes++;
		rest->length--;
		*value |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return (0);
	}
	return (-1);
}

static int
descriptor_skip(struct descriptor_span *rest, uint64_t length)
{
	if (length > rest->length)
		return (-1);
	rest->bytes += length;
	rest->length -= (size_t)length;
	return (0);
}

int
descriptor_next(struct descriptor_span *rest, uint32_t *field,
    struct descriptor_span *value)
{
	uint64_t tag, number;
	int rv = 0;

	while (rv == 0 && rest->length > 0) {
		if (descriptor_varint(rest, &tag) == -1)
			return (-1);
		switch (tag & 7) {
		case 0:
			rv = descriptor_varint(rest, &number);
			break;
		case 1:
			rv = descriptor_skip(rest, 8);
			break;
		case 5:
			rv = descriptor_skip(rest, 4);
			break;
		case 2:
			if (descriptor_varint(rest, &number) == -1 ||
			    number > rest->length)
				return (-1);
			value->bytes = rest->bytes;
			value->length = (size_t)number;
			*field = (uint32_t)(tag >> 3);
			(void)descriptor_skip(rest, number);
			return (1);
		default:
			return (-1);
		}
	}
	return (rv);
}

struct descriptor_span
descriptor_get(struct descriptor_span message, uint32_t field)
{
	struct descriptor_span value = { NULL, 0 };
	uint32_t number = 0;

	while (descriptor_next(&message, &number, &value) == 1)
		if (number == field)
			return (value);
	value.bytes = NULL;
	value.length = 0;
	return (value);
}

int
descriptor_equal(struct descriptor_span span, const char *text, size_t length)
{
	return (span.length == length &&
		(length == 0 || memcmp(span.bytes, text, length) == 0));
}

/* Is symbol in scope, which is of that kind and has its name stripped off? */
static int
descriptor_search(
    struct descriptor_span scope, enum kind kind, const char *symbol, int depth)
{
	struct descriptor_span value = { NULL, 0 }, name;
	uint32_t field = 0;
	size_t i, length = strcspn(symbol, ".");

	while (
	    depth < DEPTH_MAX && descriptor_next(&scope, &field, &value) == 1) {
		for (i = 0; i < sizeof(children) / sizeof(*children); i++)
			if (children[i].in == kind &&
			    children[i].field == field)
				break;
		if (i == sizeof(children) / sizeof(*children))
			continue;
		name = descriptor_get(value, NAME);
		if (!descriptor_equal(name, symbol, length))
			continue;
		if (symbol[length] == '\0')
			return (1);
		if (descriptor_search(
			value, children[i].is, symbol + length + 1, depth + 1))
			return (1);
	}
	return (0);
}

int
descriptor_defines(struct descriptor_span file, const char *symbol)
{
	struct descriptor_span package = descriptor_get(file, FILE_PACKAGE);

	if (package.length > 0) {
		if (strncmp(symbol, (const char *)package.bytes,
			package.length) != 0 ||
		    symbol[package.length] != '.')
			return (0);
		symbol += package.length + 1;
	}
	return (descriptor_search(file, KIND_FILE, symbol, 0));
}
