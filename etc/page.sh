#!/bin/sh
# The status page as C: etc/page.sh FOLDER > page_text.h. Each file becomes
# strings, a line of it a line here, the last without its end; the page is cut where style, history and
# script go. The C compiler puts it together, control/page.c the page.
set -eu
cd "$1"

strings() { # name: standard input as a string
	echo "static const char $1[] ="
	sed -e 's/[\\"?]/\\&/g' -e 's/.*/    "&\\n"/' -e '$s/\\n"$/"/'
	echo "    ;"
}

part() { # from to: what stands between two marks of the page
	awk -v from="$1" -v to="$2" '
	from == "" { on = 1 }
	{
		line = $0
		if (!on && (at = index(line, from))) {
			line = substr(line, at + length(from))
			on = 1
		}
		if (on && to != "" && (at = index(line, to))) {
			print substr(line, 1, at - 1)
			exit
		}
		if (on)
			print line
	}' status.html
}

part '' @style@ | strings page_head
strings page_style < status.css
part @style@ @history@ | strings page_body
part @history@ @script@ | strings page_before_script
strings page_script < status.js
part @script@ '' | strings page_end
