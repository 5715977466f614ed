"""Ingest measured: ``python -m tests.benchmarks.ingest --full``; see `ingest_runs`, which is imported late.

The process that reads a big export imports the module that was run, as it does of the command line: it must be light.
"""

import gc

if __name__ == "__main__":
    from tests.benchmarks.ingest_runs import main

    gc.set_threshold(20_000, 20, 20)  # as the command line does
    main()
