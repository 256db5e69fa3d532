"""`StoreAddress`: where a store is, written as one URL, as the command line takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

# Databases on a server, by the name in front of "://", with the server's usual port.
_PORTS = {"qdrant": 6333, "milvus": 19530, "elasticsearch": 9200}
_EMBEDDED = ("edge", "milvus-lite")
EXAMPLES = (
    "qdrant://localhost:6333/articles",
    "milvus://localhost:19530/articles",
    "elasticsearch://localhost:9200/articles",
    "edge:./articles",
    "milvus-lite:./library.db/articles",
)


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """The parts of a store's URL.

    Args:
        url: The whole URL, as it was given. It holds no password.
        database: ``"qdrant"``, ``"milvus"``, ``"elasticsearch"``, ``"edge"`` or ``"milvus-lite"``.
        name: The collection or index; for ``"edge"`` the directory.
        server: ``"http://host:port"`` or ``"https://host:port"``; empty for an embedded database.
        folder: What is between the server and the name: the database of a Milvus server, the path prefix of a proxy, or
            the file of Milvus Lite; empty for nothing.
        options: What comes after the ``?``.

    Example:
        >>> address = StoreAddress.parsed("qdrant+https://search.example.org/articles?storage=small")
        >>> address.server, address.name, dict(address.options)
        ('https://search.example.org:6333', 'articles', {'storage': 'small'})
    """

    url: str
    database: str
    name: str
    server: str = ""
    folder: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parsed(cls, url: str) -> StoreAddress:
        """Return the parts of a URL.

        Raises:
            ValueError: The URL names no database or no store, or holds a password; shows what to write instead.
        """
        scheme, colon, rest = url.partition(":")
        database, _, transport = scheme.partition("+")
        if not colon or database not in (*_PORTS, *_EMBEDDED):
            raise ValueError(f"{_shown(url)!r} is not the URL of a store: write one like {' or '.join(EXAMPLES)}")
        rest, _, query = rest.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        if database in _EMBEDDED:
            return cls._embedded(url, database, rest, options)
        if transport not in ("", "http", "https"):
            raise ValueError(f"{_shown(url)!r}: after {database}+ comes http or https, not {transport!r}")
        return cls._on_server(url, database, transport or "http", rest, options)

    @classmethod
    def _embedded(cls, url: str, database: str, path: str, options: Mapping[str, str]) -> StoreAddress:
        path = path[2:] if path.startswith("//") else path
        if database == "edge":
            if not path:
                raise ValueError(f"{url!r} names no directory: write one like edge:./articles")
            return cls(url, database, path, options=options)
        file, _, name = path.rpartition("/")
        if not file.endswith(".db") or not name:
            raise ValueError(
                f"{url!r}: a Milvus Lite store is a file that ends in .db, then a collection: write one like "
                "milvus-lite:./library.db/articles"
            )
        return cls(url, database, name, folder=file, options=options)

    @classmethod
    def _on_server(cls, url: str, database: str, transport: str, rest: str, options: Mapping[str, str]) -> StoreAddress:
        parts = urlsplit(f"{transport}:{rest}")
        folder, _, name = unquote(parts.path).strip("/").rpartition("/")
        if "@" in parts.netloc:
            raise ValueError(
                f"{_shown(url)!r} holds a user name or password, which other programs can read in the list of "
                f"processes: leave out everything before the @, and put it into the environment ({SECRETS[database]})"
            )
        try:
            host, port = parts.hostname, parts.port or _PORTS[database]
        except ValueError as error:
            raise ValueError(f"{url!r}: {error}") from None
        if not host or not name:
            missing = "a host" if not host else "a collection or index"
            raise ValueError(f"{url!r} lacks {missing}: write one like {EXAMPLES[list(_PORTS).index(database)]}")
        host = f"[{host}]" if ":" in host else host
        return cls(url, database, name, f"{transport}://{host}:{port}", folder, options)

    @property
    def place(self) -> str:
        """The URL without options, and a path in full: equal for two URLs of one store. Journals name stores by it."""
        if self.server:
            return f"{self.database}:{self.server.partition(':')[2]}/{'/'.join(filter(None, (self.folder, self.name)))}"
        path = Path(self.folder or self.name).expanduser().resolve()
        return f"{self.database}:{path}/{self.name}" if self.folder else f"{self.database}:{path}"

    def refuse_unknown_options(self, known: Iterable[str]) -> None:
        """Refuse an option that the database does not take.

        Raises:
            ValueError: It takes no such option; names those that it takes.
        """
        for name in self.options:
            if name not in known:
                raise ValueError(
                    f"{self.url!r}: {self.database} takes no option {name!r}; it takes {', '.join(known) or 'none'}"
                )

    def __str__(self) -> str:
        return self.url


# Returns the value of an environment variable that holds a secret, or None.
Secret: TypeAlias = Callable[[str], str | None]
# The environment variables that hold a server's credentials.
SECRETS = {
    "qdrant": "QDRANT_API_KEY",
    "milvus": "MILVUS_TOKEN",
    "elasticsearch": "ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD",
}


def _shown(url: str) -> str:
    """Return a URL without what may be a password in it."""
    before, at, after = url.rpartition("@")
    scheme, slashes, _ = before.partition("://")
    return f"{scheme}{slashes}***@{after}" if at else url
