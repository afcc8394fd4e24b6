//! Everything besides the payload that shapes the bytes of a message and its header fields. It is noted with the message, so that
//! one that the partner may have goes out again as it was, whatever is agreed by now: drawn anew, it would be delivered twice.

use crate::agreement::{
    Agreement, As2Id, Cipher, Compression, DigestName, Identity, KeyTransport, MdnRequest, Order, Packaging,
    Partner, RsaSignature, SendSecurity, SignatureForm,
};
use crate::form_fields::FormFields;
use crate::header_options::HeaderOptions;
use model::RemotePath;
use serde::{Deserialize, Serialize};

/// The terms of a message. Not among them is the URL for its receipt, which is noted by itself: it may change without another
/// message where the partner has none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct MessageTerms {
    from: As2Id,
    to: As2Id,
    security: SendSecurity,
    packaging: Packaging,
    cipher: Cipher,
    digest: DigestName,
    compress: Compression,
    order: Order,
    signature_form: SignatureForm,
    rsa_signature: RsaSignature,
    key_transport: KeyTransport,
    headers: HeaderOptions,
    mdn: MdnRequest,
    /// Of one that is a form, or asks for a generalized receipt.
    form: Option<Form>,
    /// Fingerprint of the certificate of our key. Empty where OpenPGP protects the message: its bytes are kept, and are the same
    /// whatever key is in force by now.
    pub(crate) signed_with: String,
    /// Fingerprints of the certificates that it is encrypted for, the partner's first, with commas between.
    pub(crate) encrypted_for: String,
    /// Its media type; of several files, that of the whole.
    pub(crate) media_type: String,
    /// That of its file; of several, of the first.
    pub(crate) root_type: String,
    pub(crate) file_name: RemotePath,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Form {
    post: bool,
    report_type: Option<String>,
    fields: FormFields,
}

impl MessageTerms {
    /// The terms of a message of today, by fingerprints as above.
    pub(crate) fn of(
        (identity, partner): (&Identity, &Partner),
        (signed_with, encrypted_for): (&str, &str),
        (media_type, root_type): (String, String),
        file_name: &RemotePath,
    ) -> Self {
        let Agreement {
            send_security,
            packaging,
            cipher,
            digest,
            compress,
            order,
            signature_form,
            rsa_signature,
            key_transport,
            ref headers,
            mdn,
            ref form,
            ..
        } = partner.agreement;
        let is_form = form.post || form.report_type.is_some();
        let (signed_with, encrypted_for) = match partner.agreement.is_protected_by_pgp() {
            true => ("", ""),
            false => (signed_with, encrypted_for),
        };
        Self {
            from: identity.as2_id.clone(),
            to: partner.as2_id.clone(),
            security: send_security,
            packaging,
            cipher,
            digest,
            compress,
            order,
            signature_form,
            rsa_signature,
            key_transport,
            headers: headers.clone(),
            mdn,
            form: is_form.then(|| Form {
                post: form.post,
                report_type: form.report_type.clone(),
                fields: form.fields.clone(),
            }),
            signed_with: signed_with.to_owned(),
            encrypted_for: encrypted_for.to_owned(),
            media_type,
            root_type,
            file_name: file_name.clone(),
        }
    }

    /// Puts them in the place of what is agreed by now.
    pub(crate) fn apply(&self, identity: &mut Identity, partner: &mut Partner) {
        let Self {
            from,
            to,
            security,
            packaging,
            cipher,
            digest,
            compress,
            order,
            signature_form,
            rsa_signature,
            key_transport,
            headers,
            mdn,
            form,
            ..
        } = self.clone();
        (identity.as2_id, partner.as2_id) = (from, to);
        let agreed = &mut partner.agreement;
        (agreed.send_security, agreed.packaging) = (security, packaging);
        (agreed.cipher, agreed.digest, agreed.key_transport) = (cipher, digest, key_transport);
        (agreed.compress, agreed.order) = (compress, order);
        (agreed.signature_form, agreed.rsa_signature) = (signature_form, rsa_signature);
        (agreed.headers, agreed.mdn) = (headers, mdn);
        (agreed.form.post, agreed.form.report_type) = (false, None);
        // A form does not go on where it broke off.
        agreed.restart.offer &= form.as_ref().is_none_or(|form| !form.post);
        if let Some(Form { post, report_type, fields }) = form {
            (agreed.form.post, agreed.form.report_type, agreed.form.fields) = (post, report_type, fields);
        }
    }

    /// Whether one of the certificates that the message is encrypted for has this fingerprint.
    pub(crate) fn is_encrypted_for(&self, fingerprint: &str) -> bool {
        self.encrypted_for.split(", ").any(|one| one == fingerprint)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::file_names::FileNameForm;
    use crate::testing::{identity, partner};

    /// The usual terms, with this fingerprint of our key; the message is encrypted for `theirs` and `archive`.
    pub(crate) fn message_terms(own: &str) -> MessageTerms {
        let parties = (&identity("ACME"), &partner("GLOBEX", Agreement::default()));
        let types = ("text/plain".to_owned(), "text/plain".to_owned());
        MessageTerms::of(parties, (own, "theirs, archive"), types, &RemotePath::from("a.txt"))
    }

    fn terms(identity: &Identity, partner: &Partner) -> MessageTerms {
        let name = RemotePath::from("order.edi");
        let types = ("multipart/related".to_owned(), "application/edifact; charset=iso-8859-1".to_owned());
        MessageTerms::of((identity, partner), ("ours", "theirs, archive"), types, &name)
    }

    #[test]
    fn a_message_keeps_all_its_terms_through_its_note() {
        let mut other = Agreement {
            send_security: SendSecurity::Signed,
            cipher: Cipher::TripleDes,
            digest: DigestName::Sha512,
            compress: Compression::AfterSigning,
            order: Order::EncryptThenSign,
            signature_form: SignatureForm::Opaque,
            rsa_signature: RsaSignature::Pss,
            key_transport: KeyTransport::OaepSha256,
            headers: HeaderOptions {
                subject: Some("Order {name}".into()),
                from: Some("edi@acme.example".into()),
                date: false,
                features: true,
                file_names: FileNameForm::EncodedWord,
                ..HeaderOptions::default()
            },
            mdn: MdnRequest::Unsigned,
            ..Agreement::default()
        };
        other.form.post = true;
        other.form.fields.agent = Some("ANSI".into());
        other.form.report_type = Some("GISB-Acknowledgement-Receipt".into());
        for agreement in [Agreement::default(), other] {
            let then = terms(&identity("ACME"), &partner("GLOBEX", agreement.clone()));
            let noted = serde_json::to_value(&then).unwrap();
            let read: MessageTerms = serde_json::from_value(noted).unwrap();
            assert_eq!(read, then);
            for today in [Agreement::default(), agreement] {
                let (mut identity, mut partner) = (identity("ACME-2"), partner("GLOBEX-2", today));
                read.apply(&mut identity, &mut partner);
                assert_eq!(terms(&identity, &partner), then);
            }
        }
    }

    #[test]
    fn keys_of_openpgp_are_none_of_the_terms() {
        let pgp = Agreement { packaging: Packaging::Pgp, ..Agreement::default() };
        let by_pgp = terms(&identity("ACME"), &partner("GLOBEX", pgp));
        assert_eq!((by_pgp.signed_with.as_str(), by_pgp.encrypted_for.as_str()), ("", ""));
        let terms = terms(&identity("ACME"), &partner("GLOBEX", Agreement::default()));
        assert!(terms.is_encrypted_for("theirs") && terms.is_encrypted_for("archive"));
        assert!(!terms.is_encrypted_for("other") && !by_pgp.is_encrypted_for("theirs"));
    }
}
