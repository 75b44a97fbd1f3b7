/*
 * What crosses the end of a chat whose app begins it anew at once: each case
 * is played in every order in which its steps can follow upon each other. The
 * new chat comes up, once, and nothing of the old one ends it.
 */

#include <strings.h>

#include "regress/unit/chat_rig.h"

#define STEPS_MAX 64

/* What can come next, a bit each: at a, then at b. What happens at one node
 * and what happens at the other give the same in either order. */
enum step {
	TO_A = 0x1, /* the next frame on the wire arrives */
	A_ENDS = 0x2,
	A_BEGINS = 0x4,
	AT_A = 0x7,
	TO_B = 0x8,
	B_ACTS = 0x10, /* in the old chat */
	B_BEGINS = 0x20,
	AT_B = 0x38
};

struct crossing {
	void (*before)(void); /* the old chat, as it is when a ends it */
	void (*act)(void);    /* what b does in it meanwhile; or NULL */
	int ends;             /* that is to end it, too */
	int eager; /* b begins the new one without waiting for a's offer */
};

/* The order that is played: which of the steps possible comes next. Those in
 * left out came before it in an order that was played already. */
static struct {
	unsigned int depth, chosen;
	unsigned int step[STEPS_MAX], possible[STEPS_MAX];
	unsigned int left_out[STEPS_MAX + 1];
	char text[STEPS_MAX + 1];
	int a_ended, a_began, b_acted;
} order;

/* What a router has of a chat that is over. */
static void
forget(struct node *node)
{
	node->ready = 0;
	node->next = 1;
	node->acked = node->delivered = node->again = 0;
	node->readies = node->firsts = node->resets = 0;
}

/* Another chat than that of the order before. */
static void
begin_order(unsigned int number)
{
	int i;

	for (i = 0; i < 2; i++)
		pair_end(&pair, i, STATUS_DELETED);
	pair_drop(&pair);
	for (i = 0; i < 2; i++) {
		forget(&pair.nodes[i]);
		pair.nodes[i].errors = pair.nodes[i].ends = 0;
	}
	snprintf(pair.chat_id, sizeof(pair.chat_id), "chat %u", number);
	order.depth = 0;
	order.a_ended = order.a_began = order.b_acted = 0;
}

/* --- steps --------------------------------------------------------------- */

/* Does the router have the chat, or an offer of it? */
static int
has_chat(int index)
{
	struct chats *chats = pair.nodes[index].chats;
	struct chat_key key = pair_key(&pair, index);

	return (chat_find(chats, &key) != NULL ||
		waiting_find(chats, &key) != NULL);
}

/* b's app begins when it may know that the old chat is over. */
static int
b_may_begin(const struct crossing *crossing)
{
	return (pair_chat(&pair, 1) == NULL &&
		((crossing->eager && b->ends > 0) || has_chat(1)));
}

static unsigned int
steps_possible(const struct crossing *crossing)
{
	unsigned int steps = 0;

	if (a->count > 0)
		steps |= TO_A;
	if (b->count > 0)
		steps |= TO_B;
	if (a->ends > 0 && !order.a_began)
		steps |= A_BEGINS;
	else if (a->ends == 0 && has_chat(0))
		steps |= A_ENDS;
	if (crossing->act != NULL && !order.b_acted && b->ends == 0)
		steps |= B_ACTS;
	if (b_may_begin(crossing))
		steps |= B_BEGINS;
	return (steps);
}

static void
step_play(const struct crossing *crossing, enum step step)
{
	int a_ends = a->ends, b_ends = b->ends;

	switch (step) {
	case TO_A:
		(void)pair_step(&pair, 0);
		break;
	case TO_B:
		(void)pair_step(&pair, 1);
		break;
	case A_ENDS:
		pair_end(&pair, 0, STATUS_DELETED);
		order.a_ended = 1;
		break;
	case A_BEGINS:
		pair_start(&pair, 0, 0, 0);
		order.a_began = 1;
		break;
	case B_ACTS:
		crossing->act();
		order.b_acted = 1;
		break;
	case B_BEGINS:
		pair_start(&pair, 1, 0, 0);
		break;
	case AT_A:
	case AT_B:
		break;
	}
	if (a->ends > a_ends)
		forget(a);
	if (b->ends > b_ends)
		forget(b);
}

/* The lowest of steps. */
static unsigned int
first_of(unsigned int steps)
{
	return (steps & -steps);
}

/* One order: as far as it is chosen, then whatever is possible. 0 when it
 * turns out to be one that was played already. */
static int
play(const struct crossing *crossing)
{
	unsigned int steps, step, *left_out;

	while ((steps = steps_possible(crossing)) != 0) {
		ck_assert_msg(
		    order.depth < STEPS_MAX, "they never rest: %s", order.text);
		left_out = &order.left_out[order.depth];
		if (order.depth >= order.chosen)
			order.step[order.depth] = first_of(steps & ~*left_out);
		if ((step = order.step[order.depth]) == 0)
			return (0);
		if (order.depth + 1 >= order.chosen)
			left_out[1] = *left_out & (step & AT_A ? AT_B : AT_A);
		order.possible[order.depth] = steps;
		order.text[order.depth] = "aEBbrn"[ffs((int)step) - 1];
		order.text[++order.depth] = '\0';
		step_play(crossing, (enum step)step);
	}
	return (1);
}

/* Choose the next order. 0 when all were played. */
static int
choose(void)
{
	unsigned int last, rest;

	while (order.depth > 0) {
		last = --order.depth;
		order.left_out[last] |= order.step[last];
		rest = order.possible[last] & ~order.left_out[last];
		order.step[last] = first_of(rest);
		order.chosen = last + 1;
		if (rest != 0)
			return (1);
	}
	return (0);
}

/* --- what comes of it ----------------------------------------------------- */

#define EXPECT(what) ck_assert_msg(what, "%s: after %s", #what, order.text)

static enum hermes_status
word(int ended)
{
	return (ended ? STATUS_DELETED : STATUS_DELETED_BY_PEER);
}

static void
check_works(const struct crossing *crossing)
{
	const struct chat *at_a = pair_chat(&pair, 0);
	const struct chat *at_b = pair_chat(&pair, 1);
	int i;

	EXPECT(a->ends == 1 && b->ends == 1);
	EXPECT(a->last_end.status == word(order.a_ended));
	EXPECT(b->last_end.status == word(crossing->ends && order.b_acted));
	EXPECT(at_a != NULL && at_b != NULL);
	EXPECT(at_a->version != 0 && at_a->version == at_b->version);
	EXPECT(chat_offered(at_a) == 0 && chat_offered(at_b) == 0);
	EXPECT(a->errors == 0 && b->errors == 0);
	EXPECT(a->firsts == 1 && b->firsts == 1);
	EXPECT(a->resets == 0 && b->resets == 0);
	for (i = 0; i < 2; i++)
		pair_say(&pair, i);
	pair_run(&pair);
	EXPECT(a->delivered == 1 && b->delivered == 1);
	EXPECT(a->acked == 1 && b->acked == 1);
	EXPECT(a->ends == 1 && b->ends == 1);
}

static void
check_crossing(const struct crossing *crossing)
{
	unsigned int orders = 0, plays = 0;

	pair.unwritten = 1;
	memset(&order, 0, sizeof(order));
	do {
		begin_order(plays++);
		crossing->before();
		if (!play(crossing))
			continue;
		orders++;
		check_works(crossing);
	} while (choose());
	/* One, where the other node has nothing under way. */
	ck_assert_uint_ge(orders, 1);
}

/* --- old chats ------------------------------------------------------------ */

static void
before_ready(void)
{
	pair_ready(&pair);
}

static void
before_a_rekeys(void)
{
	pair_ready(&pair);
	pair_start(&pair, 0, 0, CHAT_REKEY);
}

static void
before_a_offers(void)
{
	pair_start(&pair, 0, 0, 0);
}

static void
before_b_offers(void)
{
	pair_start(&pair, 1, 0, 0);
}

static void
act_rekey(void)
{
	pair_start(&pair, 1, 0, CHAT_REKEY | CHAT_RESUME);
}

static void
act_resume(void)
{
	pair_resume(&pair, 1);
}

/* As after a start of its node: the keys are gone. */
static void
act_resume_without_keys(void)
{
	ratchet_close(&pair_chat(&pair, 1)->ratchet);
	pair_resume(&pair, 1);
}

static void
act_reset(void)
{
	struct chat *chat = pair_chat(&pair, 1);

	ck_assert_int_eq(chat_recover(b->chats, chat, chat->version), 0);
	pair_commit(&pair, 1);
}

static void
act_end(void)
{
	pair_end(&pair, 1, STATUS_DELETED);
}

static const struct crossing crossings[] = {
	{ before_ready, NULL, 0, 0 },
	{ before_ready, NULL, 0, 1 },
	{ before_ready, act_rekey, 0, 0 },
	{ before_ready, act_rekey, 0, 1 },
	{ before_ready, act_resume, 0, 0 },
	{ before_ready, act_resume, 0, 1 },
	{ before_ready, act_resume_without_keys, 0, 0 },
	{ before_ready, act_resume_without_keys, 0, 1 },
	{ before_ready, act_reset, 0, 0 },
	{ before_ready, act_reset, 0, 1 },
	{ before_ready, act_end, 1, 0 },
	{ before_ready, act_end, 1, 1 },
	/* b answers it. */
	{ before_a_rekeys, NULL, 0, 0 },
	{ before_a_rekeys, NULL, 0, 1 },
	{ before_a_rekeys, act_rekey, 0, 0 },
	{ before_a_rekeys, act_resume, 0, 0 },
	{ before_a_rekeys, act_reset, 0, 0 },
	{ before_a_offers, NULL, 0, 0 },
	{ before_a_offers, NULL, 0, 1 },
	/* a does not want it. */
	{ before_b_offers, NULL, 0, 0 },
	{ before_b_offers, NULL, 0, 1 },
};

START_TEST(what_crosses_an_end_leaves_the_next_chat_alone)
{
	check_crossing(&crossings[_i]);
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase,
	    what_crosses_an_end_leaves_the_next_chat_alone, 0,
	    (int)(sizeof(crossings) / sizeof(crossings[0])));
}

int
main(void)
{
	return (rig_run("keyd_crossings", add_tests));
}
