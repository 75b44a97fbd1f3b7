#!/bin/sh
# Run one suite for run.sh: a program made with check(3), pytest files or a
# folder of them, or a script that ends with "N passed, N failed". Prints its
# result, with the output if it failed, and adds "N N" to the file $TALLY. A
# test that is skipped, and a suite that prints no count, count as failed.
set -u
PYTHON=${PYTHON:-/usr/bin/python3}
suite=$1
# Seconds, for what hangs: the longest suite takes a few minutes on a quiet
# machine, and some machines are ten times as slow.
BOUND=3600
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
began=$(date +%s)

result() { # exit status, then passed and failed, if it said so
	status=$1
	passed=${2:-0}
	failed=${3:-1}
	if [ "$failed" -eq 0 ] && { [ "$status" -ne 0 ] ||
	    [ "$passed" -eq 0 ]; }; then
		failed=1
	fi
	took=$(($(date +%s) - began))
	{
		flock 9
		echo "$passed $failed" >&9
		if [ "$failed" -eq 0 ]; then
			echo "ok   $suite: $passed passed ($took s)"
		else
			echo "FAIL $suite: $passed passed, $failed failed" \
			    "($took s)"
			# What did not hold, before the long logs of nodes.
			{
				grep '^E  ' "$log/out"
				tail -n 200 "$log/out"
			} | sed 's/^/    /'
		fi
	} 9>>"$TALLY"
}

# A case may take 60 s, or what it says itself, and a busy machine or a
# sanitizer five times as long.
run_check() {
	CK_DEFAULT_TIMEOUT=60 CK_TIMEOUT_MULTIPLIER=5 \
	    timeout -k 10 "$BOUND" "$suite" >"$log/out" 2>&1
	status=$?
	suite=$(basename "$suite")
	result "$status" $(sed -n \
	    's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/p' \
	    "$log/out" | awk '{c+=$1; b+=$2+$3} END {if (NR) print c-b, b}')
}

run_pytest() {
	timeout -k 10 "$BOUND" $PYTHON -m pytest -q -p no:cacheprovider -rfE \
	    --tb=short -o faulthandler_timeout=240 \
	    --junitxml="$log/junit.xml" "$suite" >"$log/out" 2>&1
	result "$?" $(grep -o '<testsuite [^>]*>' "$log/junit.xml" |
	    awk '{for (i = 1; i <= NF; i++) {split($i, a, "[=\"]+")
		n[a[1]] = a[2]}}
		END {bad = n["errors"] + n["failures"] + n["skipped"]
		print n["tests"] - bad, bad}')
}

run_script() {
	timeout "$BOUND" sh "$suite" >"$log/out" 2>&1
	result "$?" $(sed -n \
	    's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log/out" |
	    tail -n 1)
}

case $suite in
*.sh)	run_script ;;
*.py)	run_pytest ;;
*)	if [ -d "$suite" ]; then run_pytest; else run_check; fi ;;
esac
