"""`as2_peer.py send`: posts one file by pyas2lib, waits for its MDN on either way, and says what happened."""

import hashlib
import http.client
import json
import pathlib
import ssl
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyas2lib import as2

from as2_messages import (
    CIPHERS, SIGNATURES, KEY_TRANSPORTS, Signatures, dump, encrypt_keys_by, header_block, key_and_certificate, mdn_fields, on_one_line)


class Receipts:
    """Where the MDN is delivered that was asked for at another address: a small HTTP server of our own."""

    def __init__(self, options):
        self.statuses = [int(status) for status in options.mdn_answers.split(",")]
        self.came = threading.Condition()
        self.posts = []  # (status that we answered, header block and body)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with outer.came:
                    status = outer.statuses[min(len(outer.posts), len(outer.statuses) - 1)]
                    outer.posts.append((status, header_block(list(self.headers.items())) + body))
                    outer.came.notify_all()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", options.mdn_port), Handler)
        self.server.daemon_threads = True
        scheme = "http"
        if options.mdn_tls_cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(options.mdn_tls_cert, options.mdn_tls_key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.url = options.mdn_url or f"{scheme}://127.0.0.1:{self.server.server_address[1]}/mdn"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def accepted(self):
        """The first MDN that we answered with a 2xx; with the lock held."""
        return next((mdn for status, mdn in self.posts if 200 <= status < 300), None)

    def wait(self, seconds):
        with self.came:
            self.came.wait_for(self.accepted, seconds)
            return self.accepted()


def build(options, receipts):
    """The message, its header fields and its body."""
    pem = key_and_certificate(options.key, options.cert)
    us = as2.Organization(as2_name=options.as2_from, sign_key=pem, decrypt_key=pem, mdn_url=receipts.url if receipts else None)
    certificate = pathlib.Path(options.partner_cert).read_bytes()
    mode = {"none": None, "sync": "SYNC", "async": "ASYNC"}[options.mdn.split("-")[0]]
    them = as2.Partner(
        as2_name=options.to, verify_cert=certificate, encrypt_cert=certificate, validate_certs=False,
        sign=not options.no_sign, encrypt=not options.no_encrypt, compress=options.compress,
        enc_alg=CIPHERS.get(options.cipher, options.cipher), digest_alg=options.digest, sign_alg=SIGNATURES[options.signature],
        key_enc_alg=KEY_TRANSPORTS[options.key_transport],
        mdn_mode=mode, mdn_digest_alg=options.digest if options.mdn.endswith("-signed") else None)
    encrypt_keys_by(options.key_transport)
    message = as2.Message(us, them)
    message.build(
        pathlib.Path(options.file).read_bytes(), filename=options.file_name or pathlib.Path(options.file).name,
        subject=options.subject, content_type=options.content_type)
    if options.message_id:  # build() insists on a domain of its own
        message.message_id = options.message_id.strip("<>")
        message.payload.replace_header("Message-ID", f"<{message.message_id}>")
    headers = on_one_line(message.payload.items())
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
    return message, headers, body


def post(url, headers, body, timeout):
    """The answer: (status, header block and body, body)."""
    url = urllib.parse.urlsplit(url)
    make = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = make(url.hostname, url.port, timeout=timeout)
    connection.putrequest("POST", url.path or "/", skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value.encode("utf-8", "surrogateescape"))
    if not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    response = connection.getresponse()
    answer = response.read()
    return response.status, header_block(response.getheaders()) + answer, answer


def send(options):
    """Exit code 0: accepted with a 2xx, and the MDN that was asked for says it is well."""
    Signatures.watch()
    receipts = Receipts(options) if options.mdn.startswith("async") else None
    message, headers, body = build(options, receipts)
    if options.save:
        dump(pathlib.Path(options.save), header_block(headers) + body)
    data = pathlib.Path(options.file).read_bytes()
    result = {"message_id": message.message_id, "mic": message.mic.decode() if message.mic else None,
              "sha256": hashlib.sha256(data).hexdigest(), "length": len(data), "http_status": None, "disposition": None,
              "mdn_way": None, "mdn_posts": None, "mdn_before_answer": None,
              "mdn_signed": None, "mdn_signature": None, "mdn_verified": None, "mdn_mic": None, "mic_matched": None,
              "original_message_id_matched": None, "mdn": None, "error": None}
    try:
        status, raw, answer = post(options.to_url, headers, body, options.timeout)
        result["http_status"] = status
        has_mdn = bool(answer) and status == 200
        result["mdn_way"] = "sync" if has_mdn else None
        if receipts:
            with receipts.came:
                result["mdn_before_answer"] = bool(receipts.posts)
            delivered = receipts.wait(options.timeout) if 200 <= status < 300 else None
            if delivered:
                raw, has_mdn, result["mdn_way"] = delivered, True, "async"
            result["mdn_posts"] = [status for status, _ in receipts.posts]
        if options.mdn_out:
            result["mdn"] = dump(pathlib.Path(options.mdn_out), raw)
        if has_mdn:
            check_mdn(result, message, raw, options)
    except (OSError, http.client.HTTPException) as error:
        result["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(result))
    well = 200 <= (result["http_status"] or 0) < 300 and (options.mdn == "none" or (
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
    result["mdn_signature"] = Signatures.take()
    if signed:  # pyas2lib says `failed/Failure` and names the cause when the signature does not hold
        result["mdn_verified"] = not (status == "failed/Failure" and "Failed to parse" in (detail or ""))
    elif options.mdn.endswith("-signed"):
        result["mdn_verified"] = False
    if detail and status == "failed/Failure":
        result["error"] = detail


def add_arguments(at):
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
    at.add_argument("--key-transport", default="pkcs1", choices=tuple(KEY_TRANSPORTS))
    at.add_argument("--digest", default="sha256")
    at.add_argument("--signature", default="pkcs1", choices=tuple(SIGNATURES))
    at.add_argument("--mdn", default="sync-signed", choices=("sync-signed", "sync-unsigned", "async-signed", "async-unsigned", "none"))
    at.add_argument("--mdn-url", help="ask for the asynchronous MDN at this URL instead of our own server's")
    at.add_argument("--mdn-port", type=int, default=0, help="the port of our own server")
    at.add_argument("--mdn-answers", default="200", help="HTTP statuses for the POSTs of the MDN in turn; the last one goes on")
    at.add_argument("--mdn-tls-cert", help="take the MDN over HTTPS, with this certificate")
    at.add_argument("--mdn-tls-key", help="and its key")
    at.add_argument("--compress", action="store_true")
    at.add_argument("--no-sign", action="store_true")
    at.add_argument("--no-encrypt", action="store_true")
    at.add_argument("--message-id")
    at.add_argument("--raw-header", action="append", default=[], metavar="NAME: VALUE")
    at.add_argument("--damage", choices=("flip", "truncate"))
    at.add_argument("--save", help="also write the posted message (headers and body) here")
    at.add_argument("--mdn-out", help="write the answer (headers and body) here")
    at.add_argument("--timeout", type=float, default=60, help="seconds for the answer, and again for an asynchronous MDN")
    at.set_defaults(run=send)
