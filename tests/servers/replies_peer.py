"""An AS2 partner that answers messages with payloads of its own, and asks for receipts for them (`serve`); and one that asks us
for such answers, and confirms them (`send`). Written from "HTTP Transport for Secure EDI" (2.5 to 2.8) and RFC 4130 alone."""

import argparse
import hashlib
import http.client
import json
import pathlib
import secrets
import threading
import time
import traceback
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from replies_messages import Keys, compressed, encrypted, entity, kind_of, multipart, parsed, payload, receipt, signed, unwrapped

PATIENCE = 90  # seconds

# What the peer can be told to do with a message, with what it does when not told. See README.md.
BEHAVIOUR = {
    # mdn: the receipt alone · mixed: beside a payload, each protected by itself · covered: one signature over both · payload: a
    # payload alone · encrypted_mdn · compressed_mdn · unsolicited: a refusing receipt, asked for or not
    "answer": "mdn",
    "protection": ["signed", "encrypted"],  # of the payload
    "length": 1000,  # of the payload
    "ask": False,  # for a receipt for the payload
    "name": "quote.edi",
    "file": None,  # with its bytes, in place of random ones
    "message_id": None,  # of the answer, in place of a random one
    "later": False,  # the answer is an empty 200, and the rest is posted to the URL that the message named
    "drop": 0,  # so many answers are made and not given
}


class Peer:
    def __init__(self, options):
        self.options = options
        self.dir = pathlib.Path(options.dir)
        self.lock = threading.Lock()
        self.behaviour = dict(BEHAVIOUR)
        self.partner_cert = None
        self.answers = {}  # Message-ID → (fields, body), given again to a repetition (2.8)

    def tell(self, told):
        unknown = set(told) - set(BEHAVIOUR) - {"partner_cert", "reset"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        with self.lock:
            if told.pop("reset", False):
                self.behaviour = dict(BEHAVIOUR)
            self.partner_cert = told.pop("partner_cert", self.partner_cert)
            self.behaviour.update(told)

    def keys(self):
        return Keys(self.options.key, self.options.cert, self.partner_cert)

    def record(self, **line):
        with self.lock, open(self.dir / "received.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps({"at": time.time(), **line}) + "\n")

    def receive(self, fields, body):
        """The answer to a POST: its fields and body, None where there is to be none; and what is posted after it."""
        found = unwrapped(fields, body, self.keys())
        message_id = fields.get("message-id", "")
        asked = "disposition-notification-to" in fields
        payloads = [part for part in found if not part["receipt"]]
        for part in found:
            self.record(message_id=message_id, asked=asked, **part)
        if not payloads:
            return ([], b""), None
        with self.lock:
            behaviour, known = dict(self.behaviour), self.answers.get(message_id)
        made = known or self.made(fields, payloads[0], asked, behaviour)
        with self.lock:
            self.answers[message_id] = made
            dropped = self.behaviour["drop"] > 0
            self.behaviour["drop"] -= dropped
        if dropped:
            return None, None
        if behaviour["later"]:
            return ([], b""), (fields["receipt-delivery-option"], made)
        return made, None

    def made(self, fields, message, asked, behaviour):
        keys, way = self.keys(), behaviour["answer"]
        reply_id = behaviour["message_id"] or f"<{secrets.token_hex(12)}@replies-peer>"
        own = [("AS2-Version", "1.1"), ("AS2-From", "PEER"), ("AS2-To", "WAYBILL"), ("Message-ID", reply_id),
               ("MIME-Version", "1.0")]
        if behaviour["ask"]:
            own += [("Disposition-Notification-To", "PEER"), ("Disposition-Notification-Options",
                    "signed-receipt-protocol=required, pkcs7-signature; signed-receipt-micalg=optional, sha-256")]
        if not asked and way == "mdn":
            return [], b""
        said = "processed/error: unexpected-processing-error" if way == "unsolicited" else "processed"
        plain = receipt(fields.get("message-id"), said, None if "error" in said else message["mic"], "PEER")
        file = behaviour["file"]
        content = pathlib.Path(file).read_bytes() if file else secrets.token_bytes(behaviour["length"])
        sent = {"reply": reply_id, "sha256": hashlib.sha256(content).hexdigest(), "length": len(content)}
        file = payload(content, behaviour["name"], behaviour["protection"], keys)
        if way in ("mdn", "unsolicited"):
            return own + (made := signed(plain, keys))[0], made[1]
        if way == "encrypted_mdn":
            return own + (made := encrypted(entity(*signed(plain, keys)), keys))[0], made[1]
        if way == "compressed_mdn":
            return own + (made := compressed(entity(*signed(plain, keys))))[0], made[1]
        if way == "mixed":
            made = multipart("multipart/mixed", [entity(*signed(plain, keys)), file])
        elif way == "covered":
            both = multipart("multipart/mixed", [plain, payload(content, behaviour["name"], [], keys)])
            made = signed(entity(*both), keys)
        else:
            head, body = parsed(file)
            made = [(name.title(), value) for name, value in head.items()], body
        # By this the receipt for it is judged.
        held = [part for part in unwrapped(*parsed(entity(*made)), Keys(keys.key, keys.certificate, keys.certificate))
                if not part["receipt"]] if "encrypted" not in behaviour["protection"] or way == "covered" else []
        self.record(sent=True, in_reply_to=fields.get("message-id"), mic=held[0]["mic"] if held else None, **sent)
        return own + made[0], made[1]


def post(url, fields, body):
    to = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(to.hostname, to.port, timeout=PATIENCE)
    try:
        connection.request("POST", to.path or "/", body, dict(fields))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    peer: Peer

    def do_POST(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            if self.path == "/control":
                self.peer.tell(json.loads(body))
                return self.answer(200, [], b"")
            fields = {name.lower(): value for name, value in self.headers.items()}
            made, after = self.peer.receive(fields, body)
            if made is None:
                self.close_connection = True
                return None
            self.answer(200, *made)
            if after:
                url, (own, body) = after
                status, _, said = post(url, own, body)
                self.peer.record(posted=True, status=status, said=said.decode("latin-1"))
            return None
        except Exception as error:  # the test sees it in what is recorded
            traceback.print_exc()
            self.peer.record(error=f"{type(error).__name__}: {error}")
            return self.answer(500, [], str(error).encode())

    def answer(self, status, fields, body):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def serve(options):
    Handler.peer = Peer(options)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print(f"listening on {options.port}", flush=True)
    server.serve_forever()


def send(options):
    """Posts a message, a receipt for an answer that came before, or both in one (2.7), and says what the answer holds."""
    keys = Keys(options.key, options.cert, options.partner_cert)
    parts = []
    if options.receipt_for:
        # A POST of a receipt alone asks for none.
        parts.append(entity(*signed(receipt(options.receipt_for, "processed", options.receipt_mic, "PEER"), keys)))
    if options.file:
        path = pathlib.Path(options.file)
        parts.append(payload(path.read_bytes(), path.name, ["signed", "encrypted"], keys))
    own = [("AS2-Version", "1.1"), ("AS2-From", "PEER"), ("AS2-To", "WAYBILL"), ("MIME-Version", "1.0"),
           ("Message-ID", options.message_id or f"<{secrets.token_hex(12)}@replies-peer>")]
    if options.file and not options.no_receipt:
        own += [("Disposition-Notification-To", "PEER"), ("Disposition-Notification-Options",
                "signed-receipt-protocol=required, pkcs7-signature; signed-receipt-micalg=optional, sha-256")]
    if len(parts) == 1:
        given, body = parsed(parts[0])
        given = [(name.title(), value) for name, value in given.items()]
    else:
        given, body = multipart("multipart/mixed", parts)
    if options.encrypt_receipt:
        given, body = encrypted(parts[0], keys)
    # In HTTP there is no Content-Transfer-Encoding (RFC 4130, 5.2.1).
    given = [(name, value) for name, value in given if name.lower() != "content-transfer-encoding"]
    status, fields, body = post(options.to_url, own + given, body)
    held = unwrapped(fields, body, keys) if status == 200 and body and kind_of(fields) != "text/plain" else []
    print(json.dumps({
        "status": status, "held": held, "message_id": fields.get("message-id"), "body_sha256": hashlib.sha256(body).hexdigest(),
        "asked": "disposition-notification-to" in fields, "content_type": kind_of(fields),
        "text": body[:300].decode("latin-1") if kind_of(fields) == "text/plain" else ""}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    at = commands.add_parser("serve")
    at.add_argument("--dir", required=True)
    at.add_argument("--port", type=int, required=True)
    at.set_defaults(run=serve)
    to = commands.add_parser("send")
    to.add_argument("--to-url", required=True)
    for name in ("file", "message-id", "receipt-for", "receipt-mic"):
        to.add_argument(f"--{name}")
    to.add_argument("--no-receipt", action="store_true")
    to.add_argument("--encrypt-receipt", action="store_true")
    to.set_defaults(run=send)
    for both in (at, to):
        both.add_argument("--key", required=True)
        both.add_argument("--cert", required=True)
    to.add_argument("--partner-cert", required=True)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
