"""An invariant stands: a set of policies that breaks it is refused with a packet, and live traffic does not notice.

Then the enforced image is asked by `policy prove`, `diff --enforced` and `matrix`, beside the same policies in the same cluster's manifests.
"""
import json
import socket

from story import socket_in, tell
import traffic

POLICY = """
apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: shop, namespace: shop}
spec:
  edges:
  - {name: web-to-db, from: {matchLabels: {app: web}}, to: {matchLabels: {app: db}}, ports: [tcp/5432]}
"""
MORE = "  - {name: web-to-cache, from: {matchLabels: {app: web}}, to: {matchLabels: {app: cache}}, ports: [tcp/6379]}\n"
LEAK = "  - {name: backup, from: {any: {}}, to: {matchLabels: {app: db}}, ports: [tcp/5432]}\n"
WALLS = """
apiVersion: bulkhead.io/v1alpha1
kind: Invariant
metadata: {name: walls}
spec:
  never:
  - {name: guests-to-db, from: {matchLabels: {app: guest}}, to: {matchLabels: {app: db}}, ports: [any]}
  always:
  - {name: sales, from: {matchLabels: {app: web}}, to: {matchLabels: {app: db}}, ports: [tcp/5432]}
"""
ADDRESSES = {"web": "10.88.0.10", "db": "10.88.0.11", "guest": "10.88.0.12"}


def refused(stage):
    return stage.status().get("controlplane", {}).get("publish", {}).get("refused", "")


def manifests():
    """The stage's cluster as `kubectl get -o yaml` would print it."""
    items = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"},
              "status": {"addresses": [{"type": "InternalIP", "address": address} for address in ("10.88.0.1", "fd88::1")]}}]
    for name, address in ADDRESSES.items():
        items.append({"apiVersion": "v1", "kind": "Pod",
                      "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": name}},
                      "spec": {"nodeName": "node1"}, "status": {"phase": "Running", "podIP": address}})
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def first_start(story, stage):
    stage.policy("shop.yaml", POLICY + LEAK)
    stage.policy("walls.yaml", WALLS)
    stage.start(ready=False)
    stage.wait(lambda: "guests-to-db" in refused(stage), "the candidate to be refused")
    traffic.echo_server(stage, "db", 5432)
    story.claim("a first set that breaks an invariant leaves nothing enforced", stage.enforced()[0] == 0, stage.enforced())
    story.claim("and nothing forwarded", not traffic.tcp(stage, "web", ADDRESSES["db"], 5432))
    story.claim("the log says why", "is broken: shop/guest" in stage.log("controlplane.log"))
    stage.policy("shop.yaml", POLICY)
    stage.wait_enforced()
    story.claim("mended, it is enforced: web reaches db", traffic.tcp(stage, "web", ADDRESSES["db"], 5432))
    story.claim("a guest does not", not traffic.tcp(stage, "guest", ADDRESSES["db"], 5432))


def an_edit_that_breaks_it(story, stage):
    def goes_on():
        connection.sendall(b"x")
        return connection.recv(1) == b"x"

    generation = stage.enforced()[0]
    connection = socket_in(stage, "web", socket.AF_INET, socket.SOCK_STREAM)
    connection.connect((ADDRESSES["db"], 5432))
    story.claim("a connection lives", goes_on())
    stage.policy("shop.yaml", POLICY + LEAK + MORE)
    stage.wait(lambda: refused(stage), "the edit to be refused")
    shown = stage.ctl("status", check=False).stdout
    story.claim("status names the demand, its place, a packet and the rule that decides",
                all(part in shown for part in ("it breaks invariants", "policies/walls.yaml:7:", "never 'guests-to-db'",
                                               "shop/guest (10.88.0.12) -> shop/db (10.88.0.11) tcp/5432 is allowed by "
                                               "SegmentationPolicy shop/shop, rule 'backup'", "shop.yaml:8")), shown)
    story.claim("the old generation stays enforced", stage.enforced() == (generation, True), stage.enforced())
    story.claim("the connection goes on", goes_on())
    story.claim("a guest still does not reach db", not traffic.tcp(stage, "guest", ADDRESSES["db"], 5432))
    stage.policy("shop.yaml", POLICY + MORE)
    stage.wait_enforced(above=generation)
    story.claim("mended, the rest of the edit is enforced", refused(stage) == "", refused(stage))
    story.claim("and the connection goes on", goes_on())
    connection.close()


def ask_what_is_enforced(story, stage):
    cluster = stage.dir / "cluster.json"
    cluster.write_text(manifests())
    policies, files = str(stage.dir / "policies"), ["--cluster", str(cluster), "--node", "node1"]
    same = stage.ctl("policy", "diff", "--enforced", policies, *files, check=False)
    story.claim("no packet tells the enforced image and the same policies apart",
                (same.returncode, same.stdout) == (0, "no packet tells them apart\n"), same.stdout + same.stderr)
    (stage.dir / "next.yaml").write_text(POLICY + MORE + LEAK)
    change = stage.ctl("policy", "diff", "--enforced", str(stage.dir / "next.yaml"), *files, check=False)
    story.claim("what a leak would open is said, with both answers",
                change.returncode == 1 and "opens" in change.stdout and "rule 'backup'" in change.stdout,
                change.stdout + change.stderr)
    walls = stage.ctl("policy", "prove", str(stage.dir / "policies/walls.yaml"), "from shop/guest to shop/db: deny",
                      "from shop/web to shop/db ports tcp/5432: allow", check=False)
    story.claim("the enforced image keeps the invariants and the claims",
                walls.returncode == 0 and walls.stdout.count("yes") == 4, walls.stdout + walls.stderr)
    wrong = stage.ctl("policy", "prove", "from shop/web to shop/db: deny", check=False)
    story.claim("a claim that does not hold is refuted by a packet",
                wrong.returncode == 1 and "witness shop/web (10.88.0.10) -> shop/db (10.88.0.11) tcp/5432" in wrong.stdout,
                wrong.stdout + wrong.stderr)
    explained = stage.ctl("policy", "explain", "--from", "web", "--to", "db", "--port", "tcp/5432", check=False)
    story.claim("explain says of what is enforced why web reaches db", explained.returncode == 0 and "shop.yaml:" in explained.stdout,
                explained.stdout + explained.stderr)
    matrix = stage.ctl("policy", "matrix", "-n", "shop", check=False)
    story.claim("the matrix is drawn of what is enforced", matrix.returncode == 0 and "tcp/5432" in matrix.stdout and
                "app=guest" in matrix.stdout, matrix.stdout + matrix.stderr)


def main(story):
    with story.stage() as stage:
        for name, address in ADDRESSES.items():
            stage.container(name, address, {"app": name}, kubernetes=True, service_account="default")
        first_start(story, stage)
        an_edit_that_breaks_it(story, stage)
        ask_what_is_enforced(story, stage)


tell(main)
