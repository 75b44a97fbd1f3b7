#!/bin/sh
# Run suites, JOBS (2) at once, and sum them: `regress/run.sh SUITE ...`; what
# a suite is, suite.sh says. The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
TALLY=$(mktemp)
export BUILD TALLY
trap 'rm -f "$TALLY"' EXIT

printf '%s\n' "$@" | xargs -n 1 -P "${JOBS:-2}" sh regress/suite.sh
set -- $(awk '{p += $1; f += $2} END {print p + 0, f + 0, NR}' "$TALLY") $#
# One that was cut off has told nothing.
failed=$(($2 + $4 - $3))
echo "$1 passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$1" -gt 0 ]
