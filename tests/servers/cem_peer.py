"""An AS2 partner that exchanges certificates (`serve` takes requests and responses, `request` proposes certificates). Written from
draft-meadors-certificate-exchange-14 alone, with `openssl cms` for S/MIME."""

import argparse
import base64
import hashlib
import http.client
import json
import pathlib
import secrets
import subprocess
import threading
import time
import traceback
import urllib.parse
import xml.etree.ElementTree as ElementTree
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

from replies_messages import (Keys, encrypted, entity, kind_of, multipart, openssl, parameter, parsed, parts_of, receipt, signed,
                              unwrapped)

PATIENCE = 90  # seconds
CEM = "urn:ietf:params:xml:ns:ediintcertificateexchange"
DSIG = "http://www.w3.org/2000/09/xmldsig#"
DOCUMENT = "application/ediint-cert-exchange+xml"

# What the peer can be told to do with a request. See README.md.
BEHAVIOUR = {"answer": None, "reason": None, "request_id": None, "serial": None, "name": "PEER", "sign": True}


def run(*arguments):
    return subprocess.run(["openssl", *arguments], capture_output=True, check=True).stdout.decode().strip()


def facts(path):
    """Issuer, serial number in decimal and fingerprint of a certificate."""
    serial = run("x509", "-in", str(path), "-noout", "-serial").partition("=")[2]
    issuer = run("x509", "-in", str(path), "-noout", "-issuer", "-nameopt", "RFC2253").partition("=")[2]
    der = subprocess.run(["openssl", "x509", "-in", str(path), "-outform", "DER"], capture_output=True, check=True).stdout
    return {"issuer": issuer, "serial": str(int(serial, 16)), "fingerprint": hashlib.sha256(der).hexdigest()}


def certs_only(path):
    return subprocess.run(["openssl", "crl2pkcs7", "-nocrl", "-certfile", str(path), "-outform", "DER"], capture_output=True,
                          check=True).stdout


def info(name):
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    return (f'<TradingPartnerInfo><Name qualifier="AS2">{escape(name)}</Name>'
            f"<MessageOriginated>{now}</MessageOriginated></TradingPartnerInfo>")


def document(kind, request_id, name, content, before=""):
    return (f'<?xml version="1.0" encoding="UTF-8"?>{before}<{kind} xmlns="{CEM}" xmlns:ds="{DSIG}" requestId="{escape(request_id)}">'
            f"{info(name)}{content}</{kind}>").encode()


def related(parts):
    return entity(*multipart("multipart/related", parts, f'; type="{DOCUMENT}"'))


def xml_part(xml):
    return entity([("Content-Type", DOCUMENT), ("Content-ID", "<exchange@cem-peer>")], xml)


def certificate_part(content_id, path):
    lines = base64.encodebytes(certs_only(path)).replace(b"\n", b"\r\n")
    return entity([("Content-Type", "application/pkcs7-mime; smime-type=certs-only; name=smime.p7c"),
                   ("Content-Transfer-Encoding", "base64"), ("Content-ID", f"<{content_id}>")], lines)


def request(options):
    """The entity of a request, as it was asked for."""
    content, parts = "", []
    for number in range(options.count):
        own = facts(options.new_cert)
        content_id = f"cert-{number}@cem-peer"
        usages = "".join(f"<CertUsage>{usage}</CertUsage>" for usage in options.usage.split(","))
        date = f"<RespondByDate>{options.respond_by}</RespondByDate>" if options.respond_by else ""
        content += (f"<TrustRequest>{usages}{date}<ResponseURL>{escape(options.response_url)}</ResponseURL><EndEntity>"
                    f"<CertificateIdentifier><ds:X509IssuerName>{escape(own['issuer'])}</ds:X509IssuerName>"
                    f"<ds:X509SerialNumber>{options.serial or own['serial']}</ds:X509SerialNumber></CertificateIdentifier>"
                    f"<CertificateContentID>{options.content_id or content_id}</CertificateContentID></EndEntity></TrustRequest>")
        parts.append(certificate_part(content_id, options.new_cert))
    before = '<!DOCTYPE x [<!ENTITY e "PEER">]>' if options.doctype else ""
    name = "&e;" if options.doctype else options.name
    xml = document("EDIINTCertificateExchangeRequest", options.request_id, "PEER", content, before)
    xml = xml.replace(b">PEER<", f">{name}<".encode())
    if options.originated:
        head, _, rest = xml.partition(b"<MessageOriginated>")
        xml = head + f"<MessageOriginated>{options.originated}".encode() + rest[rest.index(b"<"):]
    return related([xml_part(xml), *parts])


def response(request_id, name, serial, issuer, status, reason):
    why = f"<ReasonForRejection>{escape(reason)}</ReasonForRejection>" if reason else ""
    content = (f"<TrustResponse><CertStatus>{status}</CertStatus>{why}<CertificateReference><ds:X509IssuerName>{escape(issuer)}"
               f"</ds:X509IssuerName><ds:X509SerialNumber>{serial}</ds:X509SerialNumber></CertificateReference></TrustResponse>")
    return related([xml_part(document("EDIINTCertificateExchangeResponse", request_id, name, content))])


def read(xml, parts):
    """What a document says, with the certificates that it names."""
    root, at = ElementTree.fromstring(xml), {"c": CEM, "ds": DSIG}
    said = {"kind": root.tag.partition("}")[2], "request_id": root.get("requestId"),
            "name": root.findtext("c:TradingPartnerInfo/c:Name", namespaces=at),
            "originated": root.findtext("c:TradingPartnerInfo/c:MessageOriginated", namespaces=at), "requests": [], "responses": []}
    for asked in root.findall("c:TrustRequest", at):
        content_id = asked.findtext("c:EndEntity/c:CertificateContentID", namespaces=at)
        der = parts[content_id]
        pem = openssl("pkcs7", "-inform", "DER", "-in", "file", "-print_certs", files={"file": der})
        own = openssl("x509", "-in", "file", "-outform", "DER", files={"file": pem})
        said["requests"].append({
            "usages": [usage.text for usage in asked.findall("c:CertUsage", at)],
            "respond_by": asked.findtext("c:RespondByDate", namespaces=at),
            "response_url": asked.findtext("c:ResponseURL", namespaces=at),
            "issuer": asked.findtext("c:EndEntity/c:CertificateIdentifier/ds:X509IssuerName", namespaces=at),
            "serial": asked.findtext("c:EndEntity/c:CertificateIdentifier/ds:X509SerialNumber", namespaces=at),
            "fingerprint": hashlib.sha256(own).hexdigest()})
    for told in root.findall("c:TrustResponse", at):
        said["responses"].append({
            "status": told.findtext("c:CertStatus", namespaces=at), "reason": told.findtext("c:ReasonForRejection", namespaces=at),
            "issuer": told.findtext("c:CertificateReference/ds:X509IssuerName", namespaces=at),
            "serial": told.findtext("c:CertificateReference/ds:X509SerialNumber", namespaces=at)})
    return said


def opened(fields, body, keys, newer=None):
    """The fields and the body of a multipart/related without encryption and signature, and the MIC of what was signed."""
    if kind_of(fields) == "application/pkcs7-mime":
        if "base64" in fields.get("content-transfer-encoding", ""):
            body = base64.b64decode(body)
        # Who proposes a certificate reads with its key from then on.
        pairs = [(keys.key, keys.certificate), *([newer] if newer else [])]
        tried = (openssl("cms", "-decrypt", "-binary", "-inform", "DER", "-in", "content", "-recip", certificate,
                         "-inkey", key, files={"content": body}) for key, certificate in pairs)
        plain = next((plain for plain in tried if plain is not None), None)
        if plain is None:
            raise ValueError("it cannot be decrypted")
        return opened(*parsed(plain), keys, newer)
    if kind_of(fields) != "multipart/signed":
        raise ValueError("it is not signed")
    content, signature = parts_of(fields, body)[:2]
    given, data = parsed(signature)
    if "base64" in given.get("content-transfer-encoding", ""):
        data = base64.b64decode(data)
    if openssl("cms", "-verify", "-binary", "-inform", "DER", "-in", "signature", "-content", "content", "-certfile", keys.partner,
               "-nointern", "-noverify", files={"signature": data, "content": content}) is None:
        raise ValueError("its signature is not the partner's")
    return *parsed(content), base64.b64encode(hashlib.sha256(content).digest()).decode()


class Peer:
    def __init__(self, options):
        self.options, self.dir = options, pathlib.Path(options.dir)
        self.lock, self.behaviour, self.partner_cert, self.newer = threading.Lock(), dict(BEHAVIOUR), None, None

    def tell(self, told):
        unknown = set(told) - set(BEHAVIOUR) - {"partner_cert", "newer"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        with self.lock:
            self.partner_cert = told.pop("partner_cert", self.partner_cert)
            self.newer = told.pop("newer", self.newer)
            self.behaviour.update(told)

    def keys(self):
        return Keys(self.options.key, self.options.cert, self.partner_cert)

    def record(self, **line):
        with self.lock, open(self.dir / "received.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps({"at": time.time(), **line}) + "\n")

    def receive(self, fields, body):
        """The receipt for a message; then the response that is posted, where the peer was told to answer."""
        keys = self.keys()
        inner, content, mic = opened(fields, body, keys, self.newer)
        if kind_of(inner) != "multipart/related" or parameter(inner["content-type"], "type") != DOCUMENT:
            raise ValueError(f"it is {inner['content-type']}")
        found = {}
        for part in parts_of(inner, content):
            head, data = parsed(part)
            if "base64" in head.get("content-transfer-encoding", ""):
                data = base64.b64decode(data)
            found[head["content-id"].strip("<>")] = (kind_of(head), data)
        start = parameter(inner["content-type"], "start")
        root = found[start.strip("<>")] if start else next(iter(found.values()))
        if root[0] != DOCUMENT:
            raise ValueError(f"its root is {root[0]}")
        said = read(root[1], {name: data for name, (_, data) in found.items()})
        self.record(message_id=fields.get("message-id"), features=fields.get("ediint-features"), **said)
        plain = receipt(fields.get("message-id"), "processed", mic, "PEER")
        own = [("AS2-Version", "1.2"), ("EDIINT-Features", "CEM"), ("AS2-From", "PEER"), ("AS2-To", "WAYBILL"),
               ("Message-ID", f"<{secrets.token_hex(12)}@cem-peer>"), ("MIME-Version", "1.0")]
        given, made = signed(plain, keys)
        return (own + given, made), said

    def respond(self, said):
        with self.lock:
            told = dict(self.behaviour)
        for asked in said["requests"] if told["answer"] else []:
            made = response(told["request_id"] or said["request_id"], told["name"], told["serial"] or asked["serial"],
                            asked["issuer"], told["answer"], told["reason"])
            status, disposition = deliver(asked["response_url"], made, self.keys(), told["sign"])
            self.record(posted=True, status=status, disposition=disposition)


def post(url, fields, body):
    to = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(to.hostname, to.port, timeout=PATIENCE)
    try:
        connection.request("POST", to.path or "/", body, dict(fields))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def deliver(url, made, keys, sign=True, message_id=None):
    """Posts an entity, signed and encrypted; the status, and what the receipt says."""
    given, body = encrypted(entity(*signed(made, keys)) if sign else made, keys)
    given = [(name, value) for name, value in given if name.lower() != "content-transfer-encoding"]
    own = [("AS2-Version", "1.2"), ("EDIINT-Features", "CEM"), ("AS2-From", "PEER"), ("AS2-To", "WAYBILL"),
           ("MIME-Version", "1.0"), ("Message-ID", message_id or f"<{secrets.token_hex(12)}@cem-peer>"),
           ("Disposition-Notification-To", "PEER"), ("Disposition-Notification-Options",
            "signed-receipt-protocol=required, pkcs7-signature; signed-receipt-micalg=optional, sha-256")]
    status, fields, answer = post(url, own + given, body)
    if status != 200:
        return status, answer[:300].decode("latin-1")
    held = unwrapped(fields, answer, keys)
    return status, next((part["disposition"] for part in held if part["receipt"]), None)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    peer: Peer

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            if self.path == "/control":
                self.peer.tell(json.loads(body))
                return self.answer(200, [], b"")
            fields = {name.lower(): value for name, value in self.headers.items()}
            made, said = self.peer.receive(fields, body)
            self.answer(200, *made)
            return self.peer.respond(said)
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


def ask(options):
    keys = Keys(options.key, options.cert, options.partner_cert)
    status, disposition = deliver(options.to_url, request(options), keys, not options.unsigned, options.message_id)
    print(json.dumps({"status": status, "disposition": disposition, **facts(options.new_cert)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    at = commands.add_parser("serve")
    at.add_argument("--dir", required=True)
    at.add_argument("--port", type=int, required=True)
    at.set_defaults(run=serve)
    to = commands.add_parser("request")
    for name in ("to-url", "partner-cert", "new-cert", "request-id"):
        to.add_argument(f"--{name}", required=True)
    for name in ("respond-by", "serial", "content-id", "message-id", "originated"):
        to.add_argument(f"--{name}")
    to.add_argument("--response-url", default="http://127.0.0.1:9/as2")
    to.add_argument("--usage", default="digitalSignature,keyEncipherment")
    to.add_argument("--name", default="PEER")
    to.add_argument("--count", type=int, default=1)
    to.add_argument("--unsigned", action="store_true")
    to.add_argument("--doctype", action="store_true")
    to.set_defaults(run=ask)
    for both in (at, to):
        both.add_argument("--key", required=True)
        both.add_argument("--cert", required=True)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
