"""Opens the store, the lock and ingestion: once per process, whatever faces it shows."""

from monitor.runtime.following import OWN_RECORDS, STDIN, is_of_days
from monitor.runtime.process import Runtime

__all__ = ["OWN_RECORDS", "STDIN", "Runtime", "is_of_days"]
