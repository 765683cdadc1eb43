"""How a smoke test is told: claims about real packets, silent while they hold.

    def main(story):
        with story.stage() as stage:
            ...
            story.claim("web reaches api", traffic.tcp(stage, "web", "10.88.0.11", 80))

    tell(main)

Every script takes --workers N. When a claim does not hold the story goes on; at its end everything that was claimed is printed, and
the last lines of both processes' logs, and the exit code is 1.
"""
import argparse
import contextlib
import ctypes
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/stage"))
from stage import Stage, StageError  # noqa: E402

_setns = ctypes.CDLL(None, use_errno=True).setns
_CLONE_NEWNET = 0x40000000
LOG_BYTES = 4000


class Story:
    def __init__(self, name, options):
        self.name = name
        self.options = options
        self.workers = options.workers
        self.lines = []
        self.failures = 0
        self.began = time.monotonic()
        self.logs = ""

    def note(self, text):
        self.lines.append(f"  {time.monotonic() - self.began:6.1f} s  {text}")
        if self.options.verbose:
            print(self.lines[-1], flush=True)

    def claim(self, what, good, detail=""):
        detail = str(detail).strip()
        tell = detail != "" and (not good or "\n" not in detail)
        self.note(f"{'ok  ' if good else 'FAIL'} {what}" + (f": {detail}" if tell else ""))
        self.failures += not good
        return good

    @contextlib.contextmanager
    def stage(self, **options):
        """A stage with as many workers as the story is told with; its logs are kept if something was wrong."""
        with Stage(workers=self.workers, **options) as stage:
            try:
                yield stage
            except StageError as error:
                self.claim(str(error), False)
            except Exception:
                self.claim("the story comes to its end", False, traceback.format_exc())
            if self.failures:
                for log in ("dataplane.log", "controlplane.log"):
                    self.logs += f"-- {log}\n{stage.log(log)[-LOG_BYTES:]}\n"


def tell(main, needs=(), **arguments):
    """Runs main(story). `needs`: programs without which the story cannot be told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--verbose", action="store_true")
    for name, default in arguments.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    story = Story(pathlib.Path(sys.argv[0]).stem, parser.parse_args())
    missing = [program for program in needs if shutil.which(program) is None]
    if os.geteuid() != 0:
        missing.append("root")
    if missing:
        print(f"{story.name}: this machine lacks {', '.join(missing)} (tools/install installs programs)")
        sys.exit(1)
    try:
        main(story)
    except StageError as error:
        story.claim(str(error), False)
    if story.failures:
        print("\n".join(story.lines) if not story.options.verbose else "", story.logs, sep="\n")
    print(f"{story.name}: {story.failures} of {len(story.lines)} claims do not hold" if story.failures else
          f"{story.name}: {len(story.lines)} claims hold, {story.workers} worker(s), {time.monotonic() - story.began:.0f} s")
    sys.exit(1 if story.failures else 0)


@contextlib.contextmanager
def inside(netns):
    """This thread, in the namespace of that path. Sockets made there stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(netns, os.O_RDONLY)
    try:
        if _setns(there, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"entering {netns}")
        yield
    finally:
        _setns(home, _CLONE_NEWNET)
        os.close(there)
        os.close(home)


def socket_in(stage, name, family, kind, protocol=0, timeout=2):
    with inside(f"/run/netns/{stage.netns(name)}"):
        made = socket.socket(family, kind, protocol)
    made.settimeout(timeout)
    return made


def fates(stage, fate):
    """How many packets met that fate on all ports so far."""
    return sum(port.get("fates", {}).get(fate, 0) for port in stage.ctl_json("counters")["ports"])


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def niceness(pid, thread):
    """Of every thread of the process whose name begins so."""
    tasks = (path.read_text() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"))
    return [int(task.rpartition(")")[2].split()[16]) for task in tasks if task.partition("(")[2].startswith(thread)]


def output(command):
    return subprocess.run(command, shell=isinstance(command, str), capture_output=True, text=True).stdout
