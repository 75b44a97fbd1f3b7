"""A service manager's end of NOTIFY_SOCKET, sd_notify(3)."""

import pathlib
import queue
import socket
import tempfile
import threading
import time


class Manager:
    """Hears what hermesd says. environment: for the node; watchdog: seconds
    within which it wants to be fed."""

    def __init__(self, watchdog=None):
        self.folder = tempfile.TemporaryDirectory(prefix="hermes-notify-")
        path = pathlib.Path(self.folder.name) / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        # As systemd reads: at once. A socket holds few datagrams, and who
        # sends one more waits.
        self.queue = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.environment = {"NOTIFY_SOCKET": str(path)}
        if watchdog is not None:
            self.environment["WATCHDOG_USEC"] = str(int(watchdog * 1e6))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.folder.cleanup()

    def _read(self):
        try:
            while text := self.socket.recv(4096):
                self.queue.put(text.decode())
        except OSError:
            pass

    def hear(self, timeout=60):
        """The next datagram as {name: value}; None after timeout."""
        try:
            text = self.queue.get(timeout=timeout)
        except queue.Empty:
            return None
        return dict(line.split("=", 1) for line in text.split("\n"))

    def forget(self):
        """What was said before is no answer to what comes."""
        while not self.queue.empty():
            self.queue.get()

    def heard_for(self, seconds):
        """Everything heard in that time."""
        end, heard = time.monotonic() + seconds, []
        while (left := end - time.monotonic()) > 0:
            one = self.hear(left)
            if one is not None:
                heard.append(one)
        return heard

    def until(self, timeout=60, **wanted):
        """Hear until one says all of wanted: a value, or a part of STATUS;
        everything heard up to it."""
        end, heard = time.monotonic() + timeout, []
        while time.monotonic() < end:
            one = self.hear(max(0.01, end - time.monotonic()))
            if one is None:
                break
            heard.append(one)
            if all(value in one.get(name, "") if name == "STATUS" else
                   one.get(name) == value for name, value in wanted.items()):
                return heard
        raise AssertionError(f"never heard {wanted}, but {heard[-10:]}")
