/*
 * keyd only. What operators see of it: one row a ratchet, and metrics. No
 * secret, no payload.
 */

#include <sys/statvfs.h>

#include <string.h>

#include "common/proc/proc.h"
#include "common/util/buffer.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "keyd/chat.h"
#include "keyd/show.h"

/* How long (ns) until the app may rekey. */
static int64_t
show_throttled(const struct chats *chats, const struct chat *chat)
{
	return (chat->change == NULL
		    ? 0
		    : throttle_wait(&chat->change->rekey_throttle,
			  chats->config->rekey.window, chats->now));
}

/* What is true of a ratchet now. */
static void
show_flags(const struct chats *chats, const struct chat *chat,
    struct ipc_row_ratchet *row)
{
	const struct config_rekey *rekey = &chats->config->rekey;

	row->derived = chat->ratchet.version != 0;
	row->resumed = chat->restored != 0;
	row->expired = chat->version != 0 && rekey->key_lifetime > 0 &&
		       chats->now - chat->last_ratchet_at > rekey->key_lifetime;
	row->previous_epoch_open = chat->ratchet.previous_version != 0;
	row->confirmed = chat->confirmed != 0;
	row->offered = chat_offered(chat);
	row->sha512 = row->derived && chat->ratchet.sha512;
	row->aes = row->derived && chat->ratchet.aes;
}

static void
show_row(const struct chats *chats, const struct chat *chat, uint64_t id)
{
	const struct config_rekey *rekey = &chats->config->rekey;
	struct ipc_row_ratchet row = { .id = id, .key = chat->key };
	int64_t wait;

	(void)strlcpy(row.chat_id, chat->chat_id, sizeof(row.chat_id));
	memcpy(row.local_app, chat->local_app, KEY_SIZE);
	memcpy(row.peer_app, chat->peer_app, KEY_SIZE);
	memcpy(row.peer_node, chat->peer_node, KEY_SIZE);
	row.version = chat->version;
	row.rekeys = chat->rekeys;
	row.send_count = chat->sent;
	row.receive_count = chat->received;
	row.last_ratchet_at = chat->last_ratchet_at;
	show_flags(chats, chat, &row);
	if (row.derived && rekey->after_time > 0)
		row.next_rekey_by = chat->last_ratchet_at + rekey->after_time;
	wait = show_throttled(chats, chat);
	row.throttled_until = wait > 0 ? chats->now + wait : 0;
	chats->io.send(
	    chats->io.arg, PROCESS_CONTROL, IPC_ROW_RATCHET, &row, NULL, 0);
}

void
chats_show(struct chats *chats, uint64_t id)
{
	const struct chat *chat;
	size_t cursor = 0;

	while ((chat = table_next(&chats->table, &cursor)) != NULL)
		show_row(chats, chat, id);
}

/* How many ratchets are what their rows say. */
void
chats_metrics(struct chats *chats)
{
	struct ipc_row_ratchet row;
	const struct chat *chat;
	size_t cursor = 0, i;

	if (!metrics_recount(&chats->counted_at, chats_count(chats)))
		return;
	for (i = METRIC_RATCHETS_DERIVED; i <= METRIC_RATCHETS_THROTTLED; i++)
		metric_set((enum metric)i, 0);
	while ((chat = table_next(&chats->table, &cursor)) != NULL) {
		show_flags(chats, chat, &row);
		metric_add(METRIC_RATCHETS_DERIVED, row.derived);
		metric_add(METRIC_RATCHETS_RESUMED, row.resumed);
		metric_add(METRIC_RATCHETS_EXPIRED, row.expired);
		metric_add(METRIC_RATCHETS_PREVIOUS, row.previous_epoch_open);
		metric_add(METRIC_RATCHETS_CONFIRMED, row.confirmed);
		metric_add(METRIC_RATCHETS_OFFERED, row.offered != 0);
		metric_add(METRIC_RATCHETS_SHA512, row.sha512);
		metric_add(METRIC_RATCHETS_AES, row.aes);
		metric_add(
		    METRIC_RATCHETS_THROTTLED, show_throttled(chats, chat) > 0);
	}
}

static void
show_queue(enum metric metric, enum process peer)
{
	const struct ipc *ipc = proc_ipc(peer);

	metric_set(metric, ipc == NULL ? 0 : ipc_queued(ipc));
}

/* How full the store's file system is, in per cent as df(1) counts. */
static void
show_disk(void)
{
	struct statvfs fs;
	uint64_t used;

	if (statvfs(proc_config()->keystore.path, &fs) == -1)
		return;
	metric_set(METRIC_STORE_DISK_FREE, (uint64_t)fs.f_bavail * fs.f_frsize);
	metric_set(METRIC_STORE_DISK_SIZE, (uint64_t)fs.f_blocks * fs.f_frsize);
	used = (uint64_t)fs.f_blocks - (uint64_t)fs.f_bfree;
	if (used + fs.f_bavail > 0)
		metric_set(METRIC_STORE_DISK_USED,
		    (used * 100 + used + fs.f_bavail - 1) /
			(used + fs.f_bavail));
}

void
ratchet_show_metrics(struct ipc *control, uint64_t id)
{
	struct ipc_request answer = { .id = id };
	struct buffer buffer;

	show_disk();
	show_queue(METRIC_QUEUE_DEPTH_KEYD_ROUTER, PROCESS_ROUTER);
	show_queue(METRIC_QUEUE_DEPTH_KEYD_MESH, PROCESS_MESH);
	buffer_init(&buffer);
	if (metrics_pack(&buffer) == -1) {
		log_warn("metrics_failed", "reason=memory");
		buffer_free(&buffer);
		buffer_init(&buffer);
	}
	answer.value = METRIC_COUNT;
	ipc_send(control, IPC_METRICS, &answer, buffer_bytes(&buffer),
	    buffer_length(&buffer));
	buffer_free(&buffer);
}
