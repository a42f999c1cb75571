"""Icinga 2's API: one ``process-check-result`` a result. The user needs that one permission, see ``memtriage config icinga2 --passive``."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from memtriage.passive import Failed, Rejected, Result
from memtriage.passive.https import Connection

ACTION = "/v1/actions/process-check-result"


class Icinga2:
    """Results as an agent's own: text and perfdata apart, with the times at which the check ran.

    Icinga drops a result that began before the newest it has: results go out in the order in which they were made. 2.13.6 says yes to it
    all the same, others 409. What is said of one service (a code within ``results``, whatever the status) is no reason to hold up the rest.
    """

    idle_s = 5.0
    """Its API closes a connection on which nothing was asked for ten seconds."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self.connection = Connection(words["url"], words.get("ca", ""))
        self.host = words["host"]
        secret = base64.b64encode(f"{words['user']}:{words['password']}".encode()).decode("ascii")
        self.headers = {"Accept": "application/json", "Content-Type": "application/json", "Authorization": "Basic " + secret}

    def ping(self) -> None:
        status, _ = self.connection.request("GET", "/v1", b"", self.headers)
        if status == 401:
            raise Failed("Icinga 2 refuses the user or password")

    def send(self, result: Result) -> None:
        body = json.dumps({
            "service": f"{self.host}!{result.service}", "exit_status": result.state, "plugin_output": "\n".join(result.lines),
            "performance_data": result.perfdata, "check_source": self.host, "execution_start": result.began, "execution_end": result.ended,
        }).encode("ascii")
        status, reply = self.connection.request("POST", ACTION, body, self.headers)
        words = _said(reply)
        if status == 200 and not words.startswith("Ignoring "):  # a dependency that stops checks stops results as well, with a 200
            return
        code = _code(reply)
        if code == 409:
            raise Rejected(f"Icinga 2 has a newer result of '{self.host}!{result.service}' than this host's: do both have the same time?")
        if code == 403 or status == 200:
            raise Rejected(f"Icinga 2 takes no result of '{self.host}!{result.service}': {words}")
        if status in (400, 404, 422):
            raise Rejected(f"Icinga 2 knows no service '{self.host}!{result.service}' that this user may report for ({status} {words})")
        raise Failed(f"Icinga 2 answers {status} {words}")

    def close(self) -> None:
        self.connection.close()

    def abort(self) -> None:
        self.connection.abort()


def _said(reply: bytes) -> str:
    try:
        found = json.loads(reply)
        return " ".join(str(found.get("status") or found["results"][0]["status"]).split())[:120]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""


def _code(reply: bytes) -> object:
    """What the action came to for the service, where it came so far."""
    try:
        return json.loads(reply)["results"][0]["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
