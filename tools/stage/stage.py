"""A node on a stage: namespaces as containers, both processes, real traffic; everything gone afterwards.

    with Stage() as stage:
        stage.container("web", "10.88.0.10", {"app": "web"})
        stage.policy("shop.yaml", text)
        stage.start()
        stage.run("web", "ping -c1 10.88.0.11")

Used by tools/demo and tests/smoke. Every namespace, process, file and mount is the stage's own: names carry its process id, and
close() ends only what it started, also after an interrupt.
"""
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BULKHEAD_BUILD", ROOT / "build"))
DATAPLANE = BUILD / "dataplane/bulkhead-dataplane"
CONTROLPLANE = BUILD / "controlplane/bulkhead-controlplane"
CTL = BUILD / "tools/ctl/bulkheadctl"


class StageError(Exception):
    pass


class Stage:
    def __init__(self, workers=1, dataplane_args=(), kubernetes=False, posture="deny", debounce_ms=2, host=True,
                 config=None):
        self.id = f"bh{os.getpid()}"
        self.dir = pathlib.Path(tempfile.gettempdir()) / f"bulkhead-stage-{self.id}-{secrets.token_hex(4)}"
        self.run_dir = self.dir / "run"
        self.workers = workers
        self.dataplane_args = list(dataplane_args)
        self.kubernetes = kubernetes
        self.posture = posture
        self.debounce_ms = debounce_ms
        self.host = host
        self.config = config or {}
        self.endpoints = []
        self.namespace_labels = {}
        self.namespaces = []
        self.processes = []
        self.dataplane = self.controlplane = None

    def __enter__(self):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self.dir.mkdir(mode=0o700)
            (self.dir / "policies").mkdir()
            self._netns("node")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    # -- namespaces ---------------------------------------------------------------------------------------------------
    def netns(self, name):
        return f"{self.id}-{name}"

    def _netns(self, name):
        self.namespaces.append(name)  # first: an interrupt may come while it is made
        self.sh(f"ip netns add {self.netns(name)}")
        self.sh(f"ip -n {self.netns(name)} link set lo up")

    def neighbour(self, name):
        """A namespace that Bulkhead knows nothing of."""
        self._netns(name)

    def container(self, name, v4, labels, v6=None, ports=(), kind="tap", kubernetes=None, mtu=None, namespace="shop",
                  service_account=None):
        """Makes a namespace and tells the control plane of it at the next write_endpoints()."""
        self._netns(name)
        port = {"kind": kind, "interface": "eth0", "netns": f"/run/netns/{self.netns(name)}"}
        if kind == "veth":
            outside = f"v-{name}"
            self.sh(f"ip -n {self.netns('node')} link add {outside} type veth peer name eth0 netns {self.netns(name)}")
            self.sh(f"ip -n {self.netns(name)} link set eth0 up")
            port["interface"] = outside
        if mtu:
            port["mtu"] = mtu
        self.endpoints.append({
            "name": name, "namespace": namespace, "labels": labels,
            "addresses": [f"{v4}/16"] + ([f"{v6}/64"] if v6 else []),
            "kubernetes": self.kubernetes if kubernetes is None else kubernetes,
            "ports": list(ports), "port": port, **({"serviceAccount": service_account} if service_account else {})})

    def write_endpoints(self):
        # JSON is YAML; replaced by rename, as an editor would.
        target = self.dir / "endpoints.yaml"
        world = {"endpoints": self.endpoints}
        if self.namespace_labels:
            world["namespaces"] = [{"name": name, "labels": labels} for name, labels in self.namespace_labels.items()]
        target.with_suffix(".next").write_text(json.dumps(world, indent=1))
        target.with_suffix(".next").rename(target)

    def policy(self, name, text):
        target = self.dir / "policies" / name
        (self.dir / (name + ".next")).write_text(text)
        (self.dir / (name + ".next")).rename(target)

    # -- the two processes --------------------------------------------------------------------------------------------
    def start(self, ready=True):
        self.write_endpoints()
        config = {
            "run_directory": str(self.run_dir), "state_directory": str(self.dir / "state"),
            "sources": {"static": {"path": "endpoints.yaml"}}, "policies": {"directory": "policies"},
            "node": {"name": "node1", "posture": self.posture},
            "debounce_ms": self.debounce_ms, **self.config}
        if self.host:
            config["node"]["gateways"] = ["10.88.0.1", "fd88::1"]
            config["host"] = {"interface": "bulkhead0", "addresses": ["10.88.0.1/16", "fd88::1/64"]}
        (self.dir / "controlplane.yaml").write_text(json.dumps(config))
        # With hugepages the flow table would go to the machine's own mount, and stay there.
        if int(pathlib.Path("/proc/sys/vm/nr_hugepages").read_text()):
            (self.run_dir / "hugepages").mkdir(parents=True, exist_ok=True)
            self.sh(f"mount -t hugetlbfs -o mode=0700 hugetlbfs {self.run_dir}/hugepages")
        self.start_dataplane()
        self.start_controlplane()
        if ready:
            self.wait_enforced()

    def start_dataplane(self):
        self.dataplane = self.spawn("node", [str(DATAPLANE), "--run-dir", str(self.run_dir), "--workers", str(self.workers),
                                             "--flows", "65536", *self.dataplane_args], "dataplane.log", append=True)
        self.wait(lambda: (self.run_dir / "dataplane.sock").exists() and self.status().get("dataplane", {}).get("running"),
                  "the data plane to answer")

    def start_controlplane(self):
        self.controlplane = self.spawn("node", [str(CONTROLPLANE), "--config", str(self.dir / "controlplane.yaml")],
                                       "controlplane.log", append=True)

    def kill(self, process, sig=signal.SIGKILL):
        process.send_signal(sig)
        process.wait()
        self.processes.remove(process)

    def status(self):
        return self.ctl_json("status", check=False) or {}

    def enforced(self):
        """(generation, is it what the control plane wants now?)"""
        status = self.status()
        enforced = status.get("dataplane", {}).get("generation") or 0
        wanted = status.get("controlplane", {}).get("wanted", {}).get("generation") or 0
        return enforced, enforced != 0 and enforced == wanted

    def wait_enforced(self, above=0, timeout=20):
        self.wait(lambda: (lambda generation, current: current and generation > above)(*self.enforced()),
                  f"a generation above {above} to be enforced", timeout)
        return self.enforced()[0]

    # -- running things -----------------------------------------------------------------------------------------------
    def sh(self, command, check=True, timeout=60):
        done = subprocess.run(command, shell=isinstance(command, str), capture_output=True, text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise StageError(f"{command}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    def run(self, name, command, check=True, timeout=60):
        words = command.split() if isinstance(command, str) else list(command)
        return self.sh(["ip", "netns", "exec", self.netns(name), *words], check, timeout)

    def spawn(self, name, command, log, append=False):
        words = command.split() if isinstance(command, str) else list(command)
        out = open(self.dir / log, "a" if append else "w")
        # nsenter, not `ip netns exec`: that would give it mounts of its own, which end with it.
        process = subprocess.Popen(["nsenter", f"--net=/run/netns/{self.netns(name)}", *words], stdout=out,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def log(self, name):
        path = self.dir / name
        return path.read_text() if path.exists() else ""

    def ctl(self, *words, check=True):
        return self.sh([str(CTL), "--run-dir", str(self.run_dir), *words], check)

    def ctl_json(self, *words, check=True):
        done = self.ctl(*words, "-o", "json", check=False)
        if not done.stdout.strip():
            if check:
                raise StageError(f"bulkheadctl {' '.join(words)}: {done.stderr.strip()}")
            return None
        return json.loads(done.stdout)

    @staticmethod
    def wait(condition, what, timeout=20):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.02)
        raise StageError(f"waited {timeout} s in vain for {what}")

    # -- the end ------------------------------------------------------------------------------------------------------
    def close(self):
        for interrupt in (signal.SIGINT, signal.SIGTERM):
            signal.signal(interrupt, signal.SIG_IGN)
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.processes = []
        for name in reversed(self.namespaces):
            # Started, but not noted any more when an interrupt came.
            for pid in self.sh(f"ip netns pids {self.netns(name)}", check=False).stdout.split():
                self.sh(f"kill -9 {pid}", check=False)
            self.sh(f"ip netns del {self.netns(name)}", check=False)
        self.namespaces = []
        self.sh(f"umount {self.run_dir}/hugepages", check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
        for interrupt in (signal.SIGINT, signal.SIGTERM):
            signal.signal(interrupt, signal.default_int_handler)
