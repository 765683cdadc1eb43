"""An 802.1Q interface for kernels that have none: a tap whose frames carry a tag on the device beside it.

    tagger.py DEVICE VLAN TAP        until ended
"""
import fcntl
import os
import select
import socket
import struct
import sys

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
STATUS_VLAN_VALID = 0x10


def main(device, vlan, name):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    wire.setsockopt(SOL_PACKET, 1, struct.pack("IHH8s", socket.if_nametoindex(device), 1, 0, b""))  # promiscuous
    wire.bind((device, ETH_P_ALL))
    tag = struct.pack("!HH", 0x8100, vlan)
    print("ready", flush=True)
    while True:
        for ready in select.select([tap, wire], [], [])[0]:
            try:
                if ready is tap:
                    frame = os.read(tap, 4096)
                    wire.send(frame[:12] + tag + frame[12:])
                    continue
                frame, extra, _, _ = wire.recvmsg(65536, 256)
                # The kernel has taken the tag out of the frame.
                for level, kind, data in extra:
                    status, *_, found, _ = struct.unpack("IIIHHHH", data[:20])
                    if (level, kind) == (SOL_PACKET, PACKET_AUXDATA) and status & STATUS_VLAN_VALID and found & 0xfff == vlan:
                        os.write(tap, frame)
            except OSError as error:
                print(error, flush=True)


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
