"""`read_queries`: queries and judgements from JSON Lines, and in the layouts of BEIR and MTEB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flagvec.errors import SourceError
from flagvec.evaluation.queries import JudgedQueries, JudgedQuery, checked_grade
from flagvec.ingest.rows import BadLine
from flagvec.ingest.sources import file_rows

SPLIT = "test"
_QUERY_IDS, _TEXTS = ("_id", "id", "query-id", "qid"), ("text", "query")
_JUDGED_QUERIES, _JUDGED_DOCUMENTS = ("query-id", "query_id", "qid"), ("corpus-id", "corpus_id", "docid")
_GRADES = ("score", "relevance", "label")
_ENDS = tuple(f"{kind}{compressed}" for kind in ("jsonl", "parquet", "tsv") for compressed in ("", ".gz", ".zst"))
_EXPECTED = (
    "queries.jsonl and qrels/{split}.tsv as in BEIR, queries and qrels in JSONL or Parquet as in MTEB, or a file whose "
    "lines have 'query' and 'relevant'"
)


def read_queries(
    path: str | Path, *, qrels: str | Path | None = None, split: str = SPLIT, limit: int | None = None
) -> JudgedQueries:
    """Read queries with the documents that each should find.

    Args:
        path: A file of JSON Lines with the keys ``query`` (or ``text``), ``relevant`` and, if wanted, ``id``; where
            ``relevant`` is a list of ids or a dict of grades by id. Or a directory of BEIR (``queries.jsonl`` and
            ``qrels/test.tsv``) or MTEB (``queries`` and ``qrels`` as JSONL or Parquet), or the file of the queries in
            one. Files may be compressed by gzip or zstd.
        qrels: The file of the judgements, if it is elsewhere. Its columns are ``query-id``, ``corpus-id`` and
            ``score``.
        split: Which judgements of a directory to take.
        limit: Take the first so many queries; None for all.

    Returns:
        The queries that have a relevant document, in the order of the file. ``notes`` counts what was left out.

    Raises:
        SourceError: A file is missing, empty, damaged, or of another form; names the file and the line.

    Example:
        >>> Path("q.jsonl").write_text('{"query": "how to make a loaf", "relevant": ["bread"]}\\n')
        55
        >>> read_queries("q.jsonl")[0].relevant
        {'bread': 1}
    """
    path = Path(path)
    if not path.exists():
        raise SourceError(f"{str(path)!r}: there is no such file or directory; give {_EXPECTED.format(split=split)}")
    file = _found_in(path, "queries", split) if path.is_dir() else path
    judged = Path(qrels) if qrels is not None else _found_beside(file, path, split)
    found = _simple(file) if judged is None else _joined(file, judged)
    return found if limit is None else JudgedQueries(found.queries[:limit], found.notes)


def _found_beside(file: Path, given: Path, split: str) -> Path | None:
    """Return the file of judgements in a directory, or beside a file of queries without any; None if they are in it."""
    if given.is_dir():
        return _found_in(given, "qrels", split)
    first = next(_rows(file), None)
    if first is None or "relevant" in first[1]:
        return None
    for folder in (file.parent, file.parent.parent):
        if (folder / "qrels").is_dir():
            return _found_in(folder, "qrels", split)
    return None


def _found_in(folder: Path, name: str, split: str) -> Path:
    """Return the file of `folder` that holds the queries or the judgements."""
    # MTEB's judgements are the data set's main part, whose files have the split's name alone.
    further = ("data", "default") if name == "qrels" else ()
    patterns = [f"{name}/{split}.", f"{name}/{split}-*.", f"{name}/{name}.", f"{name}/{name}-*.", f"{name}."]
    patterns += [f"{place}/{split}{more}." for place in further for more in ("", "-*")]
    for pattern in patterns:
        for end in _ENDS:
            files = sorted(folder.glob(f"{pattern}{end}"))
            if len(files) > 1:
                raise SourceError(
                    f"{str(folder)!r} has {len(files)} files {pattern}{end}: join them, or name one file of queries "
                    "and one of qrels"
                )
            if files:
                return files[0]
    there = sorted({one.name.split(".")[0] for one in (folder / name).glob("*")} if (folder / name).is_dir() else ())
    splits = f"; {name}/ has {', '.join(there)}, and split (--split) chooses one" if there else ""
    raise SourceError(f"{str(folder)!r} has no {name} of the split {split!r}{splits}; give {_EXPECTED.format(split=split)}")


def _simple(file: Path) -> JudgedQueries:
    found: dict[str, JudgedQuery] = {}
    lines: dict[str, int] = {}
    for line, row in _rows(file):
        try:
            query = JudgedQuery.of(row, str(line))
        except (TypeError, ValueError) as error:
            raise SourceError(f"{file}, line {line}: {error}") from error
        if query.id in lines:
            raise SourceError(
                f"{file}, line {line}: the id {query.id!r} is also that of line {lines[query.id]}; give each query its "
                "own"
            )
        lines[query.id] = line
        found[query.id] = query
    if not found:
        raise SourceError(f"{file} holds no queries: write one a line, with the keys 'query' and 'relevant'")
    return JudgedQueries(tuple(found.values()))


def _joined(file: Path, qrels: Path) -> JudgedQueries:
    texts = {}
    for line, row in _rows(file):
        name, text = _value(row, _QUERY_IDS, file, line), _value(row, _TEXTS, file, line)
        texts[str(name)] = str(text)
    if not texts:
        raise SourceError(f"{file} holds no queries")
    graded = _judgements(qrels)
    found = tuple(JudgedQuery(name, text, graded[name]) for name, text in texts.items() if graded.get(name))
    if not found:
        raise SourceError(
            f"no query of {file} has a relevant document in {qrels}: its queries have ids like {next(iter(graded))!r}, "
            f"and those of the queries are like {next(iter(texts))!r}; name the files of one data set"
        )
    counts = {
        f"of {len(texts):,} queries of {file} have no relevant document in {qrels}": len(texts) - len(found),
        f"queries that {qrels} judges are not in {file}": len(graded.keys() - texts.keys()),
    }
    return JudgedQueries(found, tuple(f"{count:,} {what}: left out" for what, count in counts.items() if count))


def _judgements(file: Path) -> dict[str, dict[str, int]]:
    """Return the grades above 0 by the ids of query and document."""
    found: dict[str, dict[str, int]] = {}
    line = 0
    for line, row in _rows(file):
        query, document = _value(row, _JUDGED_QUERIES, file, line), _value(row, _JUDGED_DOCUMENTS, file, line)
        try:
            grade = checked_grade(_value(row, _GRADES, file, line))
        except ValueError as error:
            raise SourceError(f"{file}, line {line}: {error}") from error
        judged = found.setdefault(str(query), {})
        if grade > 0:
            judged[str(document)] = grade
    if not line:
        raise SourceError(f"{file} holds no judgements: a line has the columns query-id, corpus-id and score")
    if not any(found.values()):
        raise SourceError(f"{file} calls no document relevant: a score of 1 or more does")
    return found


def _value(row: Mapping[str, Any], names: tuple[str, ...], file: Path, line: int) -> Any:
    for name in names:
        if row.get(name) is not None:
            return row[name]
    columns = ", ".join(map(repr, row))
    raise SourceError(f"{file}, line {line}: no column {names[0]!r}; the columns are {columns}")


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, row in file_rows(file):
        if isinstance(row, BadLine):
            raise SourceError(f"{file}, line {line}: {row.reason}; mend or delete the line")
        yield line, row
