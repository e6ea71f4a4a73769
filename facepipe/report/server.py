"""The pages of `facepipe review` on this machine's own address. Crops are sent as they are stored."""

from __future__ import annotations

import os
import secrets
import socketserver
import sys
import threading
import time
import webbrowser
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from facepipe.errors import InputError, Interrupted, MissingExtra, OutputError
from facepipe.execution.progress import say
from facepipe.report.rendering import load_templates, read_asset
from facepipe.report.review import SHOWS, Review

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "127.0.0.1"
PEOPLE_SHOWN, FACES_SHOWN, OTHERS_SHOWN = 24, 240, 4
FACE_SORTS = ("yaw", "angle", "pitch", "similarity", "sharpness", "size", "score")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_LOOK_S = 0.5
_KINDS = {b"\x89PNG": "image/png", b"RIFF": "image/webp"}


class Pages:
    """What each address answers; `base` is what all of them begin with."""

    def __init__(self, review: Review, base: str, bottle: Any) -> None:
        self._review, self._bottle = review, bottle
        facts = {"base": base, "review": review, "shows": SHOWS, "style": ""}
        self._render = load_templates(lambda at: f"{base}crop/{at[0]}/{at[1]}", **facts)

    def show_people(self) -> str:
        """Everybody asked for, a page of them."""
        review, query = self._review, self._query()
        with review.lock:
            order = review.order(query, anew=True)
            page = self._page(PEOPLE_SHOWN, len(order))
            shown = order[page["start"] : page["start"] + PEOPLE_SHOWN].tolist()
            people = [review.people.person(number, OTHERS_SHOWN) for number in shown]
            return self._render("people.html.j2", query=query, people=people, page=page, link=_link(query))

    def show_person(self, number: int) -> str:
        """A person's faces, and what was done to them last."""
        review, query, people = self._review, self._query(), self._review.people
        with review.lock:
            if number >= len(people.names):
                raise self._bottle.HTTPError(404, "There is no such person.")
            sorts = [name for name in FACE_SORTS if name in people.numbers]
            by = self._given("by") if self._given("by") in sorts else "yaw"
            rows = people.sort(people.rows(number), by)
            page = self._page(FACES_SHOWN, len(rows))
            facts: dict[str, Any] = {"by": by, "sorts": sorts, "page": page, "told": review.told, "keys": review.keys}
            review.told, review.keys = "", []
            facts["faces"] = [people.face(row) for row in rows[page["start"] : page["start"] + FACES_SHOWN].tolist()]
            facts["can_keep"] = any(row in people.left_out for row in rows.tolist())
            facts |= _neighbours(review.order(query).tolist(), number)
            person = people.person(number)
            return self._render("person.html.j2", query=query, person=person, link=_link({**query, "by": by}), **facts)

    def correct(self, number: int) -> Any:
        """Does what a form asks for, then shows the person again."""
        if self._review.read_only:
            raise self._bottle.HTTPError(403, "Nothing can be corrected here: this is --read-only.")
        form = self._bottle.request.forms.decode()
        try:
            name = form.get("identity", "").strip()
            self._review.act(number, form.getall("key"), form.get("action", ""), name)
        except OutputError as error:
            raise self._bottle.HTTPError(409, str(error)) from None
        self._bottle.redirect(f"{number}?{self._bottle.request.query_string}", 303)

    def show_crop(self, part: int, row: int) -> bytes:
        """A stored crop."""
        try:
            crop = self._review.people.crops.read(part, row)
        except InputError as error:
            raise self._bottle.HTTPError(404, str(error)) from None
        if not crop:
            raise self._bottle.HTTPError(404, "There is no crop.")
        self._bottle.response.content_type = _KINDS.get(crop[:4], "image/jpeg")
        self._bottle.response.set_header("Cache-Control", "private, max-age=86400, immutable")
        return crop

    def show_asset(self, name: str) -> str:
        """The style sheet or the script."""
        self._bottle.response.content_type = "text/css" if name.endswith("css") else "text/javascript"
        return read_asset(name)

    def show_error(self, error: Any) -> str:
        """What went wrong."""
        return self._render("message.html.j2", title=error.status_line, told=str(error.body))

    def _given(self, name: str) -> str:
        return str(self._bottle.request.query.getunicode(name) or "").strip()

    def _query(self) -> dict[str, str]:
        sort, show = self._given("sort"), self._given("show")
        sort, show = sort if sort in self._review.sorts else "doubt", show if show in SHOWS else "all"
        return {"sort": sort, "show": show, "q": self._given("q")}

    def _page(self, step: int, total: int) -> dict[str, int]:
        text = self._given("from")
        start = int(text) if text.isdecimal() and len(text) < 12 else 0
        return {"start": min(start, max(total - 1, 0)) // step * step, "step": step, "total": total}


def _neighbours(order: list[int], number: int) -> dict[str, Any]:
    """Who comes before and after a person, and where in the order that is."""
    if number not in order:
        return {"before": None, "after": None, "position": ""}
    at = order.index(number)
    after = order[at + 1] if at + 1 < len(order) else None
    return {"before": order[at - 1] if at else None, "after": after, "position": f"{at + 1:,} of {len(order):,}"}


def _link(query: Mapping[str, str]) -> Any:
    """A function that gives the query with some values changed."""
    return lambda **changed: urlencode({name: value for name, value in {**query, **changed}.items() if value != ""})


def make_app(review: Review, token: str, hosts: set[str]) -> Any:
    """The WSGI application. Every address begins with `/TOKEN/`; `hosts` are the names it is called by.

    Raises:
        MissingExtra: Bottle or Jinja2 is not installed.
    """
    try:
        import bottle
    except ImportError:
        raise MissingExtra("review needs Bottle; install it with: pip install 'facepipe[report]'") from None
    app, base = bottle.Bottle(), f"/{token}/"
    pages = Pages(review, base, bottle)
    bottle.BaseRequest.MEMFILE_MAX = 2**22  # of a form with some hundred keys

    def refuse_others() -> None:
        request = bottle.request
        origin, given = request.get_header("Origin"), request.path.split("/")[1].encode("utf-8", "replace")
        is_ours = request.get_header("Host") in hosts and secrets.compare_digest(given, token.encode())
        from_us = origin is None if request.method == "GET" else False
        if not is_ours or not (from_us or (origin or "").removeprefix("http://") in hosts):
            raise bottle.HTTPResponse("This address is not for you: take the one that facepipe review printed.\n", 403)

    def add_headers() -> None:
        for name, value in _HEADERS.items():
            bottle.response.set_header(name, value)
        bottle.response.headers.setdefault("Cache-Control", "no-store")

    app.add_hook("before_request", refuse_others)
    app.add_hook("after_request", add_headers)
    app.get(base, callback=pages.show_people)
    app.get(base + "person/<number:int>", callback=pages.show_person)
    app.post(base + "person/<number:int>", callback=pages.correct)
    app.get(base + "crop/<part:int>/<row:int>", callback=pages.show_crop)
    app.get(base + r"<name:re:style\.css|review\.js>", callback=pages.show_asset)
    app.error_handler.update(dict.fromkeys((400, 403, 404, 405, 409, 413, 500), pages.show_error))
    return app


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, _request: Any, _address: Any) -> None:
        """Says nothing: a browser has left before it had its answer."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_arguments: Any) -> None:
        """Says nothing: names of people would stand in it."""


def serve(data: str, output: str, port: int, *, read_only: bool, open_browser: bool) -> None:
    """Serves the pages on this machine's own address until it is interrupted.

    Raises:
        InputError: there are no faces.
        OutputError: the port is taken.
    """
    review, token, hosts = Review(data, output, read_only=read_only), secrets.token_urlsafe(16), set[str]()
    app = make_app(review, token, hosts)
    try:
        server = _Server((HOST, port), _Quiet)
    except OSError as error:
        raise OutputError(f"port {port} can't be used ({error.strerror}); give another --port, or none") from None
    with server:
        server.set_app(app)
        hosts |= {f"{name}:{server.server_port}" for name in (HOST, "localhost")}
        address = f"http://{HOST}:{server.server_port}/{token}/"
        say(f"review: {address} (Ctrl-C ends it)", event="review", address=address)
        if open_browser:
            webbrowser.open(address)
        # In a thread of its own: a signal's exception, which this one gets, would be taken for a request's.
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            while True:  # not for ever at once: a signal that another thread gets would wake nobody
                time.sleep(_LOOK_S)
        except Interrupted:
            # No correction is left half done; answers under way need not be waited for.
            review.lock.acquire(timeout=10)
            many = len(review.corrections.now)
            say(f"review: {many:,} corrections in {output}; `facepipe run` again as before follows them")
            sys.stdout.flush()
            os._exit(0)
