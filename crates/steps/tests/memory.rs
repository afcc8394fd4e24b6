//! A file of any size passes a step in bounded memory.

#![allow(clippy::unwrap_used, reason = "a test program that counts what it allocates")]

use model::definition::StepDefinition;
use model::schema::{Value, Values};
use std::io::{self, Read, Write};
use testkit::heap::{CountingAllocator, Heap};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const BYTES: u64 = 48 << 20;

/// Counts what is written.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_large_file_is_converted_in_the_buffers_that_the_step_names() {
    let kind = steps::kind("convert_charset").unwrap();
    for (from, to, byte, each) in [
        ("ISO-8859-1", "UTF-8", 0xe9, 2),
        ("windows-1252", "UTF-16LE", 0x80, 2),
        ("IBM037", "GB18030", 0x51, 2),
    ] {
        let text = |text: &str| Value::Text(text.to_owned());
        let options =
            Values::defaults(kind.group.fields).unwrap().with("from", text(from)).with("to", text(to));
        let step = steps::step(&StepDefinition { kind: kind.name.to_owned(), options }).unwrap();
        let mut written = Counted(0);
        let heap = Heap::watch();
        // One line without end.
        step.run(&mut io::repeat(byte).take(BYTES / 3), &mut written).unwrap();
        let held = heap.grown();
        assert_eq!(written.0, each * (BYTES / 3), "{from} to {to}");
        assert!(held <= step.buffers() + 65_536, "{from} to {to}: {held} bytes, of {}", step.buffers());
    }
}
