//! The `smime` room of Waybill.
