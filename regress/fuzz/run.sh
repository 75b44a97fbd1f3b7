#!/bin/sh
# Replay the corpora of all fuzz targets under AddressSanitizer and
# UndefinedBehaviorSanitizer (`make BUILD=build/fuzz ... fuzz-bin` makes the
# programs), then some files with each allocation failing in turn; then a keyd
# among liars. The last line is "N passed, N failed", one a file, failure or
# round. STARVE_FILES: how many files of each target do without memory (3).
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
passed=0
failed=0

replay() { # program, arguments
	name=$1
	shift
	out=$("$BUILD/fuzz/regress/fuzz/$name" "$@" 2>&1)
	set -- $(echo "$out" | sed -n \
	    's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' | tail -n 1)
	[ $# -eq 2 ] || set -- 0 1
	[ "$2" -eq 0 ] || echo "$out"
	echo "$name: $1 passed, $2 failed; $(echo "$out" | grep "chains of")"
	passed=$((passed + $1))
	failed=$((failed + $2))
}

for folder in regress/fuzz/corpus/*/; do
	target=$(basename "$folder")
	replay "run_$target" "$folder"
	replay "starve_$target" "$folder" "${STARVE_FILES:-3}"
done

# A real keyd among liars, with another seed each time.
folder=$(mktemp -d)
chmod 755 "$folder"
seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
out=$("$BUILD/regress/fuzz/hostile" "$BUILD/hermesd" "$folder/keyd" "$seed" \
    2>"$folder/log")
set -- $(echo "$out" | sed -n \
    's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' | tail -n 1)
[ $# -eq 2 ] || set -- 0 1
if [ "$2" -ne 0 ]; then
	echo "$out"
	tail -n 30 "$folder/log"
fi
rm -rf "$folder"
echo "hostile (seed $seed): $1 passed, $2 failed"
passed=$((passed + $1))
failed=$((failed + $2))

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
