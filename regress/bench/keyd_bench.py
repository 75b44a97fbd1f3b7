"""keyd alone, between two doors: rows for make bench from regress/house."""

import json
import pathlib
import subprocess
import tempfile

CHATS = (1, 1000, 10000, 100000)
BARE = "ratchet step and AEAD, bare libsodium"
AIM = 0.5  # of the bare speed, in batches
LOCKED = 512  # bytes of an idle chat, at most
KINDS = (("batches", "64 of a chat at once"),
         ("spread", "each of another chat"),
         ("batches_volatile", "64 at once, counters not stored"),
         ("spread_volatile", "each of another, counters not stored"))


def rows(row, out, build):
    """Append to out with row(); nothing when the program is not built."""
    house = build / "regress" / "house"
    if not (house / "bench").exists():
        return
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
        pathlib.Path(folder).chmod(0o755)
        done = subprocess.run(
            [house / "bench", house / "hermesd_bench", house / "calls.so",
             pathlib.Path(folder) / "house", "json", *map(str, CHATS)],
            capture_output=True, text=True, check=False, timeout=3600)
    if done.returncode != 0:
        raise SystemExit(f"house/bench: {done.stdout}{done.stderr}")
    result = json.loads(done.stdout)
    bare = 1e9 / result["bare_ns"]
    for run in result["runs"]:
        name = f"{run['chats']} chat{'s' if run['chats'] > 1 else ''}"
        for kind, what in KINDS:
            figures = run[kind]
            row(out, f"keyd: sealed and opened, {name}, {what}",
                figures["rate"], "1/s", BARE, bare, None)
            # Of the time that the two keyds had, whoever else ran.
            row(out, f"keyd: the same a CPU second, {name}, {what}",
                1e9 / (figures["seal_ns"] + figures["open_ns"]), "1/s",
                BARE, bare, AIM if kind == "batches" else None)
    # Of 10,000: more may be beyond the machine's limit of locked memory.
    row(out, "keyd: locked memory of an idle chat",
        result["runs"][-2]["locked"], "B", "the aim", LOCKED, 1, False)
    row(out, "keyd: resident memory of an idle chat",
        result["runs"][-1]["resident"], "B", "", None, None)
    row(out, f"keyd: unlock and load {CHATS[-1]} chats", result["load_s"],
        "s", "", None, None)
    row(out, f"keyd: resume {CHATS[-1]} chats", result["resume_s"], "s", "",
        None, None)
