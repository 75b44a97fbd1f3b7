/*
 * keyd only. What time does to chats: rekey by age, wipe the previous epoch,
 * send offers again, end by lifetime and by idleness.
 */

#include "common/util/metrics.h"
#include "keyd/chat.h"

#define TICK_PARTS  16   /* ticks in which each idle chat is looked at */
#define TICK_LEAST  4096 /* places of the table in a tick */
#define TICK_OFFERS 256  /* in a tick, of idle chats and of others each */

/* An offer that nobody answered is sent again after so long. */
#define OFFER_AGAIN (10 * INT64_C(1000000000))

static void
clamp(int64_t *at, int64_t most)
{
	if (*at > most)
		*at = most;
}

/* Of a clock that was ahead and was set right: what it dated would not grow
 * old before it is that late again. */
static void
tick_clock(const struct chats *chats, struct chat *chat)
{
	clamp(&chat->last_ratchet_at, chats->now);
	clamp(&chat->last_active, chats->now);
	if (chat->change == NULL)
		return;
	clamp(&chat->change->offered_at, chats->now);
	clamp(&chat->change->previous_until,
	    chats->now + chats->config->rekey.grace);
}

static int
tick_ended(struct chats *chats, struct chat *chat)
{
	int64_t lifetime = chats->config->rekey.key_lifetime;
	int64_t idle = chats->config->keystore.chat_idle;

	tick_clock(chats, chat);
	if (lifetime > 0 && chat->version != 0 &&
	    chats->now - chat->last_ratchet_at > lifetime) {
		chat_finish(chats, chat, 0, STATUS_REKEY_REQUIRED, 1);
		return (1);
	}
	if (idle > 0 && chats->now - chat->last_active > idle) {
		chat_finish(chats, chat, 0, STATUS_EXPIRED, 1);
		return (1);
	}
	return (0);
}

/* Three quarters of the key's lifetime are over, and no rekey by age comes
 * before its end: the app had better ask for one. */
static int
tick_nearly_over(const struct chats *chats, const struct chat *chat)
{
	const struct config_rekey *rekey = &chats->config->rekey;
	int64_t age = chats->now - chat->last_ratchet_at;

	return (rekey->key_lifetime > 0 &&
		age >= rekey->key_lifetime - rekey->key_lifetime / 4 &&
		(rekey->after_time == 0 ||
		    rekey->after_time >= rekey->key_lifetime));
}

/* Who has waited longest is at the head of the list again. */
static void
tick_offer(struct chats *chats, struct chat *chat, size_t *offers)
{
	chat_send_pending(chats, chat);
	TAILQ_REMOVE(&chats->awake, chat->change, entry);
	TAILQ_INSERT_TAIL(&chats->awake, chat->change, entry);
	(*offers)--;
}

/* offers: so many more may be sent. */
static void
tick_chat(struct chats *chats, struct chat *chat, size_t *offers)
{
	int64_t age = chats->config->rekey.after_time;

	/* With either of them the chat is awake. */
	if (chat->change != NULL && chat->ratchet.previous_version != 0 &&
	    chats->now >= chat->change->previous_until)
		ratchet_close_previous(&chat->ratchet);
	/* Without an epoch in force the app's return brings the rekey, unless
	 * the peer believes that there is one. */
	if (chat->ratchet.version == 0 && !chat->next_due)
		return;
	if (chat->change != NULL && chat_offered(chat) != 0) {
		if (chats->now - chat->change->offered_at >= OFFER_AGAIN &&
		    *offers > 0)
			tick_offer(chats, chat, offers);
	} else if (age > 0 && chats->now - chat->last_ratchet_at >= age &&
		   *offers > 0 && !chat_is_last(chat) &&
		   chat_wake(chats, chat) == 0) {
		chat_offer(chats, chat, chat->version + 1, 0, CAUSE_AGE, NULL);
		tick_offer(chats, chat, offers);
	} else if (!chat->wanted && tick_nearly_over(chats, chat)) {
		chat->wanted = 1;
		chat_send_wanted(chats, chat, CAUSE_NONE);
	}
}

/* Idle chats grow old slowly: a part of the table at a time. */
static void
tick_idle(struct chats *chats)
{
	size_t part = chats->table.size / TICK_PARTS, end;
	size_t offers = TICK_OFFERS;
	struct chat *chat;

	end = chats->tick_at + (part < TICK_LEAST ? TICK_LEAST : part);
	while (chats->tick_at < end && offers > 0) {
		chat = table_next(&chats->table, &chats->tick_at);
		if (chat == NULL) {
			chats->tick_at = 0;
			break;
		}
		if (chat->change == NULL && !tick_ended(chats, chat))
			tick_chat(chats, chat, &offers);
	}
}

void
chats_tick(struct chats *chats)
{
	struct change *change, *next, *last;
	size_t offers = TICK_OFFERS;
	struct chat *chat;

	tick_idle(chats);
	last = TAILQ_LAST(&chats->awake, awake);
	for (change = TAILQ_FIRST(&chats->awake); change != NULL;
	     change = next) {
		next = change == last ? NULL : TAILQ_NEXT(change, entry);
		chat = change->chat;
		if (tick_ended(chats, chat))
			continue;
		tick_chat(chats, chat, &offers);
		chat_rest(chats, chat);
	}
	waiting_expire(chats);
	chats_settle(chats);
}
