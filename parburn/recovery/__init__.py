"""After a lost or an older ledger: which board carries which record. Burns nothing."""
