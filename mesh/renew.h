/*
 * mesh, unprivileged; node bytes are hostile. Keeping this node's membership:
 * in the last third of its certificate's life it asks the authority for a
 * later one, on the trunk there is, showing the one it has.
 */
#ifndef MESH_RENEW_H
#define MESH_RENEW_H

#include <stdint.h>

/* keyd sent an identity: maybe a later certificate. */
void renew_identity(void);

/* Ask when it is due; now is monotonic. */
void renew_tick(int64_t now);

#endif
