//! A line that begins like a boundary and is longer than 4 GiB: passed over in a few buffers, and what follows it is found.
#![allow(clippy::unwrap_used)]

use std::io::{self, Read};

use smime::Multipart;
use testkit::heap::{CountingAllocator, Heap};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const LEN: u64 = (4 << 30) + 1;

/// The beginning of a boundary line, so many blanks, and the rest of a body.
struct Line {
    begin: &'static [u8],
    blanks: u64,
    rest: &'static [u8],
}

impl Read for Line {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.begin.is_empty() && self.blanks > 0 {
            let count = out.len().min(usize::try_from(self.blanks).unwrap());
            out[..count].fill(b' ');
            self.blanks -= count as u64;
            return Ok(count);
        }
        let text = if self.begin.is_empty() { &mut self.rest } else { &mut self.begin };
        let count = out.len().min(text.len());
        out[..count].copy_from_slice(&text[..count]);
        *text = &text[count..];
        Ok(count)
    }
}

#[test]
fn a_boundary_line_of_four_gibibytes_takes_a_few_buffers() {
    let heap = Heap::watch();
    let line = Line { begin: b"--b", blanks: LEN, rest: b"\r\n--b\r\nan order\r\n--b--\r\n" };
    let mut parts = Multipart::new(line, "b").unwrap();
    let mut part = String::new();
    parts.next_part().unwrap().unwrap().read_to_string(&mut part).unwrap();
    assert_eq!(part, "an order");
    assert!(parts.next_part().unwrap().is_none());
    let grown = heap.grown();
    assert!(grown < 1 << 20, "{grown} bytes");
}
