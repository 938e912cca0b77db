"""Where the data of an installation lies."""

from __future__ import annotations

from penstock.config import Settings


def database_url(settings: Settings) -> str:
    """Where the data is: the database named, else SQLite in the data directory."""
    if settings.database_url is not None:
        return settings.database_url
    return f"sqlite:///{settings.data_dir.absolute() / 'penstock.db'}"


def documents_url(settings: Settings) -> str:
    """Where the content of documents is: the place named, else a folder in the data directory."""
    if settings.documents_url is not None:
        return settings.documents_url
    return (settings.data_dir.absolute() / "documents").as_uri()
