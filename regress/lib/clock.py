"""A wall clock of its own for a node, which a test sets while it runs; see
regress/cluster/clock.c. It needs root, for a mount namespace."""

import os
import re
import struct
import subprocess

from hermes_cli import BUILD
from hermes_node import HERMESD

CLOCK = str(BUILD / "regress/cluster/clock.so")


class Clock:
    """prefix goes before the command that is to live by this clock."""

    def __init__(self, folder, ahead=0):
        assert os.geteuid() == 0, "a clock of its own needs root"
        over = folder / "etc"
        for part in ("up", "work"):
            (over / part).mkdir(parents=True)
        self.file = over / "up/clock.ahead"
        self.set(ahead)
        # A sanitizer insists on being the first.
        ldd = subprocess.run(["ldd", HERMESD], capture_output=True,
                             text=True, check=True).stdout
        first = re.findall(r"=> (\S*/libasan\S*)", ldd)
        (over / "up/ld.so.preload").write_text("\n".join(first + [CLOCK, ""]))
        self.prefix = ["unshare", "-m", "sh", "-ec", (
            "mount -t overlay overlay -o lowerdir=/etc,"
            f"upperdir={over}/up,workdir={over}/work /etc\n"
            'exec "$@"'), "sh"]

    def set(self, ahead):
        """Seconds before (or, negative, after) the true time, from now on.
        Written in place: the file is mapped."""
        fd = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(fd, struct.pack("=q", ahead), 0)
        os.close(fd)
