"""make docker-check: two nodes and two apps in hardened containers. Handshake,
messages, a forced rekey to version 2, SIGKILL of both nodes, restart, resume,
messages after the restart, delete, both keyds empty. Waits on markers and
health with a bound, counts every message, and looks at /crypto/ratchets and
hermes_rekeys_total on the way. The last line is "N passed, N failed"."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("BUILD", HERE.parent / "build")).resolve()
COUNT = 1500
BOUND = 120  # seconds for any one state

environment = {**os.environ, "COUNT": str(COUNT),
               "COMPOSE_PROJECT_NAME": "hermescheck"}
passed = 0


def run(*command, check=True, **options):
    done = subprocess.run(command, capture_output=True, text=True,
                          check=False, env=environment, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: "
                             f"{done.stdout}{done.stderr}")
    return done.stdout


def compose(*arguments, **options):
    return run("docker-compose", "-f", str(HERE / "compose.yml"), *arguments,
               **options)


def until(what, check):
    end = time.monotonic() + BOUND
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not in {BOUND} s: {what}")
        time.sleep(0.1)


def step(what):
    global passed
    passed += 1
    print(f"ok   {what}", flush=True)


def ctl(node, *arguments, check=True):
    return compose("exec", "-T", node, "hermesctl", "-s",
                   "/var/lib/hermes/hermesd.sock", *arguments, check=check)


def http(node, path):
    """GET on the admin listener, which is on the container's loopback."""
    script = (f"exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET {path} HTTP/1.0"
              "\\r\\n\\r\\n' >&3; cat <&3")
    answer = compose("exec", "-T", node, "bash", "-c", script, check=False)
    head, _, body = answer.replace("\r\n", "\n").partition("\n\n")
    status = re.match(r"HTTP/1\.\d (\d+)", head)
    return int(status.group(1)) if status else 0, body


def ready(node):
    return http(node, "/readyz")[0] == 200


def rekeys(node):
    """hermes_rekeys_total as {(result, cause): value}."""
    found = re.findall(r'^hermes_rekeys_total\{result="(\w+)",cause="(\w+)"\}'
                       r' (\d+)', http(node, "/metrics")[1], re.M)
    return {(result, cause): int(value) for result, cause, value in found}


def ratchets(node):
    return json.loads(http(node, "/crypto/ratchets")[1] or "[]")


def markers(app):
    return compose("logs", "--no-color", app).replace(
        "\r", "").split("\n")


def lines(app, word):
    out = []
    for line in markers(app):
        _, _, text = line.partition("| ")
        if text.split(" ")[0:1] == [word]:
            out.append(text)
    return out


def numbers(app, word):
    return [int(text.split()[1]) for text in lines(app, word)]


def identity(seed):
    return run(BUILD / "hermes", "id", "--seed", seed).strip()


def finished(app):
    """Wait until an app has ended by itself, with exit code 0."""
    container = f"hermescheck_{app}_1"

    def ended():
        status = run("docker", "inspect", "-f",
                     "{{.State.Status}} {{.State.ExitCode}}", container)
        return status.split() if status.startswith("exited") else None
    code = until(f"{app} done", ended)[1]
    assert code == "0", f"{app} exited with {code}: " + \
        "\n".join(markers(app)[-20:])


def image():
    subprocess.run(["sh", str(HERE / "base.sh")], check=True)
    context = BUILD / "docker"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    for name in ("hermesd", "hermesctl", "hermes"):
        shutil.copy(BUILD / name, context / name)
    shutil.copy(HERE / "Dockerfile", context / "Dockerfile")
    run("docker", "build", "-q", "-t", "hermes:check", str(context))


def gate():
    environment["ANNA"], environment["BERT"] = (
        identity("anna"), identity("bert"))
    for node, address in (("alpha", "192.0.2.11"), ("beta", "192.0.2.12")):
        compose("run", "--rm", node, "hermesctl", "init", "-n", node, "-d",
                "/var/lib/hermes", "-l", f"{address}:7443", "-m",
                f"{address}:7444")
    compose("up", "-d", "alpha", "beta")
    for node in ("alpha", "beta"):
        until(f"{node} ready", lambda n=node: ready(n))
    step("two nodes are ready as ordinary users on read-only roots")
    ctl("alpha", "mesh", "create")
    ticket = json.loads(ctl("alpha", "-j", "ticket", "--ttl", "1h"))["ticket"]
    ctl("beta", "join", ticket)
    compose("up", "-d", "bert", "anna")
    until("the chat ready", lambda: lines("anna", "READY"))
    until("messages", lambda: len(numbers("anna", "ACKED")) >= 50)
    step("handshake and messages")

    ctl("alpha", "rekey", "all")
    until("new keys", lambda: lines("anna", "REKEYED") and
          lines("bert", "REKEYED"))
    for node in ("alpha", "beta"):
        assert [r["key_version"] for r in ratchets(node)] == [2], node
    assert rekeys("alpha").get(("applied", "operator"), 0) == 1, \
        rekeys("alpha")
    step("a forced rekey to version 2, seen at /crypto/ratchets and in "
         "hermes_rekeys_total")

    until("more messages", lambda: len(numbers("anna", "ACKED")) >= 120)
    run("docker", "kill", "-s", "KILL", "hermescheck_alpha_1",
        "hermescheck_beta_1")
    for app in ("anna", "bert"):
        until(f"{app} disconnected", lambda a=app: lines(a, "DISCONNECTED"))
    got = len(numbers("bert", "RECEIVED"))
    assert got < COUNT, "the kill came too late to prove anything"
    run("docker", "start", "hermescheck_alpha_1", "hermescheck_beta_1")
    for node in ("alpha", "beta"):
        until(f"{node} ready again", lambda n=node: ready(n))
    for app in ("anna", "bert"):
        until(f"{app} resumed", lambda a=app: lines(a, "RESUMED"))
    until("messages after the restart",
          lambda: len(numbers("bert", "RECEIVED")) > got)
    for node in ("alpha", "beta"):
        rows = ratchets(node)
        assert len(rows) == 1 and rows[0]["key_version"] >= 3, rows
    applied = [rekeys(node).get(("applied", "resume"), 0)
               for node in ("alpha", "beta")]
    assert sum(applied) >= 1, applied
    step("SIGKILL of both nodes, restart, resume under new keys, messages "
         "after it")

    finished("anna")
    compose("run", "--rm", "anna", "hermes", "delete", "-n",
            "192.0.2.11:7443", "--seed", "anna", "--chat", "gate",
            environment["BERT"])
    finished("bert")
    assert lines("bert", "DELETED") == ["DELETED deleted_by_peer"]
    everything = list(range(1, COUNT + 1))
    for app in ("anna", "bert"):
        assert numbers(app, "RECEIVED") == everything, app
        assert numbers(app, "SENT") == everything, app
        assert " gaps=0" in lines(app, "DONE")[0], app
    step(f"{COUNT} messages each way, each once and in order")
    for node in ("alpha", "beta"):
        assert ratchets(node) == [], node
    step("after the delete both keyds are empty")


def main():
    image()
    step("an image on debian:bookworm-slim")
    failed = 0
    compose("down", "-v", "--remove-orphans", check=False)
    try:
        gate()
    except (AssertionError, OSError, ValueError, KeyError) as error:
        failed = 1
        print(f"FAIL {error}")
        print(compose("logs", "--no-color", "--tail", "40", check=False))
    finally:
        compose("down", "-v", "--remove-orphans", check=False)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed)


if __name__ == "__main__":
    main()
