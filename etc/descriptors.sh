#!/bin/sh
# Print, as a C table, the serialized FileDescriptorProto of each proto file
# named: what server reflection answers with.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
echo '/* Made by etc/descriptors.sh from proto/; not edited by hand. */'
echo 'struct descriptor {'
echo '	const char	*file;'
echo '	const char	*set;	/* FileDescriptorSet, serialized */'
echo '	unsigned int	 length;'
echo '};'
echo 'static const struct descriptor descriptors[] = {'
for proto in "$@"; do
	name=$(basename "$proto")
	protoc --proto_path="$(dirname "$proto")" \
	    --descriptor_set_out="$tmp/set" "$name"
	printf '\t{ "%s",\n' "$name"
	od -An -v -tx1 -w16 "$tmp/set" | sed 's/ /\\x/g; s/.*/\t  "&"/'
	printf '\t  , %s },\n' "$(wc -c < "$tmp/set")"
done
echo '};'
