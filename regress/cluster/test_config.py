"""hermesd.conf(5) as an operator meets it: checked, overridden, printed."""

import os
import pathlib
import re
import socket
import subprocess

import pytest

from hermes_node import HERMESCTL, HERMESD, Node, free_ports, until


def hermesd(*arguments, environment=None):
    return subprocess.run(
        [HERMESD, *map(str, arguments)], capture_output=True, text=True,
        timeout=60, env={**os.environ, **(environment or {})})


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "hermesd.conf"
    path.write_text('name = "here"\nnode $name\nrekey { after 1h }\n')
    return path


# --- hermesd -n -------------------------------------------------------------

def test_check(conf):
    run = hermesd("-n", "-f", conf)
    assert run.returncode == 0 and "configuration OK" in run.stderr
    conf.write_text("node a\nlimits {\n\tsesions 5\n}\n")
    run = hermesd("-n", "-f", conf)
    assert run.returncode == 1
    assert run.stderr.startswith(f'{conf}:3: unknown keyword "sesions"')


def test_a_folder_is_no_configuration(tmp_path):
    run = hermesd("-n", "-f", tmp_path)
    assert run.returncode == 1
    assert run.stderr == f"{tmp_path}: Is a directory\n"


def test_macro(conf):
    printed = hermesd("-n", "-v", "-D", "name=there", "-f", conf).stdout
    assert printed.startswith('node "there"\n')
    run = hermesd("-n", "-D", "name", "-f", conf)
    assert run.returncode == 1 and run.stderr.startswith("-D name: ")


def test_order_is_file_environment_flag(conf):
    def after(*arguments, **environment):
        run = hermesd("-n", "-v", "-f", conf, *arguments,
                      environment=environment)
        assert run.returncode == 0, run.stderr
        return next(line.split()[1] for line in run.stdout.splitlines()
                    if line.startswith("\tafter "))
    assert after() == "1h"
    assert after(HERMES_REKEY_AFTER="2h") == "2h"
    assert after("-o", "rekey_after=3h", HERMES_REKEY_AFTER="2h") == "3h"


def test_unknown_variable_or_key_names_its_place(conf):
    run = hermesd("-n", "-f", conf,
                  environment={"HERMES_SECRET": "opensesame"})
    assert run.returncode == 1
    assert run.stderr.startswith("HERMES_SECRET: unknown variable")
    assert "opensesame" not in run.stderr
    run = hermesd("-n", "-f", conf, "-o", "secret=opensesame")
    assert run.returncode == 1
    assert run.stderr.startswith("-o secret: unknown key")
    assert "opensesame" not in run.stderr


def test_what_is_printed_reads_back(conf, tmp_path):
    first = hermesd("-n", "-v", "-f", conf, "-o", "limits_apps=77").stdout
    assert "\tapps 77\n" in first
    again = tmp_path / "again.conf"
    again.write_text(first)
    assert hermesd("-n", "-v", "-f", again).stdout == first


# --- hermesctl show config --------------------------------------------------

@pytest.fixture(scope="module")
def node():
    extra = "rekey after 7m\nlisten app on 127.0.0.1 port 0\n"
    with Node("shown", extra=extra,
              environment={"HERMES_LIMITS_APPS": "78"}) as one:
        yield one


def test_show_config_reads_back(node, tmp_path):
    shown = node.ctl_run("show", "config")
    assert shown.returncode == 0
    assert "\tafter 7m\n" in shown.stdout and "\tapps 78\n" in shown.stdout
    # The port that was free, and what others are told.
    assert f'app on "127.0.0.1" port {node.app.split(":")[1]}' in shown.stdout
    assert "port 0" not in shown.stdout
    # As the operator wrote it, not as keyd sees it from its own root.
    assert f'path "{node.config.parent}/keystore"' in shown.stdout
    assert f'app "{node.app}"' in shown.stdout
    again = tmp_path / "again.conf"
    again.write_text(shown.stdout)
    assert hermesd("-n", "-v", "-f", again).stdout == shown.stdout


def test_show_config_json_is_what_o_takes(node, tmp_path):
    shown = node.ctl("show", "config")
    assert shown["text"] == node.ctl_run("show", "config").stdout
    assert shown["config"]["rekey_after"] == "7m"
    assert shown["config"]["limits_apps"] == "78"
    empty = tmp_path / "empty.conf"
    empty.write_text("node other\n")
    options = [word for key, value in shown["config"].items()
               for word in ("-o", f"{key}={value}")]
    run = hermesd("-n", "-v", "-f", empty, *options)
    assert run.stdout == shown["text"], run.stderr


def test_show_config_shows_no_secret(node):
    secret = (node.config.parent / "passphrase").read_text().strip()
    assert secret not in node.ctl_run("show", "config").stdout
    assert str(node.config.parent / "passphrase") in node.ctl(
        "show", "config")["text"]


# --- errors of a start ------------------------------------------------------

@pytest.fixture
def cold():
    """A node that was made and not started."""
    node = Node("cold")
    yield node
    node.destroy()


def refused(node, statement, *words):
    """hermesd -d ends with an error at the line of the statement."""
    run = hermesd("-d", "-f", node.config)
    assert run.returncode == 1, run
    lines = node.config.read_text().splitlines()
    line = 1 + next(i for i, text in enumerate(lines)
                    if text.strip().startswith(statement))
    # The fields of the log are the message in quotes.
    found = [text for text in run.stderr.splitlines()
             if f'error="{node.config}:{line}: {statement}' in text]
    assert found, run.stderr
    for word in words:
        assert word in found[0], found


def replace(node, pattern, new):
    text, count = re.subn(pattern, new, node.config.read_text(), flags=re.M)
    assert count
    node.config.write_text(text)


def passphrase(node):
    return node.config.parent / "passphrase"


def test_passphrase_file_mode(cold):
    passphrase(cold).chmod(0o644)
    refused(cold, "passphrase file", "mode 0644", "chmod 600")
    passphrase(cold).chmod(0o600)
    cold.start()


def test_passphrase_file_of_somebody_else(cold):
    os.chown(passphrase(cold), 65534, 65534)
    refused(cold, "passphrase file", "must belong to", "chown it")


def test_passphrase_file_that_is_none(cold):
    path = passphrase(cold)
    path.rename(path.with_suffix(".real"))
    refused(cold, "passphrase file", "is not there; make it, with mode 600")
    path.symlink_to(path.with_suffix(".real"))
    refused(cold, "passphrase file", "is a symbolic link; name the file")
    path.unlink()
    path.mkdir()
    refused(cold, "passphrase file", "not a file")


def test_port_taken(cold):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        replace(cold, r"^listen app .*", f"listen app on 127.0.0.1 port {port}")
        refused(cold, "listen app", f"127.0.0.1 port {port}",
                "Address already in use; stop what listens there")


def test_address_of_another_machine(cold):
    replace(cold, r"^listen mesh .*", "listen mesh on 203.0.113.9 port 1234")
    refused(cold, "listen mesh", "no interface of this machine has it")


def test_control_socket_of_a_living_node(cold):
    with Node("alive") as alive:
        replace(cold, r"^control socket .*",
                f'control socket "{alive.socket}"')
        run = hermesd("-d", "-f", cold.config)
        assert run.returncode == 1
        assert re.search(rf"{cold.config}:\d+: listen control on "
                         rf"{alive.socket}: Address already in use; stop "
                         "what listens there", run.stderr)


def test_unusable_folders(cold):
    statement = r'^\tpath ".*"'
    (cold.folder / "file").write_text("")
    replace(cold, statement, f'\tpath "{cold.folder}/file"')
    run = hermesd("-d", "-f", cold.config)
    line = 1 + next(i for i, text in enumerate(
        cold.config.read_text().splitlines()) if "\tpath" in text)
    place = f"{cold.config}:{line}: keystore path"
    assert f"{place} {cold.folder}/file: Not a directory; name a folder" \
        in run.stderr
    replace(cold, statement, f'\tpath "{cold.folder}/file/below"')
    assert f"{place} {cold.folder}/file/below: Not a directory" in hermesd(
        "-d", "-f", cold.config).stderr
    other = cold.folder / "other"
    other.mkdir(mode=0o700)
    os.chown(other, 65534, 65534)
    replace(cold, statement, f'\tpath "{other}"')
    assert f"{place} {other} belongs to another user (uid 65534); chown" \
        in hermesd("-d", "-f", cold.config).stderr


def test_the_name_is_missing(cold):
    replace(cold, r"^node .*", "")
    run = hermesd("-d", "-f", cold.config)
    assert run.returncode == 1
    assert f'{cold.config}: no node statement: node "NAME"' in run.stderr


def test_credential_of_systemd(cold, tmp_path):
    """Without a passphrase file, the credential is taken; with its mode
    checked as well."""
    secret = passphrase(cold).read_bytes()
    credential = tmp_path / "hermes-passphrase"
    credential.write_bytes(secret)
    credential.chmod(0o640)
    replace(cold, r"^\tpassphrase file .*\n", "")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    run = hermesd("-d", "-f", cold.config, environment=environment)
    assert run.returncode == 1 and "chmod 600" in run.stderr
    credential.chmod(0o600)
    cold.environment.update(environment)
    cold.start()
    assert cold.ctl("show")["summary"]["unlocked"]
    # It stays in force across a reload.
    assert cold.ctl("reload")["ok"]
    assert secret.decode().strip() not in cold.ctl_run(
        "show", "config").stdout


# --- samples ----------------------------------------------------------------

ETC = pathlib.Path(__file__).resolve().parents[2] / "etc"


@pytest.mark.parametrize("path", sorted((ETC / "examples").glob("*.conf")),
                         ids=lambda path: path.name)
def test_sample(path):
    run = hermesd("-n", "-f", path)
    assert run.returncode == 0, run.stderr
    assert path.name in {"single.conf", "mesh.conf", "nat.conf"}


def test_samples_are_installed(tmp_path):
    subprocess.run(["make", "-s", "-C", str(ETC.parent), "install",
                    f"DESTDIR={tmp_path}"], check=True, capture_output=True)
    installed = {path.name for path in tmp_path.rglob("examples/*.conf")}
    assert installed == {"hermesd.conf", "single.conf", "mesh.conf",
                         "nat.conf"}


def test_sample_of_everything_shows_the_defaults(tmp_path):
    """What is behind a # in it is every knob at its default."""
    text = (ETC / "hermesd.conf.sample").read_text()
    assert hermesd("-n", "-f", ETC / "hermesd.conf.sample").returncode == 0
    # These have none.
    text = re.sub(r"(?m)^\s*#(advertise|peer|passphrase|certificate) .*\n",
                  "", text)
    full = tmp_path / "full.conf"
    full.write_text(re.sub(r"(?m)^(\s*)#(?! )", r"\1", text))
    least = tmp_path / "least.conf"
    least.write_text("node node-1\n")
    printed = hermesd("-n", "-v", "-f", full)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout == hermesd("-n", "-v", "-f", least).stdout
    # And none is left out.
    words = set(re.findall(r"[a-z]{2,}", full.read_text()))
    assert set(re.findall(r"[a-z]{2,}", printed.stdout)) - words == set()


def test_development_sample_runs(tmp_path):
    ports = free_ports(3)
    control = tmp_path / "hermesd.sock"
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if str(folder).startswith("/tmp/pytest"):
            folder.chmod(0o755)
    process = subprocess.Popen(
        [HERMESD, "-d", "-f", str(ETC / "examples/single.conf"),
         "-D", f"store={tmp_path}/keyd", "-D", f"socket={control}",
         *(word for kind, port in zip(("app", "mesh", "admin"), ports)
           for word in ("-o", f"listen_{kind}=127.0.0.1 port {port}"))],
        stderr=subprocess.PIPE, text=True)
    try:
        until("its socket", control.exists)

        def ctl(*words, stdin=None):
            return subprocess.run(
                [HERMESCTL, "-s", str(control), *words], input=stdin,
                capture_output=True, text=True, timeout=60)
        until("locked", lambda: "keyd locked" in ctl("status").stdout)
        until("unlocked", lambda: ctl(
            "unlock", stdin="word\n").returncode == 0)
        until("ready", lambda: ctl("status").returncode == 0)
        assert f'port {ports[0]}' in ctl("show", "config").stdout
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_usage():
    assert hermesd("-x").returncode == 2
    assert hermesd("-n", "extra").returncode == 2
