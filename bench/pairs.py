"""Pairs of containers to compare: on tap ports, on veth ports, and the peers' on a Linux bridge and at both ends of a bare relay."""
from measure import wait_for_ping
from peers.bridge import Bridge
from peers.relay import Relay


class Pairs:
    """Everybody may talk to everybody: an established flow does not depend on policy."""
    PRODUCT = ("tap", "veth")

    def __init__(self, stage, relay=None):
        """`relay`: bench/relay, where it shall be a peer, too."""
        for base, kind in ((1, "tap"), (3, "veth")):
            for number, end in ((base, "a"), (base + 1, "b")):
                stage.container(f"{kind}-{end}", f"10.88.0.{number}", {"app": kind}, f"fd88::{number}", kind=kind)
                if kind == "veth":  # an interface that exists has its addresses already
                    end = stage.netns(f"{kind}-{end}")
                    stage.sh(f"ip -n {end} addr add 10.88.0.{number}/16 dev eth0")
                    stage.sh(f"ip -n {end} addr add fd88::{number}/64 dev eth0 nodad")
        bridge = Bridge(stage)
        stage.start()
        self._far = {(kind, family): f"10.88.0.{base + 1}" if family == 4 else f"fd88::{base + 1}"
                     for base, kind in ((1, "tap"), (3, "veth")) for family in (4, 6)}
        self._far |= {("bridge", family): bridge.address(family, 2) for family in (4, 6)}
        if relay:
            Relay(stage, relay)
            self._far |= {("relay", family): Relay.address(family, 2) for family in (4, 6)}
        for (kind, _), address in self._far.items():
            wait_for_ping(stage, self.near(kind), address)

    @staticmethod
    def near(kind):
        return f"{kind}-a"

    @staticmethod
    def far(kind):
        return f"{kind}-b"

    def address(self, kind, family):
        """Of the far end."""
        return self._far[kind, family]
