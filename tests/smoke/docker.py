"""Containers of a real Docker Engine, without a network of Docker's: their namespaces are attached by hand, through endpoints.yaml."""
import concurrent.futures
import json
import shutil

from story import tell

POLICY = """\
apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: shop, namespace: shop}
spec:
  edges:
  - name: web-to-api
    from: {matchLabels: {app: web}}
    to: {matchLabels: {app: api}}
    ports: [tcp/80, icmp]
  - name: api-to-cache
    from: {matchLabels: {app: api}}
    to: {matchLabels: {app: cache}}
    ports: [tcp/80, icmp]
"""
ADDRESSES = {"web": ("10.88.0.10", "fd88::10"), "api": ("10.88.0.11", "fd88::11"), "cache": ("10.88.0.12", "fd88::12"),
             "job": ("10.88.0.10", "fd88::10")}


class Engine:
    """A Docker Engine of the story's own. `docker` on the path may be somebody's wrapper: this is the client itself."""
    CLIENT = "/usr/bin/docker"

    def __init__(self, stage):
        self.stage = stage
        place = stage.dir / "docker"
        self.socket = f"unix://{place}/sock"
        place.mkdir()
        self.daemon = stage.spawn("node", [
            shutil.which("dockerd"), "--data-root", f"{place}/data", "--exec-root", f"{place}/exec", "-p", f"{place}/pid",
            "-H", self.socket, "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
            "--storage-driver=vfs", "--exec-opt", "native.cgroupdriver=cgroupfs"], "dockerd.log")
        try:
            stage.wait(lambda: self.docker("info", check=False).returncode == 0 or self.daemon.poll() is not None, "dockerd to answer", 60)
        finally:
            if self.daemon.poll() is not None:
                print(stage.log("dockerd.log")[-3000:])
        root = place / "root"
        for folder in ("bin", "www"):
            (root / folder).mkdir(parents=True)
        shutil.copy("/usr/bin/busybox", root / "bin/busybox")
        for applet in ("sh", "httpd", "ping", "nc"):
            (root / "bin" / applet).symlink_to("busybox")
        (root / "www/index.html").write_text("here is a page\n")
        stage.sh(f"tar -C {root} -c . | {self.CLIENT} -H {self.socket} import -c 'ENV PATH=/bin' - bulkhead-smoke:1", timeout=120)

    def docker(self, *words, check=True):
        return self.stage.sh([self.CLIENT, "-H", self.socket, *words], check=check, timeout=120)

    def run(self, name):
        self.docker("run", "-d", "--network", "none", "--name", name, "-l", f"app={name}", "bulkhead-smoke:1", "httpd", "-f", "-p", "80",
                    "-h", "/www")
        return json.loads(self.docker("inspect", name).stdout)[0]

    def close(self):
        names = self.docker("ps", "-aq", check=False).stdout.split()
        if names:
            self.docker("rm", "-f", *names, check=False)
        self.daemon.terminate()
        self.daemon.wait(timeout=60)
        self.stage.processes.remove(self.daemon)


def describe(stage, name, inspected, kind="tap", by_pid=False):
    port = {"kind": kind, "interface": "eth0" if kind == "tap" else f"v-{name}"}
    if by_pid:
        port["pid"] = inspected["State"]["Pid"]
    else:
        port["netns"] = inspected["NetworkSettings"]["SandboxKey"]
    v4, v6 = ADDRESSES[name]
    stage.endpoints.append({"name": name, "namespace": "shop", "labels": inspected["Config"]["Labels"],
                            "addresses": [f"{v4}/16", f"{v6}/64"], "port": port})


def forget(stage, name):
    stage.endpoints = [endpoint for endpoint in stage.endpoints if endpoint["name"] != name]


def veth_by_hand(stage, name, pid):
    stage.sh(f"ip -n {stage.netns('node')} link add v-{name} type veth peer name eth0 netns {pid}")
    inside = f"nsenter --net=/proc/{pid}/ns/net"
    v4, v6 = ADDRESSES[name]
    stage.sh(f"{inside} sysctl -qw net.ipv6.conf.all.disable_ipv6=0", check=False)
    for command in ("link set eth0 up", f"addr add {v4}/16 dev eth0", f"addr add {v6}/64 dev eth0 nodad"):
        stage.sh(f"{inside} ip {command}")


def page(engine, source, address):
    # Not wget: Debian's static one crashes where glibc's name service plug-ins are missing.
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {address} 80"
    return "here is a page" in engine.docker("exec", source, "sh", "-c", ask, check=False).stdout


def ping(engine, source, address):
    return engine.docker("exec", source, "ping", "-c1", "-W1", "-s", "3000", address, check=False).returncode == 0


def matrix(story, engine, when, flows):
    asked = [(source, address, allowed) for source, target, allowed in flows for address in ADDRESSES[target]]
    # At once: each denied one takes its whole patience.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda one: (page(engine, *one[:2]), ping(engine, *one[:2])), asked))
    for (source, address, allowed), got in zip(asked, seen):
        story.claim(f"{when}: {source} to {address} is {'allowed' if allowed else 'denied'}, HTTP and ping",
                    got == (allowed, allowed), "" if got == (allowed, allowed) else got)


def told(story, stage, engine):
    inspected = {name: engine.run(name) for name in ("web", "api", "cache")}
    story.note(f"namespace of web: {inspected['web']['NetworkSettings']['SandboxKey']}")
    describe(stage, "web", inspected["web"])
    describe(stage, "api", inspected["api"], by_pid=True)
    veth_by_hand(stage, "cache", inspected["cache"]["State"]["Pid"])
    describe(stage, "cache", inspected["cache"], kind="veth")
    stage.policy("shop.yaml", POLICY)
    stage.start()
    stage.wait(lambda: page(engine, "web", ADDRESSES["api"][0]), "the first page")
    matrix(story, engine, "by label", [("web", "api", True), ("api", "cache", True), ("web", "cache", False), ("cache", "api", False),
                                       ("api", "web", False)])

    before = len(stage.ctl_json("ports")["ports"])
    engine.docker("rm", "-f", "web")
    stage.wait(lambda: len(stage.ctl_json("ports")["ports"]) == before - 1, "the removed container's port to be detached")
    stage.wait(lambda: "shop/web" in [port["endpoint"] for port in stage.status()["controlplane"]["ports"]["waiting"]],
               "status to report it")
    story.claim("a removed container's port is detached and reported", True)
    matrix(story, engine, "after that", [("api", "cache", True)])

    # Another container takes the address over.
    generation, _ = stage.enforced()
    describe(stage, "job", engine.run("job"))
    forget(stage, "web")
    stage.write_endpoints()
    stage.wait_enforced(generation)
    stage.wait(lambda: "shop/job" in [p["endpoint"] for p in stage.ctl_json("ports")["ports"] if p["state"] == "open"], "the port of job")
    matrix(story, engine, "under the dead one's address", [("job", "api", False), ("job", "cache", False), ("api", "job", False)])
    answer = stage.ctl("verdict", "--from", ADDRESSES["job"][0], "--to", "api", "--port", "tcp/80", check=False).stdout
    story.claim("and that address is somebody else now", "shop/job" in answer and "shop/web" not in answer, answer)

    # With the rights of its own label it is let in at once.
    generation, _ = stage.enforced()
    stage.policy("shop.yaml", POLICY.replace("app: web", "app: job"))
    stage.wait_enforced(generation)
    matrix(story, engine, "with a policy of its own", [("job", "api", True), ("job", "cache", False)])


def main(story):
    with story.stage() as stage:
        engine = Engine(stage)
        try:
            told(story, stage, engine)
        finally:
            if story.failures:
                story.logs += f"-- dockerd.log\n{stage.log('dockerd.log')[-3000:]}\n"
            engine.close()


tell(main, needs=("dockerd", Engine.CLIENT, "/usr/bin/busybox"))
