/*
 * keyd only. Version rules and throttles; see policy.h. Pure.
 */

#include <stdlib.h>
#include <string.h>

#include "keyd/policy.h"

int64_t
throttle_wait(const struct throttle *throttle, int64_t window, int64_t now)
{
	int64_t oldest;

	if (throttle->limit == 0 || throttle->count < throttle->limit)
		return (0);
	oldest = throttle->times[throttle->next];
	/* A clock set back must not throttle for ever. */
	if (now < oldest || now - oldest >= window)
		return (0);
	return (window - (now - oldest));
}

int64_t
throttle_attempt(
    struct throttle *throttle, uint32_t limit, int64_t window, int64_t now)
{
	int64_t wait;

	if (throttle->limit != limit) {
		/* The first attempt, or another limit after a reload. */
		throttle_free(throttle);
		throttle->times = calloc(limit, sizeof(*throttle->times));
		if (throttle->times == NULL)
			return (window);
		throttle->limit = limit;
	}
	if ((wait = throttle_wait(throttle, window, now)) != 0)
		return (wait);
	if (throttle->count < limit)
		throttle->count++;
	throttle->times[throttle->next] = now;
	throttle->next = (throttle->next + 1) % limit;
	return (0);
}

int
throttle_idle(const struct throttle *throttle, int64_t window, int64_t now)
{
	uint32_t last;

	if (throttle->count == 0)
		return (1);
	last = (throttle->next + throttle->limit - 1) % throttle->limit;
	return (now < throttle->times[last] ||
		now - throttle->times[last] >= window);
}

void
throttle_free(struct throttle *throttle)
{
	free(throttle->times);
	memset(throttle, 0, sizeof(*throttle));
}

int64_t
bucket_take(struct bucket *bucket, uint32_t size, int64_t window, int64_t now)
{
	int64_t each = window / size;
	int64_t back;

	if (now < bucket->since || now - bucket->since >= window) {
		bucket->tokens_used = 0;
		bucket->since = now;
	}
	back = (now - bucket->since) / each;
	if (back >= (int64_t)bucket->tokens_used)
		bucket->tokens_used = 0;
	else
		bucket->tokens_used -= (uint32_t)back;
	bucket->since += back * each;
	if (bucket->tokens_used >= size)
		return (each - (now - bucket->since));
	bucket->tokens_used++;
	return (0);
}

int
bucket_idle(const struct bucket *bucket, int64_t window, int64_t now)
{
	return (bucket->tokens_used == 0 || now < bucket->since ||
		now - bucket->since >= window);
}

/* What an offer above the last epoch means that does not reset the link. */
static enum policy_verdict
policy_judge_next(
    const struct policy_chat *chat, const struct policy_offer *offer)
{
	uint32_t w = offer->version;

	if (chat->version > 0 && offer->unlinked && !offer->answer &&
	    !offer->resume && w - chat->version <= 2)
		return (POLICY_FRESH);
	if (chat->version == 0) {
		/* The floors of the two ends may differ: the higher wins. */
		if (w < chat->pending)
			return (POLICY_WAIT);
		if (!offer->linked)
			return (POLICY_UNLINKED);
		return (POLICY_NEXT);
	}
	if (chat->pending > w)
		return (POLICY_WAIT); /* ours is a reset */
	if (w != chat->version + 1)
		return (POLICY_BEHIND);
	if (offer->same_key)
		return (POLICY_REPLAY);
	if (chat->pending == 0 && offer->answer)
		return (POLICY_BEHIND); /* answers an offer we lost */
	if (!offer->linked && !chat->pending_reset)
		return (POLICY_UNLINKED);
	return (POLICY_NEXT);
}

enum policy_verdict
policy_judge(const struct policy_chat *chat, const struct policy_offer *offer)
{
	uint32_t w = offer->version;
	uint32_t top =
	    chat->version > chat->pending ? chat->version : chat->pending;

	if (chat->version > 0 && w == chat->version)
		return (offer->same ? POLICY_REPEAT : POLICY_DIFFERENT);
	if (w < chat->version)
		return (POLICY_STALE);
	if (w > top && w - top > POLICY_RESET_STEP)
		return (POLICY_JUMP);
	if (offer->reset) {
		if (offer->same_key)
			return (POLICY_REPLAY);
		if (chat->pending > w)
			return (POLICY_WAIT);
		/* Answers an offer we lost: the peer's half of that key is
		 * used up. */
		return (offer->answer && chat->pending != w ? POLICY_BEHIND
							    : POLICY_RESET);
	}
	return (policy_judge_next(chat, offer));
}

uint32_t
policy_reset_version(const struct policy_chat *chat, uint32_t offered)
{
	uint32_t top = offered;

	if (chat->version > top)
		top = chat->version;
	if (chat->pending > top)
		top = chat->pending;
	return (top == UINT32_MAX ? 0 : top + 1);
}

enum hermes_code
policy_start(
    uint32_t asked, uint32_t floor, uint32_t offered, uint32_t *version)
{
	uint32_t next = floor + 1;

	if (offered > floor)
		next = offered;
	*version = next;
	if (next == 0 || floor == UINT32_MAX)
		return (CODE_INVALID_FRAME);
	if (asked == 0 || asked == next)
		return (CODE_NONE);
	if (asked <= floor)
		return (CODE_REPLAYED_KEY);
	/* The plain next version stays good beside the peer's. */
	if (asked == floor + 1) {
		*version = asked;
		return (CODE_NONE);
	}
	return (CODE_INVALID_FRAME);
}

enum hermes_code
policy_continue(
    uint32_t had, uint32_t floor, uint32_t offered, uint32_t *version)
{
	uint32_t top = had > floor ? had : floor;

	*version = top + 1;
	if (top == UINT32_MAX)
		return (CODE_INVALID_FRAME);
	if (offered > *version)
		*version = offered;
	return (CODE_NONE);
}

enum hermes_code
policy_rekey(uint32_t asked, const struct policy_chat *chat, uint32_t *version)
{
	*version = chat->pending != 0 ? chat->pending : chat->version + 1;
	if (*version == 0)
		return (CODE_INVALID_FRAME);
	if (asked == 0 || asked == *version)
		return (CODE_NONE);
	return (asked < *version ? CODE_REPLAYED_KEY : CODE_INVALID_FRAME);
}

enum hermes_code
policy_resume(uint32_t asked, int resume, const struct policy_chat *chat,
    uint32_t *version)
{
	*version = chat->version != 0 ? chat->version : chat->pending;
	if (asked == 0 || asked == chat->version || asked == chat->pending)
		return (CODE_NONE);
	/* The key may have changed while the app was away. */
	if (asked < *version)
		return (resume ? CODE_NONE : CODE_REPLAYED_KEY);
	return (CODE_INVALID_FRAME);
}

enum hermes_code
policy_first(uint32_t offered, uint32_t floor, uint32_t *expected)
{
	*expected = floor == UINT32_MAX ? 0 : floor + 1;
	if (offered <= floor)
		return (CODE_REPLAYED_KEY);
	if (offered - floor > POLICY_RESET_STEP)
		return (CODE_INVALID_FRAME);
	return (CODE_NONE);
}
