"""Random clusters and policies, small enough that everything meets everything, and questions about them."""

import ipaddress

KEYS = {"app": ["web", "db", ""], "tier": ["front", "back", "no"], "example.com/v": ["1", "1.10", "true"]}
NAMES = ["http", "dns", "metrics", "m-1"]
NUMBERS = [53, 80, 81, 443, 8000, 65535]
ACCOUNTS = ["default", "front", "back"]
WORLD = ["203.0.113.9", "10.0.0.9", "10.1.0.1", "192.168.9.9", "2001:db8::9", "fd00:10::9", "255.255.255.255"]
BLOCKS = ["10.0.0.0/8", "10.0.0.0/30", "10.0.0.0/29", "0.0.0.0/0", "192.168.0.0/16", "203.0.113.9/32", "10.0.0.2/32",
          "::/0", "fd00:10::/64", "fd00:10::2/128", "2001:db8::/32"]
UNMASKED = ["10.0.0.3/29", "10.9.9.9/8", "fd00:10::7/64"]


class Maker:
    def __init__(self, random):
        self.random = random
        self.namespaces = random.sample(["shop", "jobs", "default", "team-a", "istio-system"], random.randint(2, 4))

    def some(self, share):
        return self.random.random() < share

    def few(self, make, most, least=0):
        return [make() for _ in range(self.random.randint(least, most))]

    # -----------------------------------------------------------------------------------------------------------
    # The cluster

    def labels(self):
        return {key: self.random.choice(values) for key, values in KEYS.items() if self.some(0.6)}

    def cluster(self):
        namespaces = {name: {**self.labels(), "kubernetes.io/metadata.name": name} for name in self.namespaces}
        nodes = {
            f"n{i}": {"labels": self.labels(), "addresses": [f"192.168.0.{i}"] + ([f"fd00:192::{i}"] if self.some(0.6) else [])}
            for i in (1, 2)
        }
        pods = [self.pod(number, nodes) for number in range(1, self.random.randint(4, 9))]
        mentioned = {pod["namespace"] for pod in pods}
        written = {name for name in namespaces if name not in mentioned or self.some(0.9)}
        for name in set(namespaces) - written:
            namespaces[name] = {"kubernetes.io/metadata.name": name}
        cluster = {"namespaces": namespaces, "nodes": nodes, "pods": pods}
        manifests = [self.namespace_manifest(name, namespaces[name]) for name in written]
        manifests += [self.node_manifest(name, node) for name, node in nodes.items()]
        manifests += [self.pod_manifest(pod) for pod in pods]
        if self.some(0.5):
            phase = self.random.choice(["Succeeded", "Failed"])
            manifests.append(self.pod_manifest({**pods[0], "name": "done"}, phase))
        self.random.shuffle(manifests)
        for node in nodes.values():
            node["addresses"] = [ipaddress.ip_address(a) for a in node["addresses"]]
        for pod in pods:
            pod["addresses"] = [ipaddress.ip_address(a) for a in pod["addresses"]]
            pod["ports"] = [(p["name"], p["protocol"].lower(), p["containerPort"]) for p in pod["ports"]]
        return cluster, manifests

    def pod(self, number, nodes):
        node = self.random.choice(list(nodes))
        host = self.some(0.15)
        families = self.random.choice(["46", "64", "4", "6"])
        own = {"4": f"10.0.0.{number}", "6": f"fd00:10::{number}"}
        return {
            "namespace": self.random.choice(self.namespaces),
            "name": f"p{number}",
            "labels": self.labels(),
            "node": node,
            "host_network": host,
            "addresses": list(nodes[node]["addresses"]) if host else [own[family] for family in families],
            "ports": self.few(self.container_port, 3),
            "account": self.random.choice(ACCOUNTS),
        }

    def container_port(self):
        protocol = self.random.choice(["TCP", "TCP", "UDP", "SCTP"])
        return {"name": self.random.choice(NAMES), "containerPort": self.random.choice(NUMBERS), "protocol": protocol}

    @staticmethod
    def namespace_manifest(name, labels):
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}, "status": {"phase": "Active"}}

    @staticmethod
    def node_manifest(name, node):
        addresses = [{"address": a, "type": "InternalIP"} for a in node["addresses"]] + [{"address": name, "type": "Hostname"}]
        metadata = {"name": name, "labels": node["labels"]}
        return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"addresses": addresses}}

    def pod_manifest(self, pod, phase="Running"):
        def spelled(port):
            return {k: v for k, v in port.items() if k != "protocol" or v != "TCP" or self.some(0.7)}

        cut = self.random.randint(0, len(pod["ports"]))
        containers = [{"name": "c", "image": "web:1", "ports": [spelled(p) for p in pod["ports"][:cut]] + [{"containerPort": 7}]}]
        spec = {"containers": containers, "nodeName": pod["node"]}
        late = [spelled(p) for p in pod["ports"][cut:]]
        if late and self.some(0.5):
            finished = {"name": "i", "ports": [{"name": "dns", "containerPort": 1}]}
            spec["initContainers"] = [{"name": "s", "restartPolicy": "Always", "ports": late}, finished]
        elif late:
            containers.append({"name": "d", "ports": late})
        if pod["account"] != "default" or self.some(0.5):
            spec["serviceAccountName"] = pod["account"]
        if pod["host_network"] or self.some(0.2):
            spec["hostNetwork"] = pod["host_network"]
        status = {"phase": phase, "podIP": str(pod["addresses"][0]), "podIPs": [{"ip": str(a)} for a in pod["addresses"]]}
        if len(pod["addresses"]) == 1 and self.some(0.5):
            del status["podIPs"]
        metadata = {"name": pod["name"], "namespace": pod["namespace"], "labels": pod["labels"]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}

    # -----------------------------------------------------------------------------------------------------------
    # What kinds share

    def requirement(self):
        key = self.random.choice(list(KEYS))
        operator = self.random.choice(["In", "NotIn", "Exists", "DoesNotExist"])
        if operator in ("In", "NotIn"):
            return {"key": key, "operator": operator, "values": self.random.sample(KEYS[key], self.random.randint(1, 2))}
        term = {"key": key, "operator": operator}
        return {**term, "values": []} if self.some(0.2) else term

    def selector(self, namespaces=False):
        selector = {}
        if self.some(0.5):
            key = self.random.choice(list(KEYS))
            selector["matchLabels"] = {key: self.random.choice(KEYS[key])}
            if namespaces and self.some(0.6):
                selector["matchLabels"] = {"kubernetes.io/metadata.name": self.random.choice(self.namespaces)}
        if self.some(0.25):
            selector["matchExpressions"] = self.few(self.requirement, 2, 1)
        return selector

    def metadata(self, name, namespaced=True):
        metadata = {"name": name}
        home = self.random.choice(self.namespaces)
        if namespaced and (home != "default" or self.some(0.5)):
            metadata["namespace"] = home
        if self.some(0.3):
            metadata["labels"] = {"app": "web"}
        return metadata

    def block_text(self):
        return self.random.choice(BLOCKS + UNMASKED)

    # -----------------------------------------------------------------------------------------------------------
    # Policies

    def network_policy(self, name):
        spec = {}
        if self.some(0.9):
            spec["podSelector"] = self.selector()
        if self.some(0.7):
            spec["ingress"] = self.few(lambda: self.network_policy_rule("from"), 2)
        if self.some(0.5):
            spec["egress"] = self.few(lambda: self.network_policy_rule("to"), 2)
        if self.some(0.6):
            spec["policyTypes"] = self.random.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"], []])
        return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": self.metadata(name), "spec": spec}

    def network_policy_rule(self, field):
        rule = {}
        if self.some(0.7):
            rule[field] = self.few(self.network_policy_peer, 3)
        if self.some(0.6):
            rule["ports"] = self.few(self.network_policy_port, 2)
        return rule

    def network_policy_peer(self):
        if self.some(0.35):
            block = {"cidr": self.block_text()}
            around = ipaddress.ip_network(block["cidr"], strict=False)
            family = [network for network in map(ipaddress.ip_network, BLOCKS) if network.version == around.version]
            holes = [str(network) for network in family if network != around and network.subnet_of(around)]
            if self.some(0.6):
                block["except"] = self.random.sample(holes, min(len(holes), self.random.randint(0, 2)))
            return {"ipBlock": block}
        peer = {}
        if self.some(0.6):
            peer["namespaceSelector"] = self.selector(namespaces=True)
        if not peer or self.some(0.6):
            peer["podSelector"] = self.selector()
        return peer

    def network_policy_port(self):
        port = {}
        if self.some(0.7):
            port["protocol"] = self.random.choice(["TCP", "UDP", "SCTP"])
        if self.some(0.3):
            port["port"] = self.random.choice(NAMES)
        elif self.some(0.8):
            port["port"] = self.random.choice(NUMBERS)
            if self.some(0.4):
                port["endPort"] = self.random.choice([n for n in NUMBERS if n >= port["port"]])
        return port

    def admin_network_policy(self, name):
        spec = {"priority": self.random.choice([0, 1, 10, 1000]), **self.cluster_spec("v1alpha1")}
        return self.cluster_object("v1alpha1", "AdminNetworkPolicy", name, spec)

    def baseline_admin_network_policy(self, _):
        return self.cluster_object("v1alpha1", "BaselineAdminNetworkPolicy", "default", self.cluster_spec("v1alpha1", baseline=True))

    def cluster_network_policy(self, name):
        version = self.random.choice(["v1alpha2", "v1beta1"])
        place = {"tier": self.random.choice(["Admin", "Baseline"]), "priority": self.random.choice([0, 2, 10, 1000])}
        return self.cluster_object(version, "ClusterNetworkPolicy", name, {**place, **self.cluster_spec(version)})

    def cluster_object(self, version, kind, name, spec):
        metadata = self.metadata(name, namespaced=False)
        return {"apiVersion": f"policy.networking.k8s.io/{version}", "kind": kind, "metadata": metadata, "spec": spec}

    def cluster_spec(self, version, baseline=False):
        spec = {"subject": self.pods_peer(version)}
        for direction, field in (("ingress", "from"), ("egress", "to")):
            if self.some(0.7):
                spec[direction] = self.few(lambda: self.cluster_rule(version, baseline, field), 3)
        return spec

    def pods_peer(self, version):
        if self.some(0.4):
            return {"namespaces": self.selector(namespaces=True)}
        pods = {"podSelector": self.selector()}
        if version == "v1alpha1" or self.some(0.7):
            pods["namespaceSelector"] = self.selector(namespaces=True)
        return {"pods": pods}

    def cluster_rule(self, version, baseline, field):
        accept = "Allow" if version == "v1alpha1" else "Accept"
        action = self.random.choice([accept, "Deny"] if baseline else [accept, "Deny", "Pass"])
        rule = {"action": action, field: self.few(lambda: self.cluster_peer(version, field), 3, 1)}
        if self.some(0.03):
            rule[field].append(self.random.choice([{}, {"someFutureKindOfPeer": {"matchLabels": {"app": "web"}}}]))
        if field == "to" and action == accept and not baseline and self.some(0.05):
            rule[field].append({"domainNames": ["kubernetes.io", "*.example.com"]})
        if self.some(0.5):
            rule["name"] = self.random.choice(["let them in", "", "rule: 1"])
        if self.some(0.6):
            named = all(set(p) & {"namespaces", "pods"} for p in rule[field])
            make = self.legacy_port if version == "v1alpha1" else self.cluster_protocol
            rule["ports" if version == "v1alpha1" else "protocols"] = self.few(lambda: make(named), 2, 1)
        return rule

    def cluster_peer(self, version, field):
        if field == "to" and self.some(0.3):
            pool = BLOCKS if version == "v1beta1" else BLOCKS + UNMASKED
            return {"networks": self.random.sample(pool, self.random.randint(1, 2))}
        if field == "to" and self.some(0.15):
            return {"nodes": self.selector()}
        return self.pods_peer(version)

    def port_range(self):
        first, last = sorted(self.random.sample(NUMBERS, 2))
        return {"start": first, "end": last}

    def legacy_port(self, named):
        if named and self.some(0.3):
            return {"namedPort": self.random.choice(NAMES)}
        protocol = {"protocol": self.random.choice(["TCP", "UDP", "SCTP"])} if self.some(0.7) else {}
        if self.some(0.5):
            return {"portNumber": {**protocol, "port": self.random.choice(NUMBERS)}}
        return {"portRange": {**protocol, **self.port_range()}}

    def cluster_protocol(self, named):
        if named and self.some(0.3):
            return {"destinationNamedPort": self.random.choice(NAMES)}
        port = {"number": self.random.choice(NUMBERS)} if self.some(0.5) else {"range": self.port_range()}
        return {self.random.choice(["tcp", "udp", "sctp"]): {"destinationPort": port}}

    def authorization_policy(self, name):
        spec = {}
        if self.some(0.6):
            key = self.random.choice(list(KEYS))
            spec["selector"] = {"matchLabels": {key: self.random.choice(KEYS[key])}} if self.some(0.9) else {}
        if self.some(0.7):
            spec["action"] = self.random.choice(["ALLOW", "DENY", "AUDIT"])
        if self.some(0.9):
            spec["rules"] = self.few(self.authorization_rule, 3)
        metadata = self.metadata(name)
        if self.some(0.1):
            metadata["annotations"] = {"istio.io/dry-run": self.random.choice(["true", "false"])}
        version = self.random.choice(["v1", "v1beta1"])
        return {"apiVersion": f"security.istio.io/{version}", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec}

    def authorization_rule(self):
        rule = {}
        if self.some(0.7):
            rule["from"] = self.few(lambda: {"source": self.authorization_source()}, 2, 1)
        if self.some(0.4):
            rule["to"] = self.few(lambda: {"operation": self.authorization_operation()}, 2, 1)
        if self.some(0.3):
            rule["when"] = self.few(self.authorization_condition, 2, 1)
        return rule

    def not_or(self, name):
        return "not" + name[0].upper() + name[1:] if self.some(0.35) else name

    def principals(self):
        home = "cluster.local/ns/"
        pool = ["*", "*/sa/front", f"{home}{self.namespaces[0]}/*", f"{home}{self.namespaces[1]}/sa/front", "other/ns/shop/sa/front"]
        return self.random.sample(pool, self.random.randint(1, 2))

    def account_texts(self):
        pool = ["front", "default", f"{self.namespaces[0]}/back", f"{self.namespaces[1]}/default"]
        return self.random.sample(pool, self.random.randint(1, 2))

    def namespace_texts(self):
        return self.random.sample(["*", "sh*", "*s", *self.namespaces], self.random.randint(1, 2))

    def ip_texts(self):
        return self.random.sample(BLOCKS + UNMASKED + ["10.0.0.1", "fd00:10::1", "203.0.113.9"], self.random.randint(1, 2))

    def port_texts(self):
        return [str(n) for n in self.random.sample(NUMBERS, self.random.randint(1, 2))]

    def authorization_source(self):
        source = {}
        while not source:
            if self.some(0.2):
                source[self.not_or("serviceAccounts")] = self.account_texts()
            else:
                if self.some(0.4):
                    source[self.not_or("principals")] = self.principals()
                if self.some(0.3):
                    source[self.not_or("namespaces")] = self.namespace_texts()
            for name in ("ipBlocks", "notIpBlocks"):
                if self.some(0.25):
                    source[name] = self.ip_texts()
            if self.some(0.05):
                source[self.not_or("requestPrincipals")] = ["*"]
        return source

    def authorization_operation(self):
        operation = {}
        while not operation:
            for name in ("ports", "notPorts"):
                if self.some(0.5):
                    operation[name] = self.port_texts()
            if self.some(0.1):
                operation[self.not_or(self.random.choice(["hosts", "methods", "paths"]))] = ["GET"]
        return operation

    def authorization_condition(self):
        key, texts = self.random.choice(
            [("source.ip", self.ip_texts), ("source.namespace", self.namespace_texts), ("source.principal", self.principals),
             ("source.serviceAccount", self.account_texts), ("destination.port", self.port_texts), ("request.headers[x]", self.port_texts)])
        condition = {"key": key}
        while len(condition) == 1:
            for name in ("values", "notValues"):
                if self.some(0.5):
                    condition[name] = texts()
        return condition

    def policies(self):
        makers = [self.network_policy] * 4 + [self.cluster_network_policy] * 2
        makers += [self.admin_network_policy, self.authorization_policy]
        if self.some(0.4):
            makers = [self.random.choice(makers)]  # one kind alone: no other hides what it means
        made = [self.random.choice(makers)(f"policy-{i}") for i in range(self.random.randint(1, 6))]
        if self.some(0.3):
            made.append(self.baseline_admin_network_policy("default"))
        return made

    # -----------------------------------------------------------------------------------------------------------
    # Questions

    def questions(self, cluster, count):
        """(source, destination, protocol, port): addresses of one family."""
        addresses = [a for pod in cluster["pods"] for a in pod["addresses"]]
        addresses += [a for node in cluster["nodes"].values() for a in node["addresses"]]
        addresses += [ipaddress.ip_address(a) for a in WORLD]
        asked = []
        while len(asked) < count:
            source, destination = self.random.choice(addresses), self.random.choice(addresses)
            if source.version != destination.version:
                continue
            protocol = self.random.choice(["tcp", "tcp", "tcp", "udp", "sctp", "icmp" if source.version == 4 else "icmpv6", "47"])
            port = self.random.choice(NUMBERS) + self.random.choice([-1, 0, 0, 0, 1])
            asked.append((source, destination, protocol, {"icmp": 8, "icmpv6": 128, "47": 0}.get(protocol, min(port, 65535))))
        return asked
