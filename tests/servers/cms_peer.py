"""CMS that `openssl cms` 3.0 neither makes nor reads: ChaCha20-Poly1305, Ed25519, RSA-PSS without parameters.

Reads the content on standard input and writes to standard output. Structures by asn1crypto, cryptography by PyCA's library;
nothing here is Waybill's.

  encrypt CERTIFICATE           AuthEnvelopedData by ChaCha20-Poly1305 (RFC 8103), the content key by PKCS #1 v1.5
  decrypt KEY                   the content of such a message
  sign KEY CERTIFICATE DIGEST [--without-parameters] [--pss-digest DIGEST] [--without-attributes]
                                a SignedData without content, by Ed25519 (RFC 8419) or RSA-PSS (RFC 4056)
  verify CERTIFICATE SIGNATURE  checks such a file, made with Ed25519; prints nothing
"""

import argparse
import hashlib
import os
import pathlib
import sys

from asn1crypto import algos, cms, core, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.x509 import load_pem_x509_certificate

CHACHA20_POLY1305 = "1.2.840.113549.1.9.16.3.18"
TAG = 16


def certificate_of(path):
    certificate = load_pem_x509_certificate(pathlib.Path(path).read_bytes())
    return certificate, x509.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))


def key_of(path):
    return serialization.load_pem_private_key(pathlib.Path(path).read_bytes(), None)


def issuer_and_serial(certificate):
    return cms.IssuerAndSerialNumber({"issuer": certificate.issuer, "serial_number": certificate.serial_number})


def encrypt(arguments, content):
    certificate, parsed = certificate_of(arguments.certificate)
    key, nonce = ChaCha20Poly1305.generate_key(), os.urandom(12)
    sealed = ChaCha20Poly1305(key).encrypt(nonce, content, None)
    recipient = cms.KeyTransRecipientInfo({
        "version": "v0",
        "rid": cms.RecipientIdentifier({"issuer_and_serial_number": issuer_and_serial(parsed)}),
        "key_encryption_algorithm": {"algorithm": "rsaes_pkcs1v15"},
        "encrypted_key": certificate.public_key().encrypt(key, padding.PKCS1v15()),
    })
    algorithm = algos.EncryptionAlgorithm({"algorithm": CHACHA20_POLY1305, "parameters": core.Any(core.OctetString(nonce))})
    data = cms.AuthEnvelopedData({
        "version": "v0",
        "recipient_infos": [cms.RecipientInfo({"ktri": recipient})],
        "auth_encrypted_content_info": {
            "content_type": "data",
            "content_encryption_algorithm": algorithm,
            "encrypted_content": sealed[:-TAG],
        },
        "mac": sealed[-TAG:],
    })
    return cms.ContentInfo({"content_type": "authenticated_enveloped_data", "content": data}).dump()


def decrypt(arguments, message):
    data = cms.ContentInfo.load(message)["content"]
    info = data["auth_encrypted_content_info"]
    algorithm = info["content_encryption_algorithm"]
    assert algorithm["algorithm"].dotted == CHACHA20_POLY1305, algorithm["algorithm"].dotted
    nonce = core.OctetString.load(algorithm["parameters"].dump()).native
    encrypted = data["recipient_infos"][0].chosen["encrypted_key"].native
    key = key_of(arguments.key).decrypt(encrypted, padding.PKCS1v15())
    sealed = info["encrypted_content"].native + data["mac"].native
    return ChaCha20Poly1305(key).decrypt(nonce, sealed, None)


def sign(arguments, content):
    _, parsed = certificate_of(arguments.certificate)
    key = key_of(arguments.key)
    digest = hashlib.new(arguments.digest, content).digest()
    attributes = cms.CMSAttributes([
        cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
        cms.CMSAttribute({"type": "message_digest", "values": [digest]}),
    ])
    covered = content if arguments.without_attributes else attributes.dump()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm, signature = cms.SignedDigestAlgorithm({"algorithm": "ed25519"}), key.sign(covered)
    else:
        used = getattr(hashes, (arguments.pss_digest or arguments.digest).upper())()
        signature = key.sign(covered, padding.PSS(padding.MGF1(used), used.digest_size), used)
        parameters = None if arguments.without_parameters else algos.RSASSAPSSParams({
            "hash_algorithm": {"algorithm": used.name},
            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": used.name}},
            "salt_length": used.digest_size,
        })
        algorithm = pss(parameters)
    signer = cms.SignerInfo({
        "version": "v1",
        "sid": cms.SignerIdentifier({"issuer_and_serial_number": issuer_and_serial(parsed)}),
        "digest_algorithm": {"algorithm": arguments.digest},
        "signature_algorithm": algorithm,
        "signature": signature,
    })
    if not arguments.without_attributes:
        signer["signed_attrs"] = attributes
    signed = cms.SignedData({
        "version": "v1",
        "digest_algorithms": [{"algorithm": arguments.digest}],
        "encap_content_info": {"content_type": "data"},
        "certificates": [cms.CertificateChoices({"certificate": parsed})],
        "signer_infos": [signer],
    })
    return cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump()


def pss(parameters):
    """id-RSASSA-PSS; asn1crypto would add a NULL where parameters are missing."""
    identifier = core.ObjectIdentifier("1.2.840.113549.1.1.10").dump()
    contents = identifier + (parameters.dump() if parameters else b"")
    assert len(contents) < 128, len(contents)
    return cms.SignedDigestAlgorithm.load(bytes([0x30, len(contents)]) + contents)


def verify(arguments, content):
    certificate, _ = certificate_of(arguments.certificate)
    signed = cms.ContentInfo.load(pathlib.Path(arguments.signature).read_bytes())["content"]
    (signer,) = signed["signer_infos"]
    assert signer["signature_algorithm"]["algorithm"].native == "ed25519"
    assert len(signer["signature_algorithm"].dump()) == 7, "RFC 8419 wants no parameters"
    assert signer["digest_algorithm"]["algorithm"].native == "sha512"
    found = {attribute["type"].native: attribute["values"].native for attribute in signer["signed_attrs"]}
    assert found["message_digest"] == [hashlib.sha512(content).digest()]
    covered = signer["signed_attrs"].untag().dump()
    certificate.public_key().verify(signer["signature"].native, covered)
    return b""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(function, *positional):
        added = commands.add_parser(function.__name__)
        added.set_defaults(run=function)
        for name in positional:
            added.add_argument(name)
        return added

    command(encrypt, "certificate")
    command(decrypt, "key")
    signing = command(sign, "key", "certificate", "digest")
    signing.add_argument("--without-parameters", action="store_true")
    signing.add_argument("--pss-digest")
    signing.add_argument("--without-attributes", action="store_true")
    command(verify, "certificate", "signature")
    arguments = parser.parse_args()
    sys.stdout.buffer.write(arguments.run(arguments, sys.stdin.buffer.read()))


if __name__ == "__main__":
    main()
