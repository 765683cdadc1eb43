"""Containers come and go, devices vanish, somebody lies about who he is, nobody speaks at all, and five hundred are there at once."""
import os
import random
import socket
import time

from story import cpu_seconds, fates, niceness, socket_in, tell
import traffic
import wire

POLICY = """\
apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: friends, namespace: shop}
spec:
  edges:
  - name: among-friends
    from: {matchLabels: {friend: "true"}}
    to: {matchLabels: {friend: "true"}}
    ports: [tcp/1-65535, udp/1-65535, icmp]
"""
FRIEND = {"friend": "true"}
ONE, TWO, THREE = ("10.88.0.10", "fd88::10"), ("10.88.0.11", "fd88::11"), ("10.88.0.12", "fd88::12")
CROWD = int(os.environ.get("SMOKE_PORTS", "500"))


def set_up(stage):
    stage.container("one", ONE[0], FRIEND, ONE[1])
    stage.container("two", TWO[0], FRIEND, TWO[1])
    stage.container("three", THREE[0], FRIEND, THREE[1], kind="veth")
    for address in (f"{THREE[0]}/16", f"{THREE[1]}/64 nodad"):
        stage.run("three", f"ip addr add {address} dev eth0")
    stage.policy("friends.yaml", POLICY)
    stage.start()


def forget(stage, *names):
    stage.endpoints = [endpoint for endpoint in stage.endpoints if endpoint["name"] not in names]


def owners(stage):
    return {port["endpoint"] for port in stage.ctl_json("ports")["ports"]}


def ports(stage):
    return len(stage.ctl_json("ports")["ports"])


def comings_and_goings(story, stage):
    """Sixty containers, while two that were there before must not notice."""
    sink = stage.spawn("two", ["python3", traffic.__file__, "sink", "5140"], "sink.log")
    stage.wait(lambda: "ready" in stage.log("sink.log"), "the sink")
    server = traffic.iperf_server(stage, "two")
    stream = stage.spawn("one", ["python3", traffic.__file__, "stream", TWO[0], "5140", "1000", "300"], "stream.log")
    client = traffic.iperf(stage, "one", TWO[1], 120, extra=("-b", "500M"))
    time.sleep(0.5)
    reached, before = 0, ports(stage)
    for batch in range(12):
        names = [f"guest{batch}-{i}" for i in range(5)]
        for i, name in enumerate(names):
            stage.container(name, f"10.88.1.{10 + i}", FRIEND, f"fd88::1:{10 + i}")
        stage.write_endpoints()
        # Attached, open and with its address: the one thing that counts is that it can speak.
        for i, name in enumerate(names):
            stage.wait(lambda: traffic.ping(stage, name, ONE[i % 2]), f"{name} to be connected")
            reached += 1
        forget(stage, *names)
        if batch % 2:
            stage.write_endpoints()
        for name in names:
            stage.sh(f"ip netns del {stage.netns(name)}")
            stage.namespaces.remove(name)
        if not batch % 2:
            stage.write_endpoints()
        stage.wait(lambda: ports(stage) == before, "the guests' ports to be detached")
    story.claim("sixty containers came, spoke and went", reached == 60)
    stream.send_signal(2)
    stream.wait()
    time.sleep(0.6)
    sent = int((stage.log("stream.log").split() or ["0"])[-1])
    distinct = int(stage.log("sink.log").split()[-2].replace("ready", "0"))
    story.claim("a paced flow between others lost nothing", 0 < sent == distinct, f"{sent - distinct} of {sent}")
    client.send_signal(2)
    counts, _ = traffic.intervals(stage, client)
    story.claim("a TCP connection at full speed never stood still", len(counts) > 5 and all(counts[1:-1]),
                f"{len(counts)} intervals, {sum(not c for c in counts)} silent")
    for process in (server, sink):
        stage.kill(process)


def waiting(stage):
    return {port["endpoint"] for port in stage.status()["controlplane"]["ports"]["waiting"]}


def vanished(story, stage):
    before = ports(stage)
    stage.container("brief", "10.88.2.1", FRIEND, "fd88::2:1")
    stage.container("cable", "10.88.2.2", FRIEND, "fd88::2:2", kind="veth")
    stage.write_endpoints()
    stage.wait(lambda: {"shop/brief", "shop/cable"} <= owners(stage), "both ports")
    stage.sh(f"ip netns del {stage.netns('brief')}")
    stage.namespaces.remove("brief")
    stage.sh(f"ip -n {stage.netns('node')} link del v-cable")
    stage.wait(lambda: ports(stage) == before, "both ports to be detached")
    story.claim("a namespace and a veth that vanish take their ports along", True)
    stage.wait(lambda: {"shop/brief", "shop/cable"} <= waiting(stage), "status to report both")
    story.claim("status reports both ports as waiting", True)
    forget(stage, "brief", "cable")
    stage.write_endpoints()
    stage.wait(lambda: not waiting(stage), "status to forget them")


def on_hold(story, stage):
    """Policies that are refused from the start on keep everything new out of the image: its port is there and passes nothing."""
    before = stage.enforced()[0]
    stage.kill(stage.controlplane)
    stage.policy("friends.yaml", POLICY.replace("edges:", "edgez:"))
    stage.container("early", "10.88.2.3", FRIEND, "fd88::2:3")
    stage.write_endpoints()
    stage.start_controlplane()
    stage.wait(lambda: "10.88.2.3" in stage.run("early", "ip addr", check=False).stdout, "the early one's device")
    held = fates(stage, "port_on_hold")
    passed = [traffic.ping(stage, "early", address) for address in ONE]
    story.claim("a port whose endpoint is not in the image yet passes nothing, and what it would is counted",
                not any(passed) and fates(stage, "port_on_hold") > held and stage.enforced()[0] == before)
    story.claim("and nothing reaches it", not any(traffic.ping(stage, "one", a) for a in ("10.88.2.3", "fd88::2:3")))
    story.claim("the others go on under the last image", traffic.ping(stage, "one", TWO[0]) and traffic.ping(stage, "one", TWO[1]))
    stage.policy("friends.yaml", POLICY)
    stage.wait_enforced(before)
    stage.wait(lambda: traffic.ping(stage, "early", ONE[0]) and traffic.ping(stage, "early", ONE[1]), "the early one to be let in")
    story.claim("it passes as soon as an image has it", True)
    forget(stage, "early")
    stage.write_endpoints()


def lies(story, stage):
    traffic.ping(stage, "one", TWO[0])
    traffic.ping(stage, "one", TWO[1])
    listen = wire.Tap(stage, "two")
    for name, kind in (("one", "tap"), ("three", "veth")):
        own = ONE if name == "one" else THREE
        for which, family in ((0, "IPv4"), (1, "IPv6")):
            traffic.ping(stage, name, TWO[which])
            link = wire.Link(stage, name, TWO[which])

            def passes(fate, frame_of):
                before, mark = fates(stage, fate), os.urandom(16)
                frame_of(mark)
                seen = any(mark in frame for frame in listen.frames(0.3, until=mark))
                return seen, fates(stage, fate) - before

            def honest(mark, source=own[which], **macs):
                link.send(wire.packet(source, TWO[which], 17, wire.udp(source, TWO[which], 5000, 5001, mark)), **macs)

            seen, _ = passes("spoofed_mac", honest)
            story.claim(f"{kind}, {family}: an honest packet made by hand passes", seen)
            seen, counted = passes("spoofed_mac", lambda mark: honest(mark, mac_from=b"\x02\0\0\0\0\x99"))
            story.claim(f"{kind}, {family}: one from a stolen MAC does not, and is counted", not seen and counted == 1, counted)
            for stolen in (ONE if name == "three" else THREE)[which], ("203.0.113.5", "2001:db8::5")[which]:
                seen, counted = passes("spoofed_address", lambda mark: honest(mark, source=stolen))
                story.claim(f"{kind}, {family}: nor one from {stolen}, and is counted", not seen and counted == 1, counted)
            stolen = TWO[which]
            claim_frame = wire.arp_request(link.source, stolen, "10.88.0.1") if which == 0 else \
                wire.solicitation(link.source, stolen, "fd88::1")
            _, counted = passes("spoofed_address", lambda mark: link.send_frame(claim_frame))
            story.claim(f"{kind}: an {'ARP request' if which == 0 else 'neighbour solicitation'} as {stolen} is counted, and unanswered",
                        counted == 1, counted)
            link.close()
    listen.close()


def idle(story, stage):
    time.sleep(0.5)
    best = 1.0
    for _ in range(3):
        began, before = time.monotonic(), cpu_seconds(stage.dataplane.pid)
        time.sleep(3)
        best = min(best, (cpu_seconds(stage.dataplane.pid) - before) / (time.monotonic() - began))
        if best < 0.05:
            break
    story.claim("an idle data plane uses less than 5 % of a core", best < 0.05, f"{best:.1%}")
    weights = niceness(stage.dataplane.pid, "rte-worker")
    story.claim("every worker has more weight than a container", weights == [os.nice(0) or -5] * story.workers, weights)
    with socket_in(stage, "two", socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind((TWO[0], 5140))
        with socket_in(stage, "one", socket.AF_INET, socket.SOCK_DGRAM) as sender:
            lost = 0
            for _ in range(10):
                time.sleep(0.25)
                sender.sendto(b"first", (TWO[0], 5140))
                try:
                    sink.recv(100)
                except TimeoutError:
                    lost += 1
    story.claim("the first packet after idling is not lost, ten times", lost == 0, lost)


def crowd(story, stage):
    """Many taps in few namespaces: the ports are what is many here."""
    began = time.monotonic()
    names = []
    for i in range(CROWD):
        if i % 50 == 0:
            stage._netns(f"hall{i // 50}")
        name = f"c{i}"
        names.append(name)
        stage.endpoints.append({
            "name": name, "namespace": "shop", "labels": FRIEND if i % 2 == 0 else {"friend": "false"},
            "addresses": [f"10.88.{16 + i // 250}.{1 + i % 250}/32", f"fd88::5:{i:x}/128"],
            "port": {"kind": "tap", "interface": name, "netns": f"/run/netns/{stage.netns(f'hall{i // 50}')}"}})
    written = time.monotonic()
    stage.write_endpoints()
    half = None

    def there():
        nonlocal half
        count = stage.status().get("dataplane", {}).get("ports", 0)
        if half is None and count >= CROWD // 2:
            half = time.monotonic() - written
        return count >= CROWD

    stage.wait(there, f"{CROWD} ports", 120)
    whole = time.monotonic() - written
    stage.wait_enforced()
    story.claim(f"{CROWD} container ports at once", whole < 60, f"half after {half:.1f} s, all after {whole:.1f} s")
    pick = random.Random(1)
    good = []
    for _ in range(6):
        a, b = (f"c{2 * pick.randrange(CROWD // 2)}" for _ in range(2))
        if int(a[1:]) // 50 == int(b[1:]) // 50:
            continue
        good.append(stage.wait(lambda: crosses(stage, a, b), f"{a} to reach {b}", 10) is None)
    story.claim("pairs among them talk", bool(good), f"{len(good)} pairs")
    a, b = "c0", "c101"
    story.claim("and a stranger among them does not", not crosses(stage, b, a))
    gone = time.monotonic()
    forget(stage, *names)
    stage.write_endpoints()
    stage.wait(lambda: stage.status()["dataplane"]["ports"] < 10, "all of them to go", 120)
    story.claim("and all go", True, f"in {time.monotonic() - gone:.1f} s; {time.monotonic() - began:.1f} s in all")


def crosses(stage, a, b):
    """A ping out of a's interface, in whose namespace others live too, arrives at b's."""
    i, j = int(a[1:]), int(b[1:])
    hall = f"hall{i // 50}"
    source, target = (f"10.88.{16 + n // 250}.{1 + n % 250}" for n in (i, j))
    there = wire.Tap(stage, f"hall{j // 50}", b)
    mark = os.urandom(16)
    link = wire.Link(stage, hall, target, interface=a)
    link.send(wire.packet(source, target, 17, wire.udp(source, target, 4000, 4001, mark)))
    seen = any(mark in frame for frame in there.frames(0.5, until=mark))
    link.close()
    there.close()
    return seen


def main(story):
    with story.stage() as stage:
        set_up(stage)
        for part in (idle, lies, comings_and_goings, vanished, on_hold, crowd):
            part(story, stage)


tell(main, needs=("iperf3",))
