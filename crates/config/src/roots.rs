//! What definitions may reach on this machine.
//!
//! The person who may edit flows does not thereby own the host: the settings name the directories and
//! variables, and everything else is refused.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Directories and variables that definitions may name.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// Below these lie the folders that endpoints may use.
    pub files: Vec<PathBuf>,
    /// These variables `${env:…}` may name in any field: what they hold may be seen.
    pub variables: BTreeSet<String>,
    /// These variables `${env:…}` may name in fields for secrets alone.
    pub secret_variables: BTreeSet<String>,
    /// Below these lie the files that `${file:…}` may name.
    pub secrets: Vec<PathBuf>,
    /// The socket of the SSH agent whose keys SFTP endpoints may log in with.
    pub ssh_agent: Option<PathBuf>,
    /// Whether secrets may be written into the documents themselves: a master key encrypts them for the database.
    pub inline_secrets: bool,
    /// Files and directories of the gateway itself: its state, its staging area, its settings. No endpoint leads to a directory
    /// that holds one, or lies in one.
    pub own: Vec<PathBuf>,
    /// No bounds: for the settings, which belong to the host's owner.
    unbounded: bool,
}

impl Roots {
    /// Nothing but these.
    #[must_use]
    pub fn new(
        files: impl IntoIterator<Item = PathBuf>,
        variables: impl IntoIterator<Item = String>,
        secrets: impl IntoIterator<Item = PathBuf>,
    ) -> Self {
        Self {
            files: files.into_iter().collect(),
            variables: variables.into_iter().collect(),
            secrets: secrets.into_iter().collect(),
            ..Self::default()
        }
    }

    pub(crate) fn unbounded() -> Self {
        Self { unbounded: true, ..Self::default() }
    }

    /// The same, with the directory of the definitions among what is the gateway's own.
    pub(crate) fn beside_definitions(&self, directory: Option<&Path>) -> Self {
        let own = directory.and_then(|directory| std::path::absolute(directory).ok());
        Self { own: self.own.iter().cloned().chain(own).collect(), ..self.clone() }
    }

    pub(crate) const fn is_bounded(&self) -> bool {
        !self.unbounded
    }

    /// Whether a folder may be used; the path is compared as written, links are the transport's matter.
    ///
    /// # Errors
    /// Says what is wrong, and which roots there are.
    pub fn folder(&self, path: &Path) -> Result<(), String> {
        let path = plain(path)?;
        if self.unbounded {
            return Ok(());
        }
        if !inside(&path, &self.files) {
            return Err(outside("roots.files", &path, &self.files));
        }
        match self.own.iter().find(|own| own.starts_with(&path) || path.starts_with(own)) {
            None => Ok(()),
            Some(own) => Err(format!(
                "{} holds, or lies in, {}, which is the gateway's own (state, staging, settings or definitions): a flow could \
                 take, replace or show its files; use another directory",
                path.display(),
                own.display()
            )),
        }
    }

    /// Whether `${env:…}` may name a variable in a field that is shown.
    ///
    /// # Errors
    /// Says what to add to the settings.
    pub(crate) fn variable(&self, name: &str) -> Result<(), String> {
        if self.unbounded || self.variables.contains(name) {
            return Ok(());
        }
        if self.secret_variables.contains(name) {
            return Err(format!(
                "the variable {name} is listed in roots.secret_variables in waybill.toml, so only fields \
                for secrets may use it; this field is shown in lists and messages"
            ));
        }
        Err(unknown_variable(name, "roots.variables", self.variables.iter()))
    }

    /// Whether `${env:…}` may name a variable in a field for a secret: with `true`, one that any other
    /// field may show as well.
    ///
    /// # Errors
    /// Says what to add to the settings.
    pub(crate) fn secret_variable(&self, name: &str) -> Result<bool, String> {
        if self.unbounded || self.secret_variables.contains(name) {
            return Ok(false);
        }
        if self.variables.contains(name) {
            return Ok(true);
        }
        let known = self.secret_variables.iter().chain(&self.variables);
        Err(unknown_variable(name, "roots.secret_variables", known))
    }

    /// Whether `${file:…}` may name a path, as written.
    pub(crate) fn secret(&self, path: &Path) -> Result<PathBuf, String> {
        let path = plain(path)?;
        if self.unbounded || inside(&path, &self.secrets) {
            return Ok(path);
        }
        Err(outside("roots.secrets", &path, &self.secrets))
    }

    /// Whether the file that a path led to, links followed, is still below a root. `real` follows links.
    pub(crate) fn real_secret(
        &self,
        path: &Path,
        real: impl Fn(&Path) -> std::io::Result<PathBuf>,
    ) -> Result<(), String> {
        let roots: Vec<PathBuf> = self.secrets.iter().filter_map(|root| real(root).ok()).collect();
        if self.unbounded || inside(path, &roots) {
            return Ok(());
        }
        Err(format!("a symbolic link leads to {}, outside roots.secrets in waybill.toml", path.display()))
    }
}

/// The path without `.` parts, when it is absolute and has no `..`.
pub(crate) fn plain(path: &Path) -> Result<PathBuf, String> {
    if !path.is_absolute() {
        return Err(format!("{} is not an absolute path", path.display()));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{} contains '..'; write the path without it", path.display()));
    }
    Ok(path.components().collect())
}

/// `Path::starts_with` compares whole parts: `/srv/in` is no root of `/srv/inbox`.
fn inside(path: &Path, roots: &[PathBuf]) -> bool {
    roots.iter().any(|root| path.starts_with(root))
}

fn unknown_variable<'a>(name: &str, setting: &str, known: impl Iterator<Item = &'a String>) -> String {
    match model::nearest(name, known.map(String::as_str)) {
        Some(near) => {
            format!("the variable {name} is not listed in {setting} in waybill.toml; did you mean {near}?")
        }
        None => format!("the variable {name} is not listed in {setting} in waybill.toml; add it there"),
    }
}

fn outside(setting: &str, path: &Path, roots: &[PathBuf]) -> String {
    let path = path.display();
    if roots.is_empty() {
        return format!("{path} is not allowed: {setting} in waybill.toml lists no directory yet");
    }
    let roots: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
    format!("{path} is outside the directories in {setting} in waybill.toml ({})", roots.join(", "))
}
