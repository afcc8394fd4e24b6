//! The `waybill` binary.

fn main() -> std::process::ExitCode {
    waybill::run()
}
