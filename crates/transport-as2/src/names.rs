//! AS2 names and message ids in header fields (RFC 4130, 6.2 and RFC 5322, 3.6.4).

use crate::agreement::As2Id;

/// Writes an AS2 name: quoted only where it must be, `"` and `\` escaped (RFC 4130, 6.2).
pub(crate) fn write_name(id: &As2Id) -> String {
    let text = id.as_str();
    let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// Reads an AS2 name. Partners are known to quote twice (`"\"ORG A\""`): quotes are taken off as long
/// as they stand around the whole.
#[must_use]
pub fn read_name(header: &str) -> String {
    let mut name = header.trim().to_owned();
    while let Some(inner) = unquote(&name) {
        name = inner;
    }
    name
}

/// Takes one pair of quotes off, with its escapes; `None` when there is none around the whole.
fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut name = String::with_capacity(inner.len());
    let mut characters = inner.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            // RFC 4130, 6.2: a backslash escapes a quote or itself. Before anything else it is one.
            '\\' => match characters.next_if(|next| matches!(next, '"' | '\\')) {
                Some(escaped) => name.push(escaped),
                None if characters.peek().is_none() => return None,
                None => name.push('\\'),
            },
            // A quote in the middle: these quotes do not stand around one name.
            '"' => return None,
            other => name.push(other),
        }
    }
    (!name.is_empty()).then_some(name)
}

/// Longest Message-ID taken from a peer, in bytes, angle brackets included (RFC 5322, 2.1.1).
pub(crate) const LONGEST_MESSAGE_ID: usize = 998;

/// A new Message-ID: at most 255 characters with its brackets.
pub(crate) fn new_message_id(unique: uuid::Uuid, host: &str) -> String {
    let safe: String = host
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        .take(150)
        .collect();
    let host = if safe.is_empty() { "waybill" } else { &safe };
    format!("<{unique}@{host}>")
}

/// Compares two Message-IDs: partners add or drop the angle brackets. One of them may be a RefNum.
pub(crate) fn same_message_id(a: &str, b: &str) -> bool {
    let bare = |id: &str| id.trim().trim_start_matches('<').trim_end_matches('>').to_owned();
    let (a, b) = (bare(a), bare(b));
    let is_number_of = |number: &str, id: &str| {
        number.strip_prefix(BY_REF_NUM).is_some_and(|number| number == ref_num_of(&format!("<{id}>")))
    };
    a == b || is_number_of(&a, &b) || is_number_of(&b, &a)
}

/// What a message is called that is named by its RefNum alone ("HTTP Transport for Secure EDI", 2.1.2).
const BY_REF_NUM: &str = "refnum:";

/// The name of a message with this RefNum, in the place of a Message-ID.
pub(crate) fn names_ref_num(number: &str) -> String {
    format!("{BY_REF_NUM}{number}")
}

/// Whether a name, with or without angle brackets, is a RefNum's.
pub(crate) fn is_ref_num(name: &str) -> bool {
    name.trim_start_matches('<').starts_with(BY_REF_NUM)
}

/// The RefNum of a message of ours: it follows from the Message-ID, so that both are drawn once and used for the same content.
pub(crate) fn ref_num_of(message_id: &str) -> String {
    let digest = openssl::sha::sha256(message_id.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    // Positive, also where a reader has 64 bits with a sign.
    (u64::from_be_bytes(first) >> 1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_only_where_needed() {
        let id = |text: &str| As2Id::try_from(text.to_owned()).unwrap();
        assert_eq!(write_name(&id("ACME")), "ACME");
        assert_eq!(write_name(&id("ORG A")), "\"ORG A\"");
        assert_eq!(write_name(&id("a\"b\\c")), "\"a\\\"b\\\\c\"");
    }

    #[test]
    fn reads_what_partners_send() {
        for (header, name) in [
            ("ACME", "ACME"),
            ("  \"ORG A\" ", "ORG A"),
            ("\"\\\"ORG A\\\"\"", "ORG A"),
            ("\"a\\\\b\"", "a\\b"),
            ("\"ORG\\A\"", "ORG\\A"),
            ("\"ORG\\\"", "\"ORG\\\""),
            ("\"a\" \"b\"", "\"a\" \"b\""),
            ("\"", "\""),
            ("\"\"", "\"\""),
        ] {
            assert_eq!(read_name(header), name, "{header}");
        }
    }

    #[test]
    fn message_ids_compare_with_and_without_brackets() {
        assert!(same_message_id("<a@b>", "a@b"));
        assert!(!same_message_id("<a@b>", "<A@b>"));
        let number = ref_num_of("<a@b>");
        assert!(number.parse::<i64>().is_ok() && same_message_id("a@b", &names_ref_num(&number)));
        assert!(
            !same_message_id(&names_ref_num(&number), "<other@b>") && !same_message_id("refnum:1", "<a@b>")
        );
        assert!(is_ref_num("<refnum:1>") && !is_ref_num("<1@a>"));
        let id = new_message_id(uuid::Uuid::nil(), "bad host\r\n!");
        assert_eq!(id, "<00000000-0000-0000-0000-000000000000@badhost>");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(text in "[ -~]{1,128}") {
            let id = As2Id::try_from(text.clone()).unwrap();
            let back = read_name(&write_name(&id));
            // A name that is itself a quoted name is read as the name inside, as doubly quoting
            // partners ask for; every other name comes back as it was.
            if !(text.starts_with('"') && text.ends_with('"')) && text.trim() == text {
                prop_assert_eq!(back, text);
            }
        }
    }
}
