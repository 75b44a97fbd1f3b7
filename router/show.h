/* router: what control shows operators. */
#ifndef ROUTER_SHOW_H
#define ROUTER_SHOW_H

#include "common/ipc/messages.h"

void show_rows(const struct ipc_show *show);
void show_metrics(const struct ipc_request *request);

#endif
