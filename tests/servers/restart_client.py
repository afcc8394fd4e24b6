"""`restart_peer.py send`: sends one file as draft-harding-as2-restart-06 has it, over connections that are cut where it is told."""

import http.client
import json
import pathlib
import secrets
import shutil
import socket
import struct
import sys
import tempfile
import time
import urllib.parse
from email import message_from_bytes

from restart_messages import CHUNK, Message, digest_of

PAUSE = 0.2  # seconds before the next try


class Cut(Exception):
    """We cut the connection ourselves."""


def reset(connection):
    """Ends a connection as a broken line does: at once, without a word."""
    sock = connection.sock
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Client:
    def __init__(self, options, message):
        self.options, self.message = options, message
        self.url = urllib.parse.urlsplit(options.to_url)
        self.etag = options.etag or f'"{secrets.token_hex(16)}"'
        self.names = [("AS2-From", options.as2_from), ("AS2-To", options.to), ("AS2-Version", "1.2")]
        self.cuts = sorted(int(at) for at in options.cuts.split(",") if at)
        self.heads, self.posts = [], []

    def connect(self):
        make = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        return make(self.url.hostname, self.url.port, timeout=self.options.timeout)

    def held(self):
        """How many bytes the server says it has; 0 when it says nothing useful (section 3.2)."""
        names = self.names
        if self.options.swap_head:  # as the draft's own example has it
            names = [("AS2-To", self.options.as2_from), ("AS2-From", self.options.to), ("AS2-Version", "1.2")]
        connection = self.connect()
        try:
            connection.putrequest("HEAD", self.url.path or "/", skip_accept_encoding=True)
            for name, value in [("ETag", self.etag), *names, ("Connection", "close")]:
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            length = int(answer.getheader("Content-Length") or 0)
            self.heads.append({"http_status": answer.status, "length": length})
            return length if answer.status == 200 else 0
        finally:
            connection.close()

    def start(self, held):
        """Where to go on from; a server that has more than there is has something else under this ETag."""
        if held > self.message.total:
            self.etag = f'"{secrets.token_hex(16)}"'
            return 0
        return self.message.total - 1 if held == self.message.total else held

    def post(self, start):
        """One POST from this byte on: (status, header fields, body)."""
        total, options = self.message.total, self.options
        post = {"start": start, "etag": self.etag, "sent": 0, "http_status": None, "cut": False}
        self.posts.append(post)
        connection = self.connect()
        try:
            connection.putrequest("POST", self.url.path or "/", skip_accept_encoding=True)
            headers = [*self.names, *self.message.headers, ("ETag", self.etag)]
            if start > 0 or options.range_first:
                headers.append(("Content-Range", options.wrong_range or f"bytes {start}-{total - 1}/{total}"))
                options.wrong_range = None
            headers.append(("Transfer-Encoding", "chunked") if options.chunked else ("Content-Length", str(total - start)))
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            try:
                self.send_body(connection, start, post)
            except (BrokenPipeError, ConnectionResetError) as error:
                post["error"] = f"{type(error).__name__}: {error}"  # perhaps there is an answer all the same
            answer = connection.getresponse()
            body = answer.read()
            post["http_status"] = answer.status
            return answer.status, answer.getheaders(), body
        finally:
            connection.close()

    def send_body(self, connection, start, post):
        with open(self.message.body, "rb") as source:
            source.seek(start)
            at = start
            while at < self.message.total:
                cut = self.cuts[0] if self.cuts else None
                if cut is not None and at >= cut:
                    self.cuts.pop(0)
                    post["cut"] = True
                    reset(connection)
                    raise Cut()
                chunk = source.read(min(CHUNK, (cut if cut is not None else self.message.total) - at))
                if self.options.wrong_byte is not None and at <= self.options.wrong_byte < at + len(chunk) and start > 0:
                    index = self.options.wrong_byte - at
                    chunk = chunk[:index] + bytes([chunk[index] ^ 1]) + chunk[index + 1:]
                connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk) if self.options.chunked else chunk)
                at += len(chunk)
                post["sent"] += len(chunk)
        if self.options.chunked:
            connection.send(b"0\r\n\r\n")

    def run(self):
        """Goes on until there is an answer that is final: (status, header fields, body)."""
        until = time.monotonic() + self.options.patience
        first, start = True, 0
        while True:
            try:
                if self.options.head == "always" or (self.options.head == "on_restart" and not first):
                    start = self.start(self.held())
                first = False
                status, headers, body = self.post(start)
                if status == 416:  # `bytes */N`: the server has N bytes
                    start = int(dict((n.lower(), v) for n, v in headers)["content-range"].rpartition("/")[2])
                    continue
                if status not in (502, 503, 504):
                    return status, headers, body
            except Cut:
                pass
            except (OSError, http.client.HTTPException) as error:
                if self.posts:
                    self.posts[-1]["error"] = f"{type(error).__name__}: {error}"
            if time.monotonic() > until:
                raise TimeoutError(f"no final answer within {self.options.patience} s")
            if self.options.head == "never":
                start = 0
            time.sleep(PAUSE)


def send(options):
    work = pathlib.Path(tempfile.mkdtemp(prefix="restart-peer-"))
    try:
        message = Message(options, work)
        client = Client(options, message)
        result = {"message_id": message.message_id, "total": message.total, "body_sha256": digest_of(message.body).hexdigest(),
                  "sha256": digest_of(options.file).hexdigest(), "mic": message.mic, "http_status": None, "disposition": None,
                  "mic_matched": None, "error": None}
        try:
            status, headers, body = client.run()
            result["http_status"] = status
            check(result, headers, body)
        except (OSError, KeyError, ValueError) as error:
            result["error"] = f"{type(error).__name__}: {error}"
        result.update(etag=client.etag, heads=client.heads, posts=client.posts, sent=sum(post["sent"] for post in client.posts))
        print(json.dumps(result))
        well = 200 <= (result["http_status"] or 0) < 300 and (
            options.mdn == "none" or ((result["disposition"] or "").endswith("; processed") and result["mic_matched"]))
        sys.exit(0 if well else 1)
    finally:
        shutil.rmtree(work)


def check(result, headers, body):
    whole = message_from_bytes(b"".join(f"{n}: {v}\r\n".encode("latin-1") for n, v in headers) + b"\r\n" + body)
    for part in whole.walk():
        if part.get_content_type() == "message/disposition-notification":
            fields = part.get_payload()
            fields = fields[-1] if isinstance(fields, list) else message_from_bytes(fields.encode())
            result["disposition"] = fields["Disposition"]
            mic = (fields["Received-Content-MIC"] or "").split(",")[0].strip()
            result["mic_matched"] = mic == result["mic"]


def add_arguments(at):
    at.add_argument("--to-url", required=True)
    at.add_argument("--from", dest="as2_from", required=True)
    at.add_argument("--to", required=True)
    at.add_argument("--key", required=True)
    at.add_argument("--cert", required=True)
    at.add_argument("--partner-cert", required=True)
    at.add_argument("--file", required=True)
    at.add_argument("--file-name")
    at.add_argument("--message-id")
    at.add_argument("--digest", default="sha256")
    at.add_argument("--no-encrypt", action="store_true")
    at.add_argument("--mdn", default="sync-signed", choices=("sync-signed", "none"))
    at.add_argument("--etag", help="with its quotes; made when not given")
    at.add_argument("--head", default="on_restart", choices=("always", "on_restart", "never"))
    at.add_argument("--swap-head", action="store_true", help="AS2-From and AS2-To of the HEAD the wrong way round, as in the draft's example")
    at.add_argument("--no-range-first", dest="range_first", action="store_false", help="no Content-Range where all bytes are sent")
    at.add_argument("--chunked", action="store_true")
    at.add_argument("--cuts", default="", metavar="OFFSET,...", help="bytes of the body at which the connection is reset, each once")
    at.add_argument("--wrong-range", help="a Content-Range for the first POST that has one")
    at.add_argument("--wrong-byte", type=int, metavar="OFFSET", help="this byte is another when a later POST sends it")
    at.add_argument("--timeout", type=float, default=60, help="seconds for an answer")
    at.add_argument("--patience", type=float, default=120, help="seconds for all")
    at.set_defaults(run=send)
