//! The `testkit` room of Waybill.
