"""A policy comes to deny what was allowed: what becomes of the connections that live, by what it says of them, also after a restart."""
import errno
import json
import socket
import time

from story import fates, socket_in, tell
import traffic

WEB, API = ("10.88.0.10", "fd88::10"), ("10.88.0.11", "fd88::11")
ALLOW = """\
apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: shop, namespace: shop}
spec:
  edges:
  - name: web-to-api
    from: {matchLabels: {app: web}}
    to: {matchLabels: {app: api}}
    ports: [tcp/1-65535, udp/1-65535]
"""
DENY = """\
---
apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: closed, namespace: shop}
spec:
  established: %s
  edges:
  - name: closed
    from: {matchLabels: {app: web}}
    to: {matchLabels: {app: api}}
    ports: [any]
    action: deny
"""


def set_up(stage):
    stage.container("web", WEB[0], {"app": "web"}, WEB[1])
    stage.container("api", API[0], {"app": "api"}, API[1])
    stage.policy("shop.yaml", ALLOW)
    stage.start()
    traffic.echo_server(stage, "api", 8080)
    traffic.iperf_server(stage, "api")
    for address in API:
        stage.wait(lambda: traffic.tcp(stage, "web", address, 8080), "the echo server")


def now_say(stage, text):
    before = stage.enforced()[0]
    stage.policy("shop.yaml", text)
    stage.wait_enforced(before)


def connect(stage, address):
    client = socket_in(stage, "web", socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    client.connect((address, 8080))
    return client


def echoes(client):
    """True, or how it ended: the error's name, "closed" or "silence"."""
    try:
        client.sendall(b"x")
        return client.recv(1) == b"x" or "closed"
    except TimeoutError:
        return "silence"
    except OSError as error:
        return errno.errorcode[error.errno]


def workers(stage, counter):
    return sum(worker[counter] for worker in stage.ctl_json("counters")["workers"])


def keep(story, stage):
    client = traffic.iperf(stage, "web", API[0], 4)
    held = [connect(stage, address) for address in API]
    time.sleep(1)
    now_say(stage, ALLOW + DENY % "keep")
    story.claim("keep: an idle connection goes on, both families", [echoes(c) for c in held] == [True, True])
    story.claim("keep: a new one does not begin", not any(traffic.tcp(stage, "web", address, 8080) for address in API))
    verdict = stage.ctl_json("verdict", "--from", "shop/web", "--to", "shop/api", "--port", "tcp/8080")
    story.claim("verdict says what becomes of those from before", verdict["established"] == "keep", verdict["established"])
    counts, result = traffic.intervals(stage, client)
    story.claim("keep: iperf3 goes on at full speed to its end", client.returncode == 0 and len(counts) > 30 and all(counts[15:-1]),
                result.get("error", f"{len(counts)} intervals"))
    story.claim("keep: it is counted", workers(stage, "flows_kept") >= 3, workers(stage, "flows_kept"))
    shown = stage.ctl_json("flows", "--endpoint", "shop/web")["flows"]
    story.claim("keep: flows marks it", sum(flow["kept"] for flow in shown) >= 2, json.dumps(shown)[:200])
    stage.kill(stage.dataplane)
    stage.start_dataplane()
    stage.wait_enforced()
    story.claim("keep: it survives a restart of the data plane", [echoes(c) for c in held] == [True, True])
    now_say(stage, ALLOW + DENY % "reevaluate")
    held[0].settimeout(0.5)
    story.claim("a policy that no longer says keep ends it", echoes(held[0]) == "silence")


def reevaluate(story, stage):
    now_say(stage, ALLOW)
    client = connect(stage, API[0])
    client.settimeout(0.5)
    assert echoes(client) is True
    now_say(stage, ALLOW + DENY % "reevaluate")
    story.claim("reevaluate: the connection is cut in silence", echoes(client) == "silence")


def reset(story, stage):
    now_say(stage, ALLOW)
    held = [connect(stage, address) for address in API]
    asked = []
    for address in API:
        asker = socket_in(stage, "web", socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        asker.connect((address, 8080))
        asked.append(asker)
    alive = [echoes(c) for c in held + asked]
    ports = [c.getsockname()[1] for c in held]
    before = fates(stage, "denied_policy")
    now_say(stage, ALLOW + DENY % "reset")
    ends, times = [], []
    for client in held:
        began = time.monotonic()
        ends.append(echoes(client))
        times.append(time.monotonic() - began)
    story.claim("reset: the client sees it at once, both families", alive == [True] * 4 and ends == ["ECONNRESET"] * 2 and max(times) < 0.5,
                f"{ends} {times}")
    # Linux holds "prohibited" against an IPv4 socket as EHOSTUNREACH, against an IPv6 one as EACCES.
    story.claim("reset: UDP hears of it by ICMP", [echoes(a) for a in asked] == ["EHOSTUNREACH", "EACCES"])
    there = stage.run("api", "ss -Htn state established ( sport = :8080 )").stdout
    left = [port for port in ports if f":{port}" in there]
    story.claim("reset: the server's ends are gone as well", not left, left)
    story.claim("reset: the packets that were answered count as denied", fates(stage, "denied_policy") - before >= 4)
    story.claim("reset: the answers are counted", workers(stage, "resets_sent") == 6, workers(stage, "resets_sent"))


def audit(story, stage):
    trial = (DENY % "reevaluate").replace("  established", "  mode: audit\n  established")
    now_say(stage, ALLOW + trial)
    story.claim("audit: what would be denied passes", all(traffic.tcp(stage, "web", address, 8080) for address in API))
    found = [flow for flow in stage.ctl_json("flows", "--audit")["audited"]
             if flow["from"]["name"] == "shop/web" and flow["to"]["port"] == 8080 and flow["current"] and flow["protocol"] == "tcp"]
    story.claim("audit: the record shows it, with file and line", len(found) == 2 and all(
        flow["fate"] == "forwarded" and flow["would"] == "denied_policy" and flow["rule"]["file"].endswith("shop.yaml") and
        flow["rule"]["line"] > 0 for flow in found), json.dumps(found)[:300])
    story.claim("audit: and people can read it", "rule 'closed'" in stage.ctl("flows", "--audit").stdout)
    verdict = stage.ctl_json("verdict", "--from", "shop/web", "--to", "shop/api", "--port", "tcp/8080")
    story.claim("audit: verdict says both", verdict["allowed"] and verdict["audit"]["differs"] and not verdict["audit"]["allowed"])
    story.claim("audit: it is counted", workers(stage, "audited_denied") >= 2, workers(stage, "audited_denied"))


def main(story):
    with story.stage() as stage:
        set_up(stage)
        for part in (keep, reevaluate, reset, audit):
            part(story, stage)


tell(main, needs=("iperf3", "ss"))
