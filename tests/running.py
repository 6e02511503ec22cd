"""A daemon as a process, as Jeedom starts it: the launcher, its log, its socket."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LAUNCHER = ROOT / "resources" / "evcharger"
KEY = "k3y-of-the-tests-0123456789abcdef0123456789abcdef"
DEADLINE_S = 20.0


def evcharger(
    *arguments: str, timeout: float = 60.0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One call of the command line, to its end."""
    command = [str(LAUNCHER), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})})


class RunningDaemon:
    """`evcharger run` in a folder of its own. Its log is kept line by line; `stop` ends it as Jeedom would."""

    def __init__(self, folder: Path, callback: str, chargers: Sequence[Mapping[str, Any]], **options: str) -> None:
        self.folder = folder
        self.log: list[str] = []
        self.pid_file = folder / "deamon.pid"
        self.config_file = folder / "config.json"
        self.config_file.write_text(json.dumps({"chargers": list(chargers), "language": "fr_FR"}))
        arguments = {
            "config": str(self.config_file),
            "socketport": "0",
            "callback": callback,
            "pid": str(self.pid_file),
            "loglevel": "debug",
            "cycle": "0.05",
            "memory": str(folder / "memory"),
        } | options
        command = [str(LAUNCHER), "run"]
        for name, value in arguments.items():
            command += [f"--{name}", value]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "EVCHARGER_APIKEY": KEY}
        )
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self.socket_port = 0

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.log.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def __enter__(self) -> RunningDaemon:
        try:
            found = self.wait_for_log(r"socket 127\.0\.0\.1:(\d+)")
        except BaseException:
            self.__exit__()
            raise
        self.socket_port = int(found.group(1))
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        self._reader.join(DEADLINE_S)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def wait_for_log(self, pattern: str) -> re.Match[str]:
        """The first log line that fits, also one that came before."""

        def found() -> re.Match[str] | None:
            return next((match for line in self.log if (match := re.search(pattern, line))), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self.process.poll() is not None, DEADLINE_S)
        match = found()
        assert match is not None, f"no log line {pattern!r}:\n" + "\n".join(self.log)
        return match

    def say(self, action: str, **message: Any) -> dict[str, Any]:
        """One message on the socket, and its answer."""
        return self.say_raw(json.dumps({"apikey": KEY, "action": action, **message}).encode() + b"\n")

    def say_raw(self, data: bytes) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", self.socket_port), DEADLINE_S) as connection:
            connection.settimeout(DEADLINE_S)
            connection.sendall(data)
            answer = b""
            while not answer.endswith(b"\n") and (piece := connection.recv(65536)):
                answer += piece
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def stop(self) -> tuple[int, float]:
        """SIGTERM; exit code and seconds."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE_S)
        return code, time.monotonic() - began
