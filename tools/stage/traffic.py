"""Real traffic between two containers of a stage, and what was seen of it. Run as a script it is the far end of a UDP stream."""
import json
import signal
import socket
import sys
import time


def tcp(stage, source, address, port):
    """True if a connection is established and carries a byte each way."""
    return stage.run(source, ["python3", __file__, "tcp", address, str(port)], check=False).returncode == 0


def udp(stage, source, address, port):
    return stage.run(source, ["python3", __file__, "udp", address, str(port)], check=False).returncode == 0


def ping(stage, source, address, *options):
    return stage.run(source, ["ping", "-c1", "-W1", *options, address], check=False).returncode == 0


def echo_server(stage, name, port):
    """Answers TCP and UDP on both families with what it was sent."""
    return stage.spawn(name, ["python3", __file__, "serve", str(port)], f"echo-{name}-{port}.log")


def iperf_server(stage, name, port=5201):
    server = stage.spawn(name, ["iperf3", "-s", "--forceflush", "-p", str(port)], f"iperf-server-{name}.log")
    stage.wait(lambda: "listening" in stage.log(f"iperf-server-{name}.log"), "iperf3 to listen")
    return server


def iperf(stage, name, address, seconds, port=5201, extra=()):
    """Starts a client that reports every 100 ms; result() reads it."""
    log = f"iperf-{name}-{port}.log"
    client = stage.spawn(name, ["iperf3", "-c", address, "-p", str(port), "-t", str(seconds), "-i", "0.1", "-J",
                                "--connect-timeout", "3000", *extra], log)
    client.log_name = log
    client.began = time.monotonic()
    return client


def intervals(stage, client):
    """Bytes of each 100 ms, in order, after the client has ended."""
    client.wait()
    text = stage.log(client.log_name)
    report = json.loads(text) if text.strip() else {}
    return [interval["sum"]["bytes"] for interval in report.get("intervals", [])], report


# -- the ends themselves, inside a namespace ---------------------------------------------------------------------------
def _connect_tcp(address, port):
    with socket.create_connection((address, port), timeout=1) as connection:
        connection.sendall(b"x")
        connection.settimeout(1)
        return connection.recv(1) == b"x"


def _ask_udp(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.sendto(b"x", (address, port))
        return s.recv(1) == b"x"


def _serve(port):
    import selectors
    selector = selectors.DefaultSelector()
    tcp_socket = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    udp_socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp_socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp_socket.bind(("::", port))
    for s in (tcp_socket, udp_socket):
        selector.register(s, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is tcp_socket:
                connection, _ = tcp_socket.accept()
                selector.register(connection, selectors.EVENT_READ)
            elif key.fileobj is udp_socket:
                data, peer = udp_socket.recvfrom(65536)
                udp_socket.sendto(data, peer)
            else:
                try:
                    data = key.fileobj.recv(65536)
                except OSError:
                    data = b""
                if data:
                    key.fileobj.sendall(data)
                else:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


def _stream(address, port, rate, seconds):
    """Numbered datagrams at a steady rate, until the time is over or an interrupt; prints how many were sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    ended = []
    # Not by an exception, which may come between a datagram and its being counted.
    signal.signal(signal.SIGINT, lambda *_: ended.append(True))
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        begin, sent = time.monotonic(), 0
        try:
            while not ended and (now := time.monotonic() - begin) < seconds:
                while sent < now * rate and not ended:
                    s.sendto(sent.to_bytes(8, "big"), (address, port))
                    sent += 1
                time.sleep(0.001)
        finally:
            print(sent, flush=True)


def _sink(port):
    """Counts datagrams; prints distinct and total after every second of reception, until ended."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        s.bind(("::", port))
        s.settimeout(0.2)
        seen, total, shown = set(), 0, None
        print("ready", flush=True)
        while True:
            try:
                data = s.recv(65536)
                seen.add(data[:8])
                total += 1
            except TimeoutError:
                if (len(seen), total) != shown:
                    shown = len(seen), total
                    print(*shown, flush=True)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    try:
        if what == "tcp":
            sys.exit(0 if _connect_tcp(rest[0], int(rest[1])) else 1)
        if what == "udp":
            sys.exit(0 if _ask_udp(rest[0], int(rest[1])) else 1)
        if what == "serve":
            _serve(int(rest[0]))
        if what == "stream":
            _stream(rest[0], int(rest[1]), int(rest[2]), float(rest[3]))
        if what == "sink":
            _sink(int(rest[0]))
    except (OSError, KeyboardInterrupt):
        sys.exit(1)
