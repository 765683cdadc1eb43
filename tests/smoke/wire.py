"""Packets made by hand and put on a container's interface, and what is seen on another's."""
import json
import socket
import struct
import time

from story import socket_in

ETH_P_ALL = 3


def is_v4(text):
    return ":" not in text


def address(text):
    return socket.inet_pton(socket.AF_INET if is_v4(text) else socket.AF_INET6, text)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def pseudo(source, target, protocol, length):
    if is_v4(source):
        return address(source) + address(target) + struct.pack("!BBH", 0, protocol, length)
    return address(source) + address(target) + struct.pack("!II", length, protocol)


def packet(source, target, protocol, payload, identification=0, offset=None, more=False, hops=64):
    """An IP packet; with an offset, a fragment."""
    if is_v4(source):
        field = 0 if offset is None else offset // 8 | (0x2000 if more else 0)
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), identification & 0xffff, field, hops, protocol, 0,
                           address(source), address(target))
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload
    if offset is not None:
        payload = struct.pack("!BBHI", protocol, 0, offset | (1 if more else 0), identification) + payload
        protocol = 44
    return struct.pack("!IHBB16s16s", 0x60000000, len(payload), protocol, hops, address(source), address(target)) + payload


def udp(source, target, source_port, target_port, text):
    head = struct.pack("!HHHH", source_port, target_port, 8 + len(text), 0)
    total = checksum(pseudo(source, target, 17, 8 + len(text)) + head + text) or 0xffff
    return head[:6] + struct.pack("!H", total) + text


def tcp_syn(source, target, source_port, target_port, options=b""):
    head = struct.pack("!HHIIBBHHH", source_port, target_port, 1, 0, (5 + len(options) // 4) << 4, 2, 1000, 0, 0) + options
    return head[:16] + struct.pack("!H", checksum(pseudo(source, target, 6, len(head)) + head)) + head[18:]


def sctp_init(source_port, target_port, tag):
    return struct.pack("!HHII", source_port, target_port, 0, 0) + struct.pack("!BBH4sIHHI", 1, 0, 20, tag, 65536, 1, 1, 1)


def arp_request(mac, source, target):
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + address(source) + bytes(6) + address(target)
    return b"\xff" * 6 + mac + b"\x08\x06" + body


def solicitation(mac, source, target):
    group = bytes.fromhex("ff0200000000000000000001ff") + address(target)[13:]
    body = struct.pack("!BBHI", 135, 0, 0, 0) + address(target) + b"\x01\x01" + mac
    total = checksum(address(source) + group + struct.pack("!II", len(body), 58) + body)
    body = body[:2] + struct.pack("!H", total) + body[4:]
    head = struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + address(source) + group
    return b"\x33\x33\xff" + address(target)[13:] + mac + b"\x86\xdd" + head + body


_identification = int(time.time() * 1000) & 0x7fff


def next_identification():
    global _identification
    _identification += 1
    return _identification


def fragments(source, target, source_port, target_port, text, bounds, identification=None):
    """A UDP datagram, cut at these offsets of its transport bytes."""
    whole = udp(source, target, source_port, target_port, text)
    identification = identification or next_identification()
    ends = [*bounds[1:], len(whole)]
    return [packet(source, target, 17, whole[begin:end], identification, begin, end != len(whole))
            for begin, end in zip(bounds, ends)]


class Link:
    """The container's interface, as a sender to one target: frames get the target's MAC from its neighbour table."""

    def __init__(self, stage, name, target, interface="eth0"):
        self.socket = socket_in(stage, name, socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind((interface, 0))
        own = json.loads(stage.run(name, f"ip -j link show {interface}").stdout)[0]["address"]
        near = [entry["lladdr"] for entry in json.loads(stage.run(name, f"ip -j neigh show dev {interface}").stdout)
                if entry.get("dst") == target and "lladdr" in entry]
        self.source = bytes.fromhex(own.replace(":", ""))
        self.target = bytes.fromhex((near or ["02:b1:cb:ea:d0:01"])[0].replace(":", ""))

    def send(self, datagram, mac_from=None):
        kind = b"\x08\x00" if datagram[0] >> 4 == 4 else b"\x86\xdd"
        self.socket.send(self.target + (mac_from or self.source) + kind + datagram)

    def send_frame(self, frame):
        self.socket.send(frame)

    def close(self):
        self.socket.close()


class Tap:
    """Listens to everything that comes in by a container's interface."""

    def __init__(self, stage, name, interface="eth0"):
        self.socket = socket_in(stage, name, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.bind((interface, ETH_P_ALL))

    def frames(self, seconds, until=None):
        """What comes within that time, or before, with a frame that holds the bytes `until`."""
        got, deadline = [], time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                frame, place = self.socket.recvfrom(65536)
            except TimeoutError:
                break
            if place[2] == socket.PACKET_OUTGOING:
                continue
            got.append(frame)
            if until is not None and until in frame:
                break
        return got

    def close(self):
        self.socket.close()
