"""hermesd.conf(5) as an operator meets it: checked, overridden, printed."""

import os
import subprocess

import pytest

from hermes_node import HERMESD, Node


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


def test_usage():
    assert hermesd("-x").returncode == 2
    assert hermesd("-n", "extra").returncode == 2
