"""The benchmarks' errors of mattes."""
