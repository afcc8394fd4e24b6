"""An AS2 partner on pyas2lib: receives (`serve`) and sends (`send`, in as2_sender.py).

Independent of Waybill on purpose: what both understand alike is understood as AS2, not as Waybill. pyas2lib holds a
message in memory several times over, so this partner is for small files.
"""

import argparse
import base64
import gc
import hashlib
import http.client
import json
import pathlib
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyas2lib import as2
from pyas2lib.utils import unquote_as2name

import as2_sender
from as2_messages import SIGNATURES, Signatures, dump, encryption_of, header_block, key_and_certificate, on_one_line
from as2_receipts import Receipts

# What the peer can be told to do with a message, with what it does when not told. See README.md.
BEHAVIOUR = {
    # asked: as the message asks · signed · unsigned · none: 200 and an empty body · page: 200 and a page in HTML · cut: the
    # first half of the MDN, as a whole HTTP answer
    "mdn": "asked",
    "mic": "right",  # right · wrong · missing · with_headers: over body and headers of a message without protection
    "disposition": None,  # e.g. "processed/error: decryption-failed", whatever happened to the message
    "original_message_id": None,  # another Message-ID in the MDN than the message's
    "status": 200,  # another: that status and no MDN, the message neither read nor stored
    "delay": 0,  # seconds between reading the message and answering
    "drop": None,  # before_read · after_read: stored, no answer · mid_answer: half of the answer
    "twice": False,  # the whole HTTP answer two times on the connection
    "duplicate": "stored",  # a Message-ID seen before: stored: the first MDN's bytes again · warning · process: as if new
    "signature": "pkcs1",  # of MDNs: pkcs1 · pss
    # An MDN that was asked for at another URL: after: posted after the answer · before: it overtakes the answer · twice ·
    # contradicting: a refusing one follows · earlier: the one before it for the same Message-ID once more, then it · held:
    # until told to release it · never · sync: in the answer all the same
    "async": "after",
    "async_retry": 0,  # seconds for which an MDN that was not accepted is posted again
    "times": None,  # how many messages this holds for; then the one before it holds again
}


class Peer:
    """The state that all requests share: who we are, how to behave, what was received."""

    def __init__(self, options):
        self.options = options
        self.dir = pathlib.Path(options.dir)
        self.lock = threading.Lock()
        self.number = sum(1 for _ in (self.dir / "raw").glob("*.message")) if (self.dir / "raw").is_dir() else 0
        self.answers = {}  # Message-ID → (headers, body) of its first MDN
        self.posted = {}  # Message-ID → the same of the last one that was to be posted
        self.receipts = Receipts(self.dir / "mdns.jsonl")
        self.partner_cert = options.partner_cert
        self.partner = options.partner
        self.standing = dict(BEHAVIOUR)
        self.next = []
        self.tell({name: value for name, value in json.loads(options.behaviour).items()})

    def organization(self, name):
        if unquote_as2name(name) != self.options.name:
            return None
        with self.lock:
            pem = key_and_certificate(self.options.key, self.options.cert)
        return as2.Organization(as2_name=self.options.name, sign_key=pem, decrypt_key=pem)

    def partner_of(self, name, signature=SIGNATURES["pkcs1"]):
        if name != self.partner or not self.partner_cert:
            return None
        certificate = pathlib.Path(self.partner_cert).read_bytes()
        return as2.Partner(
            as2_name=name, verify_cert=certificate, encrypt_cert=certificate, validate_certs=False,
            sign=self.options.require_signed, encrypt=self.options.require_encrypted,
            canonicalize_as_binary=self.options.canonicalize_as_binary, sign_alg=signature)

    def tell(self, told):
        """Changes how the next messages are answered; `partner` and `partner_cert` say whose messages are accepted, `key` and
        `cert` who we are from now on."""
        unknown = set(told) - set(BEHAVIOUR) - {"partner", "partner_cert", "key", "cert", "reset", "release"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        if told.pop("release", False):
            self.receipts.release()
        with self.lock:
            if told.pop("reset", False):
                self.standing, self.next = dict(BEHAVIOUR), []
            self.partner_cert = told.pop("partner_cert", self.partner_cert)
            self.partner = told.pop("partner", self.partner)
            self.options.key = told.pop("key", self.options.key)
            self.options.cert = told.pop("cert", self.options.cert)
            if told.get("times") is not None:
                self.next.append({**self.standing, **told})
            else:
                self.standing.update(told)

    def state(self):
        with self.lock:
            return {"partner": self.partner, "partner_cert": self.partner_cert, "key": self.options.key,
                    "cert": self.options.cert, "standing": self.standing, "next": self.next,
                    "messages": self.number, "held": self.receipts.held_now()}

    def behaviour(self):
        with self.lock:
            if not self.next:
                return dict(self.standing)
            first = self.next[0]
            first["times"] -= 1
            if first["times"] <= 0:
                self.next.pop(0)
            return dict(first)

    def receive(self, headers, body, peer, behaviour):
        """One message: stored, read, recorded, and answered: (status, headers, body), and what is to be done after that."""
        with self.lock:
            self.number += 1
            number = self.number
        raw = header_block(headers) + body
        record = {"number": number, "at": time.time(), "peer": f"{peer[0]}:{peer[1]}", "behaviour": behaviour,
                  "raw": dump(self.dir / "raw" / f"{number:06}.message", raw), "raw_length": len(body),
                  "raw_sha256": hashlib.sha256(body).hexdigest()}
        if behaviour["status"] != 200:
            self.record(record, answer="status", http_status=behaviour["status"])
            return (behaviour["status"], [("Content-Type", "text/plain")], b"told to refuse\n"), nothing

        names = {name.lower(): value for name, value in headers}
        signature = SIGNATURES[behaviour["signature"]]
        known = self.partner_of(unquote_as2name(names.get("as2-from", "")))
        # pyas2lib fails on two things of its own: signing an MDN to an unknown partner, and headers beyond ASCII.
        readable = [(name, value.encode("ascii", "replace").decode()) for name, value in headers
                    if known or name.lower() != "disposition-notification-options"]
        message = as2.Message()

        def had_before(message_id, _):
            with self.lock:
                return behaviour["duplicate"] == "warning" and message_id in self.answers

        # What it had before pyas2lib reads no further than the Message-ID: its MDN has no MIC then.
        Signatures.take()
        status, (error, trace), mdn = message.parse(
            header_block(readable) + body, self.organization, lambda name: self.partner_of(name, signature), had_before)
        record.update(
            message_id=message.message_id, **{"from": unquote_as2name(names.get("as2-from", ""))},
            to=unquote_as2name(names.get("as2-to", "")), status=status, error=str(error) if error else None, trace=trace,
            signed=message.signed, encrypted=message.encrypted, compressed=message.compressed, **encryption_of(raw),
            digest=message.digest_alg, signature=Signatures.take(), mic=message.mic.decode() if message.mic else None,
            options=names.get("disposition-notification-options"), headers=headers)
        with self.lock:
            seen = self.answers.get(message.message_id)
        record["duplicate"] = seen is not None
        if seen and behaviour["duplicate"] == "stored":
            return self.deliver(seen, names, behaviour, record, "stored mdn")
        if status == "processed":
            record["files"] = self.store(message, number)
            record.update({name: record["files"][0][name] for name in ("file_name", "sha256", "length")} if record["files"] else {})

        if behaviour["mic"] == "with_headers":
            content = header_block([(name, names[name.lower()]) for name in ("Content-Type", "Content-Disposition")]) + body
            message.mic, message.digest_alg = base64.b64encode(hashlib.sha256(content).digest()), "sha256"
        answer = self.mdn(message, status, error, mdn, behaviour)
        if answer is None:
            self.record(record, answer="empty", http_status=200)
            return (200, [], b""), nothing
        if status == "processed":
            with self.lock:
                self.answers.setdefault(message.message_id, answer)
        if behaviour["mdn"] == "page":
            answer = [("Content-Type", "text/html")], b"<html><h1>Welcome</h1></html>"
        elif behaviour["mdn"] == "cut":
            answer = answer[0], answer[1][:len(answer[1]) // 2]
        record["mdn"] = dump(self.dir / "raw" / f"{number:06}.mdn", header_block(answer[0]) + answer[1])
        contradicting = None
        if behaviour["async"] == "contradicting":
            contradicting = self.mdn(message, "processed/error", None, mdn, {
                **behaviour, "disposition": "processed/error: unexpected-processing-error"})
        return self.deliver(answer, names, behaviour, record, "mdn", contradicting)

    def deliver(self, answer, names, behaviour, record, said, contradicting=None):
        """The MDN in the answer, or at the URL that was asked for."""
        url = names.get("receipt-delivery-option")
        when = behaviour["async"]
        if not url or when == "sync":
            self.record(record, answer=said, http_status=200)
            return (200, *answer), nothing
        self.record(record, answer=said, mdn_url=url, http_status=200)
        with self.lock:
            before = self.posted.get(record["message_id"])
            self.posted[record["message_id"]] = answer
        posts = {"twice": [answer, answer], "contradicting": [answer, contradicting], "never": [],
                 "earlier": [before, answer] if before else [answer]}.get(when, [answer])
        posts = [(record["message_id"], url, *mdn) for mdn in posts]
        retry = behaviour["async_retry"]
        if when == "held":
            self.receipts.hold(posts)
        elif when == "before":
            self.receipts.post(posts, retry)
        else:
            return (200, [], b""), lambda: self.receipts.post_beside(posts, retry)
        return (200, [], b""), nothing

    def store(self, message, number):
        """The payloads, each in inbox/NUMBER/ under the name it came with, made harmless as a path."""
        parts = [p for p in message.payload.walk() if not p.is_multipart()] if message.payload.is_multipart() else [message.payload]
        stored = []
        for index, part in enumerate(parts):
            data = part.get_payload(decode=True)
            name = part.get_filename()
            safe = "".join(c if c.isprintable() and c != "/" else "_" for c in name or "") .strip(".") or f"payload-{index}"
            path = dump(self.dir / "inbox" / f"{number:06}" / safe[:200], data)
            stored.append({"file_name": name, "path": path, "length": len(data), "sha256": hashlib.sha256(data).hexdigest(),
                           "content_type": part.get_content_type()})
        return stored

    def mdn(self, message, status, error, mdn, behaviour):
        """The MDN to answer with, as (headers, body), or nothing."""
        if behaviour["mdn"] == "none" or (mdn is None and behaviour["mdn"] in ("asked", "page", "cut")):
            return None
        options = "disposition-notification-options"
        if behaviour["mdn"] == "unsigned" or message.sender is None:
            del message.payload[options]
        elif behaviour["mdn"] == "signed" and options not in message.payload:
            message.payload[options] = "signed-receipt-protocol=required, pkcs7-signature; signed-receipt-micalg=required, sha256"
        detail = getattr(error, "disposition_modifier", "unexpected-processing-error") if error else None
        if behaviour["disposition"]:
            status, _, detail = (part.strip() for part in behaviour["disposition"].partition(":"))
        if status not in ("processed", "processed/warning"):
            message.mic = None  # an error MDN carries none
        elif message.mic and behaviour["mic"] == "wrong":
            message.mic = base64.b64encode(hashlib.new(message.digest_alg, b"another").digest())
        elif behaviour["mic"] == "missing":
            message.mic = None
        message.message_id = behaviour["original_message_id"] or message.message_id
        mdn = as2.Mdn(mdn_mode="SYNC")  # the same bytes, whichever way they go
        mdn.build(message=message, status=status, detailed_status=detail or None)
        content = mdn.content
        return on_one_line(mdn.headers.items()), content if isinstance(content, bytes) else content.encode()

    def record(self, record, **more):
        line = json.dumps({**record, **more}) + "\n"
        with self.lock, open(self.dir / "received.jsonl", "a", encoding="utf-8") as out:
            out.write(line)


def nothing():
    """What is to be done after most answers."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    peer: Peer

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) != length:
            raise ConnectionError(f"the sender stopped after {len(body)} of {length} bytes")
        return body

    def answer(self, status, headers, body, half=False, twice=False):
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'Told')}".encode(), b"Server: as2-peer"]
        lines += [f"{name}: {value}".encode("latin-1") for name, value in headers]
        whole = b"\r\n".join(lines + [f"Content-Length: {len(body)}".encode()]) + b"\r\n\r\n" + body
        if half:
            whole = whole[:len(whole) - len(body) // 2]
            self.close_connection = True
        self.wfile.write(whole * 2 if twice else whole)
        self.wfile.flush()

    def answer_json(self, status, value):
        self.answer(status, [("Content-Type", "application/json")], json.dumps(value).encode() + b"\n")

    def do_GET(self):
        if self.path == "/control":
            self.answer_json(200, self.peer.state())
        else:
            self.answer_json(404, {"error": "POST messages to /as2; GET and POST /control"})

    def do_POST(self):
        if self.path == "/control":
            try:
                self.peer.tell(json.loads(self.read_body()))
                self.answer_json(200, self.peer.state())
            except (ValueError, AttributeError) as error:
                self.answer_json(400, {"error": str(error)})
            return
        behaviour = self.peer.behaviour()
        if behaviour["drop"] == "before_read":
            self.close_connection = True
            return
        received = self.read_body()
        afterwards = nothing
        try:
            (status, headers, body), afterwards = self.peer.receive(
                list(self.headers.items()), received, self.client_address, behaviour)
        except Exception:  # pyas2lib's own, for what it does not understand: no AS2-To, for one
            traceback.print_exc()
            status, headers, body = 500, [("Content-Type", "text/plain")], b"the peer failed; see its log\n"
        gc.collect()
        time.sleep(behaviour["delay"])
        if behaviour["drop"] == "after_read":
            self.close_connection = True
            afterwards()
            return
        self.answer(status, headers, body, half=behaviour["drop"] == "mid_answer", twice=behaviour["twice"])
        afterwards()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def serve(options):
    Signatures.watch()
    Handler.peer = Peer(options)
    server = Server(("127.0.0.1", options.port), Handler)
    print(f"listening on {server.server_address[1]}", flush=True)
    server.serve_forever()


def main():
    parser = argparse.ArgumentParser(prog="as2_peer.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)

    at = commands.add_parser("serve")
    at.add_argument("--dir", required=True)
    at.add_argument("--port", type=int, default=0)
    at.add_argument("--name", default="PEER", help="our AS2 name")
    at.add_argument("--partner", default="WAYBILL", help="the AS2 name whose messages are accepted")
    at.add_argument("--partner-cert", help="its certificate; can be given later, by /control")
    at.add_argument("--key", required=True)
    at.add_argument("--cert", required=True)
    at.add_argument("--require-signed", action="store_true")
    at.add_argument("--require-encrypted", action="store_true")
    at.add_argument("--canonicalize-as-binary", action="store_true")
    at.add_argument("--behaviour", default="{}", help="as posted to /control")
    at.set_defaults(run=serve)

    as2_sender.add_arguments(commands.add_parser("send"))

    options = parser.parse_args()
    # The collector can run a finalizer of oscrypto inside cffi's own lock, which the finalizer wants: the process then
    # hangs for ever. So it runs only where nothing holds that lock: between messages.
    gc.disable()
    options.run(options)


if __name__ == "__main__":
    main()
