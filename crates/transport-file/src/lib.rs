//! The `transport-file` room of Waybill.
