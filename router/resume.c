/*
 * router: which chats are resumed now, and which wait. After a start, or when
 * a node comes back, all chats with it are due at once, and each costs both
 * keyds a thousand times what a message does. So few at a time are asked for;
 * chats that are spoken in come first, and messages wait behind those few at
 * most. A node that does not answer holds up its own chats only.
 */

#include "router/chats.h"

static void
resume_take(struct side *side)
{
	side->resuming = 1;
	side->peer->link->resuming++;
}

static void
resume_leave_line(struct side *side)
{
	if (!side->in_line)
		return;
	side->in_line = 0;
	TAILQ_REMOVE(&side->peer->link->line, side, line_entry);
}

/* The next ones in line go. */
static void
resume_go_on(struct link *link)
{
	struct side *side;

	while (link->resuming < RESUMES_AT_ONCE &&
	       (side = TAILQ_FIRST(&link->line)) != NULL) {
		resume_leave_line(side);
		start_resume(side);
	}
}

static int
resume_urgent(const struct side *side)
{
	return (side->ask != NULL || core_unacknowledged(&side->core) > 0);
}

int
resume_may(struct side *side)
{
	struct link *link = side->peer->link;

	if (link == NULL || side->resuming)
		return (1);
	if (link->resuming >= RESUMES_AT_ONCE && !resume_urgent(side)) {
		if (!side->in_line)
			TAILQ_INSERT_TAIL(&link->line, side, line_entry);
		side->in_line = 1;
		return (0);
	}
	resume_leave_line(side);
	resume_take(side);
	return (1);
}

void
resume_hurry(struct side *side)
{
	if (!side->in_line)
		return;
	resume_leave_line(side);
	resume_take(side);
	start_resume(side);
}

void
resume_over(struct side *side)
{
	struct link *link = side->peer->link;

	resume_leave_line(side);
	if (!side->resuming)
		return;
	side->resuming = 0;
	link->resuming--;
	resume_go_on(link);
}

void
resume_leave_link(struct peer *peer)
{
	struct side *side;

	TAILQ_FOREACH(side, &peer->sides, peer_entry)
	{
		resume_leave_line(side);
		if (side->resuming)
			peer->link->resuming--;
		side->resuming = 0;
	}
	resume_go_on(peer->link);
}
