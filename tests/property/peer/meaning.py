"""What Kubernetes' and Istio's policy objects mean, evaluated straight from their API documents.

A second definition beside policies/oracle, by other hands and in another language, of the objects themselves (dictionaries
as an API server decodes them), so that a misreading in load/, in the oracle and in compile/ alike can be seen. Sources:
k8s.io/api/networking/v1 types.go and the page "Network Policies" of the Kubernetes documentation; network-policy-api,
apis/v1alpha1 and apis/v1alpha2; Istio's reference of AuthorizationPolicy, and for what of it a packet shows ztunnel's
src/rbac.rs. What the documents leave open is as docs/policy.md has it: policies of one priority, a pod's own node.
"""

import ipaddress
from dataclasses import dataclass

PORT_PROTOCOLS = ("tcp", "udp", "sctp")


@dataclass(frozen=True)
class End:
    """One side of a packet. Neither a pod nor a node: the world."""

    address: object
    pod: dict = None
    node: dict = None


@dataclass(frozen=True)
class Packet:
    source: End
    destination: End
    protocol: str
    port: int


# ---------------------------------------------------------------------------------------------------------------
# Selectors, blocks and ports


def selects(selector, labels):
    """meta/v1 LabelSelector: "The result of matchLabels and matchExpressions are ANDed. An empty label selector matches all"."""
    for key, value in ((selector or {}).get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for term in (selector or {}).get("matchExpressions") or []:
        key, values = term["key"], term.get("values") or []
        holds = {
            "In": key in labels and labels[key] in values,
            "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[term["operator"]]
        if not holds:
            return False
    return True


def in_block(text, address):
    network = ipaddress.ip_network(text, strict=False)
    return network.version == address.version and address in network


def bears(end, name, protocol, port):
    """Whether the end's port of that name is this one."""
    return end.pod is not None and (name, protocol, port) in end.pod["ports"]


class Meaning:
    def __init__(self, cluster, objects):
        """cluster: {"namespaces": {name: labels}, "nodes": {name: {"labels", "addresses"}}, "pods": [...]}; a pod has
        namespace, name, labels, node, addresses, ports (triples), host_network, account."""
        self.cluster = cluster
        self.by_kind = {}
        for thing in objects:
            self.by_kind.setdefault(thing["kind"], []).append(thing)

    def end(self, address):
        for pod in self.cluster["pods"]:
            if not pod["host_network"] and address in pod["addresses"]:
                return End(address, pod=pod)
        for node in self.cluster["nodes"].values():
            if address in node["addresses"]:
                return End(address, node=node)
        return End(address)

    def allows(self, packet):
        source, destination = packet.source, packet.destination
        if source.pod is not None and source.pod is destination.pod:
            return True
        return self.side("egress", source, destination, packet) and self.side("ingress", destination, source, packet)

    def side(self, direction, subject, peer, packet):
        if subject.pod is None:
            return True
        own_node = peer.node is not None and peer.node is self.cluster["nodes"].get(subject.pod["node"])
        if direction == "ingress" and not self.mesh_admits(subject, peer, packet, own_node):
            return False
        answer = self.tier("Admin", direction, subject, peer, packet)
        if answer in ("Allow", "Deny"):
            return answer == "Allow"
        governing = [p for p in self.by_kind.get("NetworkPolicy", []) if self.isolates(p, direction, subject)]
        if governing:
            return own_node or any(self.network_policy_admits(p, direction, subject, peer, packet) for p in governing)
        answer = self.tier("Baseline", direction, subject, peer, packet)
        return answer != "Deny"

    def namespace_labels(self, pod):
        return self.cluster["namespaces"][pod["namespace"]]

    # -----------------------------------------------------------------------------------------------------------
    # NetworkPolicy

    def isolates(self, policy, direction, subject):
        spec = policy.get("spec") or {}
        if policy["metadata"].get("namespace", "default") != subject.pod["namespace"]:
            return False
        if not selects(spec.get("podSelector"), subject.pod["labels"]):
            return False
        types = spec.get("policyTypes") or (["Ingress"] + (["Egress"] if spec.get("egress") else []))
        return direction.capitalize() in types

    def network_policy_admits(self, policy, direction, subject, peer, packet):
        for rule in (policy.get("spec") or {}).get(direction) or []:
            peers, ports = rule.get("from" if direction == "ingress" else "to"), rule.get("ports")
            if peers and not any(self.network_policy_peer(policy, p, peer) for p in peers):
                continue
            if ports and not any(self.network_policy_port(p, packet) for p in ports):
                continue
            return True
        return False

    def network_policy_peer(self, policy, item, peer):
        block = item.get("ipBlock")
        if block is not None:
            return in_block(block["cidr"], peer.address) and not any(
                in_block(hole, peer.address) for hole in block.get("except") or []
            )
        if peer.pod is None:
            return False
        if item.get("namespaceSelector") is not None:
            if not selects(item["namespaceSelector"], self.namespace_labels(peer.pod)):
                return False
        elif peer.pod["namespace"] != policy["metadata"].get("namespace", "default"):
            return False
        return selects(item.get("podSelector"), peer.pod["labels"])

    def network_policy_port(self, item, packet):
        if packet.protocol != (item.get("protocol") or "TCP").lower():
            return False
        port = item.get("port")
        if port is None:
            return True
        if isinstance(port, str):
            return bears(packet.destination, port, packet.protocol, packet.port)
        return port <= packet.port <= (item.get("endPort") or port)

    # -----------------------------------------------------------------------------------------------------------
    # AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy

    def tier(self, tier, direction, subject, peer, packet):
        """Allow, Deny, or nothing. Of one priority: deny before pass before allow (docs/policy.md, "Equal priorities")."""
        legacy = "AdminNetworkPolicy" if tier == "Admin" else "BaselineAdminNetworkPolicy"
        policies = [(p["spec"].get("priority", 1001), p) for p in self.by_kind.get(legacy, [])]
        for policy in self.by_kind.get("ClusterNetworkPolicy", []):
            if policy["spec"]["tier"] == tier:
                policies.append((policy["spec"]["priority"], policy))
        answers = {}
        for priority, policy in policies:
            answer = self.first_answer(policy["spec"], direction, subject, peer, packet)
            if answer is not None:
                answers.setdefault(priority, set()).add(answer)
        if not answers:
            return None
        of_first = answers[min(answers)]
        return next(answer for answer in ("Deny", "Pass", "Allow") if answer in of_first)

    def first_answer(self, spec, direction, subject, peer, packet):
        if not self.pods_match(spec["subject"], subject):
            return None
        for rule in spec.get(direction) or []:
            peers = rule["from" if direction == "ingress" else "to"]
            action = "Allow" if rule["action"] == "Accept" else rule["action"]
            # "If an implementation sees no fields are set then [...] it should fail closed": an Accept rule matches
            # nothing, any other becomes a "Deny all" rule. Domain names are a peer that no packet shows.
            if any(not set(p) & {"namespaces", "pods", "nodes", "networks"} for p in peers):
                if action == "Allow":
                    continue
                return "Deny"
            if not any(self.cluster_peer(p, peer) for p in peers):
                continue
            ports = rule.get("ports") or rule.get("protocols")
            if ports and not any(self.cluster_port(p, packet) for p in ports):
                continue
            return action
        return None

    def pods_match(self, item, end):
        if end.pod is None:
            return False
        if "namespaces" in item:
            return selects(item["namespaces"], self.namespace_labels(end.pod))
        pods = item["pods"]
        return selects(pods.get("namespaceSelector"), self.namespace_labels(end.pod)) and selects(
            pods["podSelector"], end.pod["labels"]
        )

    def cluster_peer(self, item, peer):
        if "networks" in item:
            return any(in_block(block, peer.address) for block in item["networks"])
        if "nodes" in item:
            return peer.node is not None and selects(item["nodes"], peer.node["labels"])
        return self.pods_match(item, peer)

    def cluster_port(self, item, packet):
        name = item.get("namedPort") or item.get("destinationNamedPort")
        if name is not None:
            return packet.protocol in PORT_PROTOCOLS and bears(packet.destination, name, packet.protocol, packet.port)
        for protocol in PORT_PROTOCOLS:
            if protocol in item:
                port = item[protocol]["destinationPort"]
                first, last = (port["number"],) * 2 if "number" in port else (port["range"]["start"], port["range"]["end"])
                return packet.protocol == protocol and first <= packet.port <= last
        port = item.get("portNumber") or item["portRange"]
        first, last = (port["port"],) * 2 if "port" in port else (port["start"], port["end"])
        return packet.protocol == port.get("protocol", "TCP").lower() and first <= packet.port <= last

    # -----------------------------------------------------------------------------------------------------------
    # AuthorizationPolicy

    def mesh_admits(self, subject, peer, packet, own_node):
        """ "If there are any [...] DENY policies that match the request, deny. If there are no ALLOW policies for the
        workload, allow. If any of the ALLOW policies match, allow. Deny." """
        policies = [p for p in self.by_kind.get("AuthorizationPolicy", []) if self.governs(p, subject)]
        of = {action: [p for p in policies if (p["spec"].get("action") or "ALLOW") == action] for action in ("ALLOW", "DENY")}
        if any(self.authorization_matches(p, peer, packet) for p in of["DENY"]):
            return False
        return not of["ALLOW"] or own_node or any(self.authorization_matches(p, peer, packet) for p in of["ALLOW"])

    def governs(self, policy, subject):
        metadata = policy["metadata"]
        if (metadata.get("annotations") or {}).get("istio.io/dry-run") == "true":
            return False
        if metadata.get("namespace", "default") not in ("istio-system", subject.pod["namespace"]):
            return False
        return selects(policy["spec"].get("selector"), subject.pod["labels"])

    def authorization_matches(self, policy, peer, packet):
        spec = policy["spec"]
        home = policy["metadata"].get("namespace", "default")
        return any(self.authorization_rule(rule, home, spec.get("action") == "DENY", peer, packet) for rule in spec.get("rules") or [])

    def authorization_rule(self, rule, home, denies, peer, packet):
        """A rule of requests: of an ALLOW it admits nothing, of a DENY the rest counts."""
        facts = AuthorizationFacts(home, peer, packet)
        sources = [facts.source(entry["source"]) for entry in rule.get("from") or []]
        operations = [facts.operation(entry["operation"]) for entry in rule.get("to") or []]
        conditions = [facts.condition(entry) for entry in rule.get("when") or []]
        if facts.of_requests and not denies:
            return False
        return (not sources or any(sources)) and (not operations or any(operations)) and all(conditions)


class AuthorizationFacts:
    """What a packet shows of what an AuthorizationPolicy asks."""

    OF_REQUESTS = {
        "requestPrincipals", "notRequestPrincipals", "remoteIpBlocks", "notRemoteIpBlocks",
        "hosts", "notHosts", "methods", "notMethods", "paths", "notPaths",
    }

    def __init__(self, home, peer, packet):
        self.home, self.peer, self.packet = home, peer, packet
        self.of_requests = False
        pod = peer.pod
        self.namespace = pod["namespace"] if pod else ""
        self.account = (pod["namespace"], pod["account"]) if pod else None
        self.principal = f"cluster.local/ns/{pod['namespace']}/sa/{pod['account']}" if pod else ""

    @staticmethod
    def text_matches(pattern, text):
        if pattern == "*":
            return text != ""
        if text == "":
            return False
        if pattern.startswith("*"):
            return text.endswith(pattern[1:])
        if pattern.endswith("*"):
            return text.startswith(pattern[:-1])
        return text == pattern

    def account_matches(self, text):
        return self.account == (tuple(text.split("/", 1)) if "/" in text else (self.home, text))

    def is_principal(self, text):
        return self.text_matches(text, self.principal)

    def is_namespace(self, text):
        return self.text_matches(text, self.namespace)

    def is_address(self, text):
        return in_block(text, self.peer.address)

    def is_port(self, text):
        return self.packet.protocol == "tcp" and self.packet.port == int(text)

    @staticmethod
    def lists_hold(some, none, predicate):
        return (not some or any(map(predicate, some))) and not any(map(predicate, none or []))

    def source(self, source):
        self.of_requests |= bool(self.OF_REQUESTS & set(source))
        lists = (
            ("principals", "notPrincipals", self.is_principal),
            ("serviceAccounts", "notServiceAccounts", self.account_matches),
            ("namespaces", "notNamespaces", self.is_namespace),
            ("ipBlocks", "notIpBlocks", self.is_address),
        )
        return all(self.lists_hold(source.get(some), source.get(none), predicate) for some, none, predicate in lists)

    def ports(self, some, none):
        """Of ports, which only TCP has for Istio: whoever speaks of them speaks of TCP."""
        if (some or none) and self.packet.protocol != "tcp":
            return False
        return self.lists_hold(some, none, self.is_port)

    def operation(self, operation):
        self.of_requests |= bool(self.OF_REQUESTS & set(operation))
        return self.ports(operation.get("ports"), operation.get("notPorts"))

    def condition(self, condition):
        key, some, none = condition["key"], condition.get("values"), condition.get("notValues")
        if key == "destination.port":
            return self.ports(some, none)
        predicate = {
            "source.ip": self.is_address,
            "source.namespace": self.is_namespace,
            "source.principal": self.is_principal,
            "source.serviceAccount": self.account_matches,
        }.get(key)
        if predicate is None:
            self.of_requests = True
            return True
        return self.lists_hold(some, none, predicate)
