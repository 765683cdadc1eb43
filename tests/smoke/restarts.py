"""Either process dies at any moment, or both, or a file is broken: established connections live on and nothing denied ever passes.

SMOKE_SECONDS=600 makes the campaign of kills that long.
"""
import json
import os
import random
import signal
import time

from story import tell
import traffic
from stage import CONTROLPLANE  # story leads to it

GOOD = """\
apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: shop, namespace: shop}
spec:
  edges:
  - name: web-to-api
    from: {matchLabels: {app: web}}
    to: {matchLabels: {app: api}}
    ports: [tcp/5201, tcp/5202, tcp/8080, icmp]
"""
BROKEN = GOOD.replace("edges:", "edgez:")
WIDER = GOOD.replace("tcp/8080", "tcp/8080, tcp/8081")
WEB, API = ("10.88.0.10", "fd88::10"), ("10.88.0.11", "fd88::11")
SECONDS = float(os.environ.get("SMOKE_SECONDS", "16"))


def set_up(stage):
    stage.container("web", WEB[0], {"app": "web"}, WEB[1])
    stage.container("api", API[0], {"app": "api"}, API[1])
    stage.policy("shop.yaml", GOOD)
    stage.start()
    for port in (8080, 8081):
        traffic.echo_server(stage, "api", port)
    stage.sink = stage.spawn("api", ["python3", traffic.__file__, "sink", "9999"], "sink.log")
    stage.wait(lambda: "ready" in stage.log("sink.log"), "the sink")
    for port in (5201, 5202):
        traffic.iperf_server(stage, "api", port)


def judged_right(story, stage, when):
    for v4_or_v6 in API:
        story.claim(f"{when}: allowed passes, denied does not, {v4_or_v6}",
                    traffic.tcp(stage, "web", v4_or_v6, 8080) and not traffic.tcp(stage, "web", v4_or_v6, 8081))


def came_through(story, stage, client, what):
    """The connection ended as it should, and bytes flowed until its end."""
    counts, result = traffic.intervals(stage, client)
    longest = run = 0
    for count in counts:
        run = 0 if count else run + 1
        longest = max(longest, run)
    story.claim(f"the established connection {what}", client.returncode == 0 and sum(counts[-10:]) > 0,
                f"{sum(counts) / 1e9:.2f} GB, longest silence {longest / 10} s, {result.get('error', 'no error')}")


def restart(stage, which, sig, pause=0.0):
    if "dataplane" in which:
        stage.kill(stage.dataplane, sig)
    if "controlplane" in which:
        stage.kill(stage.controlplane, sig)
    time.sleep(pause)
    if "dataplane" in which:
        stage.start_dataplane()
    if "controlplane" in which:
        stage.start_controlplane()


def acknowledged(stage):
    """Bytes of each established connection to the API that its receiver has acknowledged, by the sender's end."""
    lines = stage.run("web", "ss -HtinO state established ( dport = :5201 or dport = :5202 )").stdout.splitlines()
    return {line.split()[2]: next((int(word.split(":")[1]) for word in line.split() if word.startswith("bytes_acked:")), 0)
            for line in lines}


def campaign(story, stage):
    """Random kills under one established flow a family, and a paced flow that is denied all the time.

    A sender waits twice as long for each repetition that is lost, so now and then the node is left alone until its connections have
    moved: what was only waiting goes on, what was lost never does.
    """
    clients = [traffic.iperf(stage, "web", address, 3600, port, ("-b", "50M")) for address, port in zip(API, (5201, 5202))]
    denied = [stage.spawn("web", ["python3", traffic.__file__, "stream", address, "9999", "500", "3600"], f"stream{i}.log")
              for i, address in enumerate(API)]
    time.sleep(1)
    seed = int(os.environ.get("SMOKE_SEED", time.time_ns() % 1_000_000))
    chance = random.Random(seed)
    kills = {"dataplane": 0, "controlplane": 0, "dataplane controlplane": 0}
    unidentified = stuck = 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and not stuck:
        for _ in range(5):
            which = chance.choice(list(kills))
            restart(stage, which, chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]), chance.uniform(0, 0.3))
            kills[which] += 1
            # Sometimes the next one dies before it is ready.
            time.sleep(chance.choice([0, 0.05, 0.5, 1.0]))
            counters = stage.ctl_json("counters", check=False) or {"ports": []}
            unidentified += sum(port.get("fates", {}).get("forwarded", 0) for port in counters["ports"] if port.get("owner") == "")
        stage.wait_enforced()
        before, since = acknowledged(stage), time.monotonic()
        # The two that carry the data; iperf3's control connections say nothing meanwhile.
        carriers = {end: count for end, count in before.items() if count > 100_000}
        stuck += len(carriers) < len(clients)
        while any(acknowledged(stage).get(end, 0) <= count for end, count in carriers.items()):
            if time.monotonic() - since > 60:
                stuck += 1
                break
            time.sleep(0.3)
    story.claim(f"after every five of {sum(kills.values())} kills the established connections went on (seed {seed})",
                stuck == 0 and len(acknowledged(stage)) >= len(clients), kills)
    for client in clients:
        client.send_signal(signal.SIGINT)
        counts, _ = traffic.intervals(stage, client)
        story.claim("a connection carried traffic over all of them", sum(counts[-10:]) > 0, f"{sum(counts) / 1e9:.2f} GB")
    for stream in denied:
        stream.send_signal(signal.SIGINT)
        stream.wait()
    time.sleep(0.5)
    offered = [int((stage.log(f"stream{i}.log").split() or ["0"])[-1]) for i in range(2)]
    arrived = stage.log("sink.log").split()[-1].replace("ready", "0")
    story.claim("no packet of the denied flows ever arrived", arrived == "0" and min(offered) > 0,
                f"{arrived} of {offered}")
    story.claim("no port without an owner forwarded anything", unidentified == 0, unidentified)
    judged_right(story, stage, "after the campaign")


def gentle(story, stage):
    client = traffic.iperf(stage, "web", API[1], 7, 5202, ("-b", "50M"))
    time.sleep(1)
    restart(stage, "dataplane", signal.SIGTERM)
    restart(stage, "controlplane", signal.SIGTERM)
    stage.wait_enforced()
    came_through(story, stage, client, "goes on over a SIGTERM of both, over IPv6")


def alone(story, stage):
    """The data plane comes back while nobody is there to tell it anything."""
    client = traffic.iperf(stage, "web", API[0], 6, 5202, ("-b", "50M"))
    time.sleep(1)
    generation, _ = stage.enforced()
    stage.kill(stage.controlplane)
    restart(stage, "dataplane", signal.SIGKILL)
    status = stage.status()["dataplane"]
    story.claim("a data plane without a control plane takes up image and ports alone",
                status["generation"] == generation and status["ports"] == 3, status)
    came_through(story, stage, client, "goes on")
    judged_right(story, stage, "with no control plane")
    stage.start_controlplane()
    stage.wait_enforced()


def second(story, stage):
    """Another control plane, with endpoints, policies and a state of its own, on the same data plane."""
    generation, _ = stage.enforced()
    config = json.loads((stage.dir / "controlplane.yaml").read_text())
    config["state_directory"] = str(stage.dir / "other-state")
    (stage.dir / "other.yaml").write_text(json.dumps(config))
    refused = stage.run("node", [str(CONTROLPLANE), "--config", str(stage.dir / "other.yaml")], check=False)
    story.claim("a second control plane on one data plane is refused",
                refused.returncode == 1 and "another control plane holds it" in refused.stderr, refused.stderr)
    story.claim("and has changed nothing", stage.enforced() == (generation, True), stage.enforced())


def bad_files(story, stage):
    generation, _ = stage.enforced()
    stage.policy("shop.yaml", BROKEN)
    stage.wait(lambda: "edgez" in stage.ctl("status", check=False).stdout, "the broken file to be shown in status")
    refused = stage.ctl("status", check=False).stdout
    story.claim("a policy file broken at work is refused, and status says where", "shop.yaml:5:3" in refused, refused)
    story.claim("the last good generation stays enforced", stage.enforced()[0] == generation)
    judged_right(story, stage, "with a broken file")
    restart(stage, "controlplane", signal.SIGKILL)
    stage.wait(lambda: "edgez" in stage.ctl("status", check=False).stdout, "the restarted control plane to refuse it, too")
    story.claim("also over a restart of the control plane", stage.enforced()[0] == generation, stage.enforced())
    judged_right(story, stage, "after a restart with a broken file")
    restart(stage, "dataplane", signal.SIGKILL)
    story.claim("and over one of the data plane", stage.enforced()[0] == generation, stage.enforced())
    judged_right(story, stage, "after both")
    stage.policy("shop.yaml", WIDER)
    stage.wait_enforced(generation)
    story.claim("the repaired file is taken up", traffic.tcp(stage, "web", API[0], 8081) and
                "edgez" not in stage.ctl("status", check=False).stdout)


def main(story):
    with story.stage() as stage:
        set_up(stage)
        for part in (gentle, alone, second, campaign, bad_files):
            part(story, stage)


tell(main, needs=("iperf3",))
