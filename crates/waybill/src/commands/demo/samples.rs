//! Sample files: purchase orders in X12 and EDIFACT, made here, and one large binary.

use super::failed;
use model::{Result, Sha256};
use openssl::sha::Sha256 as Hasher;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Purchase orders in each of the two syntaxes.
const ORDERS: u32 = 6;
/// The large file, in blocks of [`BLOCK`].
const BLOCKS: u32 = 64;
const BLOCK: usize = 1 << 20;

/// A file that was dropped.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) sha256: Sha256,
}

/// Writes the samples into the folder, each under a hidden name first, as a careful application does.
pub(crate) fn drop_into(folder: &Path) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for number in 1..=ORDERS {
        samples.push(put(
            folder,
            &format!("po-850-{number:04}.x12"),
            [x12(number).into_bytes()].into_iter(),
        )?);
        samples.push(put(
            folder,
            &format!("orders-{number:04}.edifact"),
            [edifact(number).into_bytes()].into_iter(),
        )?);
    }
    samples.push(put(folder, "catalogue-scan-64MiB.bin", (0..BLOCKS).map(block))?);
    Ok(samples)
}

fn put(folder: &Path, name: &str, pieces: impl Iterator<Item = Vec<u8>>) -> Result<Sample> {
    let (hidden, path) = (folder.join(format!(".{name}_tmp")), folder.join(name));
    let wrong = |error| failed("write a sample", &path, error);
    let mut file = File::create(&hidden).map_err(wrong)?;
    let mut hasher = Hasher::new();
    for piece in pieces {
        hasher.update(&piece);
        file.write_all(&piece).map_err(wrong)?;
    }
    std::fs::rename(&hidden, &path).map_err(wrong)?;
    Ok(Sample { name: name.to_owned(), sha256: Sha256(hasher.finish()) })
}

/// An ANSI X12 850 purchase order.
fn x12(number: u32) -> String {
    let control = format!("{number:09}");
    let lines = 2 + number % 5;
    let mut text = format!(
        "ISA*00*          *00*          *ZZ*ACME           *ZZ*GLOBEX         *261120*1200*U*00401*{control}*0*T*>~\n\
         GS*PO*ACME*GLOBEX*20261120*1200*{number}*X*004010~\n\
         ST*850*0001~\n\
         BEG*00*SA*PO{number:06}**20261120~\n"
    );
    for line in 1..=lines {
        text.push_str(&format!("PO1*{line}*{}*EA*{}.50**VP*WIDGET-{line:03}~\n", line * 12, line * 3));
    }
    let segments = lines + 4;
    text.push_str(&format!("CTT*{lines}~\nSE*{segments}*0001~\nGE*1*{number}~\nIEA*1*{control}~\n"));
    text
}

/// A UN/EDIFACT ORDERS message.
fn edifact(number: u32) -> String {
    let lines = 1 + number % 4;
    let mut text = format!(
        "UNA:+.? '\nUNB+UNOC:3+ACME+GLOBEX+261120:1200+{number}'\nUNH+1+ORDERS:D:96A:UN'\n\
         BGM+220+ORD{number:06}+9'\nDTM+137:20261120:102'\nNAD+BY+ACME::92'\nNAD+SU+GLOBEX::92'\n"
    );
    for line in 1..=lines {
        text.push_str(&format!("LIN+{line}++WIDGET-{line:03}:SA'\nQTY+21:{}'\n", line * 10));
    }
    let segments = 7 + 2 * lines;
    text.push_str(&format!("UNS+S'\nUNT+{segments}+1'\nUNZ+1+{number}'\n"));
    text
}

/// A block of bytes that do not repeat, the same in every run.
fn block(number: u32) -> Vec<u8> {
    let mut state = u64::from(number) + 1;
    let mut bytes = Vec::with_capacity(BLOCK);
    while bytes.len() < BLOCK {
        // SplitMix64: any generator does, as long as the bytes cannot be compressed away.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes
}
