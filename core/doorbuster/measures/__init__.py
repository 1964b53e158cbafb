"""Every number that a verdict, a comparison or a report shows, defined once.

docs/measures.md says the same for people.
"""

from doorbuster.measures.run_records import RunRecords, read_records

__all__ = ["RunRecords", "read_records"]
