//! The `transport` room of Waybill.
