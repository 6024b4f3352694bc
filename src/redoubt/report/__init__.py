"""Evidence to HTML, JUnit, SARIF and model-index files, and to a table for the terminal."""

from redoubt.report.hardening import write_hardening_page
from redoubt.report.read import Timings
from redoubt.report.table import verdict_table
from redoubt.report.write import write_reports

__all__ = ["Timings", "verdict_table", "write_hardening_page", "write_reports"]
