//! The `model` room of Waybill.
