"""A program on a terminal that is looked at: a pty, and the screen that a
terminal would show of what the program wrote."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import threading

import pyte

from hermes_node import until


TOP = b"\x1b[J"  # the end of each picture of hermesctl top


class Screen:
    """A running program; columns and rows as stty(1) would set them. end:
    what each picture ends with, where the program draws such."""

    def __init__(self, command, columns=80, rows=24, environment=None,
                 end=b""):
        self.end = end
        self.master, self.slave = pty.openpty()
        self.lock = threading.Lock()
        self.raw = b""
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self._window(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=self.slave, stdout=self.slave,
            stderr=self.slave, env={**os.environ, "TERM": "xterm",
                                    **(environment or {})},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.done = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.done = True
        self.thread.join()
        os.close(self.master)
        os.close(self.slave)

    def _read(self):
        while not self.done:
            if select.select([self.master], [], [], 0.05)[0]:
                data = os.read(self.master, 65536)
                with self.lock:
                    self.raw += data
                    self.stream.feed(data)

    def _window(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns, rows):
        """As a terminal emulator does it: the program gets SIGWINCH."""
        with self.lock:
            self.screen.resize(rows, columns)
            self.screen.reset()
            self._window(columns, rows)

    def lines(self):
        """What is on the screen, without blanks at the ends."""
        with self.lock:
            return self._lines()

    def _lines(self):
        return [line.rstrip() for line in self.screen.display]

    def text(self):
        return "\n".join(self.lines())

    def wait(self, what, check):
        """Until check(lines) is true, at the end of a picture; the lines."""
        seen = []

        def found():
            with self.lock:
                whole = self.raw.endswith(self.end)
                seen[:] = self._lines()
            return whole and check(seen)
        try:
            until(what, found)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(seen)) from None
        return list(seen)

    def type(self, text):
        os.write(self.master, text.encode())

    def signal(self, number):
        self.process.send_signal(number)

    def exit(self, timeout=60):
        """Wait for the end: the exit status. The terminal must be as it was,
        the cursor seen and the alternate screen left."""
        status = self.process.wait(timeout)
        until("all read", lambda: self.raw.rstrip().endswith(b"\x1b[?1049l"))
        assert termios.tcgetattr(self.slave) == self.before
        assert b"\x1b[?25h" in self.raw[-40:]
        return status


