"""For `pytest` at the root of the repository; the plugin itself is installed as an entry point."""

collect_ignore = ["training", "benchmarks"]
