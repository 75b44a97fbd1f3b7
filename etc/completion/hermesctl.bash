# bash completion for hermesctl(8), which knows itself what may come next.
_hermesctl()
{
	mapfile -t COMPREPLY < <("$1" complete -- \
	    "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
# Where it knows nothing, a file may stand.
complete -o default -F _hermesctl hermesctl
