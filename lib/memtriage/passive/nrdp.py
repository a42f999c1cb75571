"""NRDP, Nagios' own receiver over HTTP: a form with a token and the results as JSON."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping

from memtriage.passive import Failed, Rejected, Result
from memtriage.passive.https import Connection

OUTPUT = 8192
"""What Nagios keeps of a result."""
_NEVER = ("NO DATA", "BAD JSON", "BAD XML")
"""What is the result's own fault; all else it says is the receiver's state, such as a spool that is not there, and may be over soon."""


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
        code, said = _verdict(text)
        if code == 0:
            return
        words = said or " ".join(text.split())[:120]
        if "TOKEN" in said:
            raise Failed(f"NRDP refuses the token: {words}")
        if said in _NEVER:
            raise Rejected(f"NRDP refuses '{self.host}!{result.service}': {words}")
        raise Failed(f"NRDP does not take results: {words}")

    def close(self) -> None:
        self.connection.close()

    def abort(self) -> None:
        self.connection.abort()


def _verdict(text: str) -> tuple[int | None, str]:
    """Status and message of a reply; none where it is not NRDP's. Receivers before 1.5 answer in XML, whatever was asked."""
    try:
        found = json.loads(text)["result"]
        return int(found["status"]), str(found.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        status = re.search(r"<status>\s*(-?\d{1,9})\s*</status>", text)
        message = re.search(r"<message>([^<]{0,200})</message>", text)
        return int(status[1]) if status else None, message[1] if message else ""
