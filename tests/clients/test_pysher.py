"""Pysher, a WebSocket client for Python: a wrong key stops it, and it reconnects after a restart.

Run it as test_pusher_http.py, whose server class it uses.
"""

import contextlib
import logging
import queue
import random
import socket
import sys
import unittest

import pysher
from test_pusher_http import DEADLINE, KEY, SECRET, Server, main

CHANNEL = "private-orders"


def fixed_port():
    """A free port that the system does not assign by itself, so that it can be reused."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


class Client:
    """A Pysher client as in its README: each new connection subscribes again."""

    def __init__(self, port, key=KEY):
        self.ids = queue.Queue()
        self.errors = queue.Queue()
        self.events = queue.Queue()
        self.pusher = pysher.Pusher(
            key,
            secure=False,
            secret=SECRET,
            custom_host="127.0.0.1",
            port=port,
            reconnect_interval=0.1,
            # Pysher logs a traceback when an error from the server stops it.
            log_level=logging.CRITICAL,
        )
        self.connection = self.pusher.connection
        self.connection.bind("pusher:connection_established", self.subscribe)
        self.connection.bind("pusher:error", self.errors.put)
        self.pusher.connect()

    def subscribe(self, _):
        channel = self.pusher.subscribe(CHANNEL)
        channel.bind("pusher_internal:subscription_succeeded", lambda _: self.ids.put(self.socket_id))
        channel.bind("order", self.events.put)

    @property
    def socket_id(self):
        return self.connection.socket_id

    def subscribed(self):
        """Waits for the next subscription; returns the socket id of its connection."""
        return take(self.ids, "the subscription")

    def receives_what_is_published(self, server):
        server.library().trigger(CHANNEL, "order", "an order")
        return take(self.events, "the event") == "an order"

    def close(self):
        self.connection.disconnect_called = True
        if self.connection.socket and self.connection.socket.sock:
            self.connection.socket.close()
        self.connection.join(DEADLINE)


def take(items, what):
    try:
        return items.get(timeout=DEADLINE)
    except queue.Empty:
        raise AssertionError(f"{what} did not arrive") from None


class Pysher(unittest.TestCase):
    def start(self, port=0):
        server = Server(port)
        self.addCleanup(server.process.kill)
        return server

    def client(self, port, **options):
        client = Client(port, **options)
        self.addCleanup(client.close)
        return client

    def test_a_wrong_key_stops_it(self):
        server = self.start()
        client = self.client(server.port, key="no-such-key")
        error = take(client.errors, "the error")
        self.assertEqual(error, {"code": 4001, "message": "Application does not exist"})
        client.connection.join(DEADLINE)
        self.assertFalse(client.connection.is_alive(), "it goes on")
        self.assertTrue(client.errors.empty(), "it came back")
        server.stop()

    def test_it_reconnects_after_a_restart(self):
        port = fixed_port()
        first = self.start(port)
        client = self.client(port)
        before = client.subscribed()
        first.stop()
        self.assertEqual(take(client.errors, "the error")["code"], 4100)
        second = self.start(port)
        self.assertNotEqual(client.subscribed(), before)
        self.assertTrue(client.receives_what_is_published(second))
        client.close()
        second.stop()

    def test_it_reconnects_after_the_server_was_killed(self):
        port = fixed_port()
        first = self.start(port)
        client = self.client(port)
        before = client.subscribed()
        first.kill()
        second = self.start(port)
        self.assertNotEqual(client.subscribed(), before)
        self.assertTrue(client.receives_what_is_published(second))
        client.close()
        second.stop()

    def test_a_reload_keeps_its_connection(self):
        server = self.start()
        client = self.client(server.port)
        before = client.subscribed()
        server.reload()
        self.assertTrue(client.receives_what_is_published(server))
        self.assertEqual(client.socket_id, before)
        self.assertTrue(client.ids.empty() and client.errors.empty(), "it connected again")
        client.close()
        server.stop()


if __name__ == "__main__":
    sys.exit(main(sys.modules[__name__]))
