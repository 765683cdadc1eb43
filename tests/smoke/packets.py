"""Packets of every size and shape, between every pair of port kinds: what arrives, and what must not."""
import json
import os
import socket
import time

from story import fates, socket_in, tell
from transfer import transfer
import traffic
import wire

POLICY = """\
apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: sizes, namespace: shop}
spec:
  edges:
  - name: among-friends
    from: {matchLabels: {friend: "true"}}
    to: {matchLabels: {friend: "true"}}
    ports: [tcp/1-65535, udp/1-65535, sctp/2905, icmp]
"""
FRIENDS = {"tap1": ("10.88.0.10", "fd88::10"), "tap2": ("10.88.0.11", "fd88::11"), "veth1": ("10.88.0.12", "fd88::12"),
           "veth2": ("10.88.0.13", "fd88::13"), "narrow": ("10.88.0.14", "fd88::14"), "tight": ("10.88.0.15", "fd88::15")}
STRANGER = ("10.88.0.66", "fd88::66")
PAIRS = [("tap1", "tap2"), ("tap1", "veth1"), ("veth1", "tap1"), ("veth1", "veth2")]
MTU = {"narrow": 1400, "tight": 1280}


def set_up(stage):
    for name, (v4, v6) in FRIENDS.items():
        kind = "veth" if name.startswith("veth") else "tap"
        stage.container(name, v4, {"friend": "true"}, v6, kind=kind, mtu=MTU.get(name))
        if kind == "veth":
            for address in (f"{v4}/16", f"{v6}/64 nodad"):
                stage.run(name, f"ip addr add {address} dev eth0")
    stage.container("stranger", STRANGER[0], {"friend": "false"}, STRANGER[1])
    stage.policy("sizes.yaml", POLICY)
    stage.start()
    for name in FRIENDS:
        stage.run(name, "sysctl -qw net.ipv4.ipfrag_time=5 net.ipv6.ip6frag_time=5", check=False)


def pings(story, stage):
    for source, target in PAIRS:
        for address in FRIENDS[target]:
            wrong = [size for size in (1, 56, 1452, 1453, 1472, 1473, 8000, 30000, 65000)
                     if not traffic.ping(stage, source, address, "-W3", "-s", str(size))]
            story.claim(f"pings of 1 to 65000 bytes, {source} to {address}", not wrong, f"lost {wrong}" if wrong else "")
    for address in FRIENDS["tap1"]:
        story.claim(f"no ping by a stranger to {address}", not traffic.ping(stage, "stranger", address) and
                    not traffic.ping(stage, "stranger", address, "-s", "8000"))


def received(sink, text, seconds):
    """True as soon as that datagram comes; others are passed over."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        sink.settimeout(left)
        try:
            if sink.recv(65536) == text:
                return True
        except TimeoutError:
            break
    return False


def fragments(story, stage):
    for family in (4, 6):
        which = 0 if family == 4 else 1
        here, there = FRIENDS["tap1"][which], FRIENDS["tap2"][which]
        traffic.ping(stage, "tap1", there)
        link = wire.Link(stage, "tap1", there)
        foreign = wire.Link(stage, "stranger", there)
        sink = socket_in(stage, "tap2", socket.AF_INET6, socket.SOCK_DGRAM)
        sink.bind(("::", 4000 + family))

        def arrives(text, pieces, sender=link, seconds=0.5):
            for piece in pieces:
                sender.send(piece)
            return received(sink, text, seconds)

        def datagram(text, bounds, source=here, order=None):
            pieces = wire.fragments(source, there, 5555, 4000 + family, text, bounds)
            return [pieces[i] for i in order] if order else pieces

        text = os.urandom(3000)
        story.claim(f"IPv{family} fragments in order arrive", arrives(text, datagram(text, [0, 1200, 2400]), seconds=2))
        text = os.urandom(3000)
        story.claim(f"IPv{family} fragments in reverse order arrive",
                    arrives(text, datagram(text, [0, 1200, 2400], order=[2, 1, 0]), seconds=2))
        text = os.urandom(3000)
        story.claim(f"IPv{family} fragments with the first in the middle arrive",
                    arrives(text, datagram(text, [0, 1000, 2000], order=[2, 0, 1]), seconds=2))
        before = fates(stage, "fragment_overlap")
        text = os.urandom(3000)
        identification = wire.next_identification()
        cut = [wire.fragments(here, there, 5555, 4000 + family, text, bounds, identification)
               for bounds in ([0, 1200, 2400], [0, 1192, 2000])]
        pieces = [cut[0][0], cut[1][1], cut[0][1], cut[0][2]]
        story.claim(f"IPv{family} overlapping fragments do not arrive and are counted",
                    not arrives(text, pieces) and fates(stage, "fragment_overlap") > before)
        before = fates(stage, "fragment_tiny")
        syn = wire.tcp_syn(here, there, 5556, 80)
        identification = wire.next_identification()
        link.send(wire.packet(here, there, 6, syn[:16], identification, 0, True))
        link.send(wire.packet(here, there, 6, syn[16:], identification, 16, False))
        time.sleep(0.2)
        story.claim(f"IPv{family} a first fragment without its whole TCP header is counted as tiny",
                    fates(stage, "fragment_tiny") > before)
        source = STRANGER[which]
        for order in ([0, 1, 2], [2, 1, 0]):
            text = os.urandom(3000)
            story.claim(f"IPv{family} fragments of a denied flow do not arrive, order {order}",
                        not arrives(text, datagram(text, [0, 1200, 2400], source, order), foreign))
        eavesdrop = wire.Tap(stage, "tap2")
        for piece in datagram(os.urandom(3000), [0, 1200, 2400], source, [2, 1, 0]):
            foreign.send(piece)
        seen = [frame for frame in eavesdrop.frames(0.5) if wire.address(source) in frame[14:54]]
        story.claim(f"IPv{family} not even a piece of them", not seen, f"{len(seen)} frames" if seen else "")
        for thing in (link, foreign, sink, eavesdrop):
            thing.close()


def routes(story, stage):
    for gateway, target in zip(("10.88.0.1", "fd88::1"), FRIENDS["tap2"]):
        for tool in (f"traceroute -n -q1 -w2 -m4 {target}", f"traceroute -n -I -q1 -w2 -m4 {target}",
                     f"traceroute -n -T -p 80 -q1 -w2 -m4 {target}", f"tracepath -n -m4 {target}"):
            seen = stage.run("tap1", tool, check=False).stdout
            story.claim(f"{tool} shows the gateway, then the target",
                        gateway in seen and target in seen.partition(gateway)[2], "" if gateway in seen else seen)


def path_mtu(story, stage):
    for target, mtu in MTU.items():
        for which, family in ((0, "inet"), (1, "inet6")):
            address = FRIENDS[target][which]
            largest = mtu - (28 if which == 0 else 48)
            before = fates(stage, "icmp_too_big")
            told = stage.run("tap1", ["ping", "-c1", "-W1", "-M", "do", "-s", str(largest + 8), address], check=False)
            words = told.stdout + told.stderr
            story.claim(f"a ping too large for {target} is answered with its MTU, {mtu}, {family}",
                        fates(stage, "icmp_too_big") > before and str(mtu) in words, words if str(mtu) not in words else "")
            story.claim(f"one that just fits passes, {family}",
                        traffic.ping(stage, "tap1", address, "-W3", "-M", "do", "-s", str(largest)))
            story.claim(f"4 MiB of TCP to and from {target} arrive whole, {family}",
                        transfer(stage, "tap1", target, address) and
                        transfer(stage, target, "tap1", FRIENDS["tap1"][which]))
            # As if the far end did not know its own MTU: only the ICMP error can tell the sender.
            stage.run(target, "ip -4 route change 10.88.0.0/16 dev eth0 advmss 1440" if which == 0 else
                      "ip -6 route replace fd88::/64 dev eth0 metric 256 advmss 1440")
            before = fates(stage, "icmp_too_big")
            whole = transfer(stage, "veth1", target, address)
            story.claim(f"also if only the ICMP error tells the sender, {family}",
                        whole and fates(stage, "icmp_too_big") > before)


def streams(story, stage):
    for source, target in PAIRS:
        for address in FRIENDS[target]:
            story.claim(f"4 MiB of TCP, {source} to {address}", transfer(stage, source, target, address))
    server = traffic.iperf_server(stage, "tap2")
    for address in FRIENDS["tap2"]:
        for source in ("tap1", "veth1"):
            lost = udp_loss(stage, source, address, ())
            story.claim(f"UDP at 20 Mbit/s, {source} to {address}: no loss", lost == 0, lost)
        lost = udp_loss(stage, "veth1", address, ("-R",))
        story.claim(f"UDP at 20 Mbit/s back from {address} to veth1: no loss", lost == 0, lost)
    stage.kill(server)


def overflowed(stage, name):
    """Datagrams that arrived in a container and were dropped there: its reader did not get the processor in time."""
    found = stage.run(name, ["cat", "/proc/net/snmp6"]).stdout.split()
    udp6 = int(found[found.index("Udp6RcvbufErrors") + 1])
    names, values = [line.split() for line in stage.run(name, ["cat", "/proc/net/snmp"]).stdout.splitlines() if line.startswith("Udp:")]
    return udp6 + int(values[names.index("RcvbufErrors")])


def udp_loss(stage, source, address, extra):
    """What was lost on the way, exactly: a loaded machine's late reader is not the network's fault."""
    receiver = source if "-R" in extra else "tap2"
    before = overflowed(stage, receiver)
    client = traffic.iperf(stage, source, address, 1, extra=("-u", "-b", "20M", "-l", "1200", *extra))
    _, result = traffic.intervals(stage, client)
    lost = result.get("end", {}).get("sum", {}).get("lost_packets")
    if lost is None:
        return "no result: " + json.dumps(result)[:300]
    return lost - min(lost, overflowed(stage, receiver) - before)


def sctp(story, stage):
    """The kernel may lack SCTP: the packets are our own."""
    for which in (0, 1):
        there = FRIENDS["tap2"][which]
        eavesdrop = wire.Tap(stage, "tap2")
        for name, here, port, passes in (("tap1", FRIENDS["tap1"][which], 2905, True), ("tap1", FRIENDS["tap1"][which], 2906, False),
                                         ("stranger", STRANGER[which], 2905, False)):
            traffic.ping(stage, name, there)
            link = wire.Link(stage, name, there)
            mark = os.urandom(4)
            link.send(wire.packet(here, there, 132, wire.sctp_init(6000, port, mark)))
            seen = any(mark in frame for frame in eavesdrop.frames(2 if passes else 0.4, until=mark))
            story.claim(f"an SCTP association {name} to {there} port {port} is {'allowed' if passes else 'denied'}", seen == passes)
            link.close()
        eavesdrop.close()


def main(story):
    with story.stage() as stage:
        set_up(stage)
        for part in (pings, fragments, routes, path_mtu, streams, sctp):
            part(story, stage)
        story.claim("no packet was unidentified", fates(stage, "unidentified") == 0)


tell(main, needs=("ping", "iperf3", "traceroute", "tracepath"))
