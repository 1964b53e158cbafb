"""`python -m doorbuster_load generator|worker`: the processes of a live run, fed on stdin.

They are started by `doorbuster_load.launch`; people start `doorbuster load`.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the role that is named on the command line."""
    role = sys.argv[1] if len(sys.argv) == 2 else ""  # noqa: PLR2004 - program and role
    if role not in ("generator", "worker"):
        sys.stderr.write("usage: doorbuster load SCENARIO --target URL; see doorbuster load -h\n")
        sys.exit(2)
    from doorbuster_load import generator  # noqa: PLC0415 - imports Locust, which patches

    if role == "worker":
        generator.run_worker()
    else:
        generator.run_generator()


if __name__ == "__main__":
    main()
