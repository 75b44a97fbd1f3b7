"""L45: a reload of a real node, with an app that stays connected and goes on
across each; and what is not good leaves everything as it was, and says why."""

import os
import re
import signal
import socket
import ssl

import pytest

from hermes_node import Mesh, Node, free_ports, until
from hermes_wire import Session, pair, server_certificate
from test_processes import certificate


@pytest.fixture
def talk():
    """A node, and two apps with a chat on it that lives to the end."""
    with Node("reload") as node:
        a, b, _, _ = pair(node.app, node.app, "live")
        count = [0]

        def flows():
            count[0] += 1
            a.message("live", count[0], b"still here")
            assert b.received("live") == (count[0], b"still here")
            a.acked("live", count[0])
        flows()
        yield node, flows
        # The same streams, the same processes.
        flows()
        assert a.status is None and b.status is None
        assert node.healthy()
        a.close()
        b.close()


def change(node, old, new):
    text = node.config.read_text()
    assert old in text
    node.config.write_text(text.replace(old, new))


def append(node, lines):
    with open(node.config, "a") as out:
        out.write(lines)


def refused(node, *reasons):
    """hermesctl reload waits and says why not; nothing has changed."""
    before = node.ctl("show", "config")
    run = node.ctl_run("reload")
    assert run.returncode == 1, run
    for reason in reasons:
        assert reason in run.stderr, run.stderr
    assert node.ctl("show", "config") == before


def connects(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 10).close()
    except ConnectionRefusedError:
        return False
    return True


def test_limits_and_level(talk):
    node, flows = talk
    append(node, "limits { chat window 9 messages sessions 2 }\n")
    change(node, "log level debug", "log level warn")
    assert node.ctl("reload")["ok"]
    flows()
    # In force for who comes now: two are there already.
    with Session(node.app) as third:
        third.check_challenge()
        third.send(third.connect_frame())
        third.wait_closed()
    change(node, "sessions 2", "sessions 3")
    assert node.ctl("reload")["ok"]
    with Session(node.app) as third:
        assert third.connect().chat_window == 9
    assert node.ctl("show", "config")["config"]["log_level"] == "warn"
    flows()


def test_a_larger_message_on_an_old_session():
    with Node("grow", extra="limits { message size 4K }\n") as node:
        a, b, _, _ = pair(node.app, node.app, "grow")
        a.message("grow", 1, bytes(4097))
        a.error("MESSAGE_TOO_LARGE")
        change(node, "message size 4K", "message size 1M")
        assert node.ctl("reload")["ok"]
        a.message("grow", 1, bytes(1024 * 1024))
        assert b.received("grow") == (1, bytes(1024 * 1024))
        a.close()
        b.close()


def test_larger_messages_between_nodes():
    """On the stream that is there, whoever of the two opened it."""
    with Mesh(2) as mesh:
        a, b, _, _ = pair(mesh[0].app, mesh[1].app, "wide")
        a.message("wide", 1, b"small")
        assert b.received("wide") == (1, b"small")
        a.acked("wide", 1)
        for node in mesh.nodes:
            append(node, "limits { message size 8M chat window 8M bytes }\n")
            assert node.ctl("reload")["ok"]
        large = bytes(8 << 20)
        a.message("wide", 2, large)
        assert b.received("wide", 60) == (2, large)
        b.message("wide", 1, large)
        assert a.received("wide", 60) == (1, large)
        for node in mesh.nodes:
            assert node.healthy()
            # Both may have opened one at first, and one was given up.
            assert "event=route_up" in node.log()
            assert "event=route_down" not in node.log()
        a.close()
        b.close()


def test_app_listener_comes_and_goes(talk):
    node, flows = talk
    port = free_ports(1)[0]
    append(node, f"listen app on 127.0.0.1 port {port}\n")
    assert node.ctl("reload")["ok"]
    flows()
    with Session(f"127.0.0.1:{port}") as other:
        other.connect()
        # Its own door goes, it stays.
        change(node, f"listen app on 127.0.0.1 port {port}\n", "")
        assert node.ctl("reload")["ok"]
        until("closed", lambda: not connects(f"127.0.0.1:{port}"))
        other.ping()
    flows()


def test_mesh_and_admin_move(talk):
    node, flows = talk
    mesh, admin = free_ports(2)
    for word, old, new in (("mesh", node.mesh, mesh),
                           ("admin", node.admin, admin)):
        port = old.rsplit(":", 1)[1]
        change(node, f"listen {word} on 127.0.0.1 port {port}",
               f"listen {word} on 127.0.0.1 port {new}")
    assert node.ctl("reload")["ok"]
    for old, new in ((node.mesh, mesh), (node.admin, admin)):
        until("moved", lambda: connects(f"127.0.0.1:{new}") and
              not connects(old))
    node.admin = f"127.0.0.1:{admin}"
    until("ready", lambda: node.http("/readyz")[0] == 200)
    flows()


def shown(node):
    try:
        return ssl.PEM_cert_to_DER_cert(server_certificate(node.app))
    except ssl.SSLError:
        return None  # router and keyd change one after the other


def test_certificate(talk):
    """The operator's own, another, and back to the node's."""
    node, flows = talk
    own = shown(node)
    first = certificate(node.folder, 30)
    append(node, f'certificate "{first[0]}" key "{first[1]}"\n')
    assert node.ctl("reload")["ok"]
    wanted = ssl.PEM_cert_to_DER_cert(first[0].read_text())
    until("the operator's", lambda: shown(node) == wanted)
    flows()
    expired = certificate(node.folder, -1)
    change(node, str(first[0]), str(expired[0]))
    refused(node, f"{node.config}:", "the certificate has expired")
    assert shown(node) == wanted
    flows()
    second = certificate(node.folder, 60)
    change(node, str(expired[0]), str(second[0]))
    change(node, str(first[1]), str(second[1]))
    assert node.ctl("reload")["ok"]
    until("another", lambda: shown(node) == ssl.PEM_cert_to_DER_cert(
        second[0].read_text()))
    flows()
    # A key file that keyd, which alone reads it, cannot use.
    second[1].write_text("no key\n")
    assert node.ctl("reload")["ok"]
    until("said", lambda: "event=certificate_key_refused" in node.log())
    assert shown(node) == ssl.PEM_cert_to_DER_cert(second[0].read_text())
    flows()
    change(node, f'certificate "{second[0]}" key "{second[1]}"\n', "")
    assert node.ctl("reload")["ok"]
    until("the node's own", lambda: shown(node) == own)


@pytest.mark.parametrize("lines,reason", [
    ("limits { sesions 5 }\n", 'unknown keyword "sesions"'),
    ("limits { sessions 0 }\n", "out of range"),
    ("listen app on 203.0.113.7 port 1\n", "listen app on 203.0.113.7"),
    ('certificate "/nonexistent" key "/nonexistent"\n', "/nonexistent"),
    ('keystore path "/elsewhere"\n', "was set already"),
    ("{\n", "syntax error"),
    ('include "not-there.conf"\n', "not-there.conf"),
])
def test_L45_bad_files(talk, lines, reason):
    node, flows = talk
    good = node.config.read_text()
    append(node, lines)
    line = good.count("\n") + 1
    refused(node, f"{node.config}:{line}: ", reason)
    flows()
    node.config.write_text(good)
    assert node.ctl("reload")["ok"]


def test_L45_port_taken(talk):
    node, flows = talk
    with socket.create_server(("127.0.0.1", 0)) as other:
        append(node, "listen admin on 127.0.0.1 port "
               f"{other.getsockname()[1]}\n")
        refused(node, f"{node.config}:", "Address already in use")
    assert connects(node.admin)


def test_sighup_does_the_same(talk):
    node, flows = talk
    append(node, "rekey after 9m\n")
    node.process.send_signal(signal.SIGHUP)
    until("in force", lambda: node.ctl("show", "config")["config"][
        "rekey_after"] == "9m")
    change(node, "rekey after 9m", "rekey after never")
    node.process.send_signal(signal.SIGHUP)
    until("refused", lambda: "event=reload_refused" in node.log())
    assert re.search(rf'event=config error="{node.config}:\d+: rekey after',
                     node.log())
    assert node.ctl("show", "config")["config"]["rekey_after"] == "9m"
    flows()


def test_key_file_mode(talk):
    node, flows = talk
    paths = certificate(node.folder, 30)
    os.chmod(paths[1], 0o640)
    append(node, f'certificate "{paths[0]}" key "{paths[1]}"\n')
    refused(node, "mode 0640", "chmod 600")
    os.chmod(paths[1], 0o600)
    assert node.ctl("reload")["ok"]
