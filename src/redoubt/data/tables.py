"""CSV files of numbers with a header."""

import csv
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from redoubt.data.raw import MAX_BYTES, Raw, unreadable
from redoubt.records import DataError, Place


def read_csv(path: Path, labels: Sequence[str] = ()) -> Raw:
    """One example per line; the column `label`, or else the last one, holds its label.

    Args:
        path: UTF-8, comma-separated, with a header line.
        labels: class names; a label may be written as one of them instead of as its number.

    Raises:
        DataError: no such file, no header, a line of another length, or a cell that is no number; with its line.
    """
    names = {name: str(number) for number, name in enumerate(labels)}
    values, lines = array("d"), array("q")
    place = str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"is larger than {MAX_BYTES} bytes", Place(place), remedy="give a smaller file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            target = header.index("label") if "label" in header else len(header) - 1
            if len(header) < 2:
                raise DataError("has no header with at least two columns", Place(place, 1), remedy=_REMEDY)
            if all(_is_number(name) for name in header):
                raise DataError("begins with numbers, not with a header", Place(place, 1), remedy=_REMEDY)
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise DataError(
                        f"this line has {len(row)} cells, the header has {len(header)}",
                        Place(place, reader.line_num),
                        remedy=_REMEDY,
                    )
                row[target] = names.get(row[target].strip(), row[target])
                try:
                    values.extend([float(cell) for cell in row])
                except ValueError as error:
                    column = next(i for i, cell in enumerate(row) if not _is_number(cell))
                    raise DataError(
                        f"column '{header[column]}' says {row[column][:40]!r}, which is no number",
                        Place(place, reader.line_num),
                        remedy="list the class names as `labels` in the policy" if column == target else _REMEDY,
                    ) from error
                lines.append(reader.line_num)
    except OSError as error:
        raise unreadable(path, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"is not a CSV file in UTF-8: {error}", Place(place), remedy=_REMEDY) from error
    table = np.frombuffer(values, np.float64).reshape(len(lines), len(header))
    return Raw(
        np.delete(table, target, axis=1), table[:, target], None, lambda row: Place(place, lines[row]), Place(place)
    )


_REMEDY = "write a header line, then one line of numbers per example, with the label in the column `label`"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
