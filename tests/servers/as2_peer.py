"""An AS2 partner on pyas2lib: receives (`serve`) and sends (`send`).

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
import sys
import threading
import time
import traceback
import urllib.parse
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from asn1crypto import cms
from pyas2lib import as2
from pyas2lib.utils import unquote_as2name

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
    "times": None,  # how many messages this holds for; then the one before it holds again
}

CIPHERS = {"3des": "tripledes_192_cbc", "aes128-cbc": "aes_128_cbc", "aes192-cbc": "aes_192_cbc", "aes256-cbc": "aes_256_cbc"}


def key_and_certificate(key, certificate):
    """The one PEM text that pyas2lib wants: key, then certificate."""
    return pathlib.Path(key).read_bytes().strip() + b"\n" + pathlib.Path(certificate).read_bytes()


def header_block(headers):
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in headers) + b"\r\n"


def dump(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def mdn_fields(mdn_bytes):
    """The fields of an MDN's second part, read by the standard library alone: (fields, is it signed)."""
    whole = message_from_bytes(mdn_bytes)
    for part in whole.walk():
        if part.get_content_type() == "message/disposition-notification":
            fields = part.get_payload()
            fields = fields[-1] if isinstance(fields, list) else message_from_bytes(fields.encode())
            return {name.lower(): value for name, value in fields.items()}, whole.get_content_type() == "multipart/signed"
    return {}, False


def cipher_of(raw):
    """What an encrypted message is encrypted with, e.g. "aes_256_cbc"; pyas2lib itself forgets it for AES."""
    try:
        envelope = cms.ContentInfo.load(message_from_bytes(raw).get_payload(decode=True))
        algorithm = envelope["content"]["encrypted_content_info"]["content_encryption_algorithm"]
        return algorithm["algorithm"].native.replace("aes256", "aes_256").replace("aes192", "aes_192").replace("aes128", "aes_128")
    except (ValueError, KeyError, TypeError):
        return None  # not encrypted, or not readable


class Peer:
    """The state that all requests share: who we are, how to behave, what was received."""

    def __init__(self, options):
        self.options = options
        self.dir = pathlib.Path(options.dir)
        self.lock = threading.Lock()
        self.number = sum(1 for _ in (self.dir / "raw").glob("*.message")) if (self.dir / "raw").is_dir() else 0
        self.answers = {}  # Message-ID → (headers, body) of its first MDN
        self.partner_cert = options.partner_cert
        self.partner = options.partner
        self.standing = dict(BEHAVIOUR)
        self.next = []
        self.tell({name: value for name, value in json.loads(options.behaviour).items()})

    def organization(self, name):
        if unquote_as2name(name) != self.options.name:
            return None
        pem = key_and_certificate(self.options.key, self.options.cert)
        return as2.Organization(as2_name=self.options.name, sign_key=pem, decrypt_key=pem)

    def partner_of(self, name):
        if name != self.partner or not self.partner_cert:
            return None
        certificate = pathlib.Path(self.partner_cert).read_bytes()
        return as2.Partner(
            as2_name=name, verify_cert=certificate, encrypt_cert=certificate, validate_certs=False,
            sign=self.options.require_signed, encrypt=self.options.require_encrypted,
            canonicalize_as_binary=self.options.canonicalize_as_binary)

    def tell(self, told):
        """Changes how the next messages are answered; `partner` and `partner_cert` say whose messages are accepted."""
        unknown = set(told) - set(BEHAVIOUR) - {"partner", "partner_cert", "reset"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        with self.lock:
            if told.pop("reset", False):
                self.standing, self.next = dict(BEHAVIOUR), []
            self.partner_cert = told.pop("partner_cert", self.partner_cert)
            self.partner = told.pop("partner", self.partner)
            if told.get("times") is not None:
                self.next.append({**self.standing, **told})
            else:
                self.standing.update(told)

    def state(self):
        with self.lock:
            return {"partner": self.partner, "partner_cert": self.partner_cert, "standing": self.standing, "next": self.next,
                    "messages": self.number}

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
        """One message: stored, read, recorded, and answered: (status, headers, body)."""
        with self.lock:
            self.number += 1
            number = self.number
        raw = header_block(headers) + body
        record = {"number": number, "at": time.time(), "peer": f"{peer[0]}:{peer[1]}", "behaviour": behaviour,
                  "raw": dump(self.dir / "raw" / f"{number:06}.message", raw), "raw_length": len(body),
                  "raw_sha256": hashlib.sha256(body).hexdigest()}
        if behaviour["status"] != 200:
            self.record(record, answer="status", http_status=behaviour["status"])
            return behaviour["status"], [("Content-Type", "text/plain")], b"told to refuse\n"

        names = {name.lower(): value for name, value in headers}
        known = self.partner_of(unquote_as2name(names.get("as2-from", "")))
        # pyas2lib fails on two things of its own: signing an MDN to an unknown partner, and headers beyond ASCII.
        readable = [(name, value.encode("ascii", "replace").decode()) for name, value in headers
                    if known or name.lower() != "disposition-notification-options"]
        message = as2.Message()

        def had_before(message_id, _):
            with self.lock:
                return behaviour["duplicate"] == "warning" and message_id in self.answers

        # What it had before pyas2lib reads no further than the Message-ID: its MDN has no MIC then.
        status, (error, trace), mdn = message.parse(header_block(readable) + body, self.organization, self.partner_of, had_before)
        record.update(
            message_id=message.message_id, **{"from": unquote_as2name(names.get("as2-from", ""))},
            to=unquote_as2name(names.get("as2-to", "")), status=status, error=str(error) if error else None, trace=trace,
            signed=message.signed, encrypted=message.encrypted, compressed=message.compressed, cipher=cipher_of(raw),
            digest=message.digest_alg, mic=message.mic.decode() if message.mic else None,
            options=names.get("disposition-notification-options"), headers=headers)
        with self.lock:
            seen = self.answers.get(message.message_id)
        record["duplicate"] = seen is not None
        if seen and behaviour["duplicate"] == "stored":
            self.record(record, answer="stored mdn", http_status=200)
            return 200, *seen
        if status == "processed":
            record["files"] = self.store(message, number)
            record.update({name: record["files"][0][name] for name in ("file_name", "sha256", "length")} if record["files"] else {})

        if behaviour["mic"] == "with_headers":
            content = header_block([(name, names[name.lower()]) for name in ("Content-Type", "Content-Disposition")]) + body
            message.mic, message.digest_alg = base64.b64encode(hashlib.sha256(content).digest()), "sha256"
        answer = self.mdn(message, status, error, mdn, behaviour)
        if answer is None:
            self.record(record, answer="empty", http_status=200)
            return 200, [], b""
        if status == "processed":
            with self.lock:
                self.answers.setdefault(message.message_id, answer)
        if behaviour["mdn"] == "page":
            answer = [("Content-Type", "text/html")], b"<html><h1>Welcome</h1></html>"
        elif behaviour["mdn"] == "cut":
            answer = answer[0], answer[1][:len(answer[1]) // 2]
        record["mdn"] = dump(self.dir / "raw" / f"{number:06}.mdn", header_block(answer[0]) + answer[1])
        self.record(record, answer="mdn", http_status=200)
        return 200, *answer

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
        mdn = as2.Mdn(mdn_mode="SYNC")
        mdn.build(message=message, status=status, detailed_status=detail or None)
        content = mdn.content
        return list(mdn.headers.items()), content if isinstance(content, bytes) else content.encode()

    def record(self, record, **more):
        line = json.dumps({**record, **more}) + "\n"
        with self.lock, open(self.dir / "received.jsonl", "a", encoding="utf-8") as out:
            out.write(line)


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
        lines += [f"{name}: {value}".encode("latin-1").replace(b"\r\n", b"").replace(b"\n", b"") for name, value in headers]
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
        try:
            status, headers, body = self.peer.receive(list(self.headers.items()), received, self.client_address, behaviour)
        except Exception:  # pyas2lib's own, for what it does not understand: no AS2-To, for one
            traceback.print_exc()
            status, headers, body = 500, [("Content-Type", "text/plain")], b"the peer failed; see its log\n"
        gc.collect()
        time.sleep(behaviour["delay"])
        if behaviour["drop"] == "after_read":
            self.close_connection = True
            return
        self.answer(status, headers, body, half=behaviour["drop"] == "mid_answer", twice=behaviour["twice"])


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def serve(options):
    Handler.peer = Peer(options)
    server = Server(("127.0.0.1", options.port), Handler)
    print(f"listening on {server.server_address[1]}", flush=True)
    server.serve_forever()


def send(options):
    """Posts one file, checks the MDN that comes back, prints what happened. Exit code 0: the MDN says it is well."""
    pem = key_and_certificate(options.key, options.cert)
    us = as2.Organization(as2_name=options.as2_from, sign_key=pem, decrypt_key=pem)
    certificate = pathlib.Path(options.partner_cert).read_bytes()
    them = as2.Partner(
        as2_name=options.to, verify_cert=certificate, encrypt_cert=certificate, validate_certs=False,
        sign=not options.no_sign, encrypt=not options.no_encrypt, compress=options.compress,
        enc_alg=CIPHERS.get(options.cipher, options.cipher), digest_alg=options.digest,
        mdn_mode=None if options.mdn == "none" else "SYNC", mdn_digest_alg=options.digest if options.mdn == "sync-signed" else None)
    message = as2.Message(us, them)
    data = pathlib.Path(options.file).read_bytes()
    message.build(data, filename=options.file_name or pathlib.Path(options.file).name, subject=options.subject,
                  content_type=options.content_type)
    if options.message_id:  # build() insists on a domain of its own
        message.message_id = options.message_id.strip("<>")
        message.payload.replace_header("Message-ID", f"<{message.message_id}>")
    headers = [(name, str(value).replace("\r\n", "").replace("\n", "")) for name, value in message.payload.items()]
    body = message.content
    body = body.encode() if isinstance(body, str) else body
    for line in options.raw_header:  # in place of ours where there is one of this name
        name, _, value = line.partition(":")
        headers = [pair for pair in headers if pair[0].lower() != name.lower()] + [(name, value.strip())]
    if options.damage == "flip":  # one bit in the middle
        middle = len(body) // 2
        body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1:]
    elif options.damage == "truncate":
        body = body[:len(body) // 2]
    if options.save:
        dump(pathlib.Path(options.save), header_block(headers) + body)

    result = {"message_id": message.message_id, "mic": message.mic.decode() if message.mic else None,
              "sha256": hashlib.sha256(data).hexdigest(), "length": len(data), "http_status": None, "disposition": None,
              "mdn_signed": None, "mdn_verified": None, "mdn_mic": None, "mic_matched": None,
              "original_message_id_matched": None, "mdn": None, "error": None}
    try:
        url = urllib.parse.urlsplit(options.to_url)
        make = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = make(url.hostname, url.port, timeout=options.timeout)
        connection.putrequest("POST", url.path or "/", skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.encode("utf-8", "surrogateescape"))
        if not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        answer = response.read()
        result["http_status"] = response.status
        raw = header_block(response.getheaders()) + answer
        if options.mdn_out:
            result["mdn"] = dump(pathlib.Path(options.mdn_out), raw)
        if answer and response.status == 200:
            check_mdn(result, message, raw, options)
    except (OSError, http.client.HTTPException) as error:
        result["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(result))
    well = result["http_status"] == 200 and (options.mdn == "none" or (
        (result["disposition"] or "").lower().endswith("; processed") and result["mic_matched"] is not False
        and result["mdn_verified"] is not False))
    sys.exit(0 if well else 1)


def check_mdn(result, message, raw, options):
    fields, signed = mdn_fields(raw)
    result["disposition"] = fields.get("disposition")
    result["mdn_signed"] = signed
    result["mdn_mic"] = fields.get("received-content-mic")
    if result["mdn_mic"] and message.mic:
        result["mic_matched"] = result["mdn_mic"].split(",")[0].strip() == message.mic.decode()
    original = (fields.get("original-message-id") or "").strip("<> ")
    result["original_message_id_matched"] = original == message.message_id
    status, detail = as2.Mdn().parse(raw, lambda *_: message)
    if signed:  # pyas2lib says `failed/Failure` and names the cause when the signature does not hold
        result["mdn_verified"] = not (status == "failed/Failure" and "Failed to parse" in (detail or ""))
    elif options.mdn == "sync-signed":
        result["mdn_verified"] = False
    if detail and status == "failed/Failure":
        result["error"] = detail


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

    at = commands.add_parser("send")
    at.add_argument("--to-url", required=True)
    at.add_argument("--from", dest="as2_from", required=True)
    at.add_argument("--to", required=True)
    at.add_argument("--key", required=True)
    at.add_argument("--cert", required=True)
    at.add_argument("--partner-cert", required=True)
    at.add_argument("--file", required=True)
    at.add_argument("--file-name", help="another name than the file's own")
    at.add_argument("--content-type", default="application/octet-stream")
    at.add_argument("--subject", default="AS2 Message")
    at.add_argument("--cipher", default="aes256-cbc", help=", ".join(CIPHERS))
    at.add_argument("--digest", default="sha256")
    at.add_argument("--mdn", default="sync-signed", choices=("sync-signed", "sync-unsigned", "none"))
    at.add_argument("--compress", action="store_true")
    at.add_argument("--no-sign", action="store_true")
    at.add_argument("--no-encrypt", action="store_true")
    at.add_argument("--message-id")
    at.add_argument("--raw-header", action="append", default=[], metavar="NAME: VALUE")
    at.add_argument("--damage", choices=("flip", "truncate"))
    at.add_argument("--save", help="also write the posted message (headers and body) here")
    at.add_argument("--mdn-out", help="write the answer (headers and body) here")
    at.add_argument("--timeout", type=float, default=60)
    at.set_defaults(run=send)

    options = parser.parse_args()
    # The collector can run a finalizer of oscrypto inside cffi's own lock, which the finalizer wants: the process then
    # hangs for ever. So it runs only where nothing holds that lock: between messages.
    gc.disable()
    options.run(options)


if __name__ == "__main__":
    main()
