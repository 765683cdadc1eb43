"""Cases of tests/cases/ with live packets: the cluster's pods as containers, the policies as written, each query a real connection.

Every third case, or all of them: SMOKE_CASES=1. What needs more than two pods of one node (hosts, the world, ICMP, SCTP) is left to
the tests that look it up in the image.
"""
import csv
import os
import pathlib
import select
import socket
import time

from story import ROOT, socket_in, tell

try:
    import yaml
except ImportError:
    yaml = None

CASES = ROOT / "tests/cases"
STEP = int(os.environ.get("SMOKE_CASES", "3"))
PATIENCE = 0.4


class Pod:
    def __init__(self, manifest):
        self.namespace = manifest["metadata"]["namespace"]
        self.name = f"{self.namespace}-{manifest['metadata']['name']}"
        self.service_account = manifest["spec"].get("serviceAccountName", "default")
        self.labels = manifest["metadata"].get("labels", {})
        self.addresses = [address["ip"] for address in manifest["status"]["podIPs"]]
        self.ports = [{"name": port["name"], "port": port["containerPort"], "protocol": port.get("protocol", "TCP")}
                      for container in manifest["spec"]["containers"] for port in container.get("ports", []) if "name" in port]

    def address(self, v4):
        return next((address for address in self.addresses if (":" not in address) == v4), None)


def read_cluster():
    """The running pods, by name and by address, and the labels of namespaces."""
    pods, namespaces = {}, {}
    for item in yaml.safe_load((CASES / "cluster.yaml").read_text())["items"]:
        if item["kind"] == "Namespace":
            namespaces[item["metadata"]["name"]] = item["metadata"].get("labels", {})
        if item["kind"] == "Pod" and item["status"]["phase"] == "Running" and not item["spec"].get("hostNetwork"):
            pod = Pod(item)
            for key in (f"{pod.namespace}/{item['metadata']['name']}", *pod.addresses):
                pods[key] = pod
    return pods, namespaces


def set_up(stage, pods):
    for pod in dict.fromkeys(pods.values()):
        stage.container(pod.name, pod.address(True), pod.labels, pod.address(False), pod.ports, kubernetes=True,
                        namespace=pod.namespace, service_account=pod.service_account)
    stage.start(ready=False)
    stage.wait_enforced()


def queries(case, pods):
    """What two pods of ours can try: (text, source, target, address, protocol, port, allowed?). Over both families, unless the case
    is about addresses."""
    words = (case / "policies.yaml").read_text()
    about_addresses = any(word in words for word in ("ipBlock", "cidr", "networks:", "source.ip"))
    with open(case / "queries.csv", newline="") as lines:
        for row in csv.DictReader(line for line in lines if not line.startswith("#")):
            source, target = pods.get(row["src"]), pods.get(row["dst"])
            if source is None or target is None or source is target or row["proto"] not in ("tcp", "udp"):
                continue
            families = [v4 for v4 in (True, False) if source.address(v4) and target.address(v4)]
            if row["src"] in source.addresses or row["dst"] in target.addresses:
                families = [":" not in row["src"] + row["dst"]]
            for v4 in families[:1] if about_addresses else families:
                yield (",".join(row.values()) + ("" if v4 else " over IPv6"), source, target, target.address(v4), row["proto"],
                       int(row["port"]), row["verdict"] == "allow")


def try_once(stage, asked):
    """All at once; the set of those that came through."""
    listeners, waiting, through = {}, {}, set()
    for index, (_, source, target, address, protocol, port, _) in asked.items():
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        if (target.name, protocol, port) not in listeners:
            listener = socket_in(stage, target.name, socket.AF_INET6, kind)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(("::", port))
            if protocol == "tcp":
                listener.listen(64)
            listeners[target.name, protocol, port] = listener
        client = socket_in(stage, source.name, socket.AF_INET6 if ":" in address else socket.AF_INET, kind, timeout=0)
        if protocol == "tcp":
            client.connect_ex((address, port))
            waiting[client] = index
        else:
            client.sendto(str(index).encode(), (address, port))
            waiting[client] = None
    deadline = time.monotonic() + PATIENCE
    sinks = [listener for (_, protocol, _), listener in listeners.items() if protocol == "udp"]
    while (left := deadline - time.monotonic()) > 0:
        connecting = [client for client, index in waiting.items() if index is not None and index not in through]
        readable, writable, _ = select.select(sinks, connecting, [], left)
        through |= {int(sink.recv(100)) for sink in readable}
        for client in writable:
            if client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                through.add(waiting[client])
            else:
                waiting[client] = None
    for made in (*waiting, *listeners.values()):
        made.close()
    return through


def load(stage, case):
    written = time.monotonic()
    stage.policy("case.yaml", (case / "policies.yaml").read_text())

    def taken_up():
        status = stage.status()
        policies = status["controlplane"]["policies"]
        return policies["age_seconds"] < time.monotonic() - written and not policies["refused"] and stage.enforced()[1]

    time.sleep(0.1)
    stage.wait(taken_up, f"the policies of {case.name} to be enforced")


def main(story):
    if yaml is None:
        return story.claim("this machine has python3-yaml", False, "tools/install installs it")
    pods, namespaces = read_cluster()
    cases = [path.parent for path in sorted(CASES.glob("*/queries.csv"))
             if not (path.parent / "cluster.yaml").exists() and not (path.parent / "posture").exists()]
    count = 0
    with story.stage() as stage:
        stage.namespace_labels = namespaces
        set_up(stage, pods)
        for case in cases[::STEP]:
            asked = dict(enumerate(queries(case, pods)))
            if not asked:
                continue
            load(stage, case)
            through = try_once(stage, asked)
            # A packet may be lost on a busy machine; none may pass by chance.
            for _ in range(3):
                missing = {index: asked[index] for index in asked if asked[index][-1] and index not in through}
                if missing:
                    through |= try_once(stage, missing)
            wrong = [asked[index][0] for index in asked if (index in through) != asked[index][-1]]
            count += len(asked)
            story.claim(f"{case.name}: {len(asked)} queries", not wrong, f"not as written: {wrong}" if wrong else "")
    story.claim("there were cases to try", count > 20, f"{count} queries")


tell(main)
