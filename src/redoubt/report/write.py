"""All the reports of one evidence folder."""

from pathlib import Path

from redoubt.records import Place
from redoubt.report.junit import render_junit
from redoubt.report.model_index import render_model_index
from redoubt.report.page import render_page
from redoubt.report.read import read_folder
from redoubt.report.sarif import render_sarif
from redoubt.storage import write_atomically


def write_reports(folder: Path, command: str, places: dict[str, Place]) -> dict[str, Path]:
    """Read the evidence in `folder` and write the reports beside it.

    Each file is written whole or not at all, and the same evidence gives the same bytes.

    Args:
        folder: an evidence folder as `redoubt assess` leaves it.
        command: the shell command that makes this evidence again, for people to repeat.
        places: requirement id to its place in the policy file; may be empty.

    Returns:
        The files by kind: `html`, `junit`, `sarif`, `model-index`.

    Raises:
        StorageError: the evidence cannot be read or believed, or a report cannot be written; the message names
            the file.
    """
    read = read_folder(folder)
    evidence, timings = read.evidence, read.timings
    reports = {
        "html": ("report.html", render_page(read, command).encode()),
        "junit": ("report.junit.xml", render_junit(evidence, timings, places)),
        "sarif": ("report.sarif", render_sarif(evidence, timings, places, command)),
        "model-index": ("model-index.yaml", render_model_index(evidence)),
    }
    written = {}
    for kind, (name, content) in reports.items():
        written[kind] = folder / name
        write_atomically(written[kind], content)
    return written
