"""keyd alone, between two doors: rows for make bench from regress/house."""

import json
import pathlib
import subprocess
import tempfile

CHATS = (1, 1000, 10000, 100000)
BARE = "ratchet step and AEAD, bare libsodium"


def rows(row, out, build):
    """Append to out with row(); nothing when the program is not built."""
    program = build / "regress" / "house" / "bench"
    if not program.exists():
        return
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
        pathlib.Path(folder).chmod(0o755)
        done = subprocess.run(
            [program, build / "hermesd", program.parent / "calls.so",
             pathlib.Path(folder) / "house", "json", *map(str, CHATS)],
            capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode != 0:
        raise SystemExit(f"house/bench: {done.stdout}{done.stderr}")
    result = json.loads(done.stdout)
    for run in result["runs"]:
        name = f"{run['chats']} chat{'s' if run['chats'] > 1 else ''}"
        row(out, f"keyd: sealed and opened, {name}", run["rate"], "1/s", BARE,
            1e9 / result["bare_ns"], None)
        row(out, f"keyd: CPU to seal and to open, {name}",
            (run["seal_ns"] + run["open_ns"]) / 1000, "us", BARE,
            result["bare_ns"] / 1000, None, False)
    # Of 10,000: more may be beyond the machine's limit of locked memory.
    row(out, "keyd: locked memory of an idle chat",
        result["runs"][-2]["locked"], "B", "", None, None)
    row(out, "keyd: resident memory of an idle chat",
        result["runs"][-1]["resident"], "B", "", None, None)
    row(out, f"keyd: unlock and load {CHATS[-1]} chats", result["load_s"],
        "s", "", None, None)
