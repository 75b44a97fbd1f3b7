"""L44: every knob of hermesd.conf(5) has a test that its effect is seen, on
a real node or on the core of the process that uses it. The manual lists the
knobs (and has just those of the daemon's table: test_config_manual); EFFECTS
names the test of each. A knob without one fails here."""

import itertools
import os
import pathlib
import re
import socket

import grpc
import pytest

from hermes_node import DEFAULTS, Mesh, Node, cpu_seconds, until
from hermes_wire import Identity, Session, pair

CODE = grpc.StatusCode
TOP = pathlib.Path(__file__).resolve().parents[2]
HERE = "regress/cluster/test_knobs.py"
CONFORM, CLUSTER, UNIT = "regress/conform/", "regress/cluster/", "regress/unit/"

PENALTIES = CLUSTER + "test_penalties.py:"

EFFECTS = {
    "node": CLUSTER + "test_control.py:test_summary_status_certificate_metrics",
    "listen app": CLUSTER + "test_processes.py:test_reload_of_listeners",
    "listen mesh": CLUSTER + "test_reload.py:test_mesh_and_admin_move",
    "listen admin": CLUSTER + "test_reload.py:test_mesh_and_admin_move",
    "no admin": HERE + ":test_no_admin",
    "control socket": HERE + ":test_control_socket",
    "advertise app": HERE + ":test_advertise_app",
    "advertise mesh": CLUSTER + "test_addresses.py:"
                      "test_names_are_looked_up_again",
    "certificate key": CLUSTER + "test_processes.py:test_L45_expired_certificate",
    "peer address key": CLUSTER + "test_fixed.py:"
                        "test_peer_lines_instead_of_tickets",
    "app compat": CONFORM + "test_connect.py:test_v1_connect",
    "admin apps": CLUSTER + "test_control.py:test_admin_pages",
    "admin ids": CLUSTER + "test_control.py:test_admin_pages",
    "log level": CLUSTER + "test_log.py:test_verbose_and_brief",
    "log format": CLUSTER + "test_log.py:test_json",
    "log to": CLUSTER + "test_log.py:test_journal",
    "log limit": CLUSTER + "test_log.py:test_limit",
    "sandbox": CLUSTER + "test_escape.py:"
               "test_behind_seccomp_there_are_more_walls",
    "busy poll": HERE + ":test_busy_poll",
    "keystore path": HERE + ":test_keystore_path",
    "keystore passphrase file": CLUSTER + "test_control.py:test_unlock",
    "keystore argon2 ops": HERE + ":test_argon2",
    "keystore argon2 memory": HERE + ":test_argon2",
    "keystore erase interval": HERE + ":test_erase_interval",
    "keystore chat idle": CONFORM + "test_ends.py:test_expired_is_told_to_both",
    "rekey after": CONFORM + "test_ends.py:test_rekey_by_age",
    "rekey after messages": CONFORM + "test_ends.py:"
                            "test_rekey_by_count_loses_nothing",
    "rekey limit": CLUSTER + "test_rekey.py:test_throttle_slides",
    "rekey window": CLUSTER + "test_rekey.py:test_throttle_slides",
    "rekey key lifetime": CONFORM + "test_ends.py:"
                          "test_rekey_required_is_told_to_both",
    "rekey grace": CLUSTER + "test_rekey.py:test_grace",
    "rekey hkdf hash": HERE + ":test_hkdf_hash",
    "limits sessions": CONFORM + "test_connect.py:test_too_many_sessions",
    "limits unauthenticated": HERE + ":test_unauthenticated",
    "limits unauthenticated per source": PENALTIES +
                                         "test_unauthenticated_per_source",
    "limits per source": HERE + ":test_per_source",
    "limits handshakes": PENALTIES + "test_handshakes_in_all",
    "limits handshakes per source": PENALTIES +
                                    "test_handshakes_of_a_source",
    "limits verifications": PENALTIES + "test_verifications_in_all",
    "limits verifications per source": PENALTIES +
                                       "test_verifications_of_a_source",
    "penalty handshake": PENALTIES + "test_failed_handshakes",
    "penalty authentication": PENALTIES + "test_failed_authentications",
    "penalty abuse": PENALTIES + "test_abuse_is_paid_for",
    "penalty threshold": PENALTIES + "test_threshold_and_decay",
    "penalty longest": PENALTIES + "test_threshold_and_decay",
    "penalty sources": PENALTIES + "test_table_is_bounded",
    "penalty exempt": PENALTIES + "test_exempt",
    "limits chats per app": CONFORM + "test_chat.py:test_chats_per_app",
    "limits messages per second": CONFORM + "test_chat.py:test_rate_limit",
    "limits starts per minute": CONFORM + "test_chat.py:test_starts_per_minute",
    "limits message size": CONFORM + "test_chat.py:"
                           "test_message_size_of_the_configuration",
    "limits metadata size": HERE + ":test_metadata_size",
    "limits chat window messages": HERE + ":test_chat_window",
    "limits chat window bytes": HERE + ":test_chat_window",
    "limits kept messages": CLUSTER + "test_kept.py:test_many_chats_of_few",
    "limits members": HERE + ":test_members",
    "limits apps": HERE + ":test_apps",
    "limits connect timeout": CONFORM + "test_connect.py:test_connect_in_time",
    "limits session idle": CONFORM + "test_connect.py:"
                           "test_idle_session_ends",
    "mesh route grace": CONFORM + "test_ends.py:"
                        "test_route_unavailable_when_the_peer_s_node_is",
    "mesh drain grace": CLUSTER + "test_processes.py:"
                        "test_stop_does_not_wait_for_the_dead",
    "mesh membership lifetime": CLUSTER + "test_admission.py:"
                                "test_memberships_are_renewed_under_a_chat",
    "mesh connections": CLUSTER + "test_connections.py:"
                        "test_few_connections_are_kept_and_everybody_is_reached",
}


def knobs():
    """The words of each statement of the manual."""
    text = (TOP / "man/hermesd.conf.5").read_text()
    found = []
    for line in re.findall(r"^\.It (Ic .*)$", text, re.M):
        words = " ".join(
            part.strip() for part in re.findall(
                r"Ic ((?:(?!Ic |Ar |Cm |Ns ).)*)", line))
        words = re.sub(r" on( port)?$| on port$", "", words.strip())
        if words != "include":
            found.append(words)
    return found


def test_L44_every_knob_has_an_effect_test():
    assert len(knobs()) > 45
    assert set(knobs()) - set(EFFECTS) == set(), "without a test"
    assert set(EFFECTS) - set(knobs()) == set(), "no such knob"


@pytest.mark.parametrize("words", sorted(EFFECTS))
def test_L44_the_effect_test_is_there(words):
    path, name = EFFECTS[words].split(":", 1)
    text = (TOP / path).read_text()
    assert f"\ndef {name}(" in text
    # And it, or what it stands on, sets the knob.
    value = words.split()[-1]
    assert value in text


# --- those that no other suite shows ----------------------------------------

def limited(name, lines):
    return Node(name, extra="limits {\n" + lines + "\n}\n")


def test_no_admin():
    with Node("mute") as node:
        node.config.write_text(re.sub(
            r"(?m)^listen admin .*$", "no admin", node.config.read_text()))
        node.ctl("reload")
        until("no HTTP", lambda: node.http("/healthz")[0] == 0)
        assert node.ctl("status")["ready"]


def test_control_socket():
    with Node("socket") as node:
        other = str(node.config.parent / "other.sock")
        node.config.write_text(node.config.read_text().replace(
            node.socket, other))
        node.ctl("reload")
        until("the old one is gone", lambda: not os.path.exists(node.socket))
        node.socket = other
        assert node.ctl("status")["ready"]


def test_advertise_app():
    told = "told.example.org:7443"
    with Mesh(2, f'advertise app "{told}"\n') as mesh:
        def hints():
            with Session(mesh[0].app) as session:
                return [node.endpoint for node in session.connect().nodes]
        until("the other node's", lambda: told in hints())


def test_busy_poll():
    """CPU seconds that a message costs the three processes it goes through,
    and that none costs."""
    with Mesh(2, "busy poll 1s\n") as mesh:
        node = mesh[0]
        a, b, ack, _ = pair(node.app, mesh[1].app, "busy")
        numbers = itertools.count(ack.next_send_sequence)

        def used():
            return [cpu_seconds(node.pids()[name])
                    for name in ("router", "keyd", "mesh")]

        def say():
            n = next(numbers)
            a.message("busy", n, b"x")
            a.acked("busy", n)

        def polled(before):
            say()
            return all(y - x > 0.3 for x, y in zip(before, used()))

        def slept():
            before = used()
            for _ in range(20):
                say()
            return all(y - x < 0.3 for x, y in zip(before, used()))
        before = used()
        until("they poll", lambda: polled(before))
        name = "hermes_mesh_heartbeats_total"
        beats, before = node.metric(name), used()
        until("some quiet seconds", lambda: node.metric(name) >= beats + 20)
        # A second after the last message, and no more.
        assert all(y - x < 2 for x, y in zip(before, used()))
        node.config.write_text(node.config.read_text().replace(
            "busy poll 1s", "busy poll 0"))
        node.ctl("reload")
        until("they sleep", slept)
        a.close()
        b.close()


def test_keystore_path():
    node = Node("moved")
    try:
        text = node.config.read_text()
        old = re.search(r'\tpath "(.*)"', text)[1]
        new = str(node.config.parent / "elsewhere" / "keyd")
        node.config.write_text(text.replace(f'"{old}"', f'"{new}"'))
        node.start()
        assert os.listdir(new) and not os.listdir(old)
        assert os.stat(new).st_mode & 0o7777 == 0o700
    finally:
        node.destroy()


def opened(ops, memory):
    """(CPU seconds, peak KiB) of a keyd that made its store."""
    with Node("argon", defaults=f"\nkeystore {{\n\targon2 ops {ops}\n"
              f"\targon2 memory {memory}\n}}\n") as node:
        pid = node.pids()["keyd"]
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return (cpu_seconds(pid),
                int(re.search(r"VmHWM:\s+(\d+)", status)[1]))


def test_argon2():
    """More memory is used, and more passes cost more work."""
    small, large, long = opened(1, "8M"), opened(1, "96M"), opened(60, "8M")
    assert large[1] - small[1] > 64 * 1024
    assert long[0] > small[0] + 0.1


def test_erase_interval():
    def rotations(node):
        return node.metric("hermes_store_key_rotations_total")
    for interval, rotates in (("200ms", True), ("1d", False)):
        with Node("erase", extra="keystore { erase interval "
                  f"{interval} }}\n") as node:
            a, b, _, _ = pair(node.app, node.app, "gone")
            before = rotations(node)
            a.delete("gone")
            a.deleted("gone")
            if rotates:
                until("a new key", lambda: rotations(node) > before)
            else:
                a.ping()
                assert rotations(node) == before
            a.close()
            b.close()


def test_hkdf_hash():
    with Mesh(2, "rekey { hkdf hash sha512 }\n") as mesh:
        a, b, _, _ = pair(mesh[0].app, mesh[1].app, "hash")
        for node in mesh.nodes:
            assert {row["hkdf"] for row in node.show("ratchets")} == {"sha512"}
        a.close()
        b.close()


def test_unauthenticated():
    with limited("doors", "unauthenticated 2") as node:
        first = Session(node.app)
        first.check_challenge()
        second = Session(node.app, certificate=first.certificate)
        second.check_challenge()
        third = Session(node.app, certificate=first.certificate)
        third.check_challenge()
        # The oldest made room.
        assert first.wait_closed() in (CODE.RESOURCE_EXHAUSTED,
                                       CODE.UNAVAILABLE)
        second.connect()
        third.connect()
        for session in (first, second, third):
            session.close()


def test_per_source():
    """The third connection of an address is closed at once."""
    with limited("source", "per source 2") as node:
        host, port = node.app.rsplit(":", 1)
        held = [socket.create_connection((host, int(port)), 10)
                for _ in range(2)]
        third = socket.create_connection((host, int(port)), 10)
        third.settimeout(60)
        try:
            assert third.recv(1) == b""
        except ConnectionResetError:
            pass
        for one in held:
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(1)
        for one in held + [third]:
            one.close()


def test_metadata_size():
    with limited("notes", "metadata size 300") as node:
        with Session(node.app) as session:
            session.connect({"k": "x" * 250})
        with Session(node.app) as session:
            session.check_challenge()
            session.send(session.connect_frame({"k": "x" * 301}))
            assert session.wait_closed() != CODE.OK


def test_chat_window():
    with limited("window", "chat window 7 messages") as node:
        with Session(node.app) as session:
            assert session.connect().chat_window == 7
    with limited("window", "message size 4K\nchat window 4K bytes") as node:
        a, b, _, _ = pair(node.app, node.app, "bytes")
        b.paused.clear()
        # Far beyond the window: what cannot wait is refused.
        error = None
        for sequence in range(1, 3000):
            a.message("bytes", sequence, bytes(4096))
        error = a.wait("error", timeout=60)
        assert error.code in ("BACKPRESSURE", "OUT_OF_SEQUENCE")
        assert error.expected_sequence < 2900
        a.close()
        b.close()


def test_members():
    """Room for one other node lets no third in."""
    with Mesh(2, "limits { members 1 }\n") as mesh, Node("gamma") as gamma:
        ticket = mesh[0].ctl("ticket")["ticket"]
        gamma.ctl("join", ticket, ok=False)
        mesh[0].ctl("ticket")  # it still serves
        assert len(mesh[0].show("nodes")) == 2
        # And does when there is room.
        for node in mesh.nodes:
            node.config.write_text(node.config.read_text().replace(
                "members 1", "members 2"))
            node.ctl("reload")
        again = gamma.ctl("join", mesh[0].ctl("ticket")["ticket"], ok=False)
        assert again["ok"] or "already" in again["message"], again
        until("three", lambda: len(mesh[0].show("nodes")) == 3)


def test_apps():
    """The directory takes as many apps as it may, and more after a
    reload."""
    with limited("crowd", "apps 2") as node:
        sessions = [Session(node.app, Identity()) for _ in range(3)]
        for session in sessions:
            session.connect()
        until("as many as may be", lambda: len(node.show("apps")) == 2)
        assert len(node.show("sessions")) == 3
        node.config.write_text(node.config.read_text().replace(
            "apps 2", "apps 20"))
        node.ctl("reload")
        sessions.append(Session(node.app, Identity()))
        sessions[-1].connect()
        until("more", lambda: len(node.show("apps")) > 2)
        for session in sessions:
            session.close()
