"""The other peer of benches about traffic between containers: two taps, and between them a process that only reads and writes
(bench/relay.cpp). It is the limit of whatever forwards between taps in userspace, on this machine and at this moment.
"""


class Relay:
    A, B = "relay-a", "relay-b"

    def __init__(self, stage, program):
        """Made in, and gone with, `stage`; the two ends run commands as its containers do."""
        ends = (self.A, self.B)
        for name in ends:
            stage.neighbour(name)
        stage.spawn(self.A, [str(program), *(f"/run/netns/{stage.netns(name)}" for name in ends)], "relay.log")
        stage.wait(lambda: "ready" in stage.log("relay.log"), "bench/relay")
        for number, name in enumerate(ends, 1):
            end, other = stage.netns(name), 3 - number
            stage.sh(f"ip -n {end} link set eth0 addr {self._mac(number)} up")
            for address in (f"10.90.0.{number}/24", f"fd90::{number}/64 nodad"):
                stage.sh(f"ip -n {end} addr add {address} dev eth0")
            for family in (4, 6):
                stage.sh(f"ip -n {end} neigh replace {self.address(family, other)} lladdr {self._mac(other)} dev eth0")

    @staticmethod
    def address(family, number):
        return f"10.90.0.{number}" if family == 4 else f"fd90::{number}"

    @staticmethod
    def _mac(number):
        return f"02:00:00:90:00:0{number}"
