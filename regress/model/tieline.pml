/*
 * The tieline protocol between two keyds, for SPIN: offers, simultaneous
 * rekeys, frames lost and doubled, crashes of either side between any two
 * steps, resume; ratchets that diverge and the recovery from it; a store that
 * is an old copy. keyd/policy.c decides the same cases under the same names
 * (NEXT, REPEAT, ...), keyd/ratchet.c and keyd/chats_*.c act on them in
 * functions of the names given below; change both together.
 *
 * Each side is one keyd with its mesh. What a side commits before it sends is
 * durable (d_ below) and outlives a crash, and is what an old copy brings
 * back; frames under way do not. An offer is an ephemeral key, here a number
 * never used twice. An epoch is a number, too, for the two offers and the
 * link it was derived from: whoever derives it again has the same chains.
 *
 * Shown: nothing gets stuck; at rest both ends hold the same epoch and every
 * message has come, or both have failed closed, which happens only after
 * LIMIT recoveries; no counter of an epoch is used twice; each message is
 * delivered once and in order. To the last there is one exception, which no
 * protocol can help: what the receiver's old copy has forgotten and the
 * sender was never told of is delivered again.
 */

#ifndef CRASHES
#define CRASHES	1	/* of either side, in all */
#endif
#ifndef LOSSES
#define LOSSES	1	/* frames lost without a crash: a stream broke */
#endif
#ifndef DOUBLES
#define DOUBLES	1
#endif
#ifndef REKEYS
#define REKEYS	2	/* by an app, an operator, age or count */
#endif
#ifndef MESSAGES
#define MESSAGES 1	/* from side 0 to side 1 */
#endif
#ifndef DIVERGENCES
#define DIVERGENCES 0	/* of side 1's receiving chain, or forged frames */
#endif
#ifndef BROKEN
#define BROKEN	0	/* all epochs diverge: no recovery helps */
#endif
#ifndef ROLLBACKS
#define ROLLBACKS 0	/* an old copy of either store is put back */
#endif
#ifndef LIMIT
#define LIMIT	3	/* `rekey limit`; the window never ends */
#endif
#ifndef LATE
#define LATE	0	/* apps come back at any time later, not at once */
#endif
#define WIRE	20	/* frames; never full, which is checked */
#define OFFERS	30	/* most in a run, which is checked */
#define EPOCHS	24
#define COUNTERS 8	/* of an epoch: bits of sealed[] */

mtype = { SETUP, RELAY, ACK, TEARDOWN };
mtype = { NEXT, REPEAT, STALE, DIFFERENT, FRESH, UNLINKED, RESET, WAIT, BEHIND,
	REPLAY };

/* Of a SETUP: struct ipc_setup's answer, CHAT_RESUME, and its cause. */
#define ANSWER		1
#define RESUME		2
#define CAUSE_RECOVERY	4
#define CAUSE_RESUME	8
#define CAUSES		(CAUSE_RECOVERY | CAUSE_RESUME)

/* SETUP: offer, flags, progress. RELAY: epoch, counter, sequence. ACK:
 * delivered. TEARDOWN: version. Epoch 0 is none. */
chan wire[2] = [WIRE] of { mtype, byte, byte, byte };

/* Durable, in keyd's store: struct chat. */
byte d_version[2];	/* of the last epoch; 0: state offered or none */
byte d_own[2];		/* own offer of the last epoch */
byte d_peer[2];		/* the peer's */
byte d_pending[2];	/* own offer of a later version; 0: none */
byte d_cause[2];	/* why it was made */
byte d_link[2];		/* of the last epoch: its number; 0: link 0 */
int d_used[2];		/* the peer's ephemerals, a bit each */
bool d_confirmed[2];	/* the peer is known to be at this version too */
byte d_accepted;	/* side 0: last sequence sealed */
byte d_acked;		/* side 0: last sequence the peer's app has */
byte d_delivered;	/* side 1: last sequence given to the app */
bool d_gone[2];		/* chat_erase(): nothing is left but ... */
byte d_floor[2];	/* ... the tombstone's version */

/* Lost in a crash. */
byte epoch[2];		/* chains in force; 0: none (ratchet.version is 0) */
byte previous;		/* side 1: the epoch before, open for receiving */
byte send_counter;	/* side 0's chain of the epoch in force */
byte receive_counter;	/* side 1's */
byte previous_counter;
bool spoiled;		/* side 1: the receiving chain has diverged */
bool previous_spoiled;
bool pending_restored[2]; /* the pending offer was in the store at start */
bool resuming[2];	/* a resume waits for its answer */
bool ready[2];		/* the router was told READY */
bool due[2];		/* the app has not come back yet */
bool again;		/* side 0's router sends what is not acknowledged */
byte recoveries[2];	/* recovery_throttle */

/* What the numbers of offers and epochs stand for. */
byte offers, epochs;
byte o_version[OFFERS], o_link[OFFERS];
bool o_reset[OFFERS];
byte e_version[EPOCHS], e_lo[EPOCHS], e_hi[EPOCHS], e_salt[EPOCHS];

byte crashes = CRASHES, losses = LOSSES, doubles = DOUBLES, rekeys = REKEYS;
byte divergences = DIVERGENCES, rollbacks = ROLLBACKS;

/* Old copies of the stores. */
bool copied[2];
byte c_version[2], c_own[2], c_peer[2], c_pending[2], c_cause[2], c_link[2];
byte c_floor[2], c_accepted, c_acked, c_delivered;
int c_used[2];
bool c_confirmed[2], c_gone[2];

/* Ghosts. */
byte sealed[EPOCHS];	/* which counters sealed a message already */
byte given;		/* the last sequence that side 1's app ever got */
byte told;		/* of these, what side 0 was ever told */
bool went_back[2];	/* an old copy was put back */

/* Scratch of one step; no part of the state. */
hidden mtype type, verdict;
hidden byte progressed, a, b, c, w, top, lo, hi, salt, number, cause, flag;
hidden byte reset, first, trusted, resumed, linked, over, answer;

inline send(to, what, x, y, z)
{
	assert(nfull(wire[to]));
	wire[to]!what(x, y, z)
}

/* chat_send_setup() */
inline send_setup(me, offer, flags)
{
	progressed = (me == 0 -> d_acked : d_delivered);
	send(1 - me, SETUP, offer, flags, progressed)
}

/* offer_make(): chat_offer(), chat_offer_back(). The ephemeral is committed
 * before the offer is sent. */
inline make_offer(me, version, resets, why)
{
	offers++;
	assert(offers < OFFERS);
	o_version[offers] = version;
#ifdef FAULT_RESET_NOT_MARKED
	o_reset[offers] = false;
#else
	o_reset[offers] = resets;
#endif
	o_link[offers] = (resets -> 0 : d_link[me]);
	d_pending[me] = offers;
	d_cause[me] = why;
	pending_restored[me] = false
}

/* chat_send_present() */
inline send_present(me, flags)
{
	if
	:: d_version[me] != 0 -> send_setup(me, d_own[me], flags)
	:: else -> skip
	fi
}

/*
 * chat_send_pending(). The offer of the epoch in force goes first, as an
 * answer, unless the peer is known to have it: it would take the pending one
 * alone for a jump of two.
 */
inline send_pending(me)
{
#ifndef FAULT_PENDING_ALONE
	if
	:: !d_confirmed[me] -> send_present(me, ANSWER)
	:: else -> skip
	fi;
#endif
	flag = d_cause[me];
	if
	:: d_version[me] != 0 && (resuming[me] || d_cause[me] != 0) ->
		flag = flag | RESUME
	:: else -> skip
	fi;
	send_setup(me, d_pending[me], flag)
}

/* start_new(), start_resume(): START, or a resume after TIELINE_UP. */
inline start(me)
{
	if
	:: d_gone[me] -> skip		/* the app was told */
	:: else ->
		ready[me] = false;
		resuming[me] = true;
		if
#ifdef FAULT_OFFER_NOT_KEPT
		:: d_pending[me] != 0 ->
			make_offer(me, d_version[me] + 1, false, d_cause[me])
#endif
		:: d_pending[me] == 0 && epoch[me] == 0 ->
			make_offer(me, d_version[me] + 1, false,
			    (d_version[me] != 0 -> CAUSE_RESUME : 0))
		:: else -> skip
		fi;
		if
		:: d_pending[me] != 0 -> send_pending(me)
		:: else -> send_present(me, RESUME)
		fi
	fi
}

/* ratchet_close() */
inline ratchet_close(me)
{
	epoch[me] = 0;
	if
	:: me == 0 -> send_counter = 0
	:: else ->
		receive_counter = 0; spoiled = false;
		previous = 0; previous_counter = 0; previous_spoiled = false
	fi
}

/* ratchet_derive(), ratchet_begin(). The epoch of two offers and a link. */
inline ratchet_derive(me, offer)
{
	reset = o_reset[offer] || o_reset[d_pending[me]];
	lo = (me == 0 -> d_pending[me] : offer);
	hi = (me == 0 -> offer : d_pending[me]);
	salt = (reset -> 0 : d_link[me]);
	number = 1;
	do
	:: number <= epochs && !(e_lo[number] == lo && e_hi[number] == hi &&
	    e_salt[number] == salt) -> number++
	:: else -> break
	od;
	if
	:: number > epochs ->
		epochs = number;
		assert(epochs < EPOCHS);
		e_lo[number] = lo; e_hi[number] = hi; e_salt[number] = salt;
		e_version[number] = o_version[offer]
	:: else -> skip
	fi;
	if
	:: me == 0 -> send_counter = 0
	:: else ->
		previous = (reset -> 0 : epoch[1]);
		previous_counter = (previous == 0 -> 0 : receive_counter);
		previous_spoiled = previous != 0 && spoiled;
		receive_counter = 0;
		spoiled = BROKEN
	fi;
	epoch[me] = number;
	d_link[me] = number
}

/* chat_derive(). Both offers of the version are known. */
inline derive(me, offer, confirmed)
{
	assert(o_version[d_pending[me]] == o_version[offer]);
	ratchet_derive(me, offer);
	/* Of an offer of before a start the epoch may have been in use, if the
	 * store is an old copy: it is not used. */
	if
#ifndef FAULT_OLD_OFFER_USED
	:: pending_restored[me] -> ratchet_close(me)
#endif
	:: else -> skip
	fi;
	pending_restored[me] = false;
	d_version[me] = o_version[offer];
	d_own[me] = d_pending[me];
	d_peer[me] = offer;
	d_pending[me] = 0;
	d_used[me] = d_used[me] | (1 << offer);
	d_confirmed[me] = confirmed
}

/* chat_finish(), chat_erase(): the keys are wiped, a tombstone is left. */
inline finish(me, floor, tell_peer)
{
	top = (floor > d_version[me] -> floor : d_version[me]);
	top = (o_version[d_pending[me]] > top -> o_version[d_pending[me]] : top);
	ratchet_close(me);
	d_gone[me] = true; d_floor[me] = top;
	d_version[me] = 0; d_own[me] = 0; d_peer[me] = 0; d_pending[me] = 0;
	d_cause[me] = 0; d_link[me] = 0; d_used[me] = 0;
	d_confirmed[me] = false; pending_restored[me] = false;
	resuming[me] = false; ready[me] = false;
	if
	:: me == 0 -> again = false
	:: else -> skip
	fi;
#ifndef FAULT_NOT_TOLD
	if
	:: tell_peer -> send(1 - me, TEARDOWN, top, 0, 0)
	:: else -> skip
	fi
#else
	skip
#endif
}

/* chat_recovery_count(), recovery_failed(): at most LIMIT, then fail closed.
 * What can be mended is mended in less. */
inline recovery_count(me)
{
	assert(DIVERGENCES + ROLLBACKS + BROKEN > 0);
	if
#ifndef FAULT_NO_LIMIT
	:: recoveries[me] >= LIMIT ->
		assert(BROKEN || DIVERGENCES > LIMIT);
		finish(me, 0, true)
#endif
	:: else ->
		recoveries[me] = (recoveries[me] < LIMIT -> recoveries[me] + 1 :
		    LIMIT)
	fi
}

/* chat_recover(): a rekey, or (above is not 0) a reset to a version above;
 * policy_reset_version(). */
inline recover(me, above)
{
	over = o_reset[d_pending[me]];
	if
	/* One at a time: what fails meanwhile is the same divergence. */
	:: d_pending[me] != 0 && (d_cause[me] & CAUSE_RECOVERY) != 0 &&
	    (above == 0 || (over && o_version[d_pending[me]] > above)) -> skip
	:: else ->
		w = above;
		w = (d_version[me] > w -> d_version[me] : w);
		w = (above != 0 && o_version[d_pending[me]] > w ->
		    o_version[d_pending[me]] : w);
		over = above != 0;
		recovery_count(me);
		if
		:: d_gone[me] -> skip
		:: !d_gone[me] && !over && d_pending[me] != 0 ->
			/* A rekey under way will do. */
			d_cause[me] = CAUSE_RECOVERY;
			send_pending(me)
		:: else ->
			make_offer(me, w + 1, over, CAUSE_RECOVERY);
			send_pending(me)
		fi
	fi
}

/* policy_judge(), policy_judge_next(), with what setup_judge() knows. */
inline judge(me, offer)
{
	w = o_version[offer];
	top = o_version[d_pending[me]];
	linked = o_link[offer] == d_link[me];
	if
	:: d_version[me] > 0 && w == d_version[me] ->
		verdict = (offer == d_peer[me] -> REPEAT : DIFFERENT)
	:: w < d_version[me] -> verdict = STALE
	:: w >= d_version[me] && !(d_version[me] > 0 && w == d_version[me]) &&
	    o_reset[offer] ->
		if
		:: (d_used[me] & (1 << offer)) != 0 -> verdict = REPLAY
		:: (d_used[me] & (1 << offer)) == 0 && top > w -> verdict = WAIT
		:: (d_used[me] & (1 << offer)) == 0 && top <= w ->
			verdict = (answer && top != w -> BEHIND : RESET)
		fi
	:: else -> if
		:: d_version[me] > 0 && o_link[offer] == 0 && !answer &&
		    w - d_version[me] <= 2 -> verdict = FRESH
		:: d_version[me] == 0 ->
			verdict = (w < top -> WAIT : (!linked -> UNLINKED :
			    NEXT))
		:: else -> if
			:: top > w -> verdict = WAIT	/* ours is a reset */
			:: top <= w && w != d_version[me] + 1 ->
				verdict = BEHIND
			:: else -> if
				:: (d_used[me] & (1 << offer)) != 0 ->
					verdict = REPLAY
				:: (d_used[me] & (1 << offer)) == 0 &&
				    top == 0 && answer ->
					verdict = BEHIND
				:: else -> verdict = (!linked && !(top == w &&
				    o_reset[d_pending[me]]) -> UNLINKED : NEXT)
				fi
			fi
		fi
	fi
}

/* setup_progress(). */
inline setup_progress(me, progress, believed)
{
	if
	:: me == 0 ->
		if
		:: progress > d_accepted && believed -> d_accepted = progress
		:: else -> skip
		fi;
		if
		:: progress > d_acked && progress <= d_accepted ->
			d_acked = progress
		:: else -> skip
		fi
	:: else ->
		if
		:: progress > d_delivered -> d_delivered = progress
		:: else -> skip
		fi
	fi
}

/* setup_ready(), chat_send_ready() */
inline setup_ready(me)
{
	ready[me] = true;
	if
	:: resumed ->
		resuming[me] = false;
		if
		:: me == 0 -> again = true
		:: else -> skip
		fi
	:: else -> skip
	fi
}

/* setup_derive(), setup_next_epoch() */
inline setup_derive(me, offer, flags, progress)
{
	first = d_version[me] == 0;
	trusted = epoch[me] == 0;
	if
	:: o_version[d_pending[me]] != o_version[offer] ->
		/* setup_cause() */
		cause = flags & CAUSES;
		if
		:: o_reset[offer] -> cause = CAUSE_RECOVERY
		:: !o_reset[offer] && first -> cause = 0
		:: else -> cause = (cause == 0 && (flags & RESUME) != 0 ->
			CAUSE_RESUME : cause)
		fi;
		make_offer(me, o_version[offer], o_reset[offer], cause)
	:: else -> skip
	fi;
	cause = d_cause[me];
	derive(me, offer, answer);	/* sets reset */
	resumed = first || reset || resuming[me] || cause != 0 ||
	    (flags & RESUME) != 0;
	if
#ifndef FAULT_PROGRESS_LOST
	:: resumed -> setup_progress(me, progress, (trusted || reset))
#endif
	:: else -> skip
	fi;
	if
	:: epoch[me] == 0 ->
		resuming[me] = true;
		make_offer(me, d_version[me] + 1, false, CAUSE_RESUME);
		send_pending(me)
	:: else ->
		if
		:: !answer -> send_present(me, ANSWER | (flags & RESUME))
		:: else -> skip
		fi;
		setup_ready(me)
	fi
}

/* setup_repeat(). The offer of our epoch once more. */
inline setup_repeat(me, flags, progress)
{
	over = false;
	if
	:: answer ->
		d_confirmed[me] = true;
		over = !resuming[me] || (flags & RESUME) == 0
	:: else ->
		if
		:: d_pending[me] == 0 && epoch[me] == 0 ->
			make_offer(me, d_version[me] + 1, false, CAUSE_RESUME)
		:: else -> skip
		fi;
		if
		:: d_pending[me] != 0 ->
			/* It lacks our present offer. */
			d_confirmed[me] = false;
			resuming[me] = resuming[me] || (flags & RESUME) != 0;
			send_pending(me);
			over = true
		:: else -> send_present(me, ANSWER | (flags & RESUME))
		fi
	fi;
	if
	:: !over && epoch[me] != 0 && d_pending[me] == 0 &&
	    (resuming[me] || (flags & RESUME) != 0) ->
		setup_progress(me, progress, false);
		resumed = true;
		setup_ready(me)
	:: else -> skip
	fi
}

/* setup_reset(): one that the peer began is a recovery as one of ours. */
inline setup_reset(me, offer, flags, progress)
{
	if
	:: d_version[me] != 0 && !answer && (flags & CAUSE_RECOVERY) != 0 &&
	    !(d_pending[me] != 0 && (d_cause[me] & CAUSE_RECOVERY) != 0) ->
		recovery_count(me)
	:: else -> skip
	fi;
	if
	:: !d_gone[me] -> setup_derive(me, offer, flags, progress)
	:: else -> skip
	fi
}

/* setup_first(), setup_gone(). The app does not want a new chat, should the
 * offer be taken for one: chats_end(). */
inline setup_first(me, offer, flags)
{
	top = (o_version[offer] > d_floor[me] -> o_version[offer] : d_floor[me]);
	if
	:: !answer -> send(1 - me, TEARDOWN, top, 0, 0)
	:: else -> skip
	fi
}

/* chats_setup_in(), setup_existing(): what an incoming offer means. */
inline on_setup(me, offer, flags, progress)
{
	answer = (flags & ANSWER) != 0;
	if
	:: d_gone[me] -> setup_first(me, offer, flags)
	/* setup_lacks_reset() */
	:: !d_gone[me] && d_pending[me] != 0 && o_reset[d_pending[me]] &&
	    epoch[me] == 0 && o_version[offer] <= d_version[me] && !answer ->
		send_pending(me)
	:: else ->
		judge(me, offer);
		if
		:: verdict == NEXT ->
			setup_derive(me, offer, flags, progress)
		:: verdict == RESET ->
			setup_reset(me, offer, flags, progress)
		:: verdict == REPEAT -> setup_repeat(me, flags, progress)
		:: verdict == STALE ->
			/* Delayed or doubled: an answer with the present offer
			 * lets a peer that is really one behind catch up. */
			if
			:: !answer -> send_present(me, ANSWER)
			:: else -> skip
			fi
		:: verdict == WAIT -> send_pending(me)
		:: verdict == DIFFERENT || verdict == UNLINKED ||
		    verdict == BEHIND -> recover(me, o_version[offer])
		:: verdict == REPLAY -> skip
		/* The apps here begin no chat anew. */
		:: else -> assert(verdict != FRESH)
		fi
	fi
}

/* chats_teardown_in() */
inline on_teardown(me, version)
{
	top = (d_version[me] != 0 -> d_version[me] : o_version[d_pending[me]]);
	if
	:: d_gone[me] || version < top -> skip
	:: !d_gone[me] && version > top && d_version[me] == 0 ->
		if
		:: recoveries[me] < LIMIT ->
			recoveries[me]++;
			make_offer(me, version + 1, false, 0);
			send_pending(me)
		:: else -> skip
		fi
	:: else -> finish(me, version, false)
	fi
}

/* The router of side 1 gets a message. */
inline deliver(sequence)
{
	if
	:: sequence == d_delivered + 1 ->
		assert(sequence > given ||
		    (went_back[1] && (sequence > told || went_back[0])));
		given = (sequence > given -> sequence : given);
		d_delivered = sequence
	:: else ->
		/* A repeat, or what follows one that did not open and comes
		 * again after the recovery. */
		assert(sequence <= d_delivered || recoveries[1] > 0)
	fi;
	send(0, ACK, d_delivered, 0, 0)
}

/* chats_open(), ratchet_open(), open_failed() at side 1. */
inline on_relay(number, counter, sequence)
{
	if
	:: d_gone[1] || epoch[1] == 0 -> skip		/* RATCHET_OLD */
	:: epoch[1] != 0 && number == epoch[1] ->
		if
		:: counter < receive_counter -> skip	/* RATCHET_REPLAY */
		:: counter >= receive_counter && spoiled -> /* RATCHET_AEAD */
			recover(1, 0)
		:: else ->
			receive_counter = counter + 1;
			previous = 0; previous_counter = 0;
			previous_spoiled = false;
			d_confirmed[1] = true;
			deliver(sequence)
		fi
	/* RATCHET_UNKNOWN, or RATCHET_AEAD with chains of other links */
	:: epoch[1] != 0 && number != epoch[1] &&
	    (number == 0 || e_version[number] >= d_version[1]) -> recover(1, 0)
	:: else -> if
		:: previous == 0 || e_version[number] != e_version[previous] ->
			skip				/* RATCHET_OLD */
		:: previous != 0 && number == previous &&
		    counter < previous_counter -> skip
		:: previous != 0 && number == previous &&
		    counter >= previous_counter && !previous_spoiled ->
			previous_counter = counter + 1;
			deliver(sequence)
		:: else -> recover(1, 0)
		fi
	fi
}

inline on_ack(delivered)
{
	if
	:: !d_gone[0] && delivered > d_acked && delivered <= d_accepted ->
		d_acked = delivered
	:: else -> skip
	fi;
	told = (delivered > told -> delivered : told)
}

/* chats_seal(), ratchet_seal() at side 0. */
inline seal(sequence)
{
	assert(send_counter < COUNTERS);
	assert((sealed[epoch[0]] & (1 << send_counter)) == 0);
	sealed[epoch[0]] = sealed[epoch[0]] | (1 << send_counter);
	send(1, RELAY, epoch[0], send_counter, sequence);
	send_counter++
}

/* A mesh, and with it the stream, died: what was under way is gone, and both
 * ends hear TIELINE_UP and start again. */
inline drop_wire()
{
	do
	:: nempty(wire[0]) -> wire[0]?_, _, _, _
	:: empty(wire[0]) && nempty(wire[1]) -> wire[1]?_, _, _, _
	:: empty(wire[0]) && empty(wire[1]) -> break
	od;
#if LATE
	ready[0] = false; ready[1] = false;
	due[0] = true; due[1] = true
#else
	start(0); start(1)
#endif
}

/* A keyd is killed and started on its store: chats_load(). */
inline crash(me)
{
#ifdef FAULT_COUNTER_LOST
	if
	:: me == 0 -> send_counter = 0
	:: else -> skip
	fi;
#else
	ratchet_close(me);
	pending_restored[me] = d_pending[me] != 0;
#endif
	resuming[me] = false;
	recoveries[me] = 0;
	if
	:: me == 0 -> again = false
	:: else -> skip
	fi;
	drop_wire()
}

inline make_copy(me)
{
	copied[me] = true;
	c_version[me] = d_version[me]; c_own[me] = d_own[me]; c_peer[me] = d_peer[me];
	c_pending[me] = d_pending[me]; c_cause[me] = d_cause[me]; c_link[me] = d_link[me];
	c_used[me] = d_used[me]; c_confirmed[me] = d_confirmed[me];
	c_gone[me] = d_gone[me]; c_floor[me] = d_floor[me];
	if
	:: me == 0 -> c_accepted = d_accepted; c_acked = d_acked
	:: else -> c_delivered = d_delivered
	fi
}

inline put_back(me)
{
	d_version[me] = c_version[me]; d_own[me] = c_own[me]; d_peer[me] = c_peer[me];
	d_pending[me] = c_pending[me]; d_cause[me] = c_cause[me]; d_link[me] = c_link[me];
	d_used[me] = c_used[me]; d_confirmed[me] = c_confirmed[me];
	d_gone[me] = c_gone[me]; d_floor[me] = c_floor[me];
	if
	:: me == 0 -> d_accepted = c_accepted; d_acked = c_acked
	:: else -> d_delivered = c_delivered
	fi;
	went_back[me] = true;
	copied[me] = false;
	c_version[me] = 0; c_own[me] = 0; c_peer[me] = 0; c_pending[me] = 0; c_cause[me] = 0;
	c_link[me] = 0; c_used[me] = 0; c_confirmed[me] = false; c_gone[me] = false;
	c_floor[me] = 0; c_accepted = 0; c_acked = 0; c_delivered = 0
}

proctype side(byte me)
{
end:	do
	/* TIELINE_UP, and the app is there. */
	:: d_step { due[me] -> due[me] = false; start(me) }
	:: d_step { wire[me]?type, a, b, c ->
		if
		:: type == SETUP -> on_setup(me, a, b, c)
		:: type == RELAY -> on_relay(a, b, c)
		:: type == ACK -> on_ack(a)
		:: type == TEARDOWN -> on_teardown(me, a)
		fi }
	/* start_rekey(), rekey_one(), message_count(), tick_chat() */
	:: d_step { d_version[me] != 0 && rekeys > 0 && d_pending[me] == 0 ->
		rekeys--;
		make_offer(me, d_version[me] + 1, false,
		    (epoch[me] == 0 -> CAUSE_RESUME : 0));
		send_pending(me) }
	:: d_step { me == 0 && ready[0] && epoch[0] != 0 && !again &&
	    d_accepted < MESSAGES ->
		d_accepted++;
		seal(d_accepted) }
	/* Resume finished: what is not acknowledged is sealed again. */
	:: d_step { me == 0 && ready[0] && epoch[0] != 0 && again ->
		again = false;
		a = d_acked + 1;
		do
		:: a <= d_accepted -> seal(a); a++
		:: else -> break
		od;
		a = 0 }
	od
}

proctype world()
{
end:	do
	:: d_step { crashes > 0 && d_version[0] != 0 ->
		crashes--; crash(0) }
	:: d_step { crashes > 0 && d_version[1] != 0 ->
		crashes--; crash(1) }
	:: d_step { losses > 0 && (nempty(wire[0]) || nempty(wire[1])) ->
		losses--; drop_wire() }
	:: d_step { doubles > 0 && nempty(wire[0]) && nfull(wire[0]) ->
		doubles--; wire[0]?<type, a, b, c>; wire[0]!type, a, b, c }
	:: d_step { doubles > 0 && nempty(wire[1]) && nfull(wire[1]) ->
		doubles--; wire[1]?<type, a, b, c>; wire[1]!type, a, b, c }
	:: d_step { divergences > 0 && epoch[1] != 0 && !spoiled ->
		divergences--; spoiled = true }
	/* What no epoch of this chat sealed: of an unknown version. */
	:: d_step { divergences > 0 && epoch[1] != 0 && nfull(wire[1]) ->
		divergences--; wire[1]!RELAY(0, 0, 0) }
	:: d_step { rollbacks > 0 && !copied[0] -> rollbacks--; make_copy(0) }
	:: d_step { rollbacks > 0 && !copied[1] -> rollbacks--; make_copy(1) }
	:: d_step { copied[0] -> put_back(0); crash(0) }
	:: d_step { copied[1] -> put_back(1); crash(1) }
	/* At rest: nothing under way, nothing left to send. */
	:: atomic { timeout ->
		assert(d_gone[0] == d_gone[1]);
		assert(!BROKEN || MESSAGES == 0 || d_gone[0]);
		if
		:: d_gone[0] -> skip
		:: else ->
			assert(d_version[0] == d_version[1]);
			assert(epoch[0] == epoch[1] && epoch[0] != 0);
			assert(d_pending[0] == 0 && d_pending[1] == 0);
			assert(d_own[0] == d_peer[1] && d_peer[0] == d_own[1]);
			assert(ready[0] && ready[1]);
			assert(d_accepted == MESSAGES);
			assert(d_delivered == MESSAGES && d_acked == MESSAGES)
		fi;
		break }
	od
}

init {
	d_step {
		start(0);
		start(1)
	};
	atomic {
		run side(0);
		run side(1);
		run world()
	}
}
