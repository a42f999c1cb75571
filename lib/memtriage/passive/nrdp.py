"""NRDP, Nagios' own receiver over HTTP: a form with a token and the results as JSON."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping

from memtriage.passive import Failed, Rejected, Result
from memtriage.passive.https import Connection

OUTPUT = 8192
"""What Nagios keeps of a result."""


class Nrdp:
    """One request a result. ``url`` is that of the receiver's folder, such as https://nagios.example/nrdp."""

    idle_s = 0.0

    def __init__(self, words: Mapping[str, str]) -> None:
        self.connection = Connection(words["url"], words.get("ca", ""))
        self.token = words["token"]
        self.host = words["host"]

    def ping(self) -> None:
        self.connection.open()

    def send(self, result: Result) -> None:
        """The first line of ``output`` is kept apart from the rest by ``\\n`` in JSON; its reply tells of refusal in its text only."""
        results = [{"checkresult": {"type": "service", "checktype": "1"}, "hostname": self.host, "servicename": result.service,
                    "state": str(result.state), "output": result.text(OUTPUT)}]
        form = urllib.parse.urlencode({"token": self.token, "cmd": "submitcheck", "json": json.dumps({"checkresults": results})})
        status, reply = self.connection.request("POST", "/", form.encode("ascii"), {"Content-Type": "application/x-www-form-urlencoded"})
        text = reply.decode("utf-8", "replace")
        if status != 200:
            raise Failed(f"NRDP answers {status}")
        if '"status": 0' in text.replace('":', '": ').replace("  ", " ") or "<status>0</status>" in text:
            return
        words = " ".join(text.split())[:120]
        if "TOKEN" in text.upper():
            raise Failed(f"NRDP refuses the token: {words}")
        raise Rejected(f"NRDP refuses '{self.host}!{result.service}': {words}")

    def close(self) -> None:
        self.connection.close()
