"""A name server whose answers a test changes as it likes, and a prefix that
gives one node an /etc/hosts and an /etc/resolv.conf of its own (root)."""

import socket
import struct
import threading

WAIT = 90  # seconds
FAMILIES = {1: socket.AF_INET, 28: socket.AF_INET6}


class NameServer:
    """names: {name: [addresses]}, IPv4 and IPv6, to be changed at any time;
    to who asks for one with None nothing is said. asked: (name, type) of every question. Answers live for no time."""

    def __init__(self, **names):
        self.names = {name.replace("_", "."): addresses
                      for name, addresses in names.items()}
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _serve(self):
        while True:
            try:
                query, client = self.socket.recvfrom(512)
            except OSError:
                return
            answer = query and self._answer(query)
            if answer is not None:
                self.socket.sendto(answer, client)

    def _answer(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        name = ".".join(labels).lower()
        kind, = struct.unpack_from("!H", query, at + 1)
        self.asked.append((name, kind))
        if self.names.get(name, ()) is None:
            return None
        records = b""
        found = [a for a in self.names.get(name, ()) if
                 kind == (28 if ":" in a else 1)]
        for address in found:
            data = socket.inet_pton(FAMILIES[kind], address)
            records += struct.pack("!HHHIH", 0xc00c, kind, 1, 0,
                                   len(data)) + data
        return query[:2] + struct.pack(
            "!HHHHH", 0x8180 if name in self.names else 0x8183, 1,
            len(found), 0, 0) + query[12:at + 5] + records

    def heard(self):
        """How many questions, with all that had come by now: it takes them in
        turn, and an empty one is none."""
        host, port = self.address.split(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(WAIT)
            one.sendto(b"", (host, int(port)))
            one.recv(1)
        return len(self.asked)

    def resolver(self):
        """The resolv.conf of who asks this server only."""
        return f"nameserver {self.address}\n"

    def prefix(self, folder):
        """What goes before a command that is to ask this server only."""
        return own_files(folder, self.resolver(), "127.0.0.1 localhost\n")


def own_files(folder, resolver, hosts):
    """What goes before a command that is to see these as its
    /etc/resolv.conf and /etc/hosts, kept in folder."""
    (folder / "resolv.conf").write_text(resolver)
    (folder / "hosts").write_text(hosts)
    return ["unshare", "--mount", "sh", "-ec",
            f"mount --bind {folder}/resolv.conf /etc/resolv.conf\n"
            f"mount --bind {folder}/hosts /etc/hosts\n"
            'exec "$@"', "sh"]
