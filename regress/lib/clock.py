"""A wall clock of its own for a node, which a test sets while it runs; see
regress/cluster/clock.c."""

import struct

from hermes_cli import BUILD
from preload import preload

CLOCK = str(BUILD / "regress/cluster/clock.so")


class Clock:
    """prefix goes before the command that is to live by this clock."""

    def __init__(self, folder, ahead=0):
        self.file, self.prefix = preload(folder, CLOCK, "clock.ahead",
                                         struct.pack("=q", ahead))

    def set(self, ahead):
        """Seconds before (or, negative, after) the true time, from now on.
        Written in place: the file is mapped."""
        with open(self.file, "r+b") as file:
            file.write(struct.pack("=q", ahead))
