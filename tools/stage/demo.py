"""The story that tools/demo tells. Five containers, two policies, and what can go wrong with a node while it works."""
import pathlib
import sys
import time

import traffic
from stage import Stage, StageError

SHOP = """\
apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: shop, namespace: shop}
spec:
  edges:
  - name: web-to-api
    from: {matchLabels: {app: web}}
    to: {matchLabels: {app: api}}
    ports: [tcp/8080, tcp/5201, udp/53, icmp]
  - name: api-to-db
    from: {matchLabels: {app: api}}
    to: {matchLabels: {app: db}}
    ports: [tcp/5432, udp/5432, tcp/5201]
  - name: batch-to-db
    from: {matchLabels: {app: batch}}
    to: {matchLabels: {app: db}}
    ports: [udp/5140]
  - name: no-batch-to-api
    from: {matchLabels: {app: batch}}
    to: {matchLabels: {app: api}}
    ports: [any]
    action: deny
"""
REVOKED = SHOP.replace("ports: [tcp/8080, tcp/5201, udp/53, icmp]", "ports: [tcp/8080, udp/53, icmp]")

# Two policies that allow batch -> db udp/9999 at one end only, each at the other end: whole images deny it, always. A packet
# that arrives was judged by half of one and half of the other.
HALF = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: half, namespace: shop}}
spec:
  podSelector: {{matchLabels: {{app: {subject}}}}}
  policyTypes: [{direction}]
  {rules}: [{{{ends}: [{{podSelector: {{matchLabels: {{app: {peer}}}}}}}], ports: [{{protocol: UDP, port: 9999}}]}}]
"""
HALVES = [HALF.format(subject="batch", direction="Egress", rules="egress", ends="to", peer="db"),
          HALF.format(subject="db", direction="Ingress", rules="ingress", ends="from", peer="batch")]

SWAPS = 1000
ADDRESSES = {"web": ("10.88.0.10", "fd88::10"), "api": ("10.88.0.11", "fd88::11"), "db": ("10.88.0.12", "fd88::12"),
             "batch": ("10.88.0.13", "fd88::13"), "intruder": ("10.88.0.66", "fd88::66")}
TERMINAL = sys.stdout.isatty()
failures = []


def title(text):
    print(f"\n\033[1m{text}\033[0m" if TERMINAL else f"\n== {text}", flush=True)


def report(what, good, detail=""):
    if not good:
        failures.append(what)
    mark = "ok  " if good else "FAIL"
    if TERMINAL:
        mark = f"\033[{32 if good else 31}m{mark}\033[0m"
    print(f"  {mark} {what}{': ' + detail if detail else ''}", flush=True)


def set_up(stage):
    for name, (v4, v6) in ADDRESSES.items():
        stage.container(name, v4, {"app": name}, v6)
    stage.policy("shop.yaml", SHOP)
    stage.start()
    for name, port in (("api", 8080), ("api", 53), ("db", 5432), ("db", 22), ("web", 80)):
        traffic.echo_server(stage, name, port)
    stage.iperf_servers = {name: traffic.iperf_server(stage, name) for name in ("api", "db")}
    time.sleep(0.3)


def why(stage, source, target, protocol, port):
    """The end that decided, in a few words, from the answer of `bulkheadctl verdict`."""
    answer = stage.ctl_json("verdict", "--from", source, "--to", target, "--port",
                            protocol if protocol == "icmp" else f"{protocol}/{port}")

    def place(one):
        return f"({pathlib.Path(one['file']).relative_to(stage.dir)}:{one['line']})"

    side = answer[answer["direction"]]
    end = side["end"].split("/")[-1]
    if rule := side["rule"]:
        return f"{rule['action']} by rule '{rule['name']}' {place(rule)}"
    if isolated := side["isolated_by"]:
        near = f"; nearest: {side['nearest']['rule']['name']}" if side["nearest"] else ""
        return f"{end} is isolated {place(isolated[0])}{near}"
    return f"no policy speaks of {end}'s {answer['direction']}, the posture is {side['posture']}"


def table(stage):
    title("Who may talk to whom, tried with real packets on IPv4 and IPv6")
    flows = [("web", "api", "tcp", 8080, True), ("web", "api", "udp", 53, True), ("web", "api", "icmp", 0, True),
             ("web", "db", "tcp", 5432, False), ("web", "api", "tcp", 22, False), ("api", "db", "tcp", 5432, True),
             ("api", "db", "udp", 5432, True), ("api", "web", "tcp", 80, False), ("db", "api", "tcp", 8080, False),
             ("batch", "db", "tcp", 5432, False), ("batch", "api", "tcp", 8080, False),
             ("intruder", "db", "tcp", 5432, False), ("intruder", "web", "icmp", 0, False)]
    print(f"  {'flow':<28} {'expected':<9} {'seen':<9} why")
    for source, target, protocol, port, expected in flows:
        seen = []
        for address in ADDRESSES[target]:
            if protocol == "tcp":
                seen.append(traffic.tcp(stage, source, address, port))
            elif protocol == "udp":
                seen.append(traffic.udp(stage, source, address, port))
            else:
                seen.append(traffic.ping(stage, source, address))
        good = all(one == expected for one in seen)
        if not good:
            failures.append(f"{source} -> {target} {protocol}/{port}")
        words = {(True, True): "allowed", (False, False): "denied"}
        flow = f"{source} -> {target} {protocol}" + (f"/{port}" if port else "")
        print(f"  {flow:<28} {'allowed' if expected else 'denied':<9} {words.get(tuple(seen), 'MIXED'):<9} "
              f"{why(stage, source, target, protocol, port)}", flush=True)


def intruder(stage):
    title("An intruder takes the address of web")
    stage.run("intruder", f"ip addr add {ADDRESSES['web'][0]}/32 dev eth0")
    reached = traffic.ping(stage, "intruder", ADDRESSES["api"][0], "-I", ADDRESSES["web"][0])
    stage.run("intruder", f"ip addr del {ADDRESSES['web'][0]}/32 dev eth0")
    counters = stage.ctl_json("counters")
    spoofed = sum(port.get("fates", {}).get("spoofed_address", 0) for port in counters["ports"])
    report("nothing passes under a stolen address", not reached and spoofed > 0, f"{spoofed} packets counted as spoofed_address")


def revoke(stage):
    title("A rule is revoked while its flow runs at full speed")
    cut = traffic.iperf(stage, "web", ADDRESSES["api"][0], 5)
    kept = traffic.iperf(stage, "api", ADDRESSES["db"][0], 5)
    time.sleep(2)
    generation, _ = stage.enforced()
    stage.policy("shop.yaml", REVOKED)
    stage.wait_enforced(generation)
    done = time.monotonic() - cut.began
    kept_bytes, _ = traffic.intervals(stage, kept)
    stage.kill(cut)
    counters = stage.ctl_json("counters")
    denied = sum(port.get("fates", {}).get("denied_default", 0) for port in counters["ports"])
    passes = traffic.tcp(stage, "web", ADDRESSES["api"][0], 5201)
    report("the revoked flow is cut", not passes and denied > 0,
           f"enforced {done:.1f} s into the run, {denied} packets denied so far")
    # Its server still waits for the connection that was cut.
    stage.kill(stage.iperf_servers["api"])
    stage.iperf_servers["api"] = traffic.iperf_server(stage, "api")
    after = kept_bytes[int(done * 10) + 2:]
    report("the other flow goes on", len(after) > 5 and all(count > 0 for count in after),
           f"{sum(after) * 8 / max(len(after), 1) / 1e8:.2f} Gbit/s after the change")
    stage.policy("shop.yaml", SHOP)
    stage.wait_enforced(generation + 1)


def swaps(stage):
    title(f"{SWAPS} images are swapped under load")
    allowed = stage.spawn("db", ["python3", traffic.__file__, "sink", "5140"], "sink-allowed.log")
    mixed = stage.spawn("db", ["python3", traffic.__file__, "sink", "9999"], "sink-mixed.log")
    stage.policy("half.yaml", HALVES[0])
    stage.wait(lambda: "ready" in stage.log("sink-allowed.log") and "ready" in stage.log("sink-mixed.log"), "the sinks")
    generation = stage.wait_enforced(stage.enforced()[0] - 1)
    first = generation
    streams = [stage.spawn("batch", ["python3", traffic.__file__, "stream", ADDRESSES["db"][0], port, "2000", "600"],
                           f"stream-{port}.log") for port in ("5140", "9999")]
    began = time.monotonic()
    count = 0
    while generation - first < SWAPS and time.monotonic() - began < 100:
        count += 1
        stage.policy("half.yaml", HALVES[count % 2])
        stage.wait(lambda: stage.enforced()[0] > generation, "the next generation")
        generation = stage.enforced()[0]
    took = time.monotonic() - began
    for stream in streams:
        stream.send_signal(2)
        stream.wait()
    time.sleep(0.5)
    sent = int((stage.log("stream-5140.log").split() or ["0"])[-1])
    offered = int((stage.log("stream-9999.log").split() or ["0"])[-1])
    received = int((stage.log("sink-allowed.log").split() or ["0", "0"])[-2].replace("ready", "0"))
    halves = stage.log("sink-mixed.log").split()
    wrong = int(halves[-1]) if halves[-1] != "ready" else 0
    report(f"{generation - first} images were enforced", generation - first >= SWAPS, f"in {took:.1f} s")
    report("lost packets", sent > 0 and sent == received, f"{sent - received} of {sent}")
    report("packets judged by half of an image", offered > 0 and wrong == 0, f"{wrong} of {offered}")


def killed_control_plane(stage):
    title("The control plane is killed (SIGKILL) under load")
    client = traffic.iperf(stage, "web", ADDRESSES["api"][0], 4)
    time.sleep(1)
    stage.kill(stage.controlplane)
    time.sleep(1)
    alive = traffic.tcp(stage, "api", ADDRESSES["db"][0], 5432)
    denied = not traffic.tcp(stage, "web", ADDRESSES["db"][0], 5432)
    report("without it new flows are still judged by the last image", alive and denied)
    stage.start_controlplane()
    stage.wait_enforced()
    counts, _ = traffic.intervals(stage, client)
    report("the running flow never noticed", len(counts) >= 38 and all(count > 0 for count in counts[2:]),
           f"{sum(counts) * 8 / max(len(counts), 1) / 1e8:.2f} Gbit/s, no gap")


def killed_data_plane(stage):
    title("The data plane is killed (SIGKILL) and started again under load")
    before, _ = stage.enforced()
    client = traffic.iperf(stage, "web", ADDRESSES["api"][0], 8)
    time.sleep(1.5)
    stage.kill(stage.dataplane)
    began = time.monotonic()
    stage.start_dataplane()
    stage.wait_enforced()
    back = time.monotonic() - began
    counts, result = traffic.intervals(stage, client)
    status = stage.status()["dataplane"]
    late = counts[-10:]
    report("the established connection went on", client.returncode == 0 and len(late) == 10 and all(late),
           f"back in {back:.1f} s with {status.get('flows_restored', 0)} flows and generation {status.get('generation')}")
    report("nothing was forwarded without an image", status.get("generation", 0) >= before,
           "the restarted process took up the last image before its ports")
    report("a new flow is judged as before", traffic.tcp(stage, "api", ADDRESSES["db"][0], 5432) and
           not traffic.tcp(stage, "web", ADDRESSES["db"][0], 5432))


def main():
    began = time.monotonic()
    try:
        with Stage() as stage:
            try:
                set_up(stage)
                for act in (table, intruder, revoke, swaps, killed_control_plane, killed_data_plane):
                    act(stage)
            except StageError as error:
                failures.append(str(error))
                print(f"\n{error}\n-- data plane --\n{stage.log('dataplane.log')[-3000:]}\n-- control plane --\n"
                      f"{stage.log('controlplane.log')[-3000:]}", file=sys.stderr)
            except KeyboardInterrupt:
                print("\ninterrupted: cleaning up", file=sys.stderr, flush=True)
                raise
    except KeyboardInterrupt:
        failures.append("interrupted")
    title("Everything was as expected." if not failures else "Not as expected: " + "; ".join(failures))
    print(f"  {time.monotonic() - began:.0f} s; namespaces, processes and files are gone again")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
