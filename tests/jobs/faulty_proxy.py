"""An HTTP proxy on loopback that adds what networks and object stores do on bad days."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Server(ThreadingHTTPServer):
    """A connection that finds the queue full would be asked for again a second later, as no object store does."""

    request_queue_size = 256


class FaultyProxy:
    """Passes requests on to `port`, `delay_s` late, after the faults that `plan` names for coming requests.

    `plan` is a list of names, used up one a request: `500`, `503`, `403` are answered at once; `reset` breaks the
    connection after half of the answer; `stall` falls silent there for `stall_s`; `ok` passes the request on.
    `verb` limits the plan to one kind of request. `seen` counts requests by verb, `at_once` is the most that were
    under way together.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.delay_s = 0.0
        self.stall_s = 20.0
        self.verb = ""
        self.plan: list[str] = []
        self.seen: Counter[str] = Counter()
        self.under_way = self.at_once = 0
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next_fault(self, verb: str) -> str:
        with self.lock:
            self.seen[verb] += 1
            return self.plan.pop(0) if self.plan and self.verb in {"", verb} else "ok"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            upstream: http.client.HTTPConnection | None = None

            def log_message(self, *_: object) -> None:
                pass

            def pass_on(self) -> None:
                body = self.body()
                with proxy.lock:
                    proxy.under_way += 1
                    proxy.at_once = max(proxy.at_once, proxy.under_way)
                try:
                    time.sleep(proxy.delay_s)
                    self.answer(proxy.next_fault(self.command), body)
                finally:
                    with proxy.lock:
                        proxy.under_way -= 1

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                pieces = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)

            def answer(self, fault: str, body: bytes) -> None:
                if fault.isdigit():
                    self.send_response(int(fault))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                response, data = self.ask(body)
                if fault == "alter":
                    fault, data = "ok", data[:-1] + bytes([data[-1] ^ 1])
                if fault != "ok" and not data:
                    self.break_off(fault)
                    return
                self.send_response_only(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                        self.send_header(name, value)
                length = response.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                if fault == "ok":
                    self.wfile.write(data)
                    return
                self.wfile.write(data[: len(data) // 2])
                self.break_off(fault)

            def break_off(self, fault: str) -> None:
                if fault == "stall":
                    time.sleep(proxy.stall_s)
                # A closed socket without lingering sends a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RD)

            def ask(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
                if self.upstream is None:
                    self.upstream = http.client.HTTPConnection("127.0.0.1", proxy.upstream)
                unwanted = {"expect", "connection", "transfer-encoding"}
                headers = {k: v for k, v in self.headers.items() if k.lower() not in unwanted}
                self.upstream.request(self.command, self.path, body, headers)
                response = self.upstream.getresponse()
                return response, response.read()

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on  # noqa: N815 - the names the server calls

        return Handler
