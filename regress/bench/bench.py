"""make bench: acknowledged messages a second and round trips through two
real nodes, beside the same work on two clustered nats-servers with TLS,
measured in the same run on the same machine; then keyd alone, and a mesh.
Each figure is the median of its rounds. Prints one table and the share of
CPU of each process; --json FILE writes the table as an array of objects
{work, figure, unit, against, ratio, aim, met}; --only NAME, again and again,
measures these works only."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

import crowd  # noqa: E402
import hermes_node  # noqa: E402
import keyd_bench  # noqa: E402
import mesh_bench  # noqa: E402
import nats  # noqa: E402

UNLIMITED = "limits {\n\tmessages per second 0\n\tstarts per minute 100000\n}\n"
BUILD = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
PROGRAMS = BUILD / "regress" / "bench"
hermes_node.DEFAULTS = hermes_node.DEFAULTS.replace("debug", "info")
ROUNDS = 3
ENDS = ("sender's node", "receiver's node")
LARGE = 64 * 1024
LARGE_CHATS = 4
LARGE_MESSAGES = 6000    # a round
PARTS = {}  # work: what its figure is the sum of
HOW = {"turns": " in turn", "bursts": " in bursts",
       "pairs": " of as many pairs of apps"}
STREAM = 1000 * 1000000  # bytes a round of libtls alone
BUSY = "busy poll 1ms"   # of hermesd.conf(5), where it says so
TRIPS = 2000             # a round, as hermes_bench and nats_bench do


def run_hermes(chats, messages, size, how="bursts", more=""):
    with hermes_node.Mesh(2, extra=UNLIMITED + more) as mesh:
        before = [mesh_bench.cpu(node) for node in mesh.nodes]
        out = subprocess.run(
            [PROGRAMS / "hermes_bench", mesh[0].app, mesh[1].app, str(chats),
             str(messages), str(size), str(ROUNDS), how],
            capture_output=True, text=True, check=False, timeout=600)
        if out.returncode != 0:
            raise SystemExit(f"hermes_bench: {out.stderr}\n" +
                             mesh[0].log()[-2000:] + mesh[1].log()[-2000:])
        result = json.loads(out.stdout)
        total = messages * (ROUNDS + 0.1) + (2200 if chats == 1 else 0)
        result["cpu_us"] = [
            {name: (after[name] - start.get(name, 0)) / total * 1e6
             for name in after}
            for start, after in zip(before, (mesh_bench.cpu(n) for n in mesh.nodes))]
        return result


def row(rows, work, figure, unit, against, reference, aim, higher=True,
        parts=""):
    """The aim is of the ratio, or of the figure where there is none."""
    ratio = figure / reference if reference else None
    judged = figure if ratio is None else ratio
    met = None if aim is None else (
        judged >= aim if higher else judged <= aim)
    rows.append({"work": work, "figure": round(figure, 4), "unit": unit,
                 "against": against, "ratio": ratio and round(ratio, 3),
                 "aim": aim, "met": met})
    if parts:
        PARTS[work] = parts


def messages(rows, shares, chats, count, how="bursts"):
    """Through two nodes, and two nats-servers."""
    ours = run_hermes(chats, count, 256, how)
    theirs = nats.run(str(PROGRAMS / "nats_bench"), chats, count, how=how)
    against = "nats-server, two clustered, TLS"
    label = "1 chat" if chats == 1 else f"{chats} chats{HOW[how]}"
    row(rows, f"acknowledged messages, {label}, 256 B",
        statistics.median(ours["rates"]), "1/s", against,
        statistics.median(theirs["rates"]), 2 if chats > 1 else 1)
    if chats == 1:
        awake = run_hermes(chats, count, 256, how, BUSY + "\n")
        for what, of in ("", ours), (", " + BUSY, awake):
            for which, aim in ("p50", 0.25), ("p99", 0.5):
                row(rows, f"message and ack{what}, {which}",
                    of[f"{which}_ms"], "ms", against + ", request-reply",
                    theirs[f"{which}_ms"], aim, False)
        bare = crowd.alone(PROGRAMS / "trip_bench", TRIPS)
        for which in ("p50", "p99"):
            row(rows, f"ten wake-ups in a chain, nothing else, {which}",
                statistics.median(bare[f"{which}_ms"]), "ms",
                against + ", request-reply", theirs[f"{which}_ms"], None,
                False)
    shares.append((label, ours["cpu_us"]))
    if chats > 1:
        for end, used in zip(ENDS, ours["cpu_us"]):
            row(rows, f"CPU of a message, {label}, {end}",
                sum(used.values()), "us", "", None, 4, False)


def large(rows, shares):
    """Messages of 64 KiB, one libtls stream, and three as between apps."""
    bare = crowd.bare(PROGRAMS / "stream_bench", "bytes", STREAM)
    chain = crowd.bare(PROGRAMS / "stream_bench", "chain", STREAM // 2)
    ours = run_hermes(LARGE_CHATS, LARGE_MESSAGES, LARGE)
    cost = {cipher: min(rounds) for cipher, rounds in crowd.alone(
        PROGRAMS / "stream_bench", "ciphers", STREAM // 2).items()}
    cores = len(os.sched_getaffinity(0))
    most = cores / (3 * cost["tls"] + cost["aead"]) * 1e9
    row(rows, "bytes through three libtls streams in a chain", chain, "B/s",
        "one libtls stream, two processes", bare, None)
    row(rows, f"bytes in messages of 64 KiB, {LARGE_CHATS} chats",
        statistics.median(ours["rates"]) * LARGE, "B/s",
        "one libtls stream, two processes", bare, 0.5,
        parts=f"three times TLS ({cost['tls']:.2f} ns a byte, both ends) and "
        f"once the ratchet's AEAD ({cost['aead']:.2f} ns):\n  with nothing "
        f"else to do {cores} cores could {most:.0f} B/s, "
        f"{most / bare:.2f} of that stream")
    shares.append((f"{LARGE_CHATS} chats, 64 KiB", ours["cpu_us"]))


def show(rows, shares, count):
    print(f"{'work':<62} {'figure':>12} {'unit':<5} {'ratio':>7} {'aim':>6}")
    for r in rows:
        ratio = "" if r["ratio"] is None else f"{r['ratio']:.2f}"
        aim = "" if r["aim"] is None else f"{r['aim']}"
        print(f"{r['work']:<62} {r['figure']:>12.3f} {r['unit']:<5} "
              f"{ratio:>7} {aim:>6}")
        if r["work"] in PARTS:
            print(f"  {PARTS[r['work']]}")
    if not shares:
        return
    print("\nCPU microseconds for each acknowledged message, by process")
    for label, nodes in shares:
        for name, node in zip(ENDS, nodes):
            parts = ", ".join(f"{k} {v:.2f}" for k, v in sorted(node.items()))
            print(f"  {label}, {name}: {sum(node.values()):.2f} ({parts})")
    print(f"\nEach message is sealed, committed to the store of both keyds "
          f"(safe against SIGKILL,\nnot synced to disk), opened, written to "
          f"the app and acknowledged; the sending app asks for the last\n"
          f"acknowledgement of several (acks=last), on NATS each message is "
          f"answered.\n{ROUNDS} rounds of {count} messages; medians. Errors "
          f"end the run.")


def main():
    rows, shares = [], []
    works = {
        "one": lambda: messages(rows, shares, 1, options.messages),
        "many": lambda: messages(rows, shares, 64, options.messages,
                                 "turns"),
        "bursts": lambda: messages(rows, shares, 64, options.messages),
        "pairs": lambda: messages(rows, shares, 64, options.messages,
                                  "pairs"),
        "large": lambda: large(rows, shares),
        "sessions": lambda: crowd.sessions(row, rows, PROGRAMS),
        "apps": lambda: crowd.idle_apps(row, rows, PROGRAMS),
        "chats": lambda: crowd.chats(row, rows, PROGRAMS),
        "keyd": lambda: keyd_bench.rows(row, rows, BUILD),
        "join": lambda: mesh_bench.join(row, rows),
        "failover": lambda: mesh_bench.fail_over(row, rows),
        "lookups": lambda: mesh_bench.lookups(row, rows,
                                              PROGRAMS / "find_bench"),
        "idle": lambda: mesh_bench.idle(row, rows),
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--messages", type=int, default=500000)
    parser.add_argument("--only", action="append", choices=works)
    options = parser.parse_args()
    for name in options.only or works:
        works[name]()
    show(rows, shares, options.messages)
    if options.json:
        with open(options.json, "w", encoding="ascii") as out:
            json.dump(rows, out, indent=1)


if __name__ == "__main__":
    main()
