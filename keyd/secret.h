/*
 * keyd only. Memory for secrets: small slots of a few fixed sizes in pages
 * that are locked, guarded, kept out of core dumps, wiped when freed.
 */
#ifndef KEYD_SECRET_H
#define KEYD_SECRET_H

#include <stddef.h>

/* The largest slot. */
#define SECRET_MAX 4096

/*
 * size zero bytes (1 to SECRET_MAX) of locked memory. NULL with errno ENOMEM.
 * Where the system refuses to lock them (RLIMIT_MEMLOCK), that is logged
 * once and the memory is given all the same.
 */
void *secret_new(size_t size);

/* Wipe and give back what secret_new(size) returned. NULL is let pass. */
void secret_free(void *secret, size_t size);

/* Wipe every slot of the process. Nothing may use a secret afterwards. */
void secret_wipe_all(void);

/*
 * What the libraries leave of secrets on the stack: lock the part of it that
 * is used, once, at the start; wipe what lies below the caller, whenever work
 * with secrets is done and before anything waits.
 */
void secret_lock_stack(void);
void secret_wipe_stack(void);

/* Bytes of locked pages in use. */
size_t secret_locked(void);

#endif
