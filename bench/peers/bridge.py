"""The peer of benches about traffic between containers: two namespaces with a veth each on a Linux bridge, which has a namespace of
its own. The bridge is as fast as it comes: no netfilter, no learning of anything but two addresses, offloads as the kernel gives them.
"""


class Bridge:
    A, B = "bridge-a", "bridge-b"

    def __init__(self, stage):
        """Made in, and gone with, `stage`; the two ends run commands as its containers do."""
        node = self._namespace(stage, "bridge")
        stage.sh(f"ip -n {node} link add br0 type bridge stp_state 0 forward_delay 0")
        # Only there if the module that lends bridges to netfilter is loaded.
        for table in ("iptables", "ip6tables", "arptables"):
            stage.run("bridge", f"sysctl -qw net.bridge.bridge-nf-call-{table}=0", check=False)
        stage.sh(f"ip -n {node} link set br0 up")
        for number, name in enumerate((self.A, self.B), 1):
            end = self._namespace(stage, name)
            stage.sh(f"ip -n {node} link add v{number} type veth peer name eth0 netns {end}")
            stage.sh(f"ip -n {node} link set v{number} master br0 up")
            stage.sh(f"ip -n {end} link set lo up")
            for address in (f"10.89.0.{number}/24", f"fd89::{number}/64 nodad"):
                stage.sh(f"ip -n {end} addr add {address} dev eth0")
            stage.sh(f"ip -n {end} link set eth0 up")

    @staticmethod
    def address(family, number):
        return f"10.89.0.{number}" if family == 4 else f"fd89::{number}"

    @staticmethod
    def _namespace(stage, name):
        stage.sh(f"ip netns add {stage.netns(name)}")
        stage.namespaces.append(name)
        return stage.netns(name)
