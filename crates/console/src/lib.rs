//! The `console` room of Waybill.
