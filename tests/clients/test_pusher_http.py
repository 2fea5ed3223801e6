"""The official HTTP library for Python against the real server, with a Pysher client that listens.

Run it with the Python of an environment that has requirements.txt; the server's binary is
REVERB_BIN, or the newest one that cargo has built. It never sleeps: DEADLINE only limits the time
of a failure.
"""

import atexit
import contextlib
import http.server
import json
import logging
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import pusher
import pysher
import requests
from pusher.errors import PusherBadAuth, PusherBadRequest, PusherBadStatus
from pusher.http import POST, Request

DEADLINE = 15
APP_ID, KEY, SECRET = "1001", "laravel-key", "laravel-secret"


def binary():
    """The server's binary."""
    if "REVERB_BIN" in os.environ:
        return os.environ["REVERB_BIN"]
    target = Path(__file__).resolve().parents[2] / "target"
    built = [path for path in (target / "release/reverb", target / "debug/reverb") if path.exists()]
    if not built:
        raise SystemExit("no binary: build the server, or set REVERB_BIN")
    return str(max(built, key=lambda path: path.stat().st_mtime))


class Server:
    """The real server in its own folder."""

    def __init__(self, port=0, **variables):
        self.folder = tempfile.TemporaryDirectory(prefix="reverb-python-")
        self.log = tempfile.TemporaryFile()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": self.folder.name,
            "REVERB_APP_ID": APP_ID,
            "REVERB_APP_KEY": KEY,
            "REVERB_APP_SECRET": SECRET,
            **variables,
        }
        self.process = subprocess.Popen(
            [binary(), "start", "--host", "127.0.0.1", "--port", str(port)],
            cwd=self.folder.name,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        atexit.register(self.process.kill)
        late = threading.Timer(DEADLINE, self.process.kill)
        late.start()
        line = self.process.stdout.readline()
        late.cancel()
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
        if not found:
            self.process.kill()
            self.log.seek(0)
            raise RuntimeError(f"the server did not start: {line!r} {self.log.read()!r}")
        self.port = int(found[1])
        if "REVERB_SERVER_METRICS" in variables:
            self.metrics_port = int(re.search(r":(\d+)/metrics", self.process.stdout.readline())[1])
        # Later output is not read, and must not block the server.
        self.reader = threading.Thread(target=self.process.stdout.read, daemon=True)
        self.reader.start()

    def stop(self):
        """Stops the server cleanly."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        log = self.clean_up()
        if code != 0:
            raise RuntimeError(f"the server exited ({code}): {log!r}")

    def kill(self):
        """Kills the server with SIGKILL."""
        self.process.kill()
        self.process.wait()
        self.clean_up()

    def clean_up(self):
        """Removes the files of a stopped server; returns its log."""
        atexit.unregister(self.process.kill)
        self.reader.join()
        self.process.stdout.close()
        self.log.seek(0)
        log = self.log.read()
        self.log.close()
        self.folder.cleanup()
        return log

    def reload(self):
        """Runs `reverb reload`."""
        subprocess.run(
            [binary(), "reload", "--host", "127.0.0.1", "--port", str(self.port)],
            cwd=self.folder.name,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=DEADLINE,
            check=True,
        )

    def library(self, **options):
        """The official library, for this server's app."""
        settings = dict(app_id=APP_ID, key=KEY, secret=SECRET, ssl=False, host="127.0.0.1")
        return pusher.Pusher(**{**settings, "port": self.port, "timeout": DEADLINE, **options})


class Listener:
    """A Pysher client; `take` returns its channel events in order."""

    def __init__(self, server, user=None):
        self.received = queue.Queue()
        self.client = pysher.Pusher(
            KEY,
            secure=False,
            secret=SECRET,
            custom_host="127.0.0.1",
            port=server.port,
            user_data=user,
            # Pysher logs a traceback when an error from the server stops it.
            log_level=logging.CRITICAL,
        )
        connection = self.client.connection
        put = self.received.put
        connection.event_handler = lambda event, data, channel: put((event, data, channel))
        connected = threading.Event()
        connection.bind("pusher:connection_established", lambda _: connected.set())
        self.client.connect()
        if not connected.wait(DEADLINE):
            raise AssertionError(f"Pysher is not connected: {connection.state}")

    def subscribe(self, channel):
        self.client.subscribe(channel)
        self.take("pusher_internal:subscription_succeeded", channel)
        return self

    def take(self, event, channel):
        """The data of the next event, which must have this name and channel."""
        try:
            got, data, of = self.received.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"{event} on {channel} did not arrive") from None
        if (got, of) != (event, channel):
            raise AssertionError(f"expected {event} on {channel}, received {got} on {of}: {data}")
        return data

    def ended(self):
        """Waits until the server has closed the connection; Pysher does not reconnect."""
        self.client.connection.join(DEADLINE)
        if self.client.connection.is_alive():
            raise AssertionError("the connection is still open")

    def stay_away(self):
        self.client.connection.disconnect_called = True

    def close(self):
        # Pysher's own `disconnect` waits for seconds in a thread that does not notice the close.
        self.stay_away()
        connection = self.client.connection
        if connection.socket.sock and connection.socket.sock.sock:
            with contextlib.suppress(OSError):
                connection.socket.sock.sock.shutdown(socket.SHUT_RDWR)
        connection.join(DEADLINE)


class PusherHttpLibrary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.library = cls.server.library()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def listener(self, *channels, user=None):
        listener = Listener(self.server, user)
        self.addCleanup(listener.close)
        for channel in channels:
            listener.subscribe(channel)
        return listener

    def test_an_event_on_one_channel_is_answered_with_an_empty_object_and_received(self):
        listener = self.listener("orders")
        order = {"id": 7, "note": "naïve café 🚀 / \\ \" </script>"}
        self.assertEqual(self.library.trigger("orders", "App\\Events\\OrderShipped", order), {})
        data = listener.take("App\\Events\\OrderShipped", "orders")
        self.assertEqual(json.loads(data), order)

    def test_an_event_on_a_hundred_channels_is_received_on_each_of_them(self):
        names = [f"many-{n}" for n in range(100)]
        listener = self.listener(*names)
        self.library.trigger(names, "event", "a plain text")
        for name in names:
            self.assertEqual(listener.take("event", name), "a plain text")

    def test_a_batch_of_ten_events_is_received_completely_and_in_order(self):
        listener = self.listener("batch")
        batch = [{"channel": "batch", "name": "n", "data": {"n": n}} for n in range(10)]
        self.assertEqual(self.library.trigger_batch(batch), {})
        for n in range(10):
            self.assertEqual(json.loads(listener.take("n", "batch")), {"n": n})

    def test_two_hundred_events_are_received_in_order(self):
        listener = self.listener("ordered")
        for n in range(200):
            self.library.trigger("ordered", "n", str(n))
        for n in range(200):
            self.assertEqual(listener.take("n", "ordered"), str(n))

    def test_an_event_is_not_sent_to_the_connection_it_excludes(self):
        me, other = self.listener("chat"), self.listener("chat")
        mine = me.client.connection.socket_id
        self.library.trigger("chat", "message", "for others", socket_id=mine)
        self.library.trigger("chat", "message", "for all")
        self.assertEqual(me.take("message", "chat"), "for all")
        self.assertEqual(other.take("message", "chat"), "for others")
        self.assertEqual(other.take("message", "chat"), "for all")

    def test_private_and_presence_channels_accept_a_signed_subscription(self):
        listener = self.listener("private-room", "presence-room", user={"user_id": "7"})
        self.library.trigger(["private-room", "presence-room"], "event", "in")
        self.assertEqual(listener.take("event", "private-room"), "in")
        self.assertEqual(listener.take("event", "presence-room"), "in")

    def test_a_client_event_of_pysher_reaches_the_other_client(self):
        one, two = self.listener("private-chat"), self.listener("private-chat")
        one.client.channel("private-chat").trigger("client-typing", {"on": True})
        self.assertEqual(two.take("client-typing", "private-chat"), {"on": True})

    def test_channels_can_be_filtered_by_prefix_and_count_users(self):
        self.listener("presence-listed", "listed", user={"user_id": 1})
        self.listener("presence-listed", "listed", user={"user_id": 2})
        self.listener("presence-listed", "listed", user={"user_id": 2})
        found = self.library.channels_info("presence-lis", ["user_count"])
        self.assertEqual(found, {"channels": {"presence-listed": {"user_count": 2}}})
        self.assertEqual(self.library.channels_info()["channels"]["listed"], {})
        self.assertEqual(self.library.channels_info("nothing-begins-so-"), {"channels": {}})

    def test_a_single_channel_reports_whether_it_is_occupied(self):
        self.listener("presence-one", user={"user_id": 1})
        self.listener("one")
        self.assertEqual(
            self.library.channel_info("presence-one", ["user_count"]),
            {"occupied": True, "user_count": 1},
        )
        self.assertEqual(
            self.library.channel_info("one", ["subscription_count"]),
            {"occupied": True, "subscription_count": 1},
        )
        self.assertEqual(self.library.channel_info("none"), {"occupied": False})

    def test_a_presence_channel_lists_each_of_its_users_once(self):
        for user in ("ada", "grace", "grace"):
            self.listener("presence-users", user={"user_id": user})
        found = self.library.users_info("presence-users")
        self.assertEqual(found, {"users": [{"id": "ada"}, {"id": "grace"}]})

    def test_a_vacant_presence_channel_has_no_users_and_other_channels_are_rejected(self):
        self.assertEqual(self.library.users_info("presence-empty"), {"users": []})
        self.listener("public")
        with self.assertRaises(PusherBadRequest):
            self.library.users_info("public")

    def test_terminating_a_user_closes_its_connection(self):
        watcher = self.listener("presence-end", user={"user_id": "watcher"})
        banned = self.listener("presence-end", user={"user_id": "banned"})
        banned.stay_away()
        added = json.loads(watcher.take("pusher_internal:member_added", "presence-end"))
        self.assertEqual(added["user_id"], "banned")
        # The library's own method omits the app from the path.
        path = f"/apps/{APP_ID}/users/banned/terminate_connections"
        request = Request(self.library._pusher_client, POST, path, {})
        self.assertEqual(self.library._pusher_client.http.send_request(request), {})
        removed = json.loads(watcher.take("pusher_internal:member_removed", "presence-end"))
        self.assertEqual(removed["user_id"], "banned")
        banned.ended()

    def test_a_wrong_secret_raises_bad_auth(self):
        wrong = self.server.library(secret="not-the-secret")
        with self.assertRaisesRegex(PusherBadAuth, "(?i)signature"):
            wrong.trigger("orders", "event", {})
        with self.assertRaisesRegex(PusherBadAuth, "(?i)signature"):
            wrong.channels_info()

    def test_an_unknown_app_raises_404_with_its_id(self):
        with self.assertRaisesRegex(PusherBadStatus, "^404: .*9999"):
            self.server.library(app_id="9999").channels_info()

    def test_a_request_over_the_limit_raises_413_with_the_setting(self):
        server = Server(REVERB_MAX_REQUEST_SIZE="10000")
        self.addCleanup(server.stop)
        library = server.library()
        with self.assertRaisesRegex(PusherBadStatus, "(?i)^413: .*10000.*max_request_size"):
            library.trigger("orders", "event", "x" * 20_000)
        self.assertEqual(library.trigger("orders", "event", "x" * 8_000), {})

    def test_one_connection_is_kept_for_many_requests(self):
        library = self.server.library()
        session = library._pusher_client.http.session
        for n in range(300):
            library.trigger("kept", "n", str(n))
        pools = session.get_adapter("http://127.0.0.1").poolmanager.pools
        opened = [pools[key].num_connections for key in pools.keys()]
        self.assertEqual(opened, [1])

    def test_the_webhooks_of_the_server_are_accepted_and_parsed(self):
        requests_seen = queue.Queue()

        class Webhook(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                key = self.headers["X-Pusher-Key"]
                requests_seen.put((key, self.headers["X-Pusher-Signature"], body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        self.addCleanup(web.shutdown)
        url = f"http://127.0.0.1:{web.server_port}/hook"
        server = Server(
            REVERB_APP_WEBHOOK_URL=url, REVERB_APP_WEBHOOK_EVENTS="channel_occupied"
        )
        self.addCleanup(server.stop)
        listener = Listener(server)
        self.addCleanup(listener.close)
        listener.subscribe("news")
        request = requests_seen.get(timeout=DEADLINE)
        parsed = server.library().validate_webhook(*request)
        self.assertEqual(parsed["events"], [{"name": "channel_occupied", "channel": "news"}])
        self.assertIsNone(server.library(secret="another").validate_webhook(*request))

    def test_the_health_check_answers(self):
        answer = requests.get(f"http://127.0.0.1:{self.server.port}/up", timeout=DEADLINE)
        self.assertEqual((answer.status_code, answer.json()), (200, {"health": "OK"}))


def main(module):
    # Requests to loopback must not use a proxy.
    os.environ["NO_PROXY"] = "*"
    # A signal that ends this run must stop its servers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tests = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(tests)
    failed = len(result.failures) + len(result.errors) + len(result.skipped)
    print(f"{max(result.testsRun - failed, 0)} passed, {failed} failed")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main(sys.modules[__name__]))
