"""A partner of the gas industry that posts and takes messages as HTML forms over HTTP/1.0, and acknowledges them by
GISB-Acknowledgement-Receipts (`serve`, `send`). Written from "HTTP Transport for Secure EDI" (2.1.2, 2.5.2, 2.8, 4.2, appendix B)
alone."""

import argparse
import base64
import hashlib
import json
import pathlib
import secrets
import socket
import threading
import time
import traceback
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from replies_messages import Keys, entity, kind_of, multipart, parameter, parsed, parts_of, payload, signed, unwrapped

PATIENCE = 90  # seconds
ACKNOWLEDGEMENT, NOTIFICATION = "GISB-Acknowledgement-Receipt", "GISB-Error-Notification"

# What the peer can be told to do with a message, with what it does when not told. See README.md.
BEHAVIOUR = {
    "status": "ok",  # what the receipt says became of the message
    "signed": False,  # the receipt, asked for so or not
    "mic": "header",  # its form in the receipt: header · xml · none · wrong
    "type": "",  # the receipt's report-type, where it is not the one that was asked for
    "answer": "receipt",  # receipt · empty · nothing: the connection is closed
    "login": "",  # USER:PASSWORD that is asked for (basic authentication)
}


def part(name, value, more=()):
    """A part of a form, without its boundary."""
    return entity([("Content-Disposition", f'form-data; name="{name}"'), *more], value)


def form(fields, message, name):
    """The fields and the body of a form: the message, an entity, is the part input-data and comes last."""
    given, body = parsed(message)
    given = [(name.title(), value) for name, value in given.items()
             if name not in ("content-disposition", "content-transfer-encoding")]
    parts = [part(name, value.encode()) for name, value in fields]
    parts.append(entity([("Content-Disposition", f'form-data; name="input-data"; filename="{name}"'), *given], body))
    return multipart("multipart/form-data", parts)


def read_form(headers, body):
    """The fields of a form by their names in lower case, and its message: fields and body."""
    found, message = {}, None
    for one in parts_of(headers, body):
        head, content = parsed(one)
        name = parameter(head["content-disposition"], "name").lower()
        if name == "input-data":
            found["filename"] = parameter(head["content-disposition"], "filename")
            message = head, content
        else:
            found[name] = content.decode("latin-1")
    return found, message


def report(kind, lines, words):
    """A generalized receipt: an HTML part, then a part for programs."""
    html = f"<HTML><HEAD><TITLE>{words}</TITLE></HEAD>\r\n<BODY><P>\r\n" + "\r\n".join(lines) + "\r\n</P> </BODY></HTML>"
    return multipart("multipart/report", [
        b"Content-type: text/html\r\n\r\n" + html.encode(),
        b"Content-type: text/plain\r\n\r\n" + "\r\n".join(lines).encode(),
    ], f'; report-type="{kind}"')


def status_lines(status):
    return [f"time-c={time.strftime('%Y%m%d%H%M%S')}*", f"request-status={status}*", "server-id=coyote*",
            f"trans-id={secrets.randbelow(10**9)}*"]


def receipt(asked, message, behaviour, keys):
    mic = message["mic"] if behaviour["mic"] != "wrong" else base64.b64encode(b"x" * 32).decode()
    lines = status_lines(behaviour["status"])
    if behaviour["mic"] in ("header", "wrong"):
        lines.append(f"Received-Content-MIC: {mic}, sha-256")
    elif behaviour["mic"] == "xml":
        lines.append(f"<ReceivedContentMic algid=sha-256 encode=base64 >{mic}</ReceivedContentMic>")
    outcome = "Success" if behaviour["status"] == "ok" else "Error"
    made = report(behaviour["type"] or asked, lines, f"Acknowledgement Receipt {outcome}")
    return signed(entity(*made), keys) if behaviour["signed"] else made


def post(url, fields, body, version="HTTP/1.0"):
    """Posts by hand: an old client, which closes the connection to end it."""
    to = urllib.parse.urlsplit(url)
    lines = [f"POST {to.path or '/'} {version}", "User-Agent: brow v0.1 XYZ Corp.", f"Host: {to.hostname}",
             "Accept: image/gif, image/x-xbitmap, image/jpeg, image/pjpeg, */*", "Connection: close",
             *(f"{name}: {value}" for name, value in fields), f"Content-Length: {len(body)}"]
    with socket.create_connection((to.hostname, to.port), timeout=PATIENCE) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = b""
        while more := connection.recv(65536):
            answer += more
    head, _, content = answer.partition(b"\r\n\r\n")
    status, _, rest = head.partition(b"\r\n")
    given, _ = parsed(rest + b"\r\n\r\n")
    return int(status.split()[1]), given, content


class Peer:
    def __init__(self, options):
        self.options, self.dir, self.lock = options, pathlib.Path(options.dir), threading.Lock()
        self.behaviour, self.partner_cert = dict(BEHAVIOUR), ""

    def tell(self, told):
        with self.lock:
            if told.pop("reset", False):
                self.behaviour = dict(BEHAVIOUR)
            if certificate := told.pop("partner_cert", None):
                self.partner_cert = certificate
            unknown = set(told) - set(BEHAVIOUR)
            if unknown:
                raise ValueError(f"nothing is known of {unknown}")
            self.behaviour.update(told)

    def keys(self):
        return Keys(self.options.key, self.options.cert, self.partner_cert)

    def record(self, **line):
        with self.lock, open(self.dir / "received.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps({"at": time.time(), **line}) + "\n")

    def receive(self, headers, body):
        """The answer to a form: its fields and body."""
        with self.lock:
            behaviour = dict(self.behaviour)
        fields, message = read_form(headers, body)
        given = {"message_id": headers.get("message-id"), "as2_from": headers.get("as2-from"), "fields": fields}
        if fields.get("input-format", "").lower() == "error":
            report_type = parameter(message[0]["content-type"], "report-type")
            kinds = [kind_of(parsed(one)[0]) for one in parts_of(*message)]
            said = parsed(parts_of(*message)[1])[1].decode("latin-1")
            self.record(notification=True, report_type=report_type, kinds=kinds, said=said, **given)
            return [], b""
        held = unwrapped(*message, self.keys())[0]
        self.record(**given, **{name: held[name] for name in ("signed", "encrypted", "mic", "sha256", "length", "content_type")})
        asked = fields.get("receipt-report-type")
        if behaviour["answer"] == "nothing":
            return None
        if behaviour["answer"] == "empty" or not asked:
            return [], b""
        return receipt(asked, held, behaviour, self.keys())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    peer: Peer

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            if self.path == "/control":
                self.peer.tell(json.loads(body))
                return self.answer(200, [], b"")
            login = self.peer.behaviour["login"]
            expected = "Basic " + base64.b64encode(login.encode()).decode()
            if login and self.headers.get("Authorization") != expected:
                return self.answer(401, [("WWW-Authenticate", 'Basic realm="GISB"')], b"")
            made = self.peer.receive({name.lower(): value for name, value in self.headers.items()}, body)
            if made is None:
                return None
            return self.answer(200, *made)
        except Exception as error:  # the test sees it in what is recorded
            traceback.print_exc()
            self.peer.record(error=f"{type(error).__name__}: {error}")
            return self.answer(500, [], str(error).encode())

    def answer(self, status, fields, body):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def serve(options):
    Handler.peer = Peer(options)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print(f"listening on {options.port}", flush=True)
    server.serve_forever()


def message_of(options, keys):
    """The message that is posted: a file, or a notification of an error about a message of the partner's."""
    if options.notify:
        lines = [*status_lines("EEDM999: the business document has an error"), options.notify]
        return entity(*report(NOTIFICATION, lines, "Error Notification")), "error.txt"
    path = pathlib.Path(options.file)
    return payload(path.read_bytes(), path.name, options.protection.split(",") if options.protection else [], keys), path.name


def send(options):
    """Posts a form, and says what the answer is."""
    keys = Keys(options.key, options.cert, options.partner_cert)
    message, name = message_of(options, keys)
    fields = [tuple(field.split("=", 1)) for field in options.field]
    own, body = form(fields, message, name)
    own += [tuple(header.split(":", 1)) for header in options.header]
    if options.login:
        own.append(("Authorization", "Basic " + base64.b64encode(options.login.encode()).decode()))
    status, given, content = post(options.to_url, own, body)
    said = {"status": status, "content_type": kind_of(given), "headers": given, "body": content.decode("latin-1"),
            "body_sha256": hashlib.sha256(content).hexdigest(), "signed": False}
    if kind_of(given) == "multipart/signed":
        unproved = unwrapped_report(given, content, keys)
        said["signed"], given, content = True, *unproved
    if kind_of(given) == "multipart/report":
        parts = [parsed(one) for one in parts_of(given, content)]
        said["report_type"] = parameter(given["content-type"], "report-type")
        said["parts"] = [{"kind": kind_of(head), "text": text.decode("latin-1")} for head, text in parts]
    own_keys = Keys(options.key, options.cert, options.cert)
    can_see = not options.notify and "encrypted" not in options.protection
    sent = unwrapped(*parsed(message), own_keys) if can_see else [{}]
    said["sent_mic"] = sent[0].get("mic")
    print(json.dumps(said))


def unwrapped_report(fields, body, keys):
    """The fields and the body of a report whose signature is the partner's."""
    from replies_messages import openssl
    content, signature = parts_of(fields, body)[:2]
    given, data = parsed(signature)
    if "base64" in given.get("content-transfer-encoding", ""):
        data = base64.b64decode(data)
    proved = openssl("cms", "-verify", "-binary", "-inform", "DER", "-in", "signature", "-content", "content",
                     "-certfile", keys.partner, "-nointern", "-noverify", files={"signature": data, "content": content})
    if proved is None:
        raise ValueError("the signature of the receipt is not the partner's")
    return parsed(content)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    at = commands.add_parser("serve")
    at.add_argument("--dir", required=True)
    at.add_argument("--port", type=int, required=True)
    at.set_defaults(run=serve)
    to = commands.add_parser("send")
    to.add_argument("--to-url", required=True)
    to.add_argument("--file")
    to.add_argument("--notify", help="the line that names the message: Original-Message-ID: … or Original-RefNum: …")
    to.add_argument("--protection", default="", help="signed, encrypted, or both with a comma")
    to.add_argument("--field", action="append", default=[], help="NAME=VALUE")
    to.add_argument("--header", action="append", default=[], help="NAME:VALUE")
    to.add_argument("--login", help="USER:PASSWORD")
    to.set_defaults(run=send)
    for both in (at, to):
        both.add_argument("--key", required=True)
        both.add_argument("--cert", required=True)
    to.add_argument("--partner-cert", required=True)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
