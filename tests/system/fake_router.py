# SPDX-License-Identifier: BSD-3-Clause
"""A router that only talks: it answers {"show": "metrics"} of as many NICs as wanted, with traffic
by a formula of the time, or falls silent."""

import contextlib
import json
import math
import os
import socket
import threading
import time

CLASSES = ("hello", "local", "neighbor", "glean", "exception", "kernel", "link", "sample")
KERNEL = ("changes_waiting", "drift_kernel", "drift_router", "drift_nics", "audit_repairs",
          "overruns", "commits_failed", "rules", "messages")


# As much of an answer as `p2pnic top` wants.
TEMPLATE = {"version": "0", "router": {"pid": 1, "configuration": "/etc/p2pnic/edge.yaml",
                                       "routes4": 1000000, "routes6": 200000},
            "nic": [{"state": "forwarding", "forwarding": True, "link": True}],
            "counter": [{"missed": 0, "held": 0}]}


class FakeRouter:
    def __init__(self, runtime, nics, template=None):
        """template: a real answer, whose counters are filled in."""
        template = template or TEMPLATE
        self.names = [f"nic{k}" for k in range(1, nics + 1)]
        self.template, self.silent, self.frozen = template, False, None
        self.asked = 0
        self.begun = time.monotonic()
        self.down = set()
        os.makedirs(runtime, mode=0o700, exist_ok=True)
        self.path = f"{runtime}/api.sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        held = []
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            if self.silent:
                held.append(client)
                continue
            with client:
                try:
                    client.recv(4096)
                    self.asked += 1
                    client.sendall(json.dumps({"metrics": self.answer()}).encode())
                except OSError:
                    pass

    def _packets(self, i, e, t):
        """Packets from NIC i to NIC e in t seconds: a rate with waves, so that curves move."""
        if i == e or (i * 7 + e * 3) % 5 == 0:
            return 0
        base = 40000 * (1 + (i * 13 + e * 29) % 17) / (1 + abs(i - e))
        return int(base * (t + 2 * math.sin(t / 5 + i) + 2))

    def answer(self):
        t = self.frozen if self.frozen is not None else time.monotonic() - self.begun + 60
        answer = json.loads(json.dumps(self.template))
        answer["time"] = 1000 + t
        answer.setdefault("kernel", {**dict.fromkeys(KERNEL, 0), "lag_last_us": 6712,
                                     "lag_most_us": 41230, "audits": int(t / 300)})
        n, zero = range(len(self.names)), {"packets": 0, "bytes": 0}
        flow = {(i, e): {"packets": (p := self._packets(i, e, t)),
                         "bytes": p * (90 + 200 * (e % 5))} for i in n for e in n}
        answer["ring"] = [{"ingress": self.names[i], "egress": self.names[e], **f, "taken": f}
                          for (i, e), f in flow.items()]

        def total(keys):
            return {k: sum(flow[key][k] for key in keys) for k in zero}
        state, counter = answer["nic"][0], answer["counter"][0]
        answer["nic"] = [{**state, "name": name, "engine": name, "restarts": int(k == 3),
                          **({"forwarding": False, "link": False, "state": "down"}
                             if name in self.down else {})}
                         for k, name in enumerate(self.names)]
        answer["counter"] = [
            {**counter, "nic": name, "received": total([(k, e) for e in n]),
             "to_rings": total([(k, e) for e in n]), "sent": total([(i, k) for i in n]),
             "dropped": {"ttl": int(20 * t), "no-route": int(300 * t * (k % 3 + 1)),
                         **({"ring-full": 17 * k} if k else {})}}
            for k, name in enumerate(self.names)]
        answer["engine"] = [{"engine": name, "process": name, "cpu_seconds": 0.1 * (1 + k % 9) * t}
                            for k, name in enumerate(self.names)]
        answer["punt"] = [
            {"nic": name, "class": c, "passed": int((8 - k) * 11 * t), "delivered": int(k * t),
             "policed": int(t * 40) if c == "exception" else 0, "refused": 0}
            for name in self.names for k, c in enumerate(CLASSES[:7])]
        return answer

    def close(self):
        self.listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
