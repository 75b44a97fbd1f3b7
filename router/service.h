/* router: the gRPC server that apps connect to. */
#ifndef ROUTER_SERVICE_H
#define ROUTER_SERVICE_H

#include <stddef.h>
#include <stdint.h>

#include "common/rpc/rpc.h"

/* Once, at start: signatures come from keyd. */
void service_init(void);

/* The chain (PEM) of our TLS key, as keyd or (file) the operator has it;
 * the operator's comes first. */
void service_certificate(const uint8_t *pem, size_t length);
void service_certificate_file(int fd); /* owns fd */

/* A listening socket (owned); it waits until there is a certificate.
 * Closing: streams on what is closed go on. */
void service_listen(int fd);
void service_listeners_close(void);

void service_configured(void); /* limits may have changed */
void service_set_health(void); /* from router_serving() */
void service_pause(int pause); /* idempotent */
void service_drain(void);
void service_free(void);
void service_tick(void);
void service_counters(struct rpc_counters *counters);

#endif
