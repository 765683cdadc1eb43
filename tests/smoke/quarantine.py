"""An endpoint is quarantined while it talks: its conversations end, its neighbours' do not, and no restart lifts it."""
import signal
import time

from story import fates, tell
import traffic

POLICY = """\
apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: shop, namespace: shop}
spec:
  tier: platform
  priority: 1
  edges:
  - {name: everything, from: {any: {}}, to: {any: {}}, ports: [any]}
"""
WEB, API, JOB = "10.88.0.10", "10.88.0.11", "10.88.0.12"


def set_up(stage):
    stage.container("web", WEB, {"app": "web"}, "fd88::10")
    stage.container("api", API, {"app": "api"}, "fd88::11")
    stage.container("job", JOB, {"app": "job"}, "fd88::12")
    stage.policy("shop.yaml", POLICY)
    stage.start()
    for port in (5201, 5202):
        traffic.iperf_server(stage, "api", port)


def cut_off(story, stage, when):
    outside = [traffic.ping(stage, "web", address) for address in (API, "fd88::11", "10.88.0.1")]
    inside = [traffic.ping(stage, name, WEB) for name in ("api", "job", "node")]
    story.claim(f"{when}: web reaches nobody", not any(outside), outside)
    story.claim(f"{when}: nobody reaches web, its own node neither", not any(inside), inside)
    story.claim(f"{when}: others reach each other", traffic.ping(stage, "job", API) and traffic.ping(stage, "node", API))


def main(story):
    with story.stage() as stage:
        set_up(stage)
        story.claim("web reaches api first", traffic.ping(stage, "web", API))
        quarantined = traffic.iperf(stage, "web", API, 30, 5201, ("-b", "20M"))
        neighbour = traffic.iperf(stage, "job", API, 14, 5202, ("-b", "20M"))
        time.sleep(2)
        began = time.monotonic()
        done = stage.ctl("quarantine", "add", "shop/web", "--reason", "beacons to 198.51.100.7", "--author", "alice")
        took = time.monotonic() - began
        story.claim("it is enforced when the command returns",
                    "is quarantined, enforced as generation 2" in done.stdout and took < 2, f"{took * 1e3:.0f} ms: {done.stdout}")
        before = fates(stage, "denied_policy")
        time.sleep(1.5)
        story.claim("its established conversation goes on trying in vain", fates(stage, "denied_policy") > before)
        cut_off(story, stage, "at once")
        denied = stage.ctl("flows", "--denied").stdout
        story.claim("flows name reason and author", "shop/web is quarantined by alice: beacons to 198.51.100.7" in denied, denied)
        verdict = stage.ctl("verdict", "--from", "shop/api", "--to", "shop/web", "--port", "tcp/80", check=False)
        story.claim("so does a verdict", verdict.returncode == 1 and "quarantined by alice: beacons" in verdict.stdout, verdict.stdout)

        stage.kill(stage.controlplane)
        cut_off(story, stage, "without a control plane")
        stage.start_controlplane()
        stage.wait_enforced()
        cut_off(story, stage, "after kill -9 of the control plane")
        stage.kill(stage.dataplane)
        stage.start_dataplane()
        stage.wait_enforced()
        cut_off(story, stage, "after kill -9 of the data plane")
        listed = stage.ctl_json("quarantine", "list")["entries"]
        story.claim("the list still has it", [entry["name"] for entry in listed] == ["web"], listed)

        quarantined.send_signal(signal.SIGINT)
        counts, _ = traffic.intervals(stage, quarantined)
        story.claim("the quarantined conversation carried traffic, and then none", sum(counts[:15]) > 0 and sum(counts[25:]) == 0,
                    f"{sum(counts[:25]) / 1e6:.1f} MB before, {sum(counts[25:])} bytes after")
        counts, report = traffic.intervals(stage, neighbour)
        story.claim("the neighbour's came through", neighbour.returncode == 0 and sum(counts[-10:]) > 0,
                    f"{sum(counts) / 1e6:.1f} MB, {report.get('error', 'no error')}")

        done = stage.ctl("quarantine", "lift", "shop/web")
        story.claim("lifted, it talks again", traffic.ping(stage, "web", API) and traffic.ping(stage, "node", WEB), done.stdout)
        done = stage.ctl("quarantine", "add", "shop/late", "--reason", "known bad", "--author", "bob")
        story.claim("one that does not exist yet is accepted with a note", "there is no endpoint shop/late now" in done.stdout, done.stdout)
        stage.container("late", "10.88.0.13", {"app": "late"})
        stage.write_endpoints()
        stage.wait(lambda: any(e["exists"] for e in stage.ctl_json("quarantine", "list")["entries"]), "the late endpoint to be known")
        stage.wait_enforced()
        story.claim("it is cut off from its first moment", not traffic.ping(stage, "late", API) and not traffic.ping(stage, "api", "10.88.0.13"))


tell(main)
