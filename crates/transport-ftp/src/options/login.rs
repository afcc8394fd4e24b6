//! Who logs in to an FTP server.

use super::breaks;
use model::definition::{Credential, Endpoint};
use model::schema::Findings;
use model::{Error, ErrorKind, Result, Secret};
use std::sync::Arc;

/// Who logs in without a name.
const ANONYMOUS: &str = "anonymous";

/// Who logs in; names are looked up when it is done.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    username: Option<String>,
    password: Option<Secret<String>>,
    credential: Option<String>,
}

impl Login {
    /// The user, or the name of the credential, for people.
    pub(super) fn shown(&self) -> &str {
        self.username.as_deref().or(self.credential.as_deref()).unwrap_or(ANONYMOUS)
    }

    pub(super) fn read(endpoint: &Endpoint, findings: &mut Findings<'_>) -> Self {
        let options = &endpoint.options;
        let text = |name: &str| options.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let login = Self {
            username: text("username"),
            password: options.secret("password").filter(|secret| !secret.reveal().is_empty()).cloned(),
            credential: text("credential"),
        };
        const BREAK: &str = "contains a line break, which FTP cannot carry";
        if login.username.as_deref().is_some_and(breaks) {
            findings.error("username", BREAK);
        }
        if login.password.as_ref().is_some_and(|password| breaks(password.reveal())) {
            findings.error("password", BREAK);
        }
        login
    }

    /// The user and the password, if there is one.
    ///
    /// # Errors
    /// `ConfigInvalid`: a credential that is not defined, or one with a line break.
    pub(crate) fn resolve(
        &self,
        credential: impl Fn(&str) -> Option<Arc<Credential>>,
    ) -> Result<(String, Option<Secret<String>>)> {
        let Some(name) = &self.credential else {
            return Ok(match &self.username {
                Some(user) => (user.clone(), self.password.clone()),
                None => {
                    let email = || Secret::new(format!("{ANONYMOUS}@"));
                    (ANONYMOUS.to_owned(), Some(self.password.clone().unwrap_or_else(email)))
                }
            });
        };
        let invalid = |advice: &'static str| {
            Error::permanent(ErrorKind::ConfigInvalid, "log in with the endpoint's credential")
                .with("credential", name)
                .advice(advice)
        };
        let found = credential(name).ok_or_else(|| invalid("define it, or correct the name"))?;
        if breaks(&found.username) || breaks(found.password.reveal()) {
            return Err(invalid("its username or password contains a line break, which FTP cannot carry"));
        }
        Ok((found.username.clone(), Some(found.password.clone())))
    }
}
