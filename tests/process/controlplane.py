#!/usr/bin/env python3
"""Both processes with real namespaces and a TCP connection that must live through everything but its revocation.

usage: controlplane.py DATAPLANE CONTROLPLANE        as root; exit 77: not possible here, and why

It runs in network and mount namespaces of its own, so nothing of the machine is touched. Its log is printed only
when something is not as it should be.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

INSIDE = "BULKHEAD_TEST_INSIDE"

CONFIG = """
run_directory: run
state_directory: state
node: {name: node-1, gateways: [10.88.0.1, "fd88::1"]}
host: {interface: bulkhead0, addresses: [10.88.0.1/16, "fd88::1/64"]}
"""

ENDPOINT = """
  - name: NAME
    labels: {app: NAME}
    addresses: [10.88.0.N, "fd88::N"]
    port: {kind: tap, netns: /run/netns/NAME, interface: eth0}
"""

VETH = """
  - name: old
    labels: {app: web}
    addresses: [10.88.0.30]
    port: {kind: veth, interface: vold, netns: /run/netns/old}
"""

POLICY = """
apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: shop, namespace: default}
spec:
  edges:
    - name: web-to-api
      from: {matchLabels: {app: web}}
      to: {matchLabels: {app: api}}
      ports: [tcp/8080]
"""

# One thread a client: one whose connection was cut never says goodbye.
SERVER = """
import socket, threading
server = socket.create_server(("10.88.0.20", 8080))

def echo(client):
    while data := client.recv(64):
        client.sendall(data)

while True:
    threading.Thread(target=echo, args=server.accept()[:1], daemon=True).start()
"""

# Prints one line a round trip; never gives up on its connection.
CLIENT = """
import socket, sys, time
connection = socket.create_connection(("10.88.0.20", 8080), timeout=60)
print("connected", flush=True)
while True:
    connection.sendall(b"ping")
    assert connection.recv(64) == b"ping"
    print("pong", flush=True)
    time.sleep(0.02)
"""


class Failed(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failed(what)


def wait_for(what, condition, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise Failed(f"not within {seconds} s: {what}")


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class Connection:
    """A client in the namespace `web` that talks to a server in `api` for as long as this lives."""

    def __init__(self, base, name):
        self.log = base / f"client-{name}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", "web", sys.executable, "-c", CLIENT], stdout=log, stderr=subprocess.STDOUT)

    def rounds(self):
        return self.log.read_text().count("pong")

    def moves(self, seconds=20):
        before = self.rounds()
        wait_for("the connection goes on", lambda: self.rounds() > before + 3, seconds)
        expect(self.process.poll() is None, "the client has ended: " + self.log.read_text()[-300:])

    def stands(self):
        time.sleep(0.3)
        before = self.rounds()
        time.sleep(1)
        return self.rounds() == before


class Node:
    def __init__(self, base, dataplane, controlplane):
        self.base, self.programs = base, {"dataplane": dataplane, "controlplane": controlplane}
        self.processes, self.starts = {}, 0

    def write(self, name, text):
        new = self.base / (name + ".new")
        new.write_text(text)
        new.rename(self.base / name)

    def start(self, which):
        command = {
            "dataplane": [self.programs["dataplane"], "--run-dir", str(self.base / "run"), "--no-huge", "--flows",
                          "65536", "--packets", "8192"],
            "controlplane": [self.programs["controlplane"], "--config", str(self.base / "node.yaml")],
        }[which]
        log = open(self.base / f"{which}.log", "a")
        self.processes[which] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def kill(self, which, with_signal=signal.SIGKILL):
        process = self.processes.pop(which)
        process.send_signal(with_signal)
        return process.wait(timeout=20)

    def log(self, which):
        return (self.base / f"{which}.log").read_text()

    def status(self):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.base / "run/controlplane.sock"))
            client.sendall(b'{"request": "status"}\n')
            return json.loads(client.makefile().readline())

    def settled(self):
        """Enforced is what is wanted, and no port waits."""
        try:
            status = self.status()
        except OSError:
            return False
        return (status["enforced"]["generation"] != 0 and status["wanted"] == status["enforced"]
                and not status["ports"]["waiting"])

    def generation(self):
        return self.status()["enforced"]["generation"]

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


def endpoints(*extra):
    return "endpoints:" + "".join(
        ENDPOINT.replace("NAME", name).replace("N", number) for name, number in (("web", "10"), ("api", "20"))
    ) + "".join(extra)


def story(node, base):
    for name in ("web", "api", "old"):
        run("ip", "netns", "add", name)
    run("ip", "link", "set", "lo", "up")
    (base / "policies").mkdir()
    node.write("node.yaml", CONFIG)
    node.write("endpoints.yaml", endpoints())
    node.write("policies/shop.yaml", POLICY)
    node.start("controlplane")
    node.start("dataplane")
    wait_for("both processes come up, in the wrong order too", node.settled, 40)
    server = subprocess.Popen(["ip", "netns", "exec", "api", sys.executable, "-c", SERVER])
    try:
        connection_lives_through(node, base)
        container_comes_back(node, base)
        veth_vanishes_and_comes_back(node)
        expect(node.kill("controlplane", signal.SIGTERM) == 0, "SIGTERM is a clean end")
    finally:
        server.kill()


def connection_lives_through(node, base):
    time.sleep(0.5)  # the server's start
    connection = Connection(base, "first")
    connection.moves()

    attached = node.log("dataplane").count("attached:")
    generation = node.generation()
    node.kill("controlplane")
    connection.moves()
    node.start("controlplane")
    wait_for("the control plane is back", node.settled)
    connection.moves()
    expect(node.generation() == generation, "a restarted control plane publishes nothing that is enforced already")
    expect(node.log("dataplane").count("attached:") == attached, "a restarted control plane attaches nothing again")

    node.kill("dataplane")
    wait_for("the control plane says so", lambda: not node.status()["dataplane"]["connected"])
    node.start("dataplane")
    wait_for("the data plane is back", node.settled, 30)
    connection.moves(40)

    node.write("policies/bad.yaml", "kind: SegmentationPolicy\nspec: {edge: []}\n")
    wait_for("a bad policy is shown", lambda: node.status()["policies"]["refused"])
    refused = node.status()["policies"]["refused"][0]
    expect(refused["file"].endswith("policies/bad.yaml") and refused["line"] > 0, f"its place is named: {refused}")
    expect(node.generation() == generation, "a bad policy changes nothing")
    connection.moves()
    (base / "policies/bad.yaml").unlink()
    wait_for("the policies are good again", lambda: not node.status()["policies"]["refused"])

    node.write("policies/shop.yaml", POLICY.replace("8080", "8081"))
    wait_for("the new policy is enforced", lambda: node.generation() > generation and node.settled())
    expect(connection.stands(), "a revoked rule cuts an established connection")
    connection.process.kill()
    node.write("policies/shop.yaml", POLICY)
    wait_for("the old policy is enforced again", lambda: node.generation() > generation + 1 and node.settled())
    again = Connection(base, "again")
    again.moves()
    again.process.kill()


def container_comes_back(node, base):
    keys = json.loads((base / "state/ports.json").read_text())["ports"]
    run("ip", "netns", "del", "web")
    wait_for("a vanished namespace is noticed",
             lambda: any(port["endpoint"] == "default/web" for port in node.status()["ports"]["waiting"]))
    expect(all(port["reason"] for port in node.status()["ports"]["waiting"]), "it says why it waits")
    run("ip", "netns", "add", "web")
    wait_for("the new namespace is taken up", node.settled)
    now = json.loads((base / "state/ports.json").read_text())["ports"]
    old, new = keys["static/default/web"], now["static/default/web"]
    expect(old["port"] == new["port"] and old["sequence"] < new["sequence"], "the same number under a new key")
    expect(keys["static/default/api"] == now["static/default/api"], "others keep their key")
    connection = Connection(base, "second")
    connection.moves()
    connection.process.kill()


def make_veth():
    run("ip", "link", "add", "vold", "type", "veth", "peer", "name", "eth0", "netns", "old")
    run("ip", "-n", "old", "addr", "add", "10.88.0.30/16", "dev", "eth0")
    run("ip", "-n", "old", "link", "set", "eth0", "up")


def veth_vanishes_and_comes_back(node):
    def reaches_api():
        code = "import socket; socket.create_connection(('10.88.0.20', 8080), timeout=1)"
        return subprocess.run(["ip", "netns", "exec", "old", sys.executable, "-c", code],
                              stderr=subprocess.DEVNULL).returncode == 0

    def waits():
        return [port["reason"] for port in node.status()["ports"]["waiting"] if port["endpoint"] == "default/old"]

    node.write("endpoints.yaml", endpoints(VETH))
    wait_for("a veth that is not there yet waits", lambda: waits() == ["interface vold does not exist"])
    make_veth()
    wait_for("it is taken up when it comes", node.settled)
    wait_for("and carries packets", reaches_api)
    run("ip", "link", "del", "vold")
    wait_for("a vanished veth is noticed", lambda: waits() == ["interface vold does not exist"])
    make_veth()
    wait_for("it is taken up again", node.settled)
    wait_for("and carries packets again", reaches_api)
    node.write("endpoints.yaml", endpoints())
    wait_for("an endpoint that is gone loses its port", lambda: node.status()["ports"]["attached"] == 3)


def main():
    programs = sys.argv[1:3]
    if len(programs) != 2:
        print(__doc__)
        return 2
    if INSIDE not in os.environ:
        if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
            print("SKIP: needs root and /dev/net/tun")
            return 77
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, os.path.abspath(__file__), *programs])
    os.makedirs("/run/netns", exist_ok=True)
    run("mount", "-t", "tmpfs", "none", "/run/netns")
    base = pathlib.Path(tempfile.mkdtemp(prefix="bulkhead-process-"))
    node = Node(base, *programs)
    try:
        story(node, base)
    except (Failed, subprocess.SubprocessError, OSError) as error:
        print(f"FAILED: {error}")
        for which in ("controlplane", "dataplane"):
            if (base / f"{which}.log").exists():
                print(f"--- {which}\n{node.log(which)[-6000:]}")
        if "controlplane" in node.processes:
            try:
                print("--- status\n" + json.dumps(node.status(), indent=1))
            except OSError as gone:
                print(f"--- no status: {gone}")
        return 1
    finally:
        node.stop()
        for name in ("web", "api", "old"):
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        shutil.rmtree(base, ignore_errors=True)
    print("both processes, restarts, refusals, revocation, containers and veths that go and come: as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
