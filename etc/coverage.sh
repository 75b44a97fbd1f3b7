#!/bin/sh
# Lines that ran, of those there are, from what a coverage build left behind:
# `coverage.sh BUILD`. A row for each folder, each file of keyd/ and each file
# of a protocol core, what the whole comes to, and at the end keyd/ and the
# cores, which must have 90 %: fails when one has less.
set -u
build=$1
found=$(mktemp)
trap 'rm -f "$found"' EXIT
# By the .gcno, which a file has that never ran, too.
find "$build" -name '*.gcno' | sort | while read -r notes; do
	gcov -n -o "$(dirname "$notes")" "$notes" 2>/dev/null
done | awk '
/^File / { file = $2; gsub("\047", "", file) }
/^Lines executed:/ {
	split($0, part, /[:% ]+/)
	if (file !~ /^(\/|build|regress)/ && file ~ /\.[cy]$/)
		print file, part[3] / 100, part[5]
	file = "/"
}' >"$found"
awk '
BEGIN {
	core["router/chat.c"] = "chat"
	core["mesh/directory.c"] = "directory"
	core["keyd/policy.c"] = "policy"
	core["keyd/ratchet.c"] = "ratchet"
	# The parts of one machine.
	split("swim swim_member swim_probe swim_queue swim_suspicion", swim)
	for (i in swim)
		core["mesh/" swim[i] ".c"] = "swim"
}
{	# The best of the programs that have the file: gcda are per build.
	ran = $2 * $3
	if (!($1 in lines) || ran > hit[$1]) { hit[$1] = ran; lines[$1] = $3 }
}
function row(name) {
	printf "%-28s %6d of %6d lines %6.1f %%\n", name, a[name] + 0.5,
	    b[name], b[name] ? 100 * a[name] / b[name] : 0 | "sort"
}
function add(name, file) {
	a[name] += hit[file]; b[name] += lines[file]
}
function part(title) {
	close("sort"); printf "\n%s\n", title; fflush()
}
END {
	part("files")
	for (file in lines) {
		folder = file
		sub("/[^/]*$", "", folder)
		add(folder, file); folders[folder]
		add("all", file)
		if (file in core)
			add("core " core[file], file)
		if (folder == "keyd" || file in core) {
			add(file, file); row(file)
		}
	}
	part("folders")
	for (folder in folders)
		row(folder)
	row("all")
	must["keyd"]
	for (file in core)
		must["core " core[file]]
	part("at least 90 %")
	for (name in must)
		row(name)
	close("sort")
	for (name in must)
		if (b[name] == 0 || a[name] / b[name] < 0.9) {
			print name " is below 90 %"
			bad = 1
		}
	exit bad
}' "$found"
