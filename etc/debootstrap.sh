#!/bin/sh
# etc/debootstrap.sh FOLDER [PACKAGE,...]: a minimal Debian 12 with these
# packages, from the mirror and with the package sources of this machine.
set -eu
mirror=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++)
	if ($i ~ /^http/) { print $i; exit } }
	$1 == "URIs:" { print $2; exit }' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
    /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
debootstrap --variant=minbase ${2:+--include="$2"} bookworm "$1" "$mirror" \
    >/dev/null
rm -f "$1/etc/apt/sources.list" "$1/etc/hostname"
cp -r /etc/apt/sources.list* "$1/etc/apt/"
rm -rf "$1"/var/cache/apt/archives/*.deb
