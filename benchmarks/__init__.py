"""The benchmarks: ``make bench`` measures numflow_django beside its peers, each doing the same work on one machine."""
