//! Forms, whole and in pieces: the same parts come out, however a form is cut.

use smime::{FormData, FormPiece};

/// The parts of a form by their names, as it arrives in pieces of so many bytes; `None` of what is no form.
fn read(form: &[u8], piece: usize) -> Option<Vec<(Option<String>, Vec<u8>)>> {
    let mut reader = FormData::new("b").ok()?;
    let mut pieces = Vec::new();
    for bytes in form.chunks(piece) {
        pieces.extend(reader.push(bytes).ok()?);
    }
    pieces.extend(reader.finish().ok()?);
    let mut parts = Vec::new();
    for piece in pieces {
        match piece {
            FormPiece::Begins(headers) => {
                let _ = headers.form_file_name();
                parts.push((headers.form_field(), Vec::new()));
            }
            FormPiece::Content(bytes) => parts.last_mut().expect("a part has begun").1.extend(bytes),
            FormPiece::Ends => {}
        }
    }
    Some(parts)
}

/// Reads one input.
pub fn run(data: &[u8]) {
    let Some((first, form)) = data.split_first() else { return };
    let whole = read(form, usize::MAX);
    // A cut may show what is too long before it is whole; what is a form is the same one.
    if let (Some(whole), Some(cut)) = (whole, read(form, usize::from(*first) + 1)) {
        assert_eq!(whole, cut);
    }
}
