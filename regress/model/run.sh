#!/bin/sh
# Check the model of the tieline protocol with SPIN, exhaustively for each
# bound below; then faults put in on purpose, each of which SPIN must find, by
# the assertion that is there for it, or the model proves nothing. The last
# line is "N passed, N failed".
set -u
cd "$(dirname "$0")"
model=$PWD/tieline.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0
failed=0

errors() { # flags, -O of the checker; prints the number of errors SPIN finds
	rm -f pan*
	# shellcheck disable=SC2086 # a list of flags
	spin -a $1 "$model" >spin.out 2>&1 &&
	    cc -w "$2" -DSAFETY -DCOLLAPSE -DMEMLIM=2000 -o pan pan.c &&
	    ./pan -m1000000 >pan.out 2>&1
	grep -q 'Search not completed' pan.out && ! grep -q 'pan:1:' pan.out &&
	    { echo incomplete; return; }
	sed -n 's/.*errors: \([0-9]*\)$/\1/p' pan.out
}

expect() { # what, flags, number of errors, the assertion that finds it
	optimize=-O2
	[ "$3" = 0 ] || optimize=-O0 # it stops early
	found=$(errors "$2" "$optimize")
	states=$(sed -n 's/ *\([0-9]*\) states, stored.*/\1/p' pan.out)
	if [ "$found" = "$3" ] &&
	    { [ "$3" = 0 ] || grep -qF "assertion violated $4" pan.out; }; then
		echo "ok     $1: $found errors, $states states"
		passed=$((passed + 1))
	else
		echo "not ok $1: $found errors, expected $3 $4"
		sed 's/^/    /' spin.out pan.out | head -n 40
		failed=$((failed + 1))
	fi
}

flags() { # crashes, losses, doubles, rekeys, messages, others
	echo "-DCRASHES=$1 -DLOSSES=$2 -DDOUBLES=$3 -DREKEYS=$4" \
	    "-DMESSAGES=$5 $6"
}

bound() { # as flags()
	expect "crashes $1, losses $2, doubles $3, rekeys $4, messages $5${6:+, $6}" \
	    "$(flags "$1" "$2" "$3" "$4" "$5" "${6:-}")" 0
}

fault() { # what, flags, the assertion
	expect "fault found: $1" "$2" 1 "$3"
}

bound 0 0 1 2 2
bound 1 0 0 2 2
bound 0 2 1 1 1
bound 1 1 1 1 1
bound 2 0 0 1 1
bound 1 0 1 1 1 -DLATE=1
# Recovery: it helps within the limit, else both ends fail closed.
bound 0 0 0 1 2 -DDIVERGENCES=2
bound 0 1 0 1 1 "-DDIVERGENCES=2 -DLIMIT=1"
bound 1 0 0 1 1 -DDIVERGENCES=1
bound 0 0 1 1 2 "-DBROKEN=1 -DLIMIT=2"
bound 1 1 0 0 1 "-DBROKEN=1 -DLIMIT=1 -DLATE=1"
# Old copies of either store, and of both.
bound 0 0 0 2 1 -DROLLBACKS=1
bound 1 0 0 0 1 -DROLLBACKS=1
bound 0 0 1 1 1 -DROLLBACKS=1
bound 0 1 0 1 1 -DROLLBACKS=1
bound 0 0 0 0 1 "-DROLLBACKS=2 -DLATE=1 -DLIMIT=1"
bound 0 0 0 1 1 "-DROLLBACKS=1 -DLATE=1 -DLIMIT=1"
bound 0 0 0 0 1 "-DROLLBACKS=1 -DDIVERGENCES=1 -DLATE=1"

key_twice='((sealed[epoch[0]]&(1<<send_counter))==0)'
fault "only the pending offer is sent on resume" -DFAULT_PENDING_ALONE \
    '(((0+0)+0)>0)'
fault "a crash forgets the counter" "-DFAULT_COUNTER_LOST -DREKEYS=0" \
    "$key_twice"
fault "an offer is made anew instead of kept" -DFAULT_OFFER_NOT_KEPT \
    '(((0+0)+0)>0)'
fault "recovery without limit has no end" \
    "$(flags 0 0 0 0 1 "-DBROKEN=1 -DFAULT_NO_LIMIT")" '(offers<30)'
fault "who fails closed does not tell" \
    "$(flags 0 0 0 0 1 "-DBROKEN=1 -DFAULT_NOT_TOLD")" \
    '(d_gone[0]==d_gone[1])'
fault "the epoch of an offer in an old copy is used" \
    "$(flags 0 0 0 1 1 "-DROLLBACKS=1 -DFAULT_OLD_OFFER_USED")" "$key_twice"
fault "a reset is not marked" \
    "$(flags 0 0 0 1 1 "-DROLLBACKS=1 -DFAULT_RESET_NOT_MARKED")" \
    '(verdict!=10)' # FRESH
fault "the ends do not tell their progress after a reset" \
    "$(flags 0 0 0 0 1 "-DROLLBACKS=1 -DFAULT_PROGRESS_LOST")" \
    '((d_delivered==1)&&(d_acked==1))'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
