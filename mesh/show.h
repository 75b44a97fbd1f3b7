/* mesh, unprivileged. What control asks: rows and metrics. */
#ifndef MESH_SHOW_H
#define MESH_SHOW_H

#include "common/ipc/ipc.h"

void show_on_show(void *arg, const struct ipc_message *message);
void show_on_metrics(void *arg, const struct ipc_message *message);

#endif
