"""MIME and S/MIME of the partner that answers with payloads: written by hand, signed and encrypted by `openssl cms`."""

import base64
import hashlib
import pathlib
import secrets
import subprocess
import tempfile
import zlib

SIGNATURE = ("Content-Type: application/pkcs7-signature; name=smime.p7s\r\n"
             "Content-Transfer-Encoding: base64\r\n\r\n")


class Keys:
    """Our key and certificate, and the partner's certificate."""

    def __init__(self, key, certificate, partner):
        self.key, self.certificate, self.partner = str(key), str(certificate), str(partner or "")


def openssl(*arguments, files=None):
    """Runs openssl with files of this content in place of their names; its output, or nothing where it fails."""
    with tempfile.TemporaryDirectory() as at:
        named = {}
        for name, content in (files or {}).items():
            named[name] = str(pathlib.Path(at) / name)
            pathlib.Path(named[name]).write_bytes(content)
        out = pathlib.Path(at) / "out"
        done = subprocess.run(["openssl", *(named.get(a, a) for a in arguments), "-out", str(out)],
                              capture_output=True, check=False)
        return out.read_bytes() if done.returncode == 0 and out.exists() else None


def entity(fields, body):
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return head.encode() + b"\r\n" + body


def parsed(data):
    """The fields, in lower case, and the body of an entity."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, value in fields.items()}, body


def parameter(value, name):
    for piece in value.split(";")[1:]:
        key, _, given = piece.strip().partition("=")
        if key.strip().lower() == name:
            return given.strip().strip('"')
    return None


def kind_of(fields):
    return fields.get("content-type", "").split(";")[0].strip().lower()


def parts_of(fields, body):
    """What stands strictly between the delimiters."""
    delimiter = b"\r\n--" + parameter(fields["content-type"], "boundary").encode()
    pieces = (b"\r\n" + body).split(delimiter)
    return [piece.partition(b"\r\n")[2] for piece in pieces[1:] if not piece.startswith(b"--")]


def multipart(kind, parts, extra=""):
    boundary = f"=_{secrets.token_hex(16)}"
    body = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return [("Content-Type", f'{kind}; boundary="{boundary}"{extra}')], body + b"--" + boundary.encode() + b"--\r\n"


def signed(data, keys):
    """The fields and the body of multipart/signed over an entity."""
    signature = openssl("cms", "-sign", "-binary", "-outform", "DER", "-md", "sha256", "-signer", keys.certificate,
                        "-inkey", keys.key, "-in", "content", files={"content": data})
    lines = base64.encodebytes(signature).decode().replace("\n", "\r\n")
    return multipart("multipart/signed", [data, (SIGNATURE + lines).encode()],
                     '; protocol="application/pkcs7-signature"; micalg=sha-256')


def encrypted(data, keys):
    body = openssl("cms", "-encrypt", "-binary", "-aes256", "-outform", "DER", "-in", "content", "-recip", keys.partner,
                   files={"content": data})
    return [("Content-Type", "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"),
            ("Content-Transfer-Encoding", "binary")], body


def compressed(data):
    """CompressedData (RFC 3274), which openssl writes only where it was built with zlib."""
    def der(tag, *contents):
        content = b"".join(contents)
        size = len(content)
        if size < 128:
            return bytes([tag, size]) + content
        digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
        return bytes([tag, 0x80 | len(digits)]) + digits + content

    def oid(*arcs):
        out = [40 * arcs[0] + arcs[1]]
        for arc in arcs[2:]:
            digits = [arc & 0x7F]
            while arc := arc >> 7:
                digits.append(0x80 | arc & 0x7F)
            out += reversed(digits)
        return der(6, bytes(out))

    smime = (1, 2, 840, 113549, 1, 9, 16)
    content = der(0x30, oid(1, 2, 840, 113549, 1, 7, 1), der(0xA0, der(4, zlib.compress(data))))
    value = der(0x30, der(2, b"\0"), der(0x30, oid(*smime, 3, 8)), content)
    return [("Content-Type", "application/pkcs7-mime; smime-type=compressed-data; name=smime.p7z"),
            ("Content-Transfer-Encoding", "binary")], der(0x30, oid(*smime, 1, 9), der(0xA0, value))


def unwrapped(fields, body, keys, around=None):
    """What an entity holds: its receipts and payloads, with what protects each."""
    around = dict(around or {"signed": False, "encrypted": False, "mic": None})
    kind = kind_of(fields)
    if "base64" in fields.get("content-transfer-encoding", "").lower() and kind.endswith("pkcs7-mime"):
        body = base64.b64decode(body)
    if kind in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        opened = openssl("cms", "-decrypt", "-binary", "-inform", "DER", "-in", "content", "-recip", keys.certificate,
                         "-inkey", keys.key, files={"content": body})
        if opened is None:
            raise ValueError("it cannot be decrypted")
        return unwrapped(*parsed(opened), keys, {**around, "encrypted": True})
    if kind == "multipart/signed":
        content, signature = parts_of(fields, body)[:2]
        given, data = parsed(signature)
        if "base64" in given.get("content-transfer-encoding", ""):
            data = base64.b64decode(data)
        proved = openssl("cms", "-verify", "-binary", "-inform", "DER", "-in", "signature", "-content", "content",
                         "-certfile", keys.partner, "-nointern", "-noverify",
                         files={"signature": data, "content": content})
        if proved is None:
            raise ValueError("its signature is not the partner's")
        mic = around["mic"] or base64.b64encode(hashlib.sha256(content).digest()).decode()
        return unwrapped(*parsed(content), keys, {**around, "signed": True, "mic": mic})
    if kind == "multipart/report":
        report = next(part for part in parts_of(fields, body) if b"message/disposition-notification" in part)
        said, _ = parsed(parsed(report)[1] + b"\r\n\r\n")
        mic = said.get("received-content-mic")
        return [{"receipt": True, "signed": around["signed"], "encrypted": around["encrypted"], "mic": mic,
                 "original_message_id": said.get("original-message-id"), "disposition": said.get("disposition")}]
    if kind == "multipart/mixed":
        return [found for part in parts_of(fields, body) for found in unwrapped(*parsed(part), keys, around)]
    mic = around["mic"] or base64.b64encode(hashlib.sha256(body).digest()).decode()
    return [{"receipt": False, **around, "mic": mic, "length": len(body), "sha256": hashlib.sha256(body).hexdigest(),
             "content_type": kind}]


def receipt(message_id, disposition, mic, recipient):
    """An unsigned receipt, as an entity."""
    lines = ["Reporting-UA: replies-peer", f"Final-Recipient: rfc822; {recipient}", f"Original-Message-ID: {message_id}",
             f"Disposition: automatic-action/MDN-sent-automatically; {disposition}"]
    if mic:
        lines.append(f"Received-Content-MIC: {mic}, sha-256")
    said = "\r\n".join(lines) + "\r\n"
    fields, body = multipart("multipart/report", [
        b"Content-Type: text/plain\r\n\r\nThe message was read.",
        b"Content-Type: message/disposition-notification\r\n\r\n" + said.encode(),
    ], "; report-type=disposition-notification")
    return entity(fields, body)


def payload(content, name, protection, keys):
    """A payload as an entity, protected so."""
    data = entity([("Content-Type", "application/edi-x12"),
                   ("Content-Disposition", f'attachment; filename="{name}"'),
                   ("Content-Transfer-Encoding", "binary")], content)
    if "signed" in protection:
        data = entity(*signed(data, keys))
    if "encrypted" in protection:
        data = entity(*encrypted(data, keys))
    return data
