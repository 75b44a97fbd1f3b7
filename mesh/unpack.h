/*
 * mesh, unprivileged; node bytes are hostile. What nodes say, out of its bytes:
 * no message makes much more memory than it is long.
 */
#ifndef MESH_UNPACK_H
#define MESH_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

/*
 * Unpack a message, for the free_unpacked() of its kind. It takes 64 KiB and
 * twelve times its length at most: most need three times that, apps with as
 * many pairs of metadata as they may have, each of one byte, ten times; parts
 * of two bytes would take seventy times their length. NULL when it is not well
 * formed, or would take more.
 */
void *unpack_bounded(const ProtobufCMessageDescriptor *kind,
    const uint8_t *bytes, size_t length);

#endif
