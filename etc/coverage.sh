#!/bin/sh
# Lines that ran, of those there are, from what a coverage build left behind:
# `coverage.sh BUILD`. A row for each folder, then for each file of keyd/ and
# each core, then what the whole comes to. Fails when keyd/ or a core is below
# 90 %.
set -u
build=$1
found=$(mktemp)
trap 'rm -f "$found"' EXIT
find "$build" -name '*.gcda' | sort | while read -r data; do
	gcov -n -o "$(dirname "$data")" "$data" 2>/dev/null
done | awk '
/^File / { file = $2; gsub("\047", "", file) }
/^Lines executed:/ {
	split($0, part, /[:% ]+/)
	if (file !~ /^(\/|build)/ && file ~ /\.[cy]$/)
		print file, part[3] / 100, part[5]
	file = "/"
}' >"$found"
awk '
{	# The best of the programs that have the file: gcda are per build.
	ran = $2 * $3
	if (!($1 in lines) || ran > hit[$1]) { hit[$1] = ran; lines[$1] = $3 }
}
function row(name, a, b) {
	printf "%-28s %6d of %6d lines %6.1f %%\n", name, a + 0.5, b,
	    100 * a / b | "sort"
}
END {
	cores = " mesh/swim.c mesh/directory.c router/chat.c keyd/ratchet.c" \
	    " keyd/policy.c "
	for (file in lines) {
		if (file ~ /^regress/)
			continue
		folder = file
		sub("/[^/]*$", "", folder)
		a[folder] += hit[file]; b[folder] += lines[file]
		all += hit[file]; of += lines[file]
		if (folder == "keyd" || index(cores, " " file " "))
			row("  " file, hit[file], lines[file])
	}
	close("sort")
	for (folder in a)
		row(folder, a[folder], b[folder])
	close("sort")
	row("all", all, of)
	close("sort")
	if (b["keyd"] == 0 || a["keyd"] / b["keyd"] < 0.9) {
		print "keyd/ is below 90 %"
		bad = 1
	}
	n = split(cores, core, " ")
	for (i = 1; i <= n; i++)
		if (lines[core[i]] == 0 || hit[core[i]] / lines[core[i]] < 0.9) {
			print core[i] " is below 90 %"
			bad = 1
		}
	exit bad
}' "$found"
