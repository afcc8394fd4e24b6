//! The gateway as the suites run it.

fn main() -> std::process::ExitCode {
    waybill::run()
}
