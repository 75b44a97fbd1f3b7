"""Calls that fail in the processes of a node, as a test sets while they run;
see regress/cluster/faults.c."""

import mmap
import struct

from hermes_cli import BUILD
from preload import preload

LIBRARY = str(BUILD / "regress/cluster/faults.so")
PROCESSES = ("parent", "router", "keyd", "mesh", "control")
KINDS = ("memory", "short", "intr", "full", "files", "space",
         "room")
ROW = struct.Struct("=QQQQ")  # seen, hit, every, once


class Faults:
    """prefix goes before the command whose calls are to fail."""

    def __init__(self, folder):
        size = ROW.size * len(PROCESSES) * len(KINDS)
        self.file, self.prefix = preload(folder, LIBRARY, "faults",
                                         bytes(size))

        with open(self.file, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), size)

    def _at(self, process, kind):
        return ROW.size * (PROCESSES.index(process) * len(KINDS) +
                           KINDS.index(kind))

    def count(self, process, kind):
        """(calls seen, calls that failed)."""
        return ROW.unpack_from(self.map, self._at(process, kind))[:2]

    def every(self, process, kind, number):
        """From now on one in number fails; 0: none."""
        struct.pack_into("=Q", self.map, self._at(process, kind) + 16, number)

    def once(self, process, kind, number):
        """The call so many from now fails, and no more."""
        struct.pack_into("=Q", self.map, self._at(process, kind) + 24, number)
