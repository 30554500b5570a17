//! What is remembered: events, jobs, contracts, double-entry ledger, receipts, settings, blobs. The only place with SQL.
