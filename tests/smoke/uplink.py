"""A node with a NIC: a DPDK device as uplink (here the af_packet driver on a veth), tagged or not, and a world behind it."""
import pathlib
import socket
import time

from story import fates, socket_in, tell
from transfer import transfer
import traffic
import wire

POLICY = """\
apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: edge, namespace: shop}
spec:
  edges:
  - name: out
    from: {matchLabels: {app: web}}
    to: {world: {}}
    ports: [tcp/7000, udp/9000-9100, icmp]
  - name: in
    from: {world: {}}
    to: {matchLabels: {app: web}}
    ports: [tcp/7000, tcp/8080, icmp]
"""
WEB = ("10.88.0.10", "fd88::10")
OUTSIDE = ("192.0.2.1", "2001:db8::1")
OWN = ("192.0.2.2", "2001:db8::2")
FAR = ("198.51.100.9", "2001:db8:9::9")
FAR_MTU = 1300


def set_up(stage, vlan):
    for name in ("outside", "far"):
        stage.neighbour(name)
    node, outside, far = (f"ip -n {stage.netns(name)}" for name in ("node", "outside", "far"))
    stage.sh(f"{node} link add up0 type veth peer name ext0 netns {stage.netns('outside')}")
    stage.sh(f"{outside} link add side0 mtu {FAR_MTU} type veth peer name eth0 mtu {FAR_MTU} netns {stage.netns('far')}")
    for command in (f"{node} link set up0 up", f"{outside} link set ext0 up", f"{outside} link set side0 up",
                    f"{far} link set eth0 up"):
        stage.sh(command)
    # As a NIC would see it: finished packets, none larger than the MTU.
    stage.run("outside", "ethtool -K ext0 tx off tso off gso off gro off")
    wan = "ext0"
    if vlan:
        # Not the kernel's own VLAN device: not every kernel has it.
        wan = "wan0"
        stage.spawn("outside", ["python3", str(pathlib.Path(__file__).with_name("tagger.py")), "ext0", str(vlan), wan], "tagger.log")
        stage.wait(lambda: "ready" in stage.log("tagger.log"), "the tagger")
        stage.sh(f"{outside} link set {wan} up")
    for prefix, address in ((24, OUTSIDE[0]), (64, OUTSIDE[1])):
        stage.sh(f"{outside} addr add {address}/{prefix} dev {wan}" + (" nodad" if prefix == 64 else ""))
    for address in ("198.51.100.1/24", "2001:db8:9::1/64 nodad"):
        stage.sh(f"{outside} addr add {address} dev side0")
    for address in (f"{FAR[0]}/24", f"{FAR[1]}/64 nodad"):
        stage.sh(f"{far} addr add {address} dev eth0")
    for family, network, next_hop, back in ((4, "10.88.0.0/16", OWN[0], "198.51.100.1"), (6, "fd88::/64", OWN[1], "2001:db8:9::1")):
        stage.sh(f"{outside} -{family} route add {network} via {next_hop} dev {wan}")
        stage.sh(f"{far} -{family} route add default via {back}")
    stage.run("outside", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    stage.container("web", WEB[0], {"app": "web"}, WEB[1])
    stage.container("db", "10.88.0.11", {"app": "db"}, "fd88::11")
    stage.policy("edge.yaml", POLICY)
    stage.start()
    stage.wait(lambda: fates(stage, "next_hop_unresolved") == 0 and
               any(p["role"] == "uplink" for p in stage.ctl_json("ports")["ports"]), "the uplink")
    traffic.echo_server(stage, "web", 8080)
    traffic.echo_server(stage, "web", 8081)
    time.sleep(1)


def world(story, stage):
    for which, family in ((0, "IPv4"), (1, "IPv6")):
        story.claim(f"web pings its gateway to the world, {family}",
                    any(traffic.ping(stage, "web", OUTSIDE[which]) for _ in range(3)))
        # af_packet has the kernel put IPv4 datagrams together again (PACKET_FANOUT_FLAG_DEFRAG) and cuts off what is over 2 KB.
        for size in (56, 1472, 1473, 1900 if family == "IPv4" else 8000):
            # The first large one over IPv6 is lost by right: its answer is the router's word of the narrow link.
            story.claim(f"web pings the far side, {size} bytes, {family}",
                        any(traffic.ping(stage, "web", FAR[which], "-W3", "-s", str(size)) for _ in range(2)))
        story.claim(f"the world pings web, {family}", traffic.ping(stage, "far", WEB[which]))
        story.claim(f"db is not let out, nor the world in, {family}",
                    not traffic.ping(stage, "db", FAR[which]) and
                    not traffic.ping(stage, "far", ("10.88.0.11", "fd88::11")[which]))
        story.claim(f"the world reaches web on the port that is open, {family}", traffic.tcp(stage, "outside", WEB[which], 8080))
        story.claim(f"and on no other, {family}", not traffic.tcp(stage, "outside", WEB[which], 8081))
        story.claim(f"4 MiB of TCP leave by the uplink: cut to segments, checksums right, {family}",
                    transfer(stage, "web", "outside", OUTSIDE[which]))
        story.claim(f"and 4 MiB come in, {family}", transfer(stage, "outside", "web", WEB[which]))
        story.claim(f"4 MiB to the far side, whose link takes {FAR_MTU} bytes only, {family}",
                    transfer(stage, "web", "far", FAR[which]))


def found_from_outside(story, stage):
    """The gateway there looks for the node's own address, and for nobody else's."""
    for which, family in ((0, 4), (1, 6)):
        stage.run("outside", f"ip -{family} neigh flush all", check=False)
        traffic.ping(stage, "outside", WEB[which])
        near = stage.run("outside", f"ip -{family} neigh show {OWN[which]}").stdout
        story.claim(f"the uplink answers for {OWN[which]}", "lladdr" in near, near)


def errors_come_back(story, stage):
    for which, family in ((0, socket.AF_INET), (1, socket.AF_INET6)):
        with socket_in(stage, "web", family, socket.SOCK_DGRAM) as client:
            client.connect((FAR[which], 9000))
            try:
                client.send(b"x")
                client.recv(1)
                told = "an answer"
            except ConnectionRefusedError:
                told = "refused"
            except TimeoutError:
                told = "nothing"
            story.claim(f"port unreachable comes back to {WEB[which]} from the far side", told == "refused", told)
        seen = stage.run("web", ["ping", "-c1", "-W1", "-M", "do", "-s", "1400", FAR[which]], check=False)
        words = seen.stdout + seen.stderr
        story.claim(f"so does a router's word of its MTU, {FAR[which]}", str(FAR_MTU) in words, words)
        seen = stage.run("web", f"traceroute -n -I -q1 -w2 -m5 {FAR[which]}", check=False).stdout
        story.claim(f"traceroute shows the gateway, the router, the far side, {FAR[which]}",
                    ("10.88.0.1", "fd88::1")[which] in seen and OUTSIDE[which] in seen and seen.count(FAR[which]) >= 2, seen)
        # Nobody asked for this one: it quotes a conversation that does not exist.
        before = fates(stage, "icmp_unrelated")
        quoted = wire.packet(WEB[which], FAR[which], 17, wire.udp(WEB[which], FAR[which], 1234, 4321, b"x"))
        body = (b"\x03\x03" if which == 0 else b"\x01\x04") + b"\0\0" + b"\0" * 4 + quoted
        total = wire.checksum(body if which == 0 else wire.pseudo(FAR[which], WEB[which], 58, len(body)) + body)
        body = body[:2] + total.to_bytes(2, "big") + body[4:]
        with socket_in(stage, "far", family, socket.SOCK_RAW, socket.IPPROTO_ICMP if which == 0 else socket.IPPROTO_ICMPV6) as forger:
            forger.sendto(body, (WEB[which], 0))
        time.sleep(0.3)
        story.claim(f"an ICMP error about nothing does not, {WEB[which]}", fates(stage, "icmp_unrelated") > before)


def main(story):
    vlan = story.options.vlan
    uplink = {"device": "net_af_packet0,iface=up0", "gateways": list(OUTSIDE), "addresses": list(OWN)}
    if vlan:
        uplink["vlan"] = vlan
    with story.stage(config={"uplink": uplink}) as stage:
        set_up(stage, vlan)
        found_from_outside(story, stage)
        world(story, stage)
        errors_come_back(story, stage)


tell(main, needs=("ping", "traceroute", "ethtool"), vlan=0)
