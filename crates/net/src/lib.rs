//! The `net` room of Waybill.
