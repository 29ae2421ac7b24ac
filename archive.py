"""The table of an archive of numbers: a row for every picture as soon as it is read, and a run that was stopped goes on."""

import argparse
import csv
import io
import os
import time
from collections import Counter
from pathlib import Path

from console import in_parallel, progress
from files import write_whole

SETTINGS = {"rule": "the rule", "weights": "weights", "max_error": "--max-error"}  # columns that are the same in every row
COLUMNS = ("path", "text", "display", "confidence", "verdict", "message", "alternatives", "ink_text", "seconds", *SETTINGS)


def to_row(path: Path, reading, seconds: float, settings: dict[str, str]) -> dict:
    """Return a reading as a row of a file, by COLUMNS."""
    others = " ".join(f"{each.text}:{each.probability:.4f}" for each in reading.alternatives)
    return dict(zip(COLUMNS, (name_of(path), reading.text, reading.display, round(reading.confidence, 6), reading.verdict,
                              reading.message, others, reading.ink_text, round(seconds, 4), *settings.values()), strict=True))


def name_of(path: Path) -> str:
    """Return the name of a file as a table in UTF-8 can hold it: bytes that are no text are written as such."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def read_rows(file: Path, settings: dict[str, str]) -> list[dict]:
    """Return the whole rows of a CSV file that a run left, [] where there is none; a row that was being written is left out.

    Raises ValueError with a sentence for another file, and for one that was made with other settings.
    """
    if not file.exists():
        return []
    with open(file, newline="", encoding="utf-8", errors="backslashreplace") as table:  # a file's name may hold a carriage return
        text = table.read()
    try:
        rows = list(csv.DictReader(io.StringIO(text[:text.rfind("\n") + 1], newline="")))
    except csv.Error:  # fields of any length, which none of ours has
        rows = [{}]
    if rows and tuple(rows[0]) != COLUMNS or text and not text.startswith(",".join(COLUMNS[:2])):
        raise ValueError(f"{file} is no table that fields.py wrote. Name another one with --csv.")
    rows = [row for row in rows if None not in row.values()]
    for name, ours in settings.items():
        if rows and rows[0][name] != ours:
            raise ValueError(f"{file} was made with {SETTINGS[name]} {rows[0][name] or '(none)'}. Take the same again, or leave "
                             "--resume out.")
    return rows


def to_csv(rows: list[dict], header: bool = True) -> str:
    """Return rows as CSV, each with a line feed at its end."""
    lines = []
    for row in [dict(zip(COLUMNS, COLUMNS, strict=True))] * header + rows:
        file = io.StringIO(newline="")
        csv.DictWriter(file, COLUMNS, lineterminator="\r\n").writerow(row)  # what would end a row is quoted: both of these
        lines.append(file.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def fill(reader, paths: list[Path], flags: argparse.Namespace) -> Counter:
    """Write a row for every picture into the CSV file, each as soon as it is read; return how often there was which verdict.

    `reader` is a fields.FieldReader; `flags` are those of its command line. Raises ValueError with a sentence where the CSV file
    is a folder, a device or a pipe, and what `read_rows` raises.
    """
    def read(path: Path) -> tuple:
        started = time.perf_counter()
        return reader.read(path, flags.rule), time.perf_counter() - started

    file = Path(os.path.realpath(flags.csv))  # what a link names is written, and the link stays
    if file.exists() and not file.is_file():
        raise ValueError(f"{flags.csv} is no file that rows can be kept in. Name another one with --csv.")
    settings = dict(zip(SETTINGS, (flags.rule or "", reader.recognizer.version, str(flags.max_error)), strict=True))
    done = read_rows(file, settings) if flags.resume else []
    write_whole(file, to_csv(done).encode("utf-8", "backslashreplace"))
    verdicts, names = Counter(row["verdict"] for row in done), {row["path"] for row in done}
    with open(file, "a", newline="", encoding="utf-8", errors="backslashreplace") as table:
        left = [path for path in paths if name_of(path) not in names]
        for path, (reading, seconds) in progress(in_parallel(read, left), len(left)):
            verdicts[reading.verdict] += 1
            table.write(to_csv([to_row(path, reading, seconds, settings)], header=False))
            table.flush()
    rank = {name_of(path): place for place, path in enumerate(paths)}
    if flags.worst_first or done:  # else the rows are in order as they are
        rows = read_rows(file, settings)
        rows.sort(key=lambda row: float(row["confidence"]) if flags.worst_first else rank.get(row["path"], len(rank)))
        write_whole(file, to_csv(rows).encode("utf-8", "backslashreplace"))
    return verdicts
