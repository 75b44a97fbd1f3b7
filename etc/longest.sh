#!/bin/sh
# No function longer than N lines: etc/longest.sh N FILE ...
limit=$1
shift
ctags --languages=C --kinds-C=f --fields=+ne -x \
    --_xformat='%F %N %n %e' "$@" |
awk -v limit="$limit" '$4 - $3 + 1 > limit {
	print $1 ":" $3 ": " $2 " has " $4 - $3 + 1 " lines"; bad = 1
} END { exit bad }'
