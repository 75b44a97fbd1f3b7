#!/bin/sh
# Run fuzz targets one after another, FUZZTIME seconds each, from the corpus
# in the tree. What is new is kept in build-fuzz/corpus/TARGET, findings in
# build-fuzz/findings. Fails when there is a finding.
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build-fuzz}
status=0
mkdir -p "$BUILD/findings"
for target in "$@"; do
	mkdir -p "$BUILD/corpus/$target" "regress/fuzz/corpus/$target"
	if "$BUILD/regress/fuzz/run_$target" -max_total_time="${FUZZTIME:-60}" \
	    -print_final_stats=1 -rss_limit_mb=2048 -timeout=20 -close_fd_mask=1 \
	    -max_len="${FUZZ_MAX_LEN:-2048}" \
	    -artifact_prefix="$BUILD/findings/$target-" \
	    "$BUILD/corpus/$target" "regress/fuzz/corpus/$target" \
	    >"$BUILD/$target.log" 2>&1; then
		echo "ok   $target: $(sed -n \
		    's/.*number_of_executed_units: *//p' "$BUILD/$target.log") runs," \
		    "$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' \
		    "$BUILD/$target.log" | tail -n 1) edges"
	else
		status=1
		echo "FAIL $target: see $BUILD/$target.log"
		grep -a -E 'ERROR|does not hold|SUMMARY|Test unit' \
		    "$BUILD/$target.log"
	fi
done
exit $status
