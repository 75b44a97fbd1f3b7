"""A library of its own before all others in every process of a node, and a
file that both map; hermesd hands no environment on. It needs root, for a
mount namespace."""

import os
import re
import subprocess

from hermes_node import HERMESD


def preload(folder, library, name, content):
    """(the file, what goes before the command): /etc is the old one with
    /etc/NAME in it, which holds content and may be written to."""
    assert os.geteuid() == 0, "an /etc of its own needs root"
    over = folder / "etc"
    for part in ("up", "work"):
        (over / part).mkdir(parents=True)
    file = over / "up" / name
    file.write_bytes(content)
    file.chmod(0o666)  # the daemon's users count in it
    # A sanitizer insists on being the first.
    ldd = subprocess.run(["ldd", HERMESD], capture_output=True,
                         text=True, check=True).stdout
    first = re.findall(r"=> (\S*/libasan\S*)", ldd)
    (over / "up/ld.so.preload").write_text("\n".join(
        first + [str(library), ""]))
    return file, ["unshare", "-m", "sh", "-ec", (
        "mount -t overlay overlay -o lowerdir=/etc,"
        f"upperdir={over}/up,workdir={over}/work /etc\n"
        'exec "$@"'), "sh"]
