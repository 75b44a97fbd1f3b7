/*
 * Inside common/rpc only. Reads serialized FileDescriptorSets far enough to
 * answer server reflection: which file has which name, needs which others,
 * defines which symbol. Field numbers as in google/protobuf/descriptor.proto.
 */
#ifndef COMMON_RPC_DESCRIPTOR_H
#define COMMON_RPC_DESCRIPTOR_H

#include <stddef.h>
#include <stdint.h>

struct descriptor_span {
	const uint8_t *bytes; /* not owned */
	size_t length;
};

/*
 * Take the next length-delimited field off rest, whatever else comes before
 * it. 1 with *field and *value; 0 at the end; -1 when it is malformed.
 */
int descriptor_next(struct descriptor_span *rest, uint32_t *field,
    struct descriptor_span *value);

/* The first field of that number in message, or an empty span. */
struct descriptor_span descriptor_get(
    struct descriptor_span message, uint32_t field);

int descriptor_equal(
    struct descriptor_span span, const char *text, size_t length);

/* Does file (a FileDescriptorProto) define symbol, fully qualified? */
int descriptor_defines(struct descriptor_span file, const char *symbol);

#define DESCRIPTOR_SET_FILE        1
#define DESCRIPTOR_FILE_NAME       1
#define DESCRIPTOR_FILE_DEPENDENCY 3

#endif
