"""The figures of the real server, read by Prometheus' own parser for Python.

Run it as test_pusher_http.py, whose server class it uses.
"""

import sys
import unittest

import requests
from prometheus_client.parser import text_string_to_metric_families
from test_pusher_http import APP_ID, DEADLINE, Server, main


class Figures(unittest.TestCase):
    def setUp(self):
        self.server = Server(REVERB_SERVER_METRICS="127.0.0.1:0")
        self.addCleanup(self.server.process.kill)

    def test_the_parser_understands_every_line(self):
        library = self.server.library()
        library.trigger("orders", "event", {"n": 1})
        answer = requests.get(f"http://127.0.0.1:{self.server.metrics_port}/metrics", timeout=DEADLINE)
        self.assertEqual(answer.status_code, 200)
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        samples = [sample for family in families.values() for sample in family.samples]
        lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
        self.assertEqual(len(samples), len(lines))
        for family in families.values():
            self.assertIn(family.type, ("counter", "gauge", "histogram"), family.name)
            self.assertTrue(family.documentation.endswith("."), family.name)
        published = families["reverb_api_events"].samples
        self.assertEqual([(s.labels, s.value) for s in published], [({"app": APP_ID}, 1.0)])
        # Bounds increase, counts never decrease, and the last bucket has the total count.
        turns = families["reverb_loop_turn_seconds"].samples
        buckets = [s for s in turns if s.name.endswith("_bucket")]
        bounds = [float(s.labels["le"]) for s in buckets]
        counts = [s.value for s in buckets]
        self.assertEqual((bounds, counts), (sorted(bounds), sorted(counts)))
        self.assertEqual(counts[-1], next(s.value for s in turns if s.name.endswith("_count")))


if __name__ == "__main__":
    sys.exit(main(sys.modules[__name__]))
