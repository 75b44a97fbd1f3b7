/* keyd only. What operators see: metrics. Rows of ratchets: chats.h. */
#ifndef KEYD_SHOW_H
#define KEYD_SHOW_H

#include <stdint.h>

struct ipc;

/* Answer METRICS_GET with what is counted here. */
void ratchet_show_metrics(struct ipc *control, uint64_t id);

#endif
