//! Running and checking work: starts and kills the worker, gathers evidence for verification.
