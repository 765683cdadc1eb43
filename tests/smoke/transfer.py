"""A large body over one TCP connection: arrived whole means that every byte, checksum and segment was right."""
import hashlib
import os
import socket
import threading

from story import socket_in

BODY = os.urandom(4 << 20)


def transfer(stage, source, target, address, port=7000):
    """Sends BODY over one TCP connection; True if it arrives whole."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket_in(stage, target, family, socket.SOCK_STREAM, timeout=15)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen()
    digest = []

    def take():
        try:
            connection, _ = server.accept()
            connection.settimeout(15)
            body = hashlib.sha256()
            while data := connection.recv(1 << 16):
                body.update(data)
            digest.append(body.digest())
            connection.close()
        except OSError:
            pass

    taker = threading.Thread(target=take)
    taker.start()
    client = socket_in(stage, source, family, socket.SOCK_STREAM, timeout=15)
    try:
        client.connect((address, port))
        client.sendall(BODY)
        client.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    taker.join(15)
    client.close()
    server.close()
    taker.join()
    return digest == [hashlib.sha256(BODY).digest()]
