//! The `transport-as2` room of Waybill.
