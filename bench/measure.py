"""What the benches that are scripts share: options, medians, the table, iperf3 and ping."""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools/stage"))

from stage import Stage, StageError  # noqa: E402,F401  (the path above leads to it)

median = statistics.median


def options(name, claim, **defaults):
    """`-o json`, and one option for each default. The script's claim is its help."""
    parser = argparse.ArgumentParser(prog=f"bench/{name}", description=claim,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    for option, (value, text) in defaults.items():
        parser.add_argument(f"--{option}", type=type(value) if value is not None else float, default=value,
                            help=text if value is None else f"{text} (default {value})")
    return parser.parse_args()


def run(name, measure, arguments):
    """Runs `measure(arguments)` on a machine that can, and turns what goes wrong into words. Returns an exit code."""
    if os.geteuid() != 0:
        print(f"bench/{name}: needs root, for network namespaces", file=sys.stderr)
        return 2
    try:
        return measure(arguments)
    except (StageError, OSError, subprocess.TimeoutExpired) as error:
        print(f"bench/{name}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"bench/{name}: interrupted", file=sys.stderr)
    return 2


def say(text):
    """Progress, for people only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="" if text else "\r", file=sys.stderr, flush=True)


def table(heads, rows):
    widths = [max(len(str(cell)) for cell in column) for column in zip(heads, *rows)]
    for row in [heads, *rows]:
        first, *rest = (str(cell) for cell in row)
        print("  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:]))]).rstrip())


def print_json(value):
    print(json.dumps(value, indent=2))


def iperf_gbits(stage, client, address, seconds, reverse=False, congestion=None):
    """Gbit/s of TCP that arrived. The server runs already and may need a moment to be rid of its last client."""
    command = ["iperf3", "-c", address, "-t", str(seconds), "-J", "--connect-timeout", "2000"] + (["-R"] if reverse else [])
    command += ["-C", congestion] if congestion else []
    for _ in range(10):
        done = stage.run(client, command, check=False, timeout=seconds + 30)
        report = json.loads(done.stdout) if done.stdout.strip() else {}
        if "error" not in report and "end" in report:
            return report["end"]["sum_received"]["bits_per_second"] / 1e9
        stage.sh("sleep 0.1")
    raise StageError(f"iperf3 from {client} to {address}: {report.get('error', done.stderr.strip() or 'no report')}")


def ping_us(stage, client, address, *words):
    """(round trip times in microseconds, packets lost)."""
    done = stage.run(client, ["ping", "-n", *words, address], check=False, timeout=120)
    counted = re.search(r"(\d+) packets transmitted, (\d+) received", done.stdout)
    if not counted:
        raise StageError(f"ping from {client} to {address}: {done.stderr.strip() or done.stdout.strip() or 'no report'}")
    times = [float(ms) * 1000 for ms in re.findall(r"time=([\d.]+) ms", done.stdout)]
    return times, int(counted[1]) - int(counted[2])


def wait_for_ping(stage, client, address):
    stage.wait(lambda: stage.run(client, ["ping", "-n", "-c1", "-W1", address], check=False).returncode == 0,
               f"{client} to reach {address}")
