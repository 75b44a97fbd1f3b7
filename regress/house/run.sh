#!/bin/sh
# keyd's durability, each part a program of its own: deaths at every call and
# at random instants, loss of power, churn, rollback, liars, turns, costs.
# The last line is "N passed, N failed". Seeds are printed; HOUSE_SEED sets
# them.
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
HOUSE=$BUILD/regress/house
folder=$(mktemp -d /tmp/hermes-house.XXXXXX)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
passed=0
failed=0

run() { # program, arguments after the folder
	program=$1
	shift
	"$HOUSE/$program" "$BUILD/hermesd" "$HOUSE/calls.so" \
	    "$folder/$program" "$@" >"$folder/out" 2>&1
	status=$?
	sed "s/^/$program: /" "$folder/out"
	set -- $(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' \
	    "$folder/out" | tail -n 1)
	if [ $# -ne 2 ]; then
		failed=$((failed + 1))
	elif [ "$status" -ne 0 ] && [ "$2" -eq 0 ]; then
		passed=$((passed + $1))
		failed=$((failed + 1))
	else
		passed=$((passed + $1))
		failed=$((failed + $2))
	fi
}

case $HOUSE in
/*) ;;
*)	HOUSE=$PWD/$HOUSE ;;
esac
run sweep calls
run sweep instants 60 ${HOUSE_SEED:-}
run power 200 ${HOUSE_SEED:-}
run power 12 ${HOUSE_SEED:-$(date +%s)} 1 9000
run churn 200 ${HOUSE_SEED:-}
run rollback
run proof
run turns
run bench check
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
