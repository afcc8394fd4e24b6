"""AS2 messages and MDNs for the restart partner: files in, files out, with `openssl cms` for what is signed and encrypted, and `gpg` for
what comes by PGP/MIME.

Nothing is held in memory whole but what openssl itself holds. Written from RFC 4130 and draft-harding-as2-restart-06 alone.
"""

import base64
import hashlib
import mmap
import pathlib
import re
import secrets
import subprocess
from email import message_from_bytes
from email.utils import formatdate

CHUNK = 1 << 20


def openssl(*arguments):
    done = subprocess.run(["openssl", "cms", *map(str, arguments)], capture_output=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"openssl cms {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")


def gpg(home, *arguments):
    options = ["--batch", "--yes", "--quiet", "--trust-model", "always", "--pinentry-mode", "loopback", "--passphrase", ""]
    done = subprocess.run(["gpg", "--homedir", str(home), *options, *map(str, arguments)], capture_output=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"gpg {arguments}: {done.stderr.decode(errors='replace').strip()}")


def append_file(out, path):
    with open(path, "rb") as source:
        while chunk := source.read(CHUNK):
            out.write(chunk)


def digest_of(path, name="sha256"):
    digest = hashlib.new(name)
    with open(path, "rb") as source:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
    return digest


def signature_part(path, key, certificate, digest):
    """The second part of a multipart/signed over this file, with its header block."""
    made = path.with_suffix(".p7s")
    openssl("-sign", "-binary", "-outform", "DER", "-md", digest, "-signer", certificate, "-inkey", key, "-in", path, "-out", made)
    return (b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + base64.encodebytes(made.read_bytes()).replace(b"\n", b"\r\n"))


def multipart_signed(part, out, key, certificate, digest):
    """Writes the body of a multipart/signed around the entity in `part`; gives its Content-Type."""
    boundary = f"=-{secrets.token_hex(16)}"
    with open(out, "wb") as body:
        body.write(f"--{boundary}\r\n".encode())
        append_file(body, part)
        body.write(f"\r\n--{boundary}\r\n".encode() + signature_part(part, key, certificate, digest))
        body.write(f"--{boundary}--\r\n".encode())
    return f'multipart/signed; protocol="application/pkcs7-signature"; micalg={digest}; boundary="{boundary}"'


class Message:
    """A message to send: its header fields, and its body as a file that never changes."""

    def __init__(self, options, work):
        work.mkdir(parents=True, exist_ok=True)
        file = pathlib.Path(options.file)
        part = work / "part"
        with open(part, "wb") as out:
            out.write(b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n"
                      + f'Content-Disposition: attachment; filename="{options.file_name or file.name}"\r\n\r\n'.encode())
            append_file(out, file)
        self.mic = base64.b64encode(digest_of(part, options.digest).digest()).decode()
        self.body = work / "signed"
        content_type = multipart_signed(part, self.body, options.key, options.cert, options.digest)
        if not options.no_encrypt:
            entity, self.body = work / "entity", work / "encrypted"
            with open(entity, "wb") as out:
                out.write(f"Content-Type: {content_type}\r\n\r\n".encode())
                append_file(out, work / "signed")
            openssl("-encrypt", "-binary", "-stream", "-outform", "DER", "-aes-256-cbc", "-in", entity, "-out", self.body,
                    options.partner_cert)
            content_type = "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"
        self.total = self.body.stat().st_size
        self.message_id = options.message_id or f"<{secrets.token_hex(16)}@restart-peer>"
        self.headers = [("Message-ID", self.message_id), ("MIME-Version", "1.0"), ("Date", formatdate()),
                        ("Content-Type", content_type)]
        if options.mdn != "none":
            self.headers += [("Disposition-Notification-To", "restart-peer@localhost"), (
                "Disposition-Notification-Options",
                f"signed-receipt-protocol=required, pkcs7-signature; signed-receipt-micalg=required, {options.digest}")]


class Received:
    """A whole message that arrived: decrypted, verified, its payload in a file of its own."""

    def __init__(self, headers, body, work, options, partner_certificate, gpg_home=None):
        work.mkdir(parents=True, exist_ok=True)
        self.work, self.options, self.partner_certificate, self.gpg_home = work, options, partner_certificate, gpg_home
        self.signed = self.encrypted = self.compressed = False
        self.mic = self.file_name = None
        self.read(dict_of(headers), body)

    def read(self, fields, path):
        kind = fields.get("content-type", "")
        if "enveloped-data" in kind.lower():
            self.encrypted = True
            inner = self.work / "inner"
            openssl("-decrypt", "-binary", "-inform", "DER", "-in", path, "-out", inner,
                    "-recip", self.options.cert, "-inkey", self.options.key)
            self.read(*self.split_head(inner))
        elif "compressed-data" in kind.lower():
            self.compressed = True
            from pyas2lib.cms import decompress_message  # in memory: for small messages
            inner = self.work / "expanded"
            inner.write_bytes(decompress_message(decoded(fields, path)))
            self.read(*self.split_head(inner))
        elif "signed-data" in kind.lower():  # opaque: the content is inside
            self.signed = True
            content = self.work / "content"
            openssl("-verify", "-binary", "-inform", "DER", "-in", path, "-noverify", "-nointern",
                    "-certfile", self.partner_certificate, "-out", content)
            self.mic = f"{base64.b64encode(digest_of(content).digest()).decode()}, sha256"
            self.read(*self.split_head(content))
        elif kind.lower().startswith("multipart/encrypted"):  # RFC 3156, 4
            self.encrypted = True
            inner, sealed = self.work / "inner", self.work / "sealed"
            whole = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + path.read_bytes())  # in memory: for small messages
            sealed.write_bytes(whole.get_payload()[1].get_payload(decode=True))
            gpg(self.gpg_home, "--output", inner, "--decrypt", sealed)
            self.read(*self.split_head(inner))
        elif kind.lower().startswith("multipart/signed"):
            self.signed = True
            self.read(*self.verify(fields, path))
        else:
            self.payload = path
            name = re.search(r'filename="?([^";]+)', fields.get("content-disposition", ""))
            self.file_name = name and name.group(1)

    def split_head(self, path):
        """Header fields of an entity in a file, and a file with its body."""
        with open(path, "rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as bytes_:
            at = bytes_.find(b"\r\n\r\n")
            fields = {name.lower(): value for name, value in message_from_bytes(bytes_[:at + 4]).items()}
        out = path.with_name(path.name + "-body")
        copy_range(path, at + 4, path.stat().st_size, out)
        return fields, out

    def verify(self, fields, path):
        """Verifies a multipart/signed; gives its first part. The bytes that count are those strictly between the boundaries."""
        whole = message_from_bytes(f"Content-Type: {fields['content-type']}\r\n\r\n".encode())
        boundary = whole.get_boundary().encode()
        content, signature = self.work / "content", self.work / "signature"
        with open(path, "rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as bytes_:
            begin = bytes_.find(b"--" + boundary + b"\r\n") + len(boundary) + 4
            between = bytes_.rfind(b"\r\n--" + boundary + b"\r\n")
            end = bytes_.rfind(b"\r\n--" + boundary + b"--")
            part = message_from_bytes(bytes_[between + len(boundary) + 6:end])
        copy_range(path, begin, between, content)
        signature.write_bytes(part.get_payload(decode=True))
        if "pgp-signature" in fields["content-type"].lower():
            gpg(self.gpg_home, "--verify", signature, content)
        else:
            openssl("-verify", "-binary", "-inform", "DER", "-in", signature, "-content", content, "-noverify", "-nointern",
                    "-certfile", self.partner_certificate, "-out", "/dev/null")
        digest = (whole.get_param("micalg") or "sha256").lower().replace("-", "").removeprefix("pgp")
        self.mic = f"{base64.b64encode(digest_of(content, digest).digest()).decode()}, {digest}"
        return self.split_head(content)


def dict_of(headers):
    return {name.lower(): value for name, value in headers}


def decoded(fields, path):
    data = path.read_bytes()
    return base64.b64decode(data) if "base64" in fields.get("content-transfer-encoding", "").lower() else data


def copy_range(path, begin, end, out):
    with open(path, "rb") as source, open(out, "wb") as into:
        source.seek(begin)
        left = end - begin
        while left > 0 and (chunk := source.read(min(left, CHUNK))):
            into.write(chunk)
            left -= len(chunk)


def make_mdn(fields, disposition, mic, work, options):
    """An MDN for a message with these header fields: (header fields, body); signed when that was asked for."""
    boundary = f"=-{secrets.token_hex(16)}"
    report = [
        "Reporting-UA: restart-peer", f"Final-Recipient: rfc822; {fields.get('as2-to', '')}",
        f"Original-Message-ID: {fields.get('message-id', '')}",
        f"Disposition: automatic-action/MDN-sent-automatically; {disposition}"]
    if mic:
        report.append(f"Received-Content-MIC: {mic}")
    lines = [
        f"--{boundary}", "Content-Type: text/plain", "", "The message was received.", f"--{boundary}",
        "Content-Type: message/disposition-notification", "", *report, "", f"--{boundary}--", ""]
    body = "\r\n".join(lines).encode()
    kind = f'multipart/report; report-type=disposition-notification; boundary="{boundary}"'
    if "pkcs7-signature" in fields.get("disposition-notification-options", ""):
        part = work / "mdn"
        part.write_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        kind = multipart_signed(part, work / "mdn-signed", options.key, options.cert, "sha256")
        body = (work / "mdn-signed").read_bytes()
    return [("AS2-From", fields.get("as2-to", "")), ("AS2-To", fields.get("as2-from", "")), ("AS2-Version", "1.2"),
            ("Message-ID", f"<{secrets.token_hex(16)}@restart-peer>"), ("MIME-Version", "1.0"), ("Date", formatdate()),
            ("Content-Type", kind)], body
