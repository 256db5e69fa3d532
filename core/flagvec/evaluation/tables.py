"""How results are shown: as a table of rich in a terminal, and as HTML in a notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from flagvec.extras import extra

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table


class Shown:
    """A result that is a table with some lines below it."""

    def table(self) -> Table:
        """Return the table."""
        raise NotImplementedError

    def lines(self) -> list[str]:
        """Return the lines below it."""
        raise NotImplementedError

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the names of the columns, and the rows as text."""
        raise NotImplementedError

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        yield self.table()
        yield from (Text(line) for line in self.lines())

    def _repr_html_(self) -> str:
        columns, rows = self.rows()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        below = "".join(f"<p>{html.escape(line)}</p>" for line in self.lines())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"

    def __str__(self) -> str:
        with extra("cli"):
            from rich.console import Console
        console = Console(width=100, highlight=False)
        with console.capture() as captured:
            console.print(self)
        return captured.get()
