//! Character sets of one byte for each character.

/// For each byte its character in UTF-16; [`NONE`] where it has none.
pub(super) type Page = [u16; 256];

/// A unit that is no character.
pub(super) const NONE: u16 = 0xffff;

/// US-ASCII (RFC 20).
pub(super) const ASCII: Page = first(128);

/// ISO/IEC 8859-1 with the control characters of ISO/IEC 6429: the first 256 characters of Unicode.
pub(super) const LATIN1: Page = first(256);

/// ISO/IEC 8859-9: six letters differ from ISO/IEC 8859-1.
pub(super) const LATIN5: Page = {
    let mut page = LATIN1;
    page[0xd0] = 0x011e;
    page[0xdd] = 0x0130;
    page[0xde] = 0x015e;
    page[0xf0] = 0x011f;
    page[0xfd] = 0x0131;
    page[0xfe] = 0x015f;
    page
};

/// The first characters of Unicode.
const fn first(count: u16) -> Page {
    let mut page = [NONE; 256];
    let mut at = 0;
    while at < count {
        page[at as usize] = at;
        at += 1;
    }
    page
}

/// The bytes of a page by their characters.
pub(crate) struct Reversed {
    /// Of the first 256 characters, which are most of every text.
    first: [Option<u8>; 256],
    /// Of the others, by character.
    others: Vec<(u16, u8)>,
}

impl Reversed {
    pub(super) fn of(page: &Page) -> Self {
        let mut reversed = Self { first: [None; 256], others: Vec::new() };
        for (unit, byte) in page.iter().copied().zip(0_u8..=255).filter(|(unit, _)| *unit != NONE) {
            match reversed.first.get_mut(usize::from(unit)) {
                Some(slot) => *slot = Some(byte),
                None => reversed.others.push((unit, byte)),
            }
        }
        reversed.others.sort_unstable();
        reversed
    }

    /// The byte of a character; `None` where the page lacks it.
    pub(super) fn byte(&self, character: char) -> Option<u8> {
        let unit = u16::try_from(u32::from(character)).ok()?;
        if let Some(byte) = self.first.get(usize::from(unit)) {
            return *byte;
        }
        let found = self.others.binary_search_by_key(&unit, |(unit, _)| *unit).ok()?;
        self.others.get(found).map(|(_, byte)| *byte)
    }
}
