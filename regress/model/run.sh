#!/bin/sh
# Check the model of the tieline protocol with SPIN, exhaustively for each
# bound below; then three faults put in on purpose, each of which SPIN must
# find, or the model proves nothing. The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")"
model=$PWD/tieline.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0
failed=0

errors() { # flags; prints the number of errors SPIN finds
	rm -f pan*
	# shellcheck disable=SC2086 # a list of flags
	spin -a $1 "$model" >spin.out 2>&1 &&
	    cc -w -O2 -DSAFETY -DCOLLAPSE -DMEMLIM=6000 -o pan pan.c &&
	    ./pan -m1000000 >pan.out 2>&1
	grep -q 'Search not completed' pan.out && ! grep -q 'pan:1:' pan.out &&
	    { echo incomplete; return; }
	sed -n 's/.*errors: \([0-9]*\)$/\1/p' pan.out
}

expect() { # what, flags, number of errors
	found=$(errors "$2")
	states=$(sed -n 's/ *\([0-9]*\) states, stored.*/\1/p' pan.out)
	if [ "$found" = "$3" ]; then
		echo "ok     $1: $found errors, $states states"
		passed=$((passed + 1))
	else
		echo "not ok $1: $found errors, expected $3"
		sed 's/^/    /' spin.out pan.out | head -n 40
		failed=$((failed + 1))
	fi
}

bound() {
	expect "crashes $1, losses $2, doubles $3, rekeys $4, messages $5" \
	    "-DCRASHES=$1 -DLOSSES=$2 -DDOUBLES=$3 -DREKEYS=$4 -DMESSAGES=$5" 0
}

bound 0 0 1 2 2
bound 1 0 0 2 2
bound 0 2 1 2 1
bound 1 1 1 1 2
bound 2 0 1 1 1
bound 1 1 1 2 1
expect "fault found: only the pending offer is sent on resume" \
    "-DFAULT_PENDING_ALONE" 1
expect "fault found: a crash forgets the counter" \
    "-DFAULT_COUNTER_LOST -DREKEYS=0" 1
expect "fault found: an offer is made anew instead of kept" \
    "-DFAULT_OFFER_NOT_KEPT" 1
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
