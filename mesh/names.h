/*
 * mesh: names of nodes to addresses, without blocking. What hosts(5) says, else
 * what the name servers of resolv.conf(5) say. The parent opens the files, at
 * the start and at each reload; a name is looked up anew each time.
 */
#ifndef MESH_NAMES_H
#define MESH_NAMES_H

#include <event2/dns.h>
#include <event2/util.h>

#include "common/proc/proc.h"

/* While the host's own name may still be asked for. */
void names_setup(void);

/* NAMES_FILE: what it says replaces what the last one said. */
void names_on_file(void *arg, const struct ipc_message *message);

/* As evdns_getaddrinfo(): done is called once, perhaps at once, and then this
 * returns NULL; the list is its to free with evutil_freeaddrinfo(). */
void *names_lookup(const char *host, const char *port,
    const struct evutil_addrinfo *hints, evdns_getaddrinfo_cb done, void *arg);
void names_cancel(void *lookup); /* done is called, with an error */

#endif
