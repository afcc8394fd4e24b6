//! The `engine` room of Waybill.
