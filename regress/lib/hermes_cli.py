"""hermes(1) as a test sees it: started, waited for by its markers, ended."""

import collections
import os
import pathlib
import re
import subprocess
import threading
import time

from hermes_wire import ROOT, WAIT, Identity

BUILD = pathlib.Path(os.environ.get("BUILD", "build"))
if not BUILD.is_absolute():
    BUILD = ROOT / BUILD
HERMES = str(BUILD / "hermes")


class Cli:
    """One hermes(1). address and seed text, then its arguments."""

    def __init__(self, command, address, seed, *arguments, stdin=None):
        self.identity = Identity(seed)
        self.process = subprocess.Popen(
            [HERMES, command, "-n", address, "--seed", seed, "--markers",
             *map(str, arguments)],
            stdin=subprocess.PIPE if stdin is None else stdin,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.errors = collections.deque(maxlen=200)
        self.changed = threading.Condition()
        self.eof = False
        self.threads = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def id(seed):
        """The app id that goes with a seed text."""
        return Identity(seed).id

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.eof = True
            self.changed.notify_all()

    def _read_errors(self):
        for line in self.process.stderr:
            with self.changed:
                self.errors.append(line.rstrip("\n"))
                self.changed.notify_all()

    def wait(self, marker, count=1, timeout=WAIT):
        """Wait until count lines start with marker; the last of them."""
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                found = [l for l in self.lines if l == marker or
                         l.startswith(marker + " ")]
                if len(found) >= count:
                    return found[count - 1]
                left = end - time.monotonic()
                if left <= 0 or self.eof:
                    raise AssertionError(
                        f"{marker}: {len(found)} of {count}; "
                        f"{self.lines[-20:]} {list(self.errors)[-20:]}")
                self.changed.wait(left)

    def wait_error(self, text, timeout=WAIT):
        """Wait for a line on stderr with text in it."""
        with self.changed:
            assert self.changed.wait_for(
                lambda: any(text in e for e in self.errors), timeout), (
                text, list(self.errors))

    def count(self, marker):
        with self.changed:
            return sum(l == marker or l.startswith(marker + " ")
                       for l in self.lines)

    def sequences(self, marker):
        """The numbers of all lines of a marker, in order."""
        with self.changed:
            return [int(l.split()[1]) for l in self.lines
                    if l.startswith(marker + " ")]

    def type(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def say(self, text):
        """All that is to be said; the input ends."""
        self.type(text)
        self.process.stdin.close()

    def exit(self, timeout=WAIT):
        """Wait for the end: (exit code, numbers of the DONE line)."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still runs: {self.lines[-20:]} "
                f"{list(self.errors)[-20:]}") from None
        for thread in self.threads:
            thread.join(WAIT)
        done = [l for l in self.lines if l.startswith("DONE ")]
        numbers = dict((k, int(v)) for k, v in re.findall(
            r"(\w+)=(\d+)", done[-1])) if done else {}
        return code, numbers

    def succeed(self, timeout=WAIT):
        """It ended well; the numbers of the DONE line."""
        code, numbers = self.exit(timeout)
        assert code == 0, (code, numbers, self.lines[-10:],
                           list(self.errors)[-20:])
        return numbers

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout,
                       self.process.stderr):
            if stream is not None:
                stream.close() if stream is self.process.stdin else None


def hermes(*arguments, timeout=WAIT, stdin=None):
    """Run hermes(1) to its end: subprocess.CompletedProcess."""
    return subprocess.run([HERMES, *map(str, arguments)], input=stdin,
                          capture_output=True, text=True, timeout=timeout)
