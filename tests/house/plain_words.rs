//! Texts and doc comments avoid phrases that readers had to read twice. [`PHRASES`] is the list, with what to say
//! instead.

use crate::declared::sources;
use crate::modules::{end_of_quoted, is_character, raw_string};

/// Phrases that are refused, in lower case, and what to say instead.
const PHRASES: &[(&str, &str)] = &[
    ("in peace", "ignored, or not changed"),
    ("resting", "offline"),
    ("nobody told", "say who did not confirm what: the server did not confirm …"),
    ("let end", "waiting for running work to finish"),
    ("let go", "released, dropped, or closed"),
    ("by and by", "say when"),
    ("for ever", "forever, or without limit"),
    ("in these words", "as the text says"),
    ("of these words", "with this text"),
    ("gets its name", "is published, or is renamed to its final name"),
    ("has its name", "is published"),
    ("given its name", "published"),
    ("lies there", "exists, or has this path"),
    ("what lies", "the file at …"),
    ("what came of", "the result of"),
    ("came of it", "the result"),
    ("take word of", "accept"),
    ("mend the", "fix the"),
    ("that is none", "invalid, or not a …"),
    ("learned nothing", "say what is unknown"),
    ("not like this", "method not allowed"),
    ("vouch", "confirm, or guarantee"),
    ("a look", "a check, a query, or the name of the request"),
    ("a hand", "somebody who can write …"),
    ("whosever", "say whose"),
    ("whoever takes files", "the receiver"),
    ("think of it as", "treat it as"),
    ("turned away", "refused"),
    ("is away too long", "is unreachable"),
    ("goodbye", "close message"),
    ("nobody listens", "say what does not listen where"),
    ("whoever may", "users with the permission to …"),
];

/// A text or a doc comment, its white space reduced to single spaces, and the line on which it begins.
struct Text {
    line: usize,
    text: String,
}

/// The string literals and doc comments of a source file, without its test module.
fn texts(code: &str) -> Vec<Text> {
    let code = code.find("#[cfg(test)]\nmod tests {").map_or(code, |end| &code[..end]);
    let mut texts: Vec<Text> = Vec::new();
    let mut rest = code;
    let mut line = 1;
    let mut comment_ends_at = 0;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            if let Some(text) =
                rest[..length].strip_prefix("///").or_else(|| rest[..length].strip_prefix("//!"))
            {
                match texts.last_mut().filter(|_| comment_ends_at + 1 == line) {
                    Some(comment) => comment.text.push_str(text),
                    None => texts.push(Text { line, text: text.to_owned() }),
                }
                comment_ends_at = line;
            }
            length
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = rest.find('"').unwrap() + 1;
            let length = rest[start..].find(&end).map_or(rest.len(), |place| start + place + end.len());
            texts.push(Text { line, text: rest[..length].to_owned() });
            length
        } else if first == '"' {
            let length = end_of_quoted(rest, '"');
            texts.push(Text { line, text: rest[..length].replace("\\\n", "") });
            length
        } else if first == '\'' && is_character(rest) {
            end_of_quoted(rest, '\'')
        } else {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            word.max(first.len_utf8())
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    for text in &mut texts {
        text.text = text.text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    texts
}

/// Whether a text contains a phrase as whole words, in any case.
fn contains(text: &str, phrase: &str) -> bool {
    let text = text.to_lowercase();
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(phrase).any(|(at, _)| {
        !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + phrase.len()..].chars().next())
    })
}

/// What a file says that it should not.
fn findings(code: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for Text { line, text } in texts(code) {
        for (phrase, instead) in PHRASES {
            if contains(&text, phrase) {
                findings.push(format!("line {line}: '{phrase}': say instead: {instead}\n    {text}"));
            }
        }
    }
    findings
}

#[test]
fn texts_and_doc_comments_use_plain_words() {
    let mut found = Vec::new();
    for (path, code) in sources() {
        found.extend(findings(&code).into_iter().map(|finding| format!("{}, {finding}", path.display())));
    }
    assert!(found.is_empty(), "{} phrases to replace:\n{}", found.len(), found.join("\n"));
}

#[test]
fn phrases_are_found_in_strings_and_doc_comments_alone() {
    let refused = [
        "/// The file is left in\n/// peace.\nfn a() {}",
        "//! Resting endpoints.",
        "const A: &str = \"the endpoint is\n    resting\";",
        "const A: &str = \"left in \\\n    peace\";",
        "const A: &str = r#\"it is \"resting\"\"#;",
        "fn a() -> char { '\"' } // \"\n/// Resting.\nfn b() {}",
    ];
    for code in refused {
        assert_eq!(findings(code).len(), 1, "{code}");
    }
    let allowed = [
        "// A note about resting.\nfn a() {}",
        "/// An interesting file.\nfn resting() {}",
        "/// Left in\nfn a() {}\n/// peace.\nfn b() {}",
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    /// Resting.\n    fn b() {}\n}",
    ];
    for code in allowed {
        assert!(findings(code).is_empty(), "{code}");
    }
}
