"""A wall clock of its own for a node, which a test sets while it runs; see
regress/cluster/clock.c."""

import struct

from hermes_cli import BUILD
from hermes_node import Mesh
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


class Timed(Mesh):
    """Nodes whose clocks a test puts forward, by less than a minute in all,
    which is no jump to them: what takes so long takes a moment, and what must
    come before its end has a part of a minute for it."""

    def __init__(self, count=2, extra=""):
        self.clocks, self.ahead = [], 0
        super().__init__(count, extra)

    def prepare(self, node):
        self.clocks.append(Clock(node.folder))
        node.prefix = self.clocks[-1].prefix

    def forward(self, seconds):
        self.ahead += seconds
        for clock in self.clocks:
            clock.set(self.ahead)
