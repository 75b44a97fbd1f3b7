#!/bin/sh
# Run suites and sum them: `regress/run.sh SUITE ...`. A suite is a program
# made with check(3), pytest files or a folder, or a script. The last line is
# "N passed, N failed". A test that is skipped, and a suite that prints no
# count, count as failed. Output of suites that passed is kept short.
set -u
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
PYTHON=${PYTHON:-/usr/bin/python3}
export BUILD
passed=0
failed=0
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

count() { # suite passed failed
	passed=$((passed + $2))
	failed=$((failed + $3))
	if [ "$3" -gt 0 ] || [ "$2" -eq 0 ]; then
		[ "$2" -gt 0 ] || [ "$3" -gt 0 ] || failed=$((failed + 1))
		echo "FAIL $1: $2 passed, $3 failed"
		sed 's/^/    /' "$log/out" | tail -n 200
	else
		echo "ok   $1: $2 passed"
	fi
}

run_check() { # program of check(3)
	timeout 300 "$1" >"$log/out" 2>&1
	status=$?
	set -- "$1" $(sed -n \
	    's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/p' \
	    "$log/out" | awk '{c+=$1; b+=$2+$3} END {if (NR) print c-b, b}')
	name=$(basename "$1")
	if [ $# -ne 3 ]; then
		count "$name" 0 1
	elif [ "$status" -ne 0 ] && [ "$3" -eq 0 ]; then
		count "$name" "$2" 1
	else
		count "$name" "$2" "$3"
	fi
}

run_pytest() { # folder or file
	timeout -k 10 900 $PYTHON -m pytest -q -p no:cacheprovider -rfE \
	    --tb=short -o faulthandler_timeout=240 \
	    --junitxml="$log/junit.xml" "$1" >"$log/out" 2>&1
	status=$?
	set -- "$1" $(grep -o '<testsuite [^>]*>' "$log/junit.xml" |
	    awk '{for (i = 1; i <= NF; i++) {split($i, a, "[=\"]+")
		n[a[1]] = a[2]}}
		END {bad = n["errors"] + n["failures"] + n["skipped"]
		print n["tests"] - bad, bad}')
	rm -f "$log/junit.xml"
	if [ $# -ne 3 ]; then
		count "$1" 0 1
	elif [ "$status" -ne 0 ] && [ "$3" -eq 0 ]; then
		count "$1" "$2" 1
	else
		count "$1" "$2" "$3"
	fi
}

run_counted() { # name, command that ends with "N passed, N failed"
	suite=$1
	shift
	timeout 900 "$@" >"$log/out" 2>&1
	status=$?
	set -- $(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' \
	    "$log/out" | tail -n 1)
	if [ $# -ne 2 ]; then
		count "$suite" 0 1
	elif [ "$status" -ne 0 ] && [ "$2" -eq 0 ]; then
		count "$suite" "$1" 1
	else
		count "$suite" "$1" "$2"
	fi
}

for suite in "$@"; do
	case $suite in
	*.sh)	run_counted "$suite" sh "$suite" ;;
	*)	if [ -d "$suite" ] || [ "${suite%.py}" != "$suite" ]; then
			run_pytest "$suite"
		else
			run_check "$suite"
		fi ;;
	esac
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
