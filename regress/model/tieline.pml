/*
 * The tieline protocol between two keyds, for SPIN: offers, simultaneous
 * rekeys, frames lost and doubled, crashes of either side between any two
 * steps, resume. keyd/policy.c decides the same cases under the same names
 * (NEXT, REPEAT, STALE, JUMP), keyd/chats_*.c act on them in functions of the
 * names given below; change both together.
 *
 * Each side is one keyd with its mesh. What a side commits before it sends is
 * durable (d_ below) and outlives a crash; frames under way do not. An offer
 * is an ephemeral key, here a number never used twice. The epoch of a version
 * is the pair of offers it was derived from.
 *
 * Shown: both ends hold the same epoch when they hold the same version, and
 * are never more than one version apart; at rest they hold the same version;
 * no counter of an epoch is used twice; each message is delivered once and in
 * order; nothing gets stuck.
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
#define WIRE	12	/* frames; never full, which is checked */
#define VERSIONS (3 + REKEYS + 2 * CRASHES)

mtype = { SETUP, RELAY, ACK };

/* SETUP: version, offer, answer. RELAY: version, counter, sequence. ACK:
 * delivered. */
chan wire[2] = [WIRE] of { mtype, byte, byte, byte };

/* Durable, in keyd's store. */
byte d_version[2];	/* epoch in force; 0: state offered or none */
byte d_own[2];		/* own offer of the epoch in force */
byte d_peer[2];		/* the peer's */
byte d_pending[2];	/* own offer of version + 1; 0: none */
byte d_counter[2];	/* next counter of the sending chain */
byte d_received[2];	/* next counter of the receiving chain */
bool d_confirmed[2];	/* the peer is known to be at this version too */
byte d_accepted;	/* side 0: last sequence sealed */
byte d_delivered;	/* side 1: last sequence given to the app */

/* Lost in a crash. */
bool restarted[2];	/* since the epoch in force was derived */
bool restored[2];	/* the pending offer is of before a crash */
byte acked;		/* side 0's router */

byte offers;		/* made so far: the next offer's number */
byte crashes = CRASHES, losses = LOSSES, doubles = DOUBLES, rekeys = REKEYS;

/* Ghosts: which (version, counter) pairs sealed a message already, and the
 * epoch each version was derived from at each side. */
bool sealed[VERSIONS * 8];
byte epoch_own[2 * VERSIONS], epoch_peer[2 * VERSIONS];

inline send_setup(me, version, offer, answer)
{
	assert(nfull(wire[1 - me]));
	wire[1 - me]!SETUP(version, offer, answer)
}

/* chat_offer(). The ephemeral is committed before the offer is sent. */
inline make_pending(me)
{
	if
#ifdef FAULT_OFFER_NOT_KEPT
	:: true -> offers++; d_pending[me] = offers
#endif
	:: d_pending[me] == 0 ->
		offers++; d_pending[me] = offers; restored[me] = false
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
	:: d_version[me] != 0 && !d_confirmed[me] ->
		send_setup(me, d_version[me], d_own[me], 1)
	:: else -> skip
	fi;
#endif
	send_setup(me, d_version[me] + 1, d_pending[me], 0)
}

/* start_new(), start_resume(): START, or a resume after TIELINE_UP. */
inline start(me)
{
	if
	:: d_version[me] == 0 || restarted[me] -> make_pending(me)
	:: else -> skip
	fi;
	if
	:: d_pending[me] != 0 -> send_pending(me)
	:: else -> send_setup(me, d_version[me], d_own[me], 0)
	fi
}

/* chat_derive(). Both offers of version + 1 are known. */
inline derive(me, offer, confirmed)
{
	d_version[me] = d_version[me] + 1;
	assert(d_version[me] < VERSIONS);
	d_own[me] = d_pending[me];
	d_peer[me] = offer;
	d_pending[me] = 0;
	d_counter[me] = 0;
	d_received[me] = 0;
	d_confirmed[me] = confirmed;
	/* Of an offer of before a crash the epoch may have been in use, if the
	 * store is an old copy: it is not used. */
	restarted[me] = restored[me];
	restored[me] = false;
	epoch_own[me * VERSIONS + d_version[me]] = d_own[me];
	epoch_peer[me * VERSIONS + d_version[me]] = d_peer[me];
	/* Same version, same epoch. */
	if
	:: epoch_own[(1 - me) * VERSIONS + d_version[me]] != 0 ->
		assert(epoch_own[(1 - me) * VERSIONS + d_version[me]] ==
		    d_peer[me]);
		assert(epoch_peer[(1 - me) * VERSIONS + d_version[me]] ==
		    d_own[me])
	:: else -> skip
	fi
}

/* policy_judge(), setup_existing(): what an incoming offer means. */
inline on_setup(me, version, offer, answer)
{
	if
	:: version == d_version[me] + 1 ->		/* NEXT */
		make_pending(me);
		derive(me, offer, answer);
		if
		:: restarted[me] ->	/* setup_next_epoch() */
			make_pending(me);
			send_pending(me)
		:: !restarted[me] && answer == 0 ->
			send_setup(me, d_version[me], d_own[me], 1)
		:: else -> skip
		fi
	:: version == d_version[me] && version != 0 ->	/* REPEAT */
		assert(offer == d_peer[me]);
		if
		:: answer == 1 -> d_confirmed[me] = true
		:: else ->
			if
			:: d_pending[me] == 0 && restarted[me] ->
				make_pending(me)
			:: else -> skip
			fi;
			if
			:: d_pending[me] != 0 ->
				/* It lacks our present offer. */
				d_confirmed[me] = false;
				send_pending(me)
			:: else ->
				send_setup(me, d_version[me], d_own[me], 1)
			fi
		fi
	:: version < d_version[me] ->			/* STALE */
		/* Delayed or doubled: an answer with the present offer lets a
		 * peer that is really one behind catch up. */
		if
		:: answer == 0 ->
			send_setup(me, d_version[me], d_own[me], 1)
		:: else -> skip
		fi
	:: else -> assert(false)			/* JUMP */
	fi
}

inline on_relay(me, version, counter, sequence)
{
	if
	:: version == d_version[me] && counter >= d_received[me] ->
		d_received[me] = counter + 1;
		d_confirmed[me] = true;
		if
		:: sequence == d_delivered + 1 -> d_delivered = sequence
		:: else -> skip		/* a repeat, or a gap: sent again */
		fi;
		assert(nfull(wire[1 - me]));
		wire[1 - me]!ACK(d_delivered, 0, 0)
	:: else -> skip			/* replay or an epoch wiped */
	fi
}

inline seal(me, sequence)
{
	assert(!sealed[d_version[me] * 8 + d_counter[me]]);
	sealed[d_version[me] * 8 + d_counter[me]] = true;
	wire[1 - me]!RELAY(d_version[me], d_counter[me], sequence);
	d_counter[me]++
}

/* A mesh, and with it the stream, died: what was under way is gone, and both
 * ends hear TIELINE_UP and start again. */
inline drop_wire()
{
	do
	:: nempty(wire[0]) -> wire[0]?_, _, _, _
	:: nempty(wire[1]) -> wire[1]?_, _, _, _
	:: empty(wire[0]) && empty(wire[1]) -> break
	od
}

proctype side(byte me)
{
	mtype type;
	byte a, b, c;

end:	do
	:: atomic { wire[me]?type, a, b, c ->
		if
		:: type == SETUP -> on_setup(me, a, b, c)
		:: type == RELAY -> on_relay(me, a, b, c)
		:: type == ACK -> if
			:: a > acked -> acked = a
			:: else -> skip
			fi
		fi; type = 0; a = 0; b = 0; c = 0 }
	:: atomic { d_version[me] != 0 && rekeys > 0 && d_pending[me] == 0 ->
		rekeys--;
		make_pending(me);
		send_pending(me) }
	:: atomic { me == 0 && d_version[0] != 0 && !restarted[0] &&
	    d_accepted < MESSAGES && d_counter[0] < 7 && nfull(wire[1]) ->
		d_accepted++;
		seal(0, d_accepted) }
	/* Resume finished: what is not acknowledged is sealed again. */
	:: atomic { me == 0 && d_version[0] != 0 && !restarted[0] &&
	    acked < d_accepted && empty(wire[0]) && empty(wire[1]) &&
	    d_counter[0] < 7 ->
		seal(0, acked + 1) }
	od
}

proctype world()
{
	mtype type;
	byte a, b, c;

end:	do
	:: atomic { crashes > 0 && d_version[0] != 0 ->
		crashes--; drop_wire(); restarted[0] = true; acked = 0;
		restored[0] = d_pending[0] != 0;
#ifdef FAULT_COUNTER_LOST
		d_counter[0] = 0; restarted[0] = false; restored[0] = false;
#endif
		start(0); start(1) }
	:: atomic { crashes > 0 && d_version[1] != 0 ->
		crashes--; drop_wire(); restarted[1] = true;
		restored[1] = d_pending[1] != 0;
		start(1); start(0) }
	:: atomic { losses > 0 && (nempty(wire[0]) || nempty(wire[1])) ->
		losses--; drop_wire(); start(0); start(1) }
	:: atomic { doubles > 0 && nempty(wire[0]) && nfull(wire[0]) ->
		doubles--; wire[0]?<type, a, b, c>; wire[0]!type, a, b, c;
		type = 0; a = 0; b = 0; c = 0 }
	:: atomic { doubles > 0 && nempty(wire[1]) && nfull(wire[1]) ->
		doubles--; wire[1]?<type, a, b, c>; wire[1]!type, a, b, c;
		type = 0; a = 0; b = 0; c = 0 }
	/* At rest: nothing under way, nothing left to send. */
	:: atomic { timeout ->
		assert(d_version[0] == d_version[1]);
		assert(d_version[0] != 0);
		assert(d_pending[0] == 0 && d_pending[1] == 0);
		assert(d_own[0] == d_peer[1] && d_peer[0] == d_own[1]);
		assert(d_delivered == d_accepted);
		break }
	od
}

init {
	atomic {
		start(0);
		start(1);
		run side(0);
		run side(1);
		run world()
	}
}
