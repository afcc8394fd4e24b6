"""An AS2 partner that speaks AS2 restart (draft-harding-as2-restart-06): receives (`serve`) and sends (`send`, in restart_client.py).

Written from the draft alone. What it has of a message is in files, and outlives it: it can be killed and restarted at any byte.
"""

import argparse
import hashlib
import http.client
import json
import pathlib
import re
import socket
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import restart_client
from as2_receipts import Receipts
from restart_messages import CHUNK, Received, dict_of, digest_of, make_mdn

PATIENCE = 5  # seconds for a sender to hear that it was refused

# What the peer can be told to do, with what it does when not told. See README.md.
BEHAVIOUR = {
    "head": "right",  # right · unsupported: 405 · zero · a number: that many bytes
    "cut_at": [],  # bytes of the body at which a POST's connection is closed, each once
    "drop_answer": 0,  # so many complete messages are processed, but not answered
    "status": 200,  # another: that status for every POST, nothing read
    "from_size": 0,  # smaller messages, and those of unknown size, are not kept when they are cut
    "disposition": "processed",
}


def strong(etag):
    """A transfer id is an entity tag without the weak indicator (section 3.1)."""
    return etag is not None and re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]*"', etag) is not None


class Peer:
    def __init__(self, options):
        self.options = options
        self.dir = pathlib.Path(options.dir)
        for name in ("partial", "inbox", "answers"):
            (self.dir / name).mkdir(exist_ok=True)
        self.lock = threading.Lock()
        self.places = {}  # key → lock: one POST at a time writes a partial message
        self.partner_cert = options.partner_cert
        self.gpg_home = None  # where gpg has the keys of both sides, for messages by PGP/MIME
        self.behaviour = dict(BEHAVIOUR)
        self.receipts = Receipts(self.dir / "mdns.jsonl")
        self.tell(json.loads(options.behaviour))

    def tell(self, told):
        unknown = set(told) - set(BEHAVIOUR) - {"partner_cert", "gpg_home", "reset", "forget"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        with self.lock:
            if told.pop("reset", False):
                self.behaviour = dict(BEHAVIOUR)
            if told.pop("forget", False):  # as ageing does (section 4)
                for path in (self.dir / "partial").iterdir():
                    path.unlink()
            self.partner_cert = told.pop("partner_cert", self.partner_cert)
            self.gpg_home = told.pop("gpg_home", self.gpg_home)
            self.behaviour.update(told)

    def state(self):
        with self.lock:
            return {**self.behaviour, "partner_cert": self.partner_cert,
                    "partial": sum(path.stat().st_size for path in (self.dir / "partial").glob("*.body"))}

    def record(self, **line):
        with self.lock, open(self.dir / "received.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps({"at": time.time(), **line}) + "\n")

    def key(self, fields):
        """Of a partial message: its transfer id and both parties, whichever of them is named as what."""
        parties = sorted((fields.get("as2-from", ""), fields.get("as2-to", "")))
        return hashlib.sha256("\0".join([fields["etag"], *parties]).encode("latin-1")).hexdigest()

    def partial(self, key):
        return self.dir / "partial" / f"{key}.body"

    def held(self, key):
        path = self.partial(key)
        return path.stat().st_size if path.exists() else 0

    def place(self, key):
        with self.lock:
            return self.places.setdefault(key, threading.Lock())

    def next_cut(self, at):
        """The next byte at which a connection is to be closed, if it is behind this one."""
        with self.lock:
            cuts = [cut for cut in self.behaviour["cut_at"] if cut >= at]
            return min(cuts) if cuts else None

    def was_cut(self, cut):
        with self.lock:
            self.behaviour["cut_at"] = [other for other in self.behaviour["cut_at"] if other != cut]

    def complete(self, fields, headers, path, length):
        """Reads a whole message and gives its answer, the stored one if it was answered before: (header fields, body)."""
        answer = self.dir / "answers" / hashlib.sha256(fields.get("message-id", "").encode("latin-1")).hexdigest()
        if answer.exists():
            stored = json.loads(answer.read_text())
            return [tuple(pair) for pair in stored["headers"]], stored["body"].encode("latin-1")
        work = self.dir / "work" / answer.name[:16]
        line = {"kind": "message", "message_id": fields.get("message-id"), "length": length, "raw_sha256": digest_of(path).hexdigest(),
                "error": None}
        mic = None
        with self.lock:
            disposition = self.behaviour["disposition"]
        try:
            message = Received(headers, path, work, self.options, self.partner_cert, self.gpg_home)
            stored = self.dir / "inbox" / answer.name[:16]
            message.payload.rename(stored) if message.payload != path else stored.write_bytes(path.read_bytes())
            mic = message.mic if disposition == "processed" else None
            line.update(signed=message.signed, encrypted=message.encrypted, compressed=message.compressed, file_name=message.file_name,
                        sha256=digest_of(stored).hexdigest(), payload=str(stored), payload_length=stored.stat().st_size)
        except (ValueError, OSError) as error:
            line["error"], disposition = str(error), "processed/error: unexpected-processing-error"
        line["disposition"] = disposition
        headers, body = [], b""
        if "disposition-notification-to" in fields:
            work.mkdir(parents=True, exist_ok=True)
            headers, body = make_mdn(fields, disposition, mic, work, self.options)
        if line["error"] is None:
            answer.write_text(json.dumps({"headers": headers, "body": body.decode("latin-1")}))
        self.record(**line)
        return headers, body


class Unsatisfiable(Exception):
    """A Content-Range that is not valid for what we hold."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    peer: Peer

    def answer(self, status, headers=(), body=b"", length=None):
        self.send_response(status, http.client.responses.get(status, "Told"))
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def refuse(self, status, headers=()):
        """Answers before the body was read, so that the sender hears it while it still sends."""
        self.close_connection = True
        self.answer(status, [*headers, ("Connection", "close")])
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(PATIENCE)
        try:
            while self.rfile.read1(CHUNK):
                pass
        except OSError:
            pass  # the sender has gone

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        fields = dict_of(self.headers.items())
        told = self.peer.state()["head"]
        missing = [name for name in ("etag", "as2-from", "as2-to") if name not in fields]
        status = 405 if told == "unsupported" else 400 if missing or not strong(fields.get("etag")) else 200
        length = 0
        if status == 200:
            length = {"right": self.peer.held(self.peer.key(fields)), "zero": 0}.get(told, told)
        self.peer.record(kind="head", etag=fields.get("etag"), version=fields.get("as2-version"), http_status=status, length=length,
                         **{"from": fields.get("as2-from"), "to": fields.get("as2-to")})
        self.answer(status, length=length)

    def do_GET(self):
        self.answer(200 if self.path == "/control" else 404, body=json.dumps(self.peer.state()).encode() + b"\n")

    def do_POST(self):
        if self.path == "/control":
            try:
                self.peer.tell(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0)))))
                self.answer(200, body=json.dumps(self.peer.state()).encode() + b"\n")
            except (ValueError, AttributeError) as error:
                self.answer(400, body=str(error).encode())
            return
        fields = dict_of(self.headers.items())
        told = self.peer.state()
        if told["status"] != 200:
            self.refuse(told["status"])
            return
        try:
            self.message(fields, told)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:  # the log says which
            traceback.print_exc()
            self.close_connection = True
            self.answer(500, [("Connection", "close")])

    def message(self, fields, told):
        etag = fields.get("etag")
        known = strong(etag)
        key = self.peer.key(fields) if known else f"once-{threading.get_ident()}-{time.monotonic_ns()}"
        with self.peer.place(key):
            path, held = self.peer.partial(key), self.peer.held(key)
            line = {"kind": "post", "etag": etag, "range": fields.get("content-range"), "held": held,
                    "content_length": fields.get("content-length"), "message_id": fields.get("message-id")}
            try:
                start, total = self.range(fields, held)
            except Unsatisfiable as error:
                self.peer.record(**line, http_status=416, error=str(error))
                self.refuse(416, [("Content-Range", f"bytes */{held}")])
                return
            keep = known and total is not None and total >= told["from_size"]
            try:
                got = self.take(path, start, held, fields)
            except (ConnectionError, Unsatisfiable) as error:
                self.peer.record(**line, start=start, now=path.stat().st_size if path.exists() else 0, http_status=None, error=str(error))
                if not keep:
                    path.unlink(missing_ok=True)
                if isinstance(error, Unsatisfiable):
                    self.refuse(416, [("Content-Range", f"bytes */{held}")])
                    return
                raise
            length = path.stat().st_size
            self.peer.record(**line, start=start, got=got, now=length, http_status=200, error=None)
            headers, body = self.peer.complete(fields, list(self.headers.items()), path, length)
            with self.peer.lock:
                drop = self.peer.behaviour["drop_answer"] > 0
                self.peer.behaviour["drop_answer"] -= drop
            if drop:
                self.close_connection = True
                return
            url = fields.get("receipt-delivery-option")
            if url and body:
                self.answer(200)
                self.peer.receipts.post_beside([(fields.get("message-id"), url, headers, body)], 0)
            else:
                self.answer(200, headers, body)
            path.unlink()

    def range(self, fields, held):
        """Where the body begins and how long the whole is: (start, total). Without a Content-Range all is sent (section 3.3)."""
        given = fields.get("content-range")
        length = int(fields["content-length"]) if "content-length" in fields else None
        if given is None:
            return 0, length
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", given.strip())
        if not match:
            raise Unsatisfiable(f"not a range of bytes: {given}")
        first, last, total = map(int, match.groups())
        if last != total - 1 or first > last or (length is not None and length != total - first):
            raise Unsatisfiable(f"{given} with Content-Length {length}")
        again = held == total and first == total - 1  # one byte again, to get the answer (section 3.2)
        if first not in (0, held) and not again:
            raise Unsatisfiable(f"{given}, but there are {held} bytes")
        return first, total

    def take(self, path, start, held, fields):
        """Reads the body into the partial message; gives how many bytes came."""
        again = start > 0 and start == held - 1
        if again:
            byte = b"".join(self.body(fields))
            with open(path, "rb") as partial:
                partial.seek(start)
                if partial.read() != byte:
                    raise Unsatisfiable("the last byte is another than the one that is held")
            return len(byte)
        got = 0
        with open(path, "r+b" if start else "wb") as partial:
            partial.seek(start)
            for chunk in self.body(fields):
                cut = self.peer.next_cut(start + got)
                if cut is not None and cut < start + got + len(chunk):
                    partial.write(chunk[:cut - start - got])
                    partial.flush()
                    self.peer.was_cut(cut)
                    raise ConnectionError(f"told to cut at {cut}")
                partial.write(chunk)
                partial.flush()
                got += len(chunk)
        return got

    def body(self, fields):
        """The pieces of a body, as they come."""
        if "chunked" in fields.get("transfer-encoding", "").lower():
            while size := self.chunk_size():
                yield from self.piece(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield from self.piece(int(fields.get("content-length", 0)))

    def chunk_size(self):
        line = self.rfile.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the sender stopped between two chunks")
        return int(line.split(b";")[0], 16)

    def piece(self, size):
        while size > 0:
            chunk = self.rfile.read1(min(size, CHUNK))
            if not chunk:
                raise ConnectionError(f"the sender stopped with {size} bytes to come")
            size -= len(chunk)
            yield chunk


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def serve(options):
    Handler.peer = Peer(options)
    server = Server(("127.0.0.1", options.port), Handler)
    print(f"listening on {server.server_address[1]}", flush=True)
    server.serve_forever()


def main():
    parser = argparse.ArgumentParser(prog="restart_peer.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    at = commands.add_parser("serve")
    at.add_argument("--dir", required=True)
    at.add_argument("--port", type=int, default=0)
    at.add_argument("--name", default="PEER", help="our AS2 name")
    at.add_argument("--partner", default="WAYBILL", help="the partner's AS2 name")
    at.add_argument("--partner-cert", help="its certificate; can be given later, by /control")
    at.add_argument("--key", required=True)
    at.add_argument("--cert", required=True)
    at.add_argument("--behaviour", default="{}", help="as posted to /control")
    at.set_defaults(run=serve)
    restart_client.add_arguments(commands.add_parser("send"))
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
