//! A whole message: header block, empty line, body.
#![no_main]

mod support;

use libfuzzer_sys::fuzz_target;
use smime::Headers;

fuzz_target!(|data: &[u8]| {
    if let Ok((headers, body)) = Headers::parse(data, &support::limits()) {
        support::read(&headers, body);
    }
});
