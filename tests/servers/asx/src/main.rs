//! An AS2 partner on asx-rs: `serve` takes messages, `send` posts one. What they print and record is described in
//! tests/servers/README.md.

mod look;
mod plain;
mod send;
mod serve;
mod side;

use std::collections::HashMap;
use std::process::ExitCode;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// `--name value` of the command line.
pub struct Options(HashMap<String, String>);

impl Options {
    fn read(mut words: impl Iterator<Item = String>, known: &[&str]) -> Result<Self, Failure> {
        let mut found = HashMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").filter(|name| known.contains(name));
            let name = name.ok_or_else(|| format!("unknown option {word}"))?;
            let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
            found.insert(name.to_owned(), value);
        }
        Ok(Self(found))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn or<'a>(&'a self, name: &str, otherwise: &'a str) -> &'a str {
        self.get(name).unwrap_or(otherwise)
    }

    pub fn wanted(&self, name: &str) -> Result<&str, Failure> {
        self.get(name).ok_or_else(|| format!("--{name} is wanted").into())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("serve") => serve::serve(&Options::read(words, serve::OPTIONS)?).await,
        Some("send") => send::send(&Options::read(words, send::OPTIONS)?).await,
        other => Err(format!("no such command: {other:?}").into()),
    }
}
