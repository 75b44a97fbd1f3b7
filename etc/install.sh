#!/bin/sh
# etc/install.sh install | uninstall | list: every file of Hermes that is
# installed is named here once, with its mode and its place. make(1) sets the
# variables. The configuration is not among them: `hermesctl init` makes it.
set -eu
cd "$(dirname "$0")/.."

files() {
	cat <<EOF
755 $BUILD/hermesd $SBINDIR/hermesd
755 $BUILD/hermesctl $SBINDIR/hermesctl
755 $BUILD/hermes $BINDIR/hermes
644 $BUILD/lib/libhermes.a $LIBDIR/libhermes.a
644 client/libhermes.pc $LIBDIR/pkgconfig/libhermes.pc
644 client/hermes.h $INCLUDEDIR/hermes.h
644 README.md $DOCDIR/README.md
644 CHANGES.md $DOCDIR/CHANGES.md
644 docs/runbook.md $DOCDIR/runbook.md
644 docs/tutorial.md $DOCDIR/tutorial.md
644 etc/hermesd.conf.sample $DOCDIR/examples/hermesd.conf
644 etc/prometheus/hermes.rules.yml $DOCDIR/examples/hermes.rules.yml
644 etc/grafana/hermes.json $DOCDIR/examples/grafana.json
644 etc/completion/hermesctl.bash $BASHCOMPDIR/hermesctl
644 etc/completion/_hermesctl $ZSHCOMPDIR/_hermesctl
EOF
	for file in etc/examples/*.conf; do
		echo "644 $file $DOCDIR/examples/${file##*/}"
	done
	for file in proto/*.proto; do
		echo "644 $file $DATADIR/hermes/$file"
	done
	for file in man/*.[0-9]; do
		echo "644 $file $MANDIR/man${file##*.}/${file##*/}"
	done
	if [ "$(uname -s)" = OpenBSD ]; then
		echo "555 etc/rc.d/hermesd /etc/rc.d/hermesd"
	else
		cat <<EOF
644 etc/hermesd.service $UNITDIR/hermesd.service
644 etc/hermes.sysusers $SYSUSERSDIR/hermes.conf
644 etc/hermes.tmpfiles $TMPFILESDIR/hermes.conf
EOF
	fi
}

case $1 in
install)
	files | while read -r mode file place; do
		install -d "$DESTDIR${place%/*}"
		install -m "$mode" "$file" "$DESTDIR$place"
		case $place in # they name the place of the programs
		*.service | *.pc | /etc/rc.d/*)
			sed -e "s,/usr/local/sbin,$SBINDIR,g" \
			    -e "s,@LIBDIR@,$LIBDIR,; s,@VERSION@,$VERSION," \
			    -e "s,@INCLUDEDIR@,$INCLUDEDIR," "$file" \
			    >"$DESTDIR$place" ;;
		esac
	done ;;
uninstall)
	files | while read -r _ _ place; do
		rm -f "$DESTDIR$place"
	done
	for folder in "$DATADIR/hermes/proto" "$DATADIR/hermes" \
	    "$DOCDIR/examples" "$DOCDIR"; do
		[ ! -d "$DESTDIR$folder" ] || rmdir "$DESTDIR$folder"
	done ;;
list)
	files | while read -r mode _ place; do
		echo "$mode $place"
	done ;;
*)
	echo "usage: install.sh install | uninstall | list" >&2
	exit 2 ;;
esac
