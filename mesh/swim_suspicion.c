/*
 * mesh, unprivileged. Suspicion (Lifeguard): the first accusation starts a
 * long clock, each further accuser shortens it, down to a shortest time that
 * leaves room to refute. A FAIL of another node is an accusation too, at its
 * shortest: nobody is failed on one node's word. See swim.h.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/swim_internal.h"

static void
heap_set(struct swim *swim, uint32_t place, struct swim_suspicion *suspicion)
{
	swim->suspicions[place] = suspicion;
	suspicion->heap = place;
}

/* Move a suspicion to where it belongs, by what comes first: its reminder,
 * at half of the shortest time, or its deadline. */
static void
heap_fix(struct swim *swim, struct swim_suspicion *suspicion)
{
	struct swim_suspicion **heap = swim->suspicions;
	uint32_t place = suspicion->heap, child;

	suspicion->wake = suspicion->start + suspicion->shortest / 2;
	if (suspicion->reminded || suspicion->wake > suspicion->deadline)
		suspicion->wake = suspicion->deadline;
	while (place > 0 && suspicion->wake < heap[(place - 1) / 2]->wake) {
		heap_set(swim, place, heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	while ((child = 2 * place + 1) < swim->suspicion_count) {
		if (child + 1 < swim->suspicion_count &&
		    heap[child + 1]->wake < heap[child]->wake)
			child++;
		if (heap[child]->wake >= suspicion->wake)
			break;
		heap_set(swim, place, heap[child]);
		place = child;
	}
	heap_set(swim, place, suspicion);
}

static void
heap_remove(struct swim *swim, struct swim_suspicion *suspicion)
{
	struct swim_suspicion *last;

	last = swim->suspicions[--swim->suspicion_count];
	if (last == suspicion)
		return;
	heap_set(swim, suspicion->heap, last);
	heap_fix(swim, last);
}

static int64_t
suspicion_deadline(const struct swim_suspicion *suspicion)
{
	double part, timeout;

	if (suspicion->confirmed >= suspicion->needed)
		return (suspicion->start + suspicion->shortest);
	part = log(suspicion->confirmed + 1.0) / log(suspicion->needed + 1.0);
	timeout = (double)suspicion->longest -
		  part * (double)(suspicion->longest - suspicion->shortest);
	if (timeout < (double)suspicion->shortest)
		timeout = (double)suspicion->shortest;
	return (suspicion->start + (int64_t)timeout);
}

/* Suspect a member that is alive. 1, or -1 with errno ENOMEM. */
int
swim_suspect(struct swim *swim, struct swim_member *member,
    const uint8_t accuser[KEY_SIZE], int shortest, int64_t now)
{
	struct swim_suspicion *suspicion;
	uint32_t live = swim_live(swim);
	double scale = log10(live < 10 ? 10.0 : live);

	suspicion = calloc(1, sizeof(*suspicion));
	if (suspicion == NULL)
		return (-1);
	suspicion->member = member;
	suspicion->start = now;
	suspicion->shortest = (int64_t)(swim->config.suspicion_factor * scale *
					(double)swim->config.suspicion_unit);
	suspicion->longest =
	    suspicion->shortest * swim->config.suspicion_stretch;
	/* With too few others to confirm it, do not wait for them. */
	suspicion->needed = swim->config.confirmations;
	if (live < suspicion->needed + 2)
		suspicion->needed = 0;
	memcpy(suspicion->accusers[0], accuser, KEY_SIZE);
	suspicion->deadline = shortest ? now + suspicion->shortest
				       : suspicion_deadline(suspicion);
	(void)swim_member_state(swim, member, NODE_SUSPECT, now);
	member->suspicion = suspicion;
	heap_set(swim, swim->suspicion_count++, suspicion);
	heap_fix(swim, suspicion);
	swim_changed(swim, member);
	swim_queue_put(swim, member, 0);
	return (1);
}

/* Another accusation of a suspect. 1 when it was news, else 0. */
int
swim_confirm(struct swim *swim, struct swim_member *member,
    const uint8_t accuser[KEY_SIZE], int shortest, int64_t now)
{
	struct swim_suspicion *suspicion = member->suspicion;
	int64_t deadline = suspicion->deadline;
	uint32_t i;
	int news = 0;

	for (i = 0; i <= suspicion->confirmed; i++)
		if (memcmp(suspicion->accusers[i], accuser, KEY_SIZE) == 0)
			break;
	if (i > suspicion->confirmed &&
	    suspicion->confirmed < suspicion->needed) {
		memcpy(suspicion->accusers[++suspicion->confirmed], accuser,
		    KEY_SIZE);
		deadline = suspicion_deadline(suspicion);
		news = 1;
	}
	if (shortest)
		deadline = suspicion->start + suspicion->shortest;
	if (deadline < suspicion->deadline) {
		suspicion->deadline = deadline;
		heap_fix(swim, suspicion);
	}
	if (news)
		swim_queue_put(swim, member, 0);
	swim_suspicions_tick(swim, now);
	return (news);
}

/* End a suspicion, whatever came out. */
void
swim_absolve(struct swim *swim, struct swim_member *member)
{
	heap_remove(swim, member->suspicion);
	free(member->suspicion);
	member->suspicion = NULL;
}

/*
 * Who did not refute in time has failed. Before, the suspicion is told a
 * little once more: by now whoever has heard a refutation that we missed
 * sets us right.
 */
void
swim_suspicions_tick(struct swim *swim, int64_t now)
{
	struct swim_suspicion *suspicion;
	struct swim_member *member;

	while (swim->suspicion_count > 0 && swim->suspicions[0]->wake <= now) {
		suspicion = swim->suspicions[0];
		member = suspicion->member;
		if (suspicion->deadline > now) {
			suspicion->reminded = 1;
			swim_queue_put(swim, member, 1);
			heap_fix(swim, suspicion);
			continue;
		}
		(void)swim_member_state(swim, member, NODE_FAILED, now);
		swim->counts.evicted++;
		swim_changed(swim, member);
		swim_queue_put(swim, member, 0);
	}
}
