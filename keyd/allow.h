/*
 * keyd only. Which mesh a node that is in none may join. The mesh process, that
 * brings the certificate, is not asked: whoever it serves could have made it.
 */
#ifndef KEYD_ALLOW_H
#define KEYD_ALLOW_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "keyd/identity.h"

/* The mesh of a ticket that the operator gave, until it expires. 0, or -1 with
 * errno as ticket_verify(). */
int allow_ticket(
    struct identity *identity, const struct ticket *ticket, int64_t now);

/* Does a peer line of the configuration name this node and its key? 1 or 0. */
int allow_listed(const struct config *config, const char *node_id,
    const uint8_t node_key[KEY_SIZE]);

/*
 * The mesh of a node that a peer line names, by its own word: body is what it
 * signed, its certificate among it. For a minute. 0, or -1 with errno EINVAL
 * (form), EPERM (not listed), EACCES (a signature) or ETIME.
 */
int allow_voucher(struct identity *identity, const struct config *config,
    const struct ipc_voucher *voucher, const uint8_t *body, size_t length,
    int64_t now);

#endif
