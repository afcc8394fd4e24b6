//! Who we are and who the partner is, as asx-rs wants to be told.

use crate::Failure;
use crate::plain::Plain;
use asx::as2::As2;
use asx::{Certificate, KeyPair, LocalParty, Partner, Profile};
use std::fs::read;

/// Files are named by their paths; they are read anew with each client.
#[derive(Clone)]
pub struct Side {
    pub name: String,
    pub key: String,
    pub certificate: String,
    /// An RSA key: asx-rs signs with an EC key, but encrypts to RSA keys alone.
    pub decrypt_key: String,
    pub decrypt_certificate: String,
    pub partner: String,
    pub partner_certificate: Option<String>,
}

impl Side {
    /// A client and its partner, to whom it sends at this URL.
    pub fn client(&self, url: Option<&str>, http: Plain) -> Result<(As2, Partner), Failure> {
        let own = read(&self.certificate)?;
        let signer = KeyPair::from_pem(&own, &read(&self.key)?)?;
        let decrypter = KeyPair::from_pem(&read(&self.decrypt_certificate)?, &read(&self.decrypt_key)?)?;
        let local = LocalParty::new(&self.name).signer(signer).decrypter(decrypter);
        let mut builder = As2::builder(Profile::as2())
            .local(local)
            .trust_anchor(Certificate::from_pem(&own)?)
            .http_client(http);
        let mut partner = Partner::new(&self.partner);
        if let Some(path) = &self.partner_certificate {
            let certificate = Certificate::from_pem(&read(path)?)?;
            partner = partner.signing_cert(certificate.clone());
            if let Some(url) = url {
                partner = partner.endpoint(url).encryption_cert(certificate.clone());
            }
            builder = builder.trust_anchor(certificate).partner(partner.clone());
        }
        Ok((builder.build()?, partner))
    }
}
