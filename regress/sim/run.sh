#!/bin/sh
# The simulator: all scenarios with the seeds they are due, and that a seed
# runs the same in another process, bit for bit. The last line is "N passed,
# N failed".
set -u
BUILD=${BUILD:-build}
sim=$BUILD/regress/sim/sim
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0

"$sim" check >"$out/check"
cat "$out/check"
passed=$(sed -n 's/^\([0-9]*\) passed, [0-9]* failed$/\1/p' "$out/check")
bad=$(sed -n 's/^[0-9]* passed, \([0-9]*\) failed$/\1/p' "$out/check")

say() { # what, 0 when it is well
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
		echo "ok $1"
	else
		failed=$((failed + 1))
		echo "not ok $1"
	fi
}

# At least 20 different seeds, each named, and an artifact for every run.
seeds=$(grep -o 'SEED=[0-9]*' "$out/check" | sort -u | wc -l)
say "check ran $seeds seeds" "$([ "$seeds" -ge 20 ]; echo $?)"

# Two processes, the same words and the same artifacts.
for turn in 1 2; do
	for scenario in churn directory L18_L31_liars L18_clocks; do
		SIM_OUT=$out/$turn "$sim" SEEDS=40-41 NODES=40 \
		    SCENARIO=$scenario
	done >"$out/said.$turn"
	sed -i 's/ cpu=[0-9.]*s//' "$out/said.$turn"
done
cmp "$out/said.1" "$out/said.2" && diff -r "$out/1" "$out/2"
say "a seed runs the same in two processes" $?
runs=$(grep -c ' SEED=' "$out/said.1")
files=$(find "$out/1" -name '*.json' | wc -l)
say "$files artifacts of $runs runs" "$([ "$files" -eq "$runs" ]; echo $?)"

# A run that fails says how to run it again, which fails the same.
SIM_OUT=$out/3 "$sim" SEEDS=9,11 SCENARIO=fails >"$out/fails"
say "a failure is a failure" "$([ $? -eq 1 ]; echo $?)"
again=$(sed -n 's/^    again: make sim //p' "$out/fails" | head -n 1)
# shellcheck disable=SC2086
SIM_OUT=$out/4 "$sim" $again >"$out/again"
name=$(ls "$out/4")
cmp "$out/3/$name" "$out/4/$name" && grep -q '"ok": false' "$out/4/$name"
say "a failing seed runs again, bit for bit ($again)" $?

echo "$((passed)) passed, $((failed + ${bad:-1})) failed"
[ $((failed + ${bad:-1})) -eq 0 ]
