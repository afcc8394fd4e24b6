"""What the sending and the receiving half of the AS2 partner on pyas2lib share."""

import functools
import pathlib
import threading
from email import message_from_bytes

from asn1crypto import cms
from pyas2lib import as2

CIPHERS = {"3des": "tripledes_192_cbc", "aes128-cbc": "aes_128_cbc", "aes192-cbc": "aes_192_cbc", "aes256-cbc": "aes_256_cbc"}
SIGNATURES = {"pkcs1": "rsassa_pkcs1v15", "pss": "rsassa_pss"}
KEY_TRANSPORTS = {"pkcs1": "rsaes_pkcs1v15", "oaep-sha1": "rsaes_oaep"}  # pyas2lib has OAEP with SHA-1 alone


def key_and_certificate(key, certificate):
    """The one PEM text that pyas2lib wants: key, then certificate."""
    return pathlib.Path(key).read_bytes().strip() + b"\n" + pathlib.Path(certificate).read_bytes()


def header_block(headers):
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in headers) + b"\r\n"


def on_one_line(headers):
    """Header fields as HTTP has them: unfolded."""
    return [(name, str(value).replace("\r\n", "").replace("\n", "")) for name, value in headers]


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


def encryption_of(raw):
    """How an encrypted message is encrypted, in the words of our options: cipher, and how the content key is. pyas2lib forgets both."""
    try:
        envelope = cms.ContentInfo.load(message_from_bytes(raw).get_payload(decode=True))["content"]
        cipher = envelope["encrypted_content_info"]["content_encryption_algorithm"]["algorithm"].native
        transport = envelope["recipient_infos"][0].chosen["key_encryption_algorithm"]["algorithm"].native
    except (ValueError, KeyError, TypeError):
        return {"cipher": None, "key_transport": None}  # not encrypted, or not readable
    words = {"tripledes_3key": "3des", "rsaes_pkcs1v15": "pkcs1", "rsaes_oaep": "oaep"}
    return {"cipher": words.get(cipher, cipher.replace("_", "-")), "key_transport": words.get(transport, transport)}


class Signatures:
    """Remembers by which algorithm a signature was made that pyas2lib verified on this thread."""

    seen = threading.local()

    @classmethod
    def watch(cls):
        verify = as2.verify_message

        @functools.wraps(verify)
        def watching(data, signature, certificate):
            digest = verify(data, signature, certificate)
            signer = cms.ContentInfo.load(signature)["content"]["signer_infos"][0]
            words = {known: ours for ours, known in SIGNATURES.items()}
            algorithm = signer["signature_algorithm"].signature_algo
            cls.seen.last = words.get(algorithm, algorithm)
            return digest

        as2.verify_message = watching

    @classmethod
    def take(cls):
        """The algorithm of the last signature; nothing when there was none since this was asked for."""
        last = getattr(cls.seen, "last", None)
        cls.seen.last = None
        return last


def encrypt_keys_by(transport):
    """Has pyas2lib encrypt content keys so: its Partner knows the option, but its Message does not hand it on."""
    as2.encrypt_message = functools.partial(as2.encrypt_message, key_enc_alg=KEY_TRANSPORTS[transport])
