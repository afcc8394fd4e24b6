//! Style, scripts and pictures: embedded, and served under names that carry their hash, so that a
//! browser caches each without limit and gets a new one with a new Waybill.

use bytes::Bytes;
use model::Sha256;

/// The embedded files.
pub(crate) struct Assets {
    /// `/assets/console.<hash>.css`
    pub(crate) style: String,
    /// The page's icon.
    pub(crate) icon: String,
    /// Scripts by what they do.
    pub(crate) scripts: Vec<String>,
    files: Vec<File>,
}

pub(crate) struct File {
    name: String,
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Bytes,
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

impl Assets {
    pub(crate) fn embedded() -> Self {
        let mut files = Vec::new();
        let mut add = |stem: &str, ending: &str, media_type, text: String| {
            let hash = Sha256(openssl::sha::sha256(text.as_bytes())).to_string();
            let name = format!("{stem}.{}.{ending}", &hash[..12]);
            let path = format!("/assets/{name}");
            files.push(File { name, media_type, bytes: Bytes::from(text) });
            path
        };
        let style = [
            include_str!("../../assets/base.css"),
            include_str!("../../assets/parts.css"),
            include_str!("../../assets/pages.css"),
        ];
        Self {
            style: add("console", "css", CSS, style.concat()),
            icon: add("waybill", "svg", SVG, include_str!("../../assets/waybill.svg").to_owned()),
            scripts: vec![
                add("times", "js", JS, include_str!("../../assets/times.js").to_owned()),
                add("live", "js", JS, include_str!("../../assets/live.js").to_owned()),
                add("form", "js", JS, include_str!("../../assets/form.js").to_owned()),
            ],
            files,
        }
    }

    /// The file of a name, as it stands in a page.
    pub(crate) fn file(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }
}
